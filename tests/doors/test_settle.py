"""Settle: frees, starts what waits, and tells what happened."""

import json
import time
from typing import Any

import boto3
import pytest

from lambdas import settle
from tests.doors.world import ACCOUNT, EXECUTION, World, event, same_after_any_crash

FIRST = f"{EXECUTION}:first"
RUN = "20261124-100000-42b83240"


def machine(state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": "Work", "States": {"Work": {"Type": "Pass", "Next": "Last"}, "Last": state}}


def failing(error: str, cause: Any) -> dict[str, Any]:
    text = cause if isinstance(cause, str) else json.dumps(cause)
    return machine({"Type": "Fail", "Error": error, "Cause": text})


def told(definition: dict[str, Any], given: str = "{}") -> dict[str, str]:
    """What the topic gets of an execution of this machine."""
    with World(machine=definition) as world:
        arn = world.begin("first", given)
        while world.states.describe_execution(executionArn=arn)["status"] == "RUNNING":
            time.sleep(0.01)
        settle.handler(event("settle"), None)
        (message,) = world.messages()
        return message


def test_a_failed_job_is_told_with_its_own_reason_and_how_to_go_on() -> None:
    cause = {"TrainingJobName": "topx-dev-factors", "FailureReason": "CapacityError: Unable to provision"}
    message = told(failing("Job.Failed", cause))
    assert message["Subject"] == "topx dev: ratings FAILED in Last"
    assert message["Message"].splitlines() == [
        "ratings: FAILED in Last",
        "State: Last",
        "Error: Job.Failed",
        "Cause: CapacityError: Unable to provision",
        "What to do: AWS has no such machine free: redrive later, or start anew with another type.",
        f"Redrive: aws stepfunctions redrive-execution --execution-arn {FIRST}",
        f"Execution: https://eu-west-1.console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/{FIRST}",
    ]


def test_a_container_step_is_told_with_its_own_message() -> None:
    cause = {
        "FailureReason": "AlgorithmError: , exit code: 1",
        "ExitMessage": "ArtifactRejected: a ZIP of k-NN",
    }
    text = told(failing("Job.Failed", cause))["Message"]
    assert "Cause: ArtifactRejected: a ZIP of k-NN\nAlgorithmError: , exit code: 1" in text
    assert "What to do: The trained model cannot be used" in text
    assert "Redrive:" not in text


def test_a_function_is_told_with_its_message_and_without_its_traceback() -> None:
    cause = {
        "errorMessage": "ratings.csv has 1 column",
        "errorType": "InputRejected",
        "stackTrace": ["  File ..."],
    }
    text = told(failing("InputRejected", cause))["Message"]
    assert "Cause: ratings.csv has 1 column\nWhat to do: The files cannot be used: correct them." in text
    assert "File ..." not in text


def test_half_a_character_in_a_message_is_told_as_a_question_mark() -> None:
    text = told(failing("InputRejected", '{"errorMessage": "\\ud800 is no item"}'))["Message"]
    assert "Cause: ? is no item" in text


@pytest.mark.parametrize(
    ("error", "cause", "hint", "redrive"),
    [
        ("QuotasRejected", "quota 0", "Request the quotas", True),
        ("DatasetBusy", "held", "Nothing is lost", False),
        ("SageMaker.ResourceLimitExceededException", "limit", "request an increase", True),
        ("SageMaker.AmazonSageMakerException", "1 validation error detected", "correct the setting", True),
        (
            "ClientError",
            "User: f is not authorized to perform: s3:GetObject on ...",
            "or a policy denies it",
            True,
        ),
        ("Sandbox.Timedout", "after 900 s", "raise function_memory_mb", True),
        ("Runtime.ExitError", "signal: killed", "ran out of memory", True),
        ("JobStopped", "job ended as Stopped", "max_runtime_seconds", False),
        ("States.TaskFailed", '{"FailureReason": "AlgorithmError: nan"}', "The algorithm failed", True),
        ("ListsNotReady", "two hours", "redrive later", True),
        ("Something.New", "unheard of", "When the cause is gone, redrive.", True),
    ],
)
def test_each_error_has_its_hint(error: str, cause: str, hint: str, redrive: bool) -> None:
    hinted, text = settle.failed(
        {"executionArn": FIRST, "status": "FAILED", "error": error, "cause": cause}, "Encode"
    )
    assert hinted == "FAILED in Encode"
    assert hint in text[3]
    assert (len(text) == 5) is redrive


def test_a_published_run_is_told_with_its_report() -> None:
    output = {
        "run_id": RUN,
        "dataset": "books",
        "published": True,
        "reasons": [],
        "report": f"runs/books/{RUN}/report.json",
    }
    message = told(machine({"Type": "Pass", "Result": output, "End": True}), '{"dataset": "books"}')
    assert message["Subject"] == "topx dev: books published"
    assert (
        f"Run: {RUN}\nReport: s3://runs/runs/books/{RUN}/report.json\nExecution: https://" in message["Message"]
    )


def test_a_refused_run_is_told_with_every_reason() -> None:
    output = {
        "run_id": RUN,
        "dataset": "ratings",
        "published": False,
        "reasons": ["too few", "below popularity"],
    }
    message = told(machine({"Type": "Pass", "Result": output, "End": True}))
    assert message["Subject"] == "topx dev: ratings not published"
    assert "Reason: too few\nReason: below popularity" in message["Message"]


def test_a_subject_is_short_ascii_whatever_was_asked_for() -> None:
    message = told(failing("SettingsRejected", "unknown"), json.dumps({"dataset": "ü\n" * 200}))
    assert len(message["Subject"]) < 100
    assert message["Subject"].isascii()
    assert message["Subject"].isprintable()


def hold(world: World, arn: str, **more: Any) -> None:
    held = {"execution": arn, "run_id": RUN, "sequence": 1, "lease_until": 4_000_000_000}
    wanted = {"content": "c" * 64, "sequence": 1, "execution": arn, "taken": True}
    world.set_ledger(**{"running": held, "wanted": wanted} | more)


def test_a_late_event_of_a_run_that_was_redriven_changes_nothing(aws: World) -> None:
    hold(aws, aws.begin("first"))
    before = aws.ledger()
    settle.handler(event("settle"), None)
    assert aws.ledger() == before
    assert not aws.messages()


def test_an_execution_of_another_machine_of_the_account_is_left_alone(
    aws: World, caplog: pytest.LogCaptureFixture
) -> None:
    definition = json.dumps({"StartAt": "Work", "States": {"Work": {"Type": "Pass", "End": True}}})
    made = aws.states.create_state_machine(
        name="topx-2", definition=definition, roleArn=f"arn:aws:iam::{ACCOUNT}:role/machine"
    )
    arn = aws.states.start_execution(stateMachineArn=made["stateMachineArn"], name="first")["executionArn"]
    aws.end(arn)
    hold(aws, arn)
    before = aws.ledger()
    strange = event("settle")
    strange["detail"] |= {"executionArn": arn, "stateMachineArn": made["stateMachineArn"]}
    settle.handler(strange, None)
    assert [record.message for record in caplog.records] == ["event ignored: no execution of ours"]
    assert aws.ledger() == before
    assert not aws.messages()


def test_only_its_own_hold_is_freed(aws: World) -> None:
    aws.end(aws.begin("first"))
    hold(aws, aws.begin("second"))
    before = aws.ledger()
    settle.handler(event("settle"), None)
    assert aws.ledger() == before
    assert len(aws.messages()) == 1


def waiting(world: World) -> None:
    """A run that has ended, and newer files."""
    arn = world.begin("first")
    world.end(arn)
    hold(world, arn, wanted={"content": "d" * 64, "sequence": 2})


def test_what_waits_is_started(aws: World) -> None:
    waiting(aws)
    settle.handler(event("settle"), None)
    assert aws.executions() == ["first", "ratings-2-dddddddddddd"]
    assert "running" not in aws.ledger()


def test_a_broken_topic_frees_and_starts_all_the_same_and_is_heard_of(aws: World) -> None:
    waiting(aws)
    boto3.client("sns").delete_topic(TopicArn=aws.topic)
    with pytest.raises(Exception, match="Endpoint does not exist"):
        settle.handler(event("settle"), None)
    assert aws.executions() == ["first", "ratings-2-dddddddddddd"]
    assert "running" not in aws.ledger()


def test_a_ledger_that_cannot_be_read_is_told_and_heard_of(aws: World, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.end(aws.begin("first"))
    monkeypatch.setenv("TOPX_LEDGER", "no-such-table")
    with pytest.raises(Exception, match="resource not found"):
        settle.handler(event("settle"), None)
    assert len(aws.messages()) == 1


def test_a_crash_anywhere_and_a_retry_end_like_one_clean_run() -> None:
    same_after_any_crash(waiting, lambda: settle.handler(event("settle"), None))
