"""The ledger's decisions, each on its own."""

from dataclasses import replace

import pytest

from lambdas import _cloud, _ledger
from lambdas._ledger import Ledger, Live, Running, Wanted
from tests.doors.world import World
from topx.plan import File

MACHINE = "arn:aws:states:eu-west-1:1:stateMachine:topx"
OLD, NEW = "20260101-000000-aaaaaaaa", "20260102-000000-bbbbbbbb"


def running(execution: str = "other", run_id: str = NEW, sequence: int = 2, until: int = 100) -> Running:
    return Running(execution=execution, run_id=run_id, sequence=sequence, lease_until=until)


def live(run_id: str, sequence: int) -> Live:
    return Live(run_id=run_id, table="t", content="c", sequence=sequence, published_at="then")


def test_content_depends_on_keys_and_versions_alone() -> None:
    one, two = File(key="a", version="1", bytes=5), File(key="b", version="2", bytes=6)
    assert _ledger.content([one, two]) == _ledger.content([two, replace(one, bytes=9)])
    assert _ledger.content([one]) != _ledger.content([replace(one, version="2")])


def test_names_of_executions_hold_sequence_and_content() -> None:
    wanted = Wanted(content="0123456789abcdef", sequence=12)
    name = _ledger.execution_name("ratings", wanted)
    assert name == "ratings-12-0123456789ab"
    assert _ledger.execution_arn(MACHINE, name) == f"arn:aws:states:eu-west-1:1:execution:topx:{name}"


def test_the_longest_name_of_an_execution_fits() -> None:
    wanted = Wanted(content="f" * 64, sequence=10**20)
    assert len(_ledger.execution_name("d" * 31, wanted)) <= 80


def test_a_holder_must_run_and_be_within_its_lease() -> None:
    ledger = Ledger(dataset="d", running=running(), read_at=50, alive=frozenset({"other"}))
    assert ledger.holder
    assert not replace(ledger, alive=frozenset()).holder
    assert not replace(ledger, read_at=100).holder


def test_a_dataset_is_busy_for_others_while_it_is_held() -> None:
    ledger = Ledger(dataset="d", running=running(), alive=frozenset({"other"}))
    assert str(_ledger.busy(ledger, "me")).startswith(f"d is held by run {NEW} (other), which is still running")
    assert _ledger.busy(ledger, "other") is None
    assert _ledger.busy(replace(ledger, alive=frozenset()), "me") is None


def test_what_an_execution_came_too_late_for_waits_under_a_new_name() -> None:
    late = Ledger(dataset="d", wanted=Wanted(content="c", sequence=4, execution="me"), running=running())
    assert _ledger.requeued(late, "me").wanted == Wanted(content="c", sequence=5)
    assert _ledger.requeued(late, "other") == late
    assert _ledger.requeued(Ledger(dataset="d"), "me") == Ledger(dataset="d")


@pytest.mark.parametrize(
    ("wanted", "sequence"),
    [
        (None, 1),
        (Wanted(content="mine", sequence=4), 4),
        (Wanted(content="mine", sequence=4, execution="never came"), 4),
        (Wanted(content="mine", sequence=4, execution="me", taken=True), 4),
        (Wanted(content="mine", sequence=4, execution="other", taken=True), 5),
        (Wanted(content="older", sequence=4), 5),
    ],
)
def test_a_run_takes_the_wanted_sequence_only_where_nobody_ran_it(wanted: Wanted | None, sequence: int) -> None:
    after = _ledger.taken(
        Ledger(dataset="d", wanted=wanted), execution="me", run_id=NEW, content="mine", lease_until=9
    )
    assert after.wanted == Wanted(content="mine", sequence=sequence, execution="me", taken=True)
    assert after.running == running("me", NEW, sequence, 9)


def test_a_run_is_superseded_by_what_is_newer_only() -> None:
    def reason(ledger: Ledger) -> str | None:
        return _ledger.superseded(ledger, run_id=OLD, sequence=5)

    alive = frozenset({"other"})
    assert reason(Ledger(dataset="d")) is None
    assert reason(Ledger(dataset="d", live=live(NEW, 4))) is None
    assert reason(Ledger(dataset="d", live=live(OLD, 9))) is None
    assert "is live" in str(reason(Ledger(dataset="d", live=live(NEW, 5))))
    assert reason(Ledger(dataset="d", running=running(sequence=4), alive=alive)) is None
    assert reason(Ledger(dataset="d", running=running(sequence=6))) is None
    newer = Ledger(dataset="d", running=running(sequence=6), alive=alive)
    assert reason(newer) == f"superseded: run {NEW} (sequence 6, this one's is 5) holds the dataset"


def test_only_its_own_hold_is_freed() -> None:
    ledger = Ledger(dataset="d", running=running("other"))
    assert _ledger.freed(ledger, "me") == ledger
    assert _ledger.freed(ledger, "other").running is None


R = [f"2026010{day}-000000-aaaaaaaa" for day in range(1, 7)]


@pytest.mark.parametrize(
    ("runs", "published", "live", "keep", "gone"),
    [
        (R, R, R[5], 3, R[:3]),
        (R, R, R[5], 1, R[:5]),
        (R, [R[1], R[3]], R[5], 3, R[:1]),  # unpublished ones between do not count
        (R, [], R[5], 3, R[:3]),  # records expired: the newest older ones count
        (R, R, R[0], 2, R[1:4]),  # rolled back: live stays, however old
        (R[:2], R[:2], R[1], 3, []),
        ([R[0], R[5]], [R[0]], R[4], 1, [R[0]]),  # a newer run, not published yet, stays
    ],
)
def test_what_is_older_than_the_last_published_runs_goes(
    runs: list[str], published: list[str], live: str, keep: int, gone: list[str]
) -> None:
    assert sorted(_ledger.outdated(runs, published, live, keep)) == gone


def test_a_write_over_somebody_elses_is_refused(aws: World) -> None:
    before = _cloud.ledger("ratings")
    assert _cloud.swap(before, _ledger.noted(before, "first"))
    assert not _cloud.swap(before, _ledger.noted(before, "second"))
    assert aws.ledger()["wanted"]["content"] == "first"


def test_an_item_of_other_fields_than_ours_is_still_swapped(aws: World) -> None:
    aws.set_ledger(wanted={"content": "c", "sequence": 3}, comment="by hand")
    before = _cloud.ledger("ratings")
    mine = aws.begin("mine")
    assert _cloud.swap(before, replace(before, running=running(mine)))
    assert aws.ledger()["comment"] == "by hand"
    after = _cloud.ledger("ratings")
    assert _cloud.swap(after, _ledger.freed(after, mine))
    assert set(aws.ledger()) == {"dataset", "wanted", "comment"}
