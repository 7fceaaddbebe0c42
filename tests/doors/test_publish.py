"""Publish: import, check, switch, record, prune; each only once however often it is tried."""

import gzip
from decimal import Decimal
from typing import Any

import pytest

from lambdas import _cloud, preflight, publish
from tests.doors.world import ACCOUNT, REGION, World, event, import_lists, same_after_any_crash
from topx.errors import ListsNotReady, ListsRejected

RUN = "20261124-100000-42b83240"
TABLE = f"topx-dev-ratings-{RUN}"
OLDER = [f"202611{day}-000000-aaaaaaaa" for day in range(10, 15)]


def planned(world: World, **over: Any) -> dict[str, Any]:
    """A run up to its gate."""
    world.upload("uploads/ratings/a.csv")
    world.begin("first")
    plan = preflight.handler(event("preflight") | {"input": {"run": over}}, None)
    import_lists(world, RUN)
    return plan


def run(plan: dict[str, Any], users: int = 3) -> dict[str, Any]:
    report = {"open": True, "reasons": [], "path": f"runs/ratings/{RUN}/report.json"}
    return publish.handler({"plan": plan, "report": report, "lists": {"users": users}}, None)


def imports(world: World) -> list[dict[str, Any]]:
    arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TABLE}"
    found: list[dict[str, Any]] = world.dynamodb.list_imports(TableArn=arn)["ImportSummaryList"]
    return found


def start_import(world: World, bucket: str = "runs") -> None:
    world.dynamodb.import_table(
        S3BucketSource={"S3Bucket": bucket, "S3KeyPrefix": f"runs/ratings/{RUN}/import/"},
        InputFormat="DYNAMODB_JSON",
        InputCompressionType="GZIP",
        TableCreationParameters={
            "TableName": TABLE,
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )


def test_the_lists_become_a_table_that_is_live(aws: World) -> None:
    plan = planned(aws)
    assert run(plan) == {
        "run_id": RUN,
        "dataset": "ratings",
        "published": True,
        "reasons": [],
        "report": f"runs/ratings/{RUN}/report.json",
    }
    live = aws.ledger()["live"]
    assert (live["run_id"], live["table"], live["sequence"], live["content"]) == (
        RUN,
        TABLE,
        1,
        plan["content"],
    )
    assert aws.json(f"runs/ratings/{RUN}/published.json") == {"dataset": "ratings", **live}
    found = _cloud.item(TABLE, {"id": "user:u2"})
    assert found is not None
    assert found["items"][0]["score"] == Decimal("0.6543210123")


def test_a_second_call_changes_nothing(aws: World) -> None:
    plan = planned(aws)
    first = run(plan)
    before = aws.state()
    assert run(plan) == first
    assert aws.state() == before
    assert len(imports(aws)) == 1


def test_an_import_that_takes_long_is_asked_for_again_later(
    aws: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(aws)
    monkeypatch.setattr(publish, "PATIENCE_SECONDS", 0)
    with pytest.raises(ListsNotReady, match="is not complete after 0 s of waiting"):
        run(plan)
    assert "live" not in aws.ledger()
    monkeypatch.undo()
    assert len(imports(aws)) == 1


def test_an_import_that_was_started_before_is_found_and_not_repeated(aws: World) -> None:
    plan = planned(aws)
    start_import(aws)
    assert run(plan)["published"]
    assert len(imports(aws)) == 1


def test_a_failed_import_is_deleted_and_tried_again(aws: World) -> None:
    plan = planned(aws)
    import_lists(aws, RUN, good=False)
    start_import(aws)
    while imports(aws)[0]["ImportStatus"] == "IN_PROGRESS":
        pass
    assert (imports(aws)[0]["ImportStatus"], aws.tables()) == ("FAILED", [TABLE])
    import_lists(aws, RUN)
    assert run(plan)["published"]
    assert len(imports(aws)) == 2


def test_three_failed_imports_are_enough(aws: World) -> None:
    plan = planned(aws)
    import_lists(aws, RUN, good=False)
    for _ in range(2):
        with pytest.raises(ListsRejected, match=r"3 imports of .* failed, the last with ItemValidationError"):
            run(plan)
    assert len(imports(aws)) == 3
    assert "live" not in aws.ledger()


def test_an_import_of_nothing_completes_and_is_rejected(aws: World) -> None:
    plan = planned(aws)
    for key in aws.objects():
        if "/import/" in key:
            aws.s3.delete_object(Bucket="runs", Key=key)
    with pytest.raises(
        ListsRejected, match=r"(?s)0 items were imported, Rank wrote 4.*item popular is missing"
    ):
        run(plan)
    assert "live" not in aws.ledger()


def test_a_table_with_other_items_than_rank_wrote_is_rejected(aws: World) -> None:
    plan = planned(aws)
    start_import(aws)
    while imports(aws)[0]["ImportStatus"] == "IN_PROGRESS":
        pass
    line = '{"Item": {"id": {"S": "user:u0"}, "items": {"L": []}}}\n'
    aws.put(f"runs/ratings/{RUN}/import/part-00000.json.gz", gzip.compress(line.encode()))
    with pytest.raises(ListsRejected, match="item user:u0 is not what Rank wrote"):
        run(plan)


def test_a_table_with_fewer_items_than_users_is_rejected(aws: World) -> None:
    with pytest.raises(ListsRejected, match="4 items were imported, Rank wrote 10"):
        run(planned(aws), users=9)


def live(run_id: str, sequence: int) -> dict[str, Any]:
    return {"run_id": run_id, "table": "t", "content": "c", "sequence": sequence, "published_at": "then"}


def test_a_run_never_goes_live_over_a_newer_one(aws: World) -> None:
    plan = planned(aws)
    newer = live("20261125-000000-bbbbbbbb", 2)
    aws.set_ledger(live=newer)
    answer = run(plan)
    assert not answer["published"]
    assert answer["reasons"] == [
        "superseded: run 20261125-000000-bbbbbbbb (sequence 2, this one's is 1) is live"
    ]
    assert aws.ledger() == {"dataset": "ratings", "live": newer}
    assert aws.tables() == []


def test_a_newer_run_that_goes_live_during_the_import_wins(aws: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(aws)
    checked = publish.check
    newer = live("20261125-000000-bbbbbbbb", 2)

    def check(*given: Any) -> None:
        checked(*given)
        aws.set_ledger(live=newer)

    monkeypatch.setattr(publish, "check", check)
    assert not run(plan)["published"]
    assert aws.ledger()["live"] == newer
    assert f"runs/ratings/{RUN}/published.json" not in aws.objects()


def test_a_redriven_run_takes_the_dataset_again(aws: World) -> None:
    plan = planned(aws)
    aws.set_ledger(live=live(OLDER[0], 0))
    assert run(plan)["published"]
    assert aws.ledger()["running"]["run_id"] == RUN


def test_a_redriven_run_gives_way_to_a_newer_one_on_its_way(aws: World) -> None:
    plan = planned(aws)
    newer = {"execution": aws.begin("second"), "run_id": "r2", "sequence": 2, "lease_until": 4_000_000_000}
    aws.set_ledger(running=newer)
    assert run(plan)["reasons"] == ["superseded: run r2 (sequence 2, this one's is 1) holds the dataset"]
    assert aws.ledger()["running"] == newer


def history(world: World, runs: list[str]) -> None:
    """Older published runs."""
    for run_id in runs:
        world.table(f"topx-dev-ratings-{run_id}", "id")
        world.model(f"topx-dev-neighbors-{run_id}-0-0")
        world.put(f"runs/ratings/{run_id}/published.json")


def test_what_is_older_than_the_last_published_runs_is_pruned_and_nothing_else(aws: World) -> None:
    plan = planned(aws, publish={"keep_runs": 3})
    history(aws, OLDER)
    aws.s3.delete_object(Bucket="runs", Key=f"runs/ratings/{OLDER[3]}/published.json")  # that one never was
    aws.put("runs/ratings/20261101-000000-cccccccc/report.json")  # refused by its gate long ago
    aws.model("topx-dev-neighbors-20261101-000000-cccccccc-1-0")
    others = [f"topx-dev-books-{OLDER[0]}", f"topx-dev-ratings-x-{OLDER[0]}", "topx-dev-data-Ledger"]
    strangers = ["topx-dev-neighbors-20261101-000000-dddddddd-0-0", f"topx-prod-neighbors-{OLDER[0]}-0-0"]
    for table in others:
        aws.table(table, "id")
    for model in [*strangers, f"topx-dev-neighbors-{RUN}-0-0"]:
        aws.model(model)
    run(plan)
    kept = [*OLDER[2:], RUN]
    assert aws.tables() == sorted([f"topx-dev-ratings-{one}" for one in kept] + others)
    assert aws.models() == sorted([f"topx-dev-neighbors-{one}-0-0" for one in kept] + strangers)


def test_a_crash_anywhere_and_a_retry_end_like_one_clean_run() -> None:
    plans: list[dict[str, Any]] = []

    def prepare(world: World) -> None:
        plans.append(planned(world, publish={"keep_runs": 1}))
        history(world, OLDER[:1])

    same_after_any_crash(prepare, lambda: run(plans[-1]))
