"""Executions that are stopped or run out of time, in each kind of state: at once, and with AWS's last words."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.local.conftest import Small, wait
from tests.local.contracts import contract
from tests.local.test_jobs import processed, processing
from tests.local.test_redrive import FAIL, redriven, started

LONG = {"Type": "Wait", "Seconds": 60, "End": True}
CALL = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke",
    "Parameters": {"FunctionName": "ANSWER", "Payload": {"wait": 19}},
    "End": True,
}
RETRY = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 60}]
IMPOSSIBLE = {**CALL, "Parameters": {"FunctionName": "there-is-none"}, "Retry": RETRY}


def only(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A definition of one state."""
    return {"StartAt": "State", "States": {"State": state}, **more}


def told(small: Small, execution: str) -> list[str]:
    """Types of the events of an execution so far."""
    return [str(one["type"].value) for one in small.cloud.history(execution)]


IN_CALL = ["TaskStateEntered", "TaskScheduled", "TaskStarted"]
IN_BRANCH = ["ParallelStateEntered", "ParallelStateStarted"]
IN_ITEM = ["MapStateEntered", "MapStateStarted", "MapIterationStarted", "WaitStateEntered"]
PARALLEL = {"Type": "Parallel", "Branches": [only(CALL)], "End": True}
MAP = {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": only(LONG), "End": True}


@contract("TELL", "CALL_FUNCTION", "_STOPPED")
@pytest.mark.parametrize(
    ("name", "state", "before"),
    [
        ("wait", LONG, ["WaitStateEntered"]),
        ("call", CALL, IN_CALL),
        ("caught", {**CALL, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "State"}]}, IN_CALL),
        ("retry", IMPOSSIBLE, [*IN_CALL, "TaskFailed"]),
        ("parallel", PARALLEL, [*IN_BRANCH, *IN_CALL]),
        ("map", MAP, IN_ITEM),
    ],
)
def test_a_stop_ends_any_state_at_once(
    small: Small, name: str, state: dict[str, Any], before: list[str]
) -> None:
    client = small.cloud.client("stepfunctions")
    arn = started(small, f"stop-{name}", only(state), items=[1])
    wait(lambda: told(small, arn)[1:] == before or None)
    client.stop_execution(executionArn=arn, error="Enough", cause="by hand")
    done = small.ended(arn)
    assert (done["status"], done["error"], done["cause"]) == ("ABORTED", "Enough", "by hand")
    aborted = ["MapIterationAborted"] if name == "map" else []
    expected = ["ExecutionStarted", *before, *aborted, "ExecutionAborted"]
    assert wait(lambda: told(small, arn) if len(told(small, arn)) >= len(expected) else None) == expected
    again = client.stop_execution(executionArn=arn, error="Other")
    assert again["stopDate"] == done["stopDate"]
    assert small.ended(arn)["error"] == "Enough"


@contract("_TIMED_OUT")
@pytest.mark.parametrize("state", [LONG, CALL, IMPOSSIBLE], ids=["wait", "call", "retry"])
def test_a_time_limit_of_the_machine_ends_any_state_and_a_redrive_can_follow(
    small: Small, state: dict[str, Any]
) -> None:
    name = f"limit-{abs(hash(json.dumps(state)))}"
    arn = started(small, name, only(state, TimeoutSeconds=1))
    assert small.ended(arn)["status"] == "TIMED_OUT"
    done = redriven(small, arn)
    assert (done["status"], done["redriveCount"]) == ("TIMED_OUT", 1)
    events = wait(lambda: told(small, arn) if told(small, arn).count("ExecutionTimedOut") == 2 else None)
    half = events.index("ExecutionRedriven")
    assert events[1:half] == events[half + 1 :]
    assert not any(event.endswith("Succeeded") for event in events)


def test_a_time_limit_of_a_state_can_be_caught(small: Small) -> None:
    catch = [{"ErrorEquals": ["States.Timeout"], "Next": "Good"}]
    state = {**CALL, "TimeoutSeconds": 1, "Catch": catch}
    definition = only(state)
    definition["States"]["Good"] = {"Type": "Succeed"}
    arn = started(small, "caught-limit", definition)
    assert small.ended(arn)["status"] == "SUCCEEDED"
    exits = ["TaskTimedOut", "TaskStateExited", "SucceedStateEntered", "SucceedStateExited"]
    assert told(small, arn)[-5:] == [*exits, "ExecutionSucceeded"]


def test_a_job_that_is_stopped_by_hand_is_no_failure_of_its_task(small: Small) -> None:
    request = processing(small, "by-hand", "hello")
    request["AppSpecification"]["ContainerEntrypoint"] = ["python", "-c", "import time; time.sleep(60)"]
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync",
        "Parameters": request,
        "End": True,
    }
    arn = started(small, "by-hand", only(state))
    wait(lambda: (small.cloud.logs / "jobs/by-hand.processing.log").exists() or None)
    client = small.cloud.client("sagemaker")
    client.stop_processing_job(ProcessingJobName="by-hand")
    assert processed(small, "by-hand")["ProcessingJobStatus"] == "Stopped"
    done = small.ended(arn)
    assert (done["status"], json.loads(done["output"])["ProcessingJobStatus"]) == ("SUCCEEDED", "Stopped")
    with pytest.raises(client.exceptions.ClientError, match="the processing job is in status Stopped"):
        client.stop_processing_job(ProcessingJobName="by-hand")


def test_of_two_redrives_at_once_one_is_made(small: Small) -> None:
    first = {"Type": "Wait", "Seconds": 1, "Next": "Stop"}
    definition = {"StartAt": "First", "States": {"First": first, **FAIL["States"]}}
    client = small.cloud.client("stepfunctions")
    arn = started(small, "two-at-once", definition)
    client.stop_execution(executionArn=arn)
    small.ended(arn)
    together = Barrier(4)

    def redrive(_: int) -> str:
        together.wait()
        try:
            client.redrive_execution(executionArn=arn)
        except client.exceptions.ExecutionNotRedrivable as error:
            return str(error.response["Error"]["Message"])
        return "made"

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(redrive, range(4)))
    assert answers == ["Execution is RUNNING and cannot be redriven"] * 3 + ["made"]
    done = small.ended(arn)
    assert (done["error"], done["redriveCount"]) == ("JobStopped", 1)
    assert told(small, arn).count("ExecutionRedriven") == 1
