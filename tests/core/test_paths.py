"""Names made from a run id."""

from topx.paths import Paths, lists_table, run_id
from topx.plan import File, Plan
from topx.settings import Run

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Machine:ratings-1-0123456789ab"


def test_a_run_id_is_the_start_in_utc_and_eight_hex_of_the_execution() -> None:
    assert run_id("2026-04-01T09:30:00.123Z", EXECUTION) == run_id("2026-04-01T18:30:00+09:00", EXECUTION)
    assert run_id("2026-04-01T09:30:00Z", EXECUTION).startswith("20260401-093000-")
    assert run_id("2026-04-01T09:30:00Z", EXECUTION) != run_id("2026-04-01T09:30:00Z", EXECUTION + "x")


def test_the_longest_names_fit_their_services() -> None:
    run = run_id("2026-04-01T09:30:00Z", EXECUTION)
    longest_stage = "a" * 12
    for noun in ("factors", "matrices", "neighbors", "matches"):
        assert len(f"topx-{longest_stage}-{noun}-{run}-99-99") <= 63
    assert len(lists_table(longest_stage, "d" * 31, run)) <= 255


def test_nothing_of_a_run_lies_outside_its_prefix() -> None:
    paths = Paths("ratings", "r1")
    keys = [paths.plan, paths.report, paths.page, paths.published, paths.folder("encoded")]
    assert all(key.startswith("runs/ratings/r1/") for key in keys)


def test_a_plan_survives_its_json_and_flows_without_lists() -> None:
    plan = Plan(
        stage="dev",
        dataset="ratings",
        run_id="r1",
        execution=EXECUTION,
        started_at="2026-04-01T09:30:00Z",
        sequence=3,
        content="c0ffee",
        uri="s3://bucket/runs/ratings/r1",
        run=Run(),
        files=(File(key="uploads/ratings/a.csv", version="v1", bytes=10),),
        quotas=({"name": "ml.m5.large for processing job usage", "need": 1},),
    )
    assert Plan.from_json(plan.to_json()) == plan
    slim = plan.for_states()
    assert not {"files", "tests", "quotas", "warnings", "versions"} & slim.keys()
    assert Plan.from_json(slim).run == plan.run
