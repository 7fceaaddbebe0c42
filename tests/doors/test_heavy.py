"""Encode, Rank, Evaluate: the right files in, the step's own bytes out, nothing left on the disk."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from lambdas import encode, evaluate, preflight, rank
from tests.core.small_run import small_run
from tests.doors.world import World, event
from topx.encode import encode as encode_step
from topx.errors import InputRejected, RunRejected
from topx.evaluate import evaluate as evaluate_step
from topx.plan import Plan
from topx.rank import rank as rank_step
from topx.repackage import repackage as repackage_step

RATINGS = "".join(f"u{n % 23},i{n * 7 % 29},{n % 5 + 1},{n}\n" for n in range(300))


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The function's /tmp."""
    made = tmp_path / "disk"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    return made


def below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def planned(aws: World, **run: Any) -> dict[str, Any]:
    aws.begin("first")
    return preflight.handler(event("preflight") | {"input": {"run": run}}, None)


def test_encode_reads_the_planned_versions_and_leaves_the_steps_own_files(
    aws: World, tmp_path: Path, disk: Path
) -> None:
    aws.upload("uploads/ratings/a b+é.csv", RATINGS)
    aws.upload("uploads/ratings/sub/more.csv", "u1,i1,5,1\n")
    aws.upload("tests/ratings/t.csv", "u2,i2,5,999\n")
    plan = planned(aws)
    aws.upload("uploads/ratings/sub/more.csv", "replaced,since,5,1\n")
    aws.s3.delete_object(Bucket="uploads", Key="tests/ratings/t.csv")
    summary = encode.handler({"plan": plan}, None)

    texts = {
        "uploads/a b+é.csv": RATINGS,
        "uploads/sub/more.csv": "u1,i1,5,1\n",
        "tests/t.csv": "u2,i2,5,999\n",
    }
    for name, text in texts.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    (tmp_path / "in" / "plan").mkdir()
    (tmp_path / "in" / "plan" / "plan.json").write_text(json.dumps(aws.json(Plan.from_json(plan).paths.plan)))
    assert summary == encode_step(tmp_path / "in", tmp_path / "out")
    prefix = Plan.from_json(plan).paths.prefix
    made = {key.removeprefix(prefix): body for key, body in aws.objects().items() if "/encoded/" in key}
    assert made == below(tmp_path / "out")
    assert list(disk.iterdir()) == []


def test_a_step_that_refuses_keeps_its_error_and_leaves_the_disk_empty(aws: World, disk: Path) -> None:
    aws.upload("uploads/ratings/a.csv", "one\ntwo\n")
    plan = planned(aws)
    with pytest.raises(InputRejected):
        encode.handler({"plan": plan}, None)
    assert list(disk.iterdir()) == []


def test_a_version_that_is_gone_is_named(aws: World) -> None:
    version = aws.upload("uploads/ratings/a.csv", RATINGS)
    plan = planned(aws)
    aws.s3.delete_object(Bucket="uploads", Key="uploads/ratings/a.csv", VersionId=version)
    with pytest.raises(RunRejected, match=rf"s3://uploads/uploads/ratings/a.csv \(version {version}\) is gone"):
        encode.handler({"plan": plan}, None)


def laid(aws: World, folder: Path) -> tuple[Plan, dict[str, Any]]:
    """A small run up to its matches, on disk and in the Runs bucket."""
    made = small_run(folder)
    repackage_step(folder, folder)
    made.answer(10)
    plan = Plan.read(folder)
    for name, body in below(folder).items():
        if name == "plan/plan.json":
            aws.put(plan.paths.plan, body)
        elif name == "factors/model.tar.gz":
            aws.put(f"{plan.paths.prefix}factors/job-0-0/output/model.tar.gz", body)
        else:
            aws.put(plan.paths.prefix + name, body)
    return plan, {
        "plan": plan.for_states(),
        "factors": {"artifact": f"{plan.uri}/factors/job-0-0/output/model.tar.gz"},
    }


def test_rank_leaves_the_steps_own_files(aws: World, tmp_path: Path, disk: Path) -> None:
    plan, given = laid(aws, tmp_path / "in")
    before = set(aws.objects())
    assert rank.handler(given, None) == rank_step(tmp_path / "in", tmp_path / "out")
    made = {
        key.removeprefix(plan.paths.prefix): body for key, body in aws.objects().items() if key not in before
    }
    assert made == below(tmp_path / "out")
    assert list(disk.iterdir()) == []


def test_evaluate_lays_the_live_runs_report_beside(aws: World, tmp_path: Path) -> None:
    plan, given = laid(aws, tmp_path / "in")
    rank_step(tmp_path / "in", tmp_path / "in")
    for name, body in below(tmp_path / "in").items():
        if name.split("/")[0] in ("lists", "evaluated"):
            aws.put(plan.paths.prefix + name, body)
    (tmp_path / "out").mkdir()
    decided = evaluate.handler(given, None)
    assert decided == evaluate_step(tmp_path / "in", tmp_path / "out")
    first = aws.objects()[plan.paths.report]
    assert first == (tmp_path / "out" / "report.json").read_bytes()
    page = aws.s3.head_object(Bucket="runs", Key=plan.paths.page)
    assert page["ContentType"] == "text/html"

    older = "20260201-120000-aaaaaaaa"
    aws.put(f"runs/ratings/{older}/report.json", first)
    aws.set_ledger(live={"run_id": older, "table": "t", "content": "c", "sequence": 0, "published_at": "then"})
    evaluate.handler(given, None)
    assert aws.json(plan.paths.report)["metrics"]["live"] == json.loads(first)["metrics"]["model"]


def test_evaluate_does_without_a_live_report_that_has_expired(aws: World, tmp_path: Path) -> None:
    plan, given = laid(aws, tmp_path / "in")
    rank.handler(given, None)
    aws.set_ledger(live={"run_id": "gone", "table": "t", "content": "c", "sequence": 0, "published_at": "then"})
    evaluate.handler(given, None)
    assert aws.json(plan.paths.report)["metrics"]["live"] is None
