"""Preflight: what it resolves, refuses and takes."""

from typing import Any

import pytest

from lambdas import preflight
from local.quotas import Quotas
from tests.doors.world import ENOUGH, EXECUTION, World, event, same_after_any_crash
from topx.errors import DatasetBusy, InputRejected, QuotasRejected, SettingsRejected
from topx.plan import Plan

RUN = "20261124-100000-42b83240"


def run(given: Any = None, **changes: Any) -> dict[str, Any]:
    asked = event("preflight") | ({} if given is None else {"input": given}) | changes
    return preflight.handler(asked, None)


def test_an_empty_input_is_a_complete_plan(aws: World) -> None:
    version = aws.upload("uploads/ratings/a.csv")
    aws.begin("first")
    flowing = run()
    plan = Plan.from_json(flowing)
    assert (plan.dataset, plan.run_id, plan.sequence, plan.run.rank.x) == ("ratings", RUN, 1, 5)
    assert plan.uri == f"s3://runs/runs/ratings/{RUN}"
    assert plan.run.train_factors.instance_type == "ml.m5.xlarge"
    whole = aws.json(f"runs/ratings/{RUN}/plan.json")
    assert {key: whole[key] for key in flowing} == flowing
    assert whole["files"] == [{"key": "uploads/ratings/a.csv", "version": version, "bytes": 8}]
    assert {"name": "ml.m5.large for transform job usage", "need": 1, "value": 4.0} in whole["quotas"]
    assert whole["versions"] == {"image": "sha-1", "code": "sha-2"}
    assert not whole["warnings"]


def test_the_dataset_is_taken(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    arn = aws.begin("first")
    plan = run()
    ledger = aws.ledger()
    assert ledger["wanted"] == {"content": plan["content"], "sequence": 1, "execution": arn, "taken": True}
    assert (ledger["running"]["run_id"], ledger["running"]["sequence"]) == (RUN, 1)


def test_only_current_files_count_and_markers_do_not(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv", "old")
    new = aws.upload("uploads/ratings/a.csv", "new file")
    aws.upload("uploads/ratings/gone.csv")
    aws.s3.delete_object(Bucket="uploads", Key="uploads/ratings/gone.csv")
    for marker in ("", "_SUCCESS", ".hidden", "sub/", "sub/.part/x.csv"):
        aws.upload(f"uploads/ratings/{marker}")
    aws.upload("uploads/books/other.csv")
    test = aws.upload("tests/ratings/sub/t é+.csv")
    aws.begin("first")
    run()
    whole = aws.json(f"runs/ratings/{RUN}/plan.json")
    assert [(one["key"], one["version"]) for one in whole["files"]] == [("uploads/ratings/a.csv", new)]
    assert [(one["key"], one["version"]) for one in whole["tests"]] == [("tests/ratings/sub/t é+.csv", test)]


def test_every_problem_of_an_input_is_listed(aws: World) -> None:
    with pytest.raises(SettingsRejected) as caught:
        run(
            {
                "datset": "ratings",
                "dataset": "films",
                "accept": 5,
                "rollback_to": RUN,
                "run": {
                    "rank": {"x": 0, "k": 3},
                    "match_users": {"instance_type": "ml.t3.large"},
                    "train_factors": {"instance_type": "ml.m5.large"},
                },
            }
        )
    told = str(caught.value)
    assert told.startswith("9 problems:")
    for part in (
        "did you mean dataset?",
        "this stage has ratings, books",
        "accept is 5",
        "rollback_to is not available yet",
        "run.rank.x is 0; choose 1 to 1,000",
        "run.rank.k does not exist",
        "match_users.instance_type is ml.t3.large; this stage allows",
        "ml.t3.large, which is not valid for a transform job",
        "train_factors.instance_type is ml.m5.large; this stage allows ml.m5.xlarge",
    ):
        assert part in told
    assert not aws.ledger()


@pytest.mark.parametrize("given", [[], "ratings", 3])
def test_an_input_that_is_no_object_is_refused(aws: World, given: Any) -> None:
    with pytest.raises(SettingsRejected, match="give an object"):
        run(given)


def test_a_run_that_is_no_object_is_refused(aws: World) -> None:
    with pytest.raises(SettingsRejected, match="give an object of settings"):
        run({"run": ["rank.x=3"]})


def test_accept_is_recorded_and_a_nonce_changes_nothing(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    aws.begin("first")
    assert run({"accept": "checked by hand", "nonce": 7})["accept"] == "checked by hand"


def test_no_files_says_where_they_belong(aws: World) -> None:
    with pytest.raises(
        InputRejected, match=r"no rating file below s3://uploads/uploads/books/; upload at least"
    ):
        run({"dataset": "books"})


def test_names_that_cannot_be_files_are_listed(aws: World) -> None:
    for key in ("a", "a/b.csv", "../x.csv", "d//e.csv", "ö" * 130):
        aws.upload(f"uploads/ratings/{key}")
    with pytest.raises(InputRejected) as caught:
        run()
    told = str(caught.value)
    assert told.startswith("4 problems:")
    assert "'uploads/ratings/a' is a file and a folder" in told
    assert told.count("cannot be a file name") == 3


def test_more_than_the_disk_holds_is_refused(aws: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "DISK_BYTES", 8 + 8 * 50 * 72 - 1)
    aws.upload("uploads/ratings/a.csv")
    with pytest.raises(InputRejected, match="8 bytes of rating files and up to 400 training rows"):
        run()


def test_every_quota_gap_is_listed_before_anything_is_taken() -> None:
    few = ENOUGH | {
        "ml.m5.xlarge for training job usage": 0.0,
        "Number of instances across all training jobs": 2.0,
    }
    del few["ml.m5.large for transform job usage"]
    with World(quotas=Quotas(applied=few, default={"ml.m5.large for transform job usage": 0.0})) as world:
        world.upload("uploads/ratings/a.csv")
        with pytest.raises(QuotasRejected) as caught:
            run({"run": {"train_factors": {"instance_count": 3}}})
        assert not world.ledger()
        assert not world.objects()
    told = str(caught.value)
    assert told.startswith("3 problems:")
    assert "'ml.m5.xlarge for training job usage' is 0, the plan needs 3" in told
    assert "'ml.m5.large for transform job usage' is 0, the plan needs 1" in told  # only known as a default
    assert "'Number of instances across all training jobs' is 2, the plan needs 3" in told
    link = "https://eu-west-1.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas/L-"
    assert told.count(link) == 3


def test_a_quota_that_is_listed_nowhere_is_a_warning() -> None:
    with World(quotas=Quotas(applied={}, default={})) as world:
        world.upload("uploads/ratings/a.csv")
        world.begin("first")
        run()
        whole = world.json(f"runs/ratings/{RUN}/plan.json")
    assert len(whole["warnings"]) == len(whole["quotas"]) == 7
    assert {one["value"] for one in whole["quotas"]} == {None}
    assert "not checked" in whole["warnings"][0]


def test_a_held_dataset_is_busy_until_its_run_ends(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    first = aws.begin("first")
    run()
    before = aws.ledger()
    aws.begin("second")
    with pytest.raises(DatasetBusy, match=f"held by run {RUN}"):
        run(execution=f"{EXECUTION}:second")
    assert aws.ledger() == before
    aws.end(first)
    assert run(execution=f"{EXECUTION}:second")["sequence"] == 2


def test_a_lease_that_ended_is_taken_over(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    held = {"execution": aws.begin("hung"), "run_id": "x", "sequence": 4, "lease_until": 1_700_000_000}
    aws.set_ledger(running=held)
    aws.begin("first")
    assert run()["sequence"] == 5


def test_a_retry_keeps_run_id_and_sequence(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    aws.begin("first")
    assert run() == run()


def test_the_wanted_content_is_run_with_its_sequence(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    aws.begin("first")
    content = run()["content"]
    aws.set_ledger(wanted={"content": content, "sequence": 7})
    assert run()["sequence"] == 7


def test_a_start_by_hand_of_content_that_was_run_takes_the_next_sequence(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    first = aws.begin("first")
    run()
    aws.end(first)
    aws.begin("by-hand")
    assert run(execution=f"{EXECUTION}:by-hand")["sequence"] == 2


def test_a_crash_anywhere_and_a_retry_end_like_one_clean_run() -> None:
    def prepare(world: World) -> None:
        world.upload("uploads/ratings/a.csv")
        world.begin("first")

    same_after_any_crash(prepare, run)
