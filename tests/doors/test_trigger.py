"""Trigger: one execution for each content, whatever events come, and however often."""

import re
from typing import Any

import pytest

from lambdas import preflight, settle, trigger
from tests.doors.world import EXECUTION, MACHINE, World, event, same_after_any_crash
from topx.errors import DatasetBusy

NOTHING: dict[str, Any] = {"batchItemFailures": []}


def run(name: str = "uploads") -> dict[str, Any]:
    return trigger.handler(event(name), None)


def started(world: World) -> list[str]:
    return [re.sub("-[0-9a-f]{12}$", "", name) for name in world.executions()]


def take(world: World, name: str) -> dict[str, Any]:
    """What the first state of that execution does."""
    return preflight.handler(event("preflight") | {"execution": f"{EXECUTION}:{name}"}, None)


def ended(arn: str) -> dict[str, Any]:
    return {"detail": {"executionArn": arn, "stateMachineArn": MACHINE, "status": "ABORTED"}}


def test_an_upload_starts_one_execution_named_after_its_content(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    assert run() == NOTHING
    wanted = aws.ledger()["wanted"]
    name = f"ratings-1-{wanted['content'][:12]}"
    assert aws.executions() == [name]
    assert wanted["execution"] == f"{EXECUTION}:{name}"
    given = aws.states.describe_execution(executionArn=wanted["execution"])["input"]
    assert given == '{"dataset": "ratings"}'


def test_duplicate_events_start_nothing_more_even_after_the_run(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    for _ in range(5):
        run()
    (name,) = aws.executions()
    take(aws, name)
    run()
    aws.end(f"{EXECUTION}:{name}")
    settle.handler(ended(f"{EXECUTION}:{name}"), None)
    run()
    assert aws.executions() == [name]


def test_new_files_raise_the_sequence(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    run()
    (name,) = aws.executions()
    take(aws, name)
    aws.end(f"{EXECUTION}:{name}")
    aws.upload("uploads/ratings/b.csv")
    run()
    assert started(aws) == ["ratings-1", "ratings-2"]


def test_a_given_test_set_is_part_of_the_content(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    run()
    before = aws.ledger()["wanted"]["content"]
    aws.upload("tests/ratings/t.csv")
    run()
    assert aws.ledger()["wanted"]["content"] != before


def test_files_that_come_while_a_run_holds_the_dataset_start_at_its_end(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    run()
    (first,) = aws.executions()
    take(aws, first)
    aws.upload("uploads/ratings/b.csv")
    run()
    assert started(aws) == ["ratings-1"]
    aws.end(f"{EXECUTION}:{first}")
    settle.handler(ended(f"{EXECUTION}:{first}"), None)
    assert started(aws) == ["ratings-1", "ratings-2"]
    assert "running" not in aws.ledger()


def test_files_that_come_before_a_started_run_has_looked_are_its_own(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    run()
    (first,) = aws.executions()
    aws.upload("uploads/ratings/b.csv")
    run()
    run()
    plan = take(aws, first)
    assert (plan["sequence"], started(aws)) == (2, ["ratings-1"])
    assert len(aws.json(f"runs/ratings/{plan['run_id']}/plan.json")["files"]) == 2
    aws.end(f"{EXECUTION}:{first}")
    settle.handler(ended(f"{EXECUTION}:{first}"), None)
    assert started(aws) == ["ratings-1"]


def test_a_run_that_failed_before_it_looked_gives_way_to_the_newer_content(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    run()
    (first,) = aws.executions()
    aws.upload("uploads/ratings/b.csv")
    run()
    aws.end(f"{EXECUTION}:{first}")
    settle.handler(ended(f"{EXECUTION}:{first}"), None)
    assert started(aws) == ["ratings-1", "ratings-2"]


def test_a_run_that_comes_too_late_for_the_dataset_is_started_again_at_the_holders_end(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    run()
    (late,) = aws.executions()
    redriven = aws.begin("redriven")
    held = {"execution": redriven, "run_id": "r0", "sequence": 0, "lease_until": 4_000_000_000}
    aws.set_ledger(**{**aws.ledger(), "running": held})
    with pytest.raises(DatasetBusy):
        take(aws, late)
    aws.end(f"{EXECUTION}:{late}")
    aws.end(redriven)
    settle.handler(ended(redriven), None)
    assert started(aws) == ["ratings-1", "ratings-2", "redriven"]


def test_content_that_comes_back_gets_a_name_of_its_own(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    run()
    for _ in range(2):
        (name,) = {
            one for one in aws.executions() if one.startswith(f"ratings-{aws.ledger()['wanted']['sequence']}-")
        }
        take(aws, name)
        aws.end(f"{EXECUTION}:{name}")
        if "b.csv" in str(aws.objects("uploads")):
            aws.s3.delete_object(Bucket="uploads", Key="uploads/ratings/b.csv")
        else:
            aws.upload("uploads/ratings/b.csv")
        run()
    first, second, third = aws.executions()
    assert first.split("-")[2] == third.split("-")[2] != second.split("-")[2]


def test_an_empty_folder_starts_nothing(aws: World) -> None:
    assert run() == NOTHING
    assert (aws.executions(), aws.ledger()) == ([], {})


def test_a_sweep_finds_what_no_event_told(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    aws.upload("uploads/books/a.csv")
    assert run("sweep") == NOTHING
    assert started(aws) == ["books-1", "ratings-1"]


def test_a_sweep_starts_what_a_dead_holder_kept_waiting(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    run()
    (first,) = aws.executions()
    take(aws, first)
    aws.upload("uploads/ratings/b.csv")
    run()
    aws.end(f"{EXECUTION}:{first}")  # and its event never comes
    run("sweep")
    assert started(aws) == ["ratings-1", "ratings-2"]


def test_an_execution_that_failed_to_start_is_started_by_the_next_message(aws: World) -> None:
    aws.upload("uploads/ratings/a.csv")
    aws.states.delete_state_machine(stateMachineArn=MACHINE)
    assert run() == {"batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]}
    definition = '{"StartAt": "Work", "States": {"Work": {"Type": "Pass", "End": true}}}'
    aws.states.create_state_machine(
        name="topx", definition=definition, roleArn="arn:aws:iam::123456789012:role/x"
    )
    assert run() == NOTHING
    assert started(aws) == ["ratings-1"]


def test_only_the_messages_of_a_dataset_that_failed_come_again(
    aws: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"Records": [*event("sweep")["Records"], event("uploads")["Records"][1]]}
    monkeypatch.setenv("TOPX_LEDGER", "no-such-table")
    failed = trigger.handler(both, None)
    assert failed == {"batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]}


def test_messages_about_nothing_of_ours_are_dropped(aws: World) -> None:
    assert run("strangers") == NOTHING
    assert not aws.executions()


def test_a_crash_anywhere_and_a_retry_end_like_one_clean_run() -> None:
    same_after_any_crash(lambda world: world.upload("uploads/ratings/a.csv"), run)
