"""Redrive: what goes on where, under which count, what is refused, and what is told about it."""

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from local import moto_seams as moto
from local import redrive
from local.redrive import MOST_EVENTS, MOST_REDRIVES, place
from tests.local.conftest import Small, deploy, function, machine, wait
from tests.local.contracts import contract
from tests.local.test_events import heard, queue_of, rule
from tests.local.test_jobs import AT_WORK, processing

NAME = "States.Format('{}-{{}}-{{}}', $$.State.RetryCount, $$.Execution.RedriveCount)"
FAIL = {"StartAt": "Stop", "States": {"Stop": {"Type": "Fail", "Error": "JobStopped", "Cause": "enough"}}}


def started(small: Small, name: str, definition: dict[str, Any], **given: Any) -> str:
    """ARN of a new execution of a machine of its own stack."""
    names = deploy(small.cloud, name, {"Answer": function("handlers.answer"), "Machine": machine(definition)})
    client = small.cloud.client("stepfunctions")
    answer = client.start_execution(stateMachineArn=names["Machine"], input=json.dumps(given))
    return str(answer["executionArn"])


def redriven(small: Small, execution: str, **more: Any) -> Any:
    """The execution's description at the end of a redrive."""
    small.cloud.client("stepfunctions").redrive_execution(executionArn=execution, **more)
    return small.ended(execution)


def of_moto(execution: str) -> Any:
    """The execution itself, to change its dates."""
    return moto.MACHINES[moto.ACCOUNT][moto.REGION].describe_execution(execution)


def steps(small: Small, execution: str) -> list[str]:
    """Names of the states that were entered, in order."""
    events = small.cloud.history(execution)
    return [one["stateEnteredEventDetails"]["name"] for one in events if "stateEnteredEventDetails" in one]


def jobs(small: Small, name: str) -> list[str]:
    """Names of the processing jobs that begin with a name, in order of their creation."""
    found = small.cloud.client("sagemaker").list_processing_jobs(NameContains=name, MaxResults=100)
    every = sorted(found["ProcessingJobSummaries"], key=lambda one: one["CreationTime"])
    return [one["ProcessingJobName"] for one in every]


def flow(small: Small, name: str, text: str = "fail", **more: Any) -> dict[str, Any]:
    """First -> Job, which fails while its input says so and is tried twice -> Last."""
    request = processing(small, name, text)
    del request["ProcessingJobName"]
    request["ProcessingJobName.$"] = NAME.format(name)
    retry = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1}]
    job = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync",
        "Parameters": request,
        "ResultPath": "$.job",
        "ResultSelector": {"name.$": "$.ProcessingJobName"},
        "Retry": retry,
        "Next": "Last",
        **more,
    }
    first = {"Type": "Pass", "Result": "kept", "ResultPath": "$.first", "Next": "Job"}
    last = {"Type": "Pass", "End": True, "Parameters": {"job.$": "$.job.name", "first.$": "$.first"}}
    return {"StartAt": "First", "States": {"First": first, "Job": job, "Last": last}}


def test_only_what_failed_runs_again_under_new_names(small: Small) -> None:
    arn = started(small, "twice", flow(small, "twice"))
    assert small.ended(arn)["error"] == "States.TaskFailed"
    assert redriven(small, arn)["redriveCount"] == 1
    small.cloud.client("s3").delete_object(Bucket=small.names["Bucket"], Key="twice/fail.txt")
    processing(small, "twice", "good")
    done = redriven(small, arn)
    assert (done["status"], done["redriveCount"], done.get("error")) == ("SUCCEEDED", 2, None)
    assert json.loads(done["output"]) == {"job": "twice-0-2", "first": "kept"}
    assert jobs(small, "twice") == ["twice-0-0", "twice-1-0", "twice-0-1", "twice-1-1", "twice-0-2"]
    assert steps(small, arn) == ["First", "Job", "Job", "Job", "Last"]


@contract("REDRIVE", "HISTORY_PLACE", "EXECUTION_STATUS")
def test_the_history_goes_on_with_its_numbers(small: Small) -> None:
    arn = started(small, "history", FAIL, said="yes")
    small.ended(arn)
    redriven(small, arn)
    events = small.cloud.history(arn)
    kinds = ["FailStateEntered", "ExecutionFailed"]
    assert [event["type"] for event in events] == ["ExecutionStarted", *kinds, "ExecutionRedriven", *kinds]
    assert [event["id"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event["previousEventId"] for event in events] == [0, 0, 2, 3, 4, 5]
    assert events[3]["executionRedrivenEventDetails"] == {"redriveCount": 1}
    assert events[4]["stateEnteredEventDetails"]["input"] == events[1]["stateEnteredEventDetails"]["input"]
    answered = small.cloud.client("stepfunctions").get_execution_history(executionArn=arn)["events"]
    assert answered[3]["executionRedrivenEventDetails"] == {"redriveCount": 1}


@contract("DESCRIBE_EXECUTION", "EXECUTION_DESCRIBED", "LIST_EXECUTIONS")
def test_descriptions_say_what_can_be_redriven_and_what_was(small: Small) -> None:
    client = small.cloud.client("stepfunctions")
    arn = started(small, "described", FAIL)
    before = small.ended(arn)
    assert (before["redriveCount"], before["redriveStatus"]) == (0, "REDRIVABLE")
    assert not before.keys() & {"redriveDate", "redriveStatusReason"}
    after = redriven(small, arn)
    assert after["redriveDate"] > before["stopDate"]
    [listed] = client.list_executions(stateMachineArn=after["stateMachineArn"])["executions"]
    assert (listed["redriveCount"], listed["redriveDate"]) == (1, after["redriveDate"])
    assert after["startDate"] == before["startDate"]


def test_the_bus_hears_of_each_attempt(small: Small) -> None:
    url = queue_of(small, "redriven", rule({"source": ["aws.states"], "detail": {"name": ["told"]}}))
    names = deploy(small.cloud, "told", {"Machine": machine(FAIL)})
    client = small.cloud.client("stepfunctions")
    arn = client.start_execution(stateMachineArn=names["Machine"], name="told")["executionArn"]
    small.ended(arn)
    redriven(small, arn)
    events = heard(small, url, 4)
    told = sorted((one["detail"]["redriveCount"], one["detail"]["status"]) for one in events)
    assert told == [(0, "FAILED"), (0, "RUNNING"), (1, "FAILED"), (1, "RUNNING")]
    [again] = [
        one["detail"] for one in events if (one["detail"]["redriveCount"], one["detail"]["status"]) == told[3]
    ]
    assert again["redriveDate"] > 0
    assert again["redriveStatus"] == "NOT_REDRIVABLE"


def test_a_choice_is_judged_again_and_the_original_definition_is_kept(small: Small) -> None:
    choice = {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericEquals": 1, "Next": "Good"}]}
    definition = {"StartAt": "Which", "States": {"Which": choice, "Good": {"Type": "Succeed"}}}
    arn = started(small, "choice", definition, n=2)
    done = small.ended(arn)
    client = small.cloud.client("stepfunctions")
    client.update_state_machine(stateMachineArn=done["stateMachineArn"], definition=json.dumps(FAIL))
    assert redriven(small, arn)["error"] == done["error"] != "JobStopped"
    assert steps(small, arn) == ["Which", "Which"]


@contract("STOP_EXECUTION", "RETRIER", "RETRIER_CLOCK", "FAILING")
def test_a_stop_ends_the_wait_for_a_retry_and_a_redrive_begins_anew(small: Small) -> None:
    patient = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 600, "MaxAttempts": 1}]
    arn = started(small, "patient", flow(small, "patient", Retry=patient))
    wait(lambda: any(event["type"] == "TaskFailed" for event in small.cloud.history(arn)) or None)
    client = small.cloud.client("stepfunctions")
    client.stop_execution(executionArn=arn, error="Enough", cause="by hand")
    done = small.ended(arn)
    assert (done["status"], done["error"], done["cause"]) == ("ABORTED", "Enough", "by hand")
    client.redrive_execution(executionArn=arn)
    wait(lambda: "patient-0-1" in jobs(small, "patient") or None)
    client.stop_execution(executionArn=arn)
    assert small.ended(arn)["status"] == "ABORTED"
    assert steps(small, arn) == ["First", "Job", "Job"]


def test_a_time_limit_of_the_machine_ends_the_job_and_begins_anew(small: Small) -> None:
    definition = flow(small, "late", "good")
    application = definition["States"]["Job"]["Parameters"]["AppSpecification"]
    application["ContainerEntrypoint"] = ["python", "-c", "import time; time.sleep(60)"]
    arn = started(small, "late", {**definition, "TimeoutSeconds": 1})
    for count in (0, 1):
        done = small.ended(arn) if not count else redriven(small, arn)
        assert (done["status"], done["redriveStatus"]) == ("TIMED_OUT", "REDRIVABLE")
        name = {"ProcessingJobName": f"late-0-{count}"}
        found = wait(lambda name=name: stopped(small.cloud.client("sagemaker").describe_processing_job(**name)))
        assert found["ProcessingJobStatus"] == "Stopped"
        assert not any(event["type"] == "TaskSucceeded" for event in small.cloud.history(arn))


def stopped(job: dict[str, Any]) -> dict[str, Any] | None:
    return None if job["ProcessingJobStatus"] in AT_WORK else job


def test_a_client_token_redrives_once(small: Small) -> None:
    client = small.cloud.client("stepfunctions")
    arn = started(small, "token", FAIL)
    small.ended(arn)
    first = client.redrive_execution(executionArn=arn, clientToken="one")
    done = small.ended(arn)
    assert client.redrive_execution(executionArn=arn, clientToken="one")["redriveDate"] == first["redriveDate"]
    assert done["redriveCount"] == client.describe_execution(executionArn=arn)["redriveCount"] == 1
    of_moto(arn).redrives.tokens["one"] -= redrive.TOKEN_LIFE
    client.redrive_execution(executionArn=arn, clientToken="one")
    assert small.ended(arn)["redriveCount"] == 2


def test_what_cannot_be_redriven_is_refused_in_aws_s_words(small: Small) -> None:
    client = small.cloud.client("stepfunctions")
    done = started(small, "done", {"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
    described = small.ended(done)
    assert described["redriveStatus"] == "NOT_REDRIVABLE"
    assert described["redriveStatusReason"] == "Execution is SUCCEEDED and cannot be redriven"
    running = started(
        small, "running", {"StartAt": "Long", "States": {"Long": {"Type": "Wait", "Seconds": 60, "End": True}}}
    )
    old = started(small, "old", FAIL)
    small.ended(old)
    for arn, change, code, text in (
        (done, {}, "ExecutionNotRedrivable", "Execution is SUCCEEDED and cannot be redriven"),
        (running, {}, "ExecutionNotRedrivable", "Execution is RUNNING and cannot be redriven"),
        (f"{old}-no", {}, "ExecutionDoesNotExist", f"Execution Does Not Exist: '{old}-no'"),
        (old, {"sm_type": "EXPRESS"}, "ExecutionNotRedrivable", "EXPRESS"),
        (old, {"stop_date": timedelta(days=-15)}, "ExecutionNotRedrivable", "redrivable period exceeded"),
        (old, {"start_date": timedelta(days=-366)}, "ExecutionNotRedrivable", "the max execution time"),
        (old, {"redrives": redrive.Redrives(count=MOST_REDRIVES)}, "ExecutionLimitExceeded", "1000 times"),
    ):
        changed = of_moto(arn) if change else None
        before = {name: getattr(changed, name, None) for name in change}
        for name, value in change.items():
            setattr(changed, name, before[name] + value if isinstance(value, timedelta) else value)
        with pytest.raises(client.exceptions.ClientError, match=text) as refused:
            client.redrive_execution(executionArn=arn)
        assert refused.value.response["Error"]["Code"] == code
        for name, value in before.items():
            setattr(changed, name, value)
    client.stop_execution(executionArn=running)


def test_a_full_history_has_no_room(small: Small) -> None:
    arn = started(small, "full", FAIL)
    small.ended(arn)
    events = of_moto(arn).exec_worker.env.event_manager._history_event_list
    events.extend([events[-1]] * MOST_EVENTS)
    described = small.cloud.client("stepfunctions").describe_execution(executionArn=arn)
    assert described["redriveStatusReason"] == "Execution history event limit exceeded"


def history(*events: tuple[str, str, Any]) -> dict[str, Any]:
    """The history of these (entered or exited, state, data)."""
    made = []
    for kind, name, data in events:
        key = "input" if kind == "entered" else "output"
        details = {"name": name, key: json.dumps(data)}
        made.append({f"state{kind.title()}EventDetails": details})
    return {"events": made}


def ended(definition: dict[str, Any], *events: tuple[str, str, Any]) -> Any:
    """What `place` reads of an execution."""
    said = SimpleNamespace(definition=json.dumps(definition))
    return SimpleNamespace(state_machine=said, input_data={"n": 0}, to_history_output=lambda: history(*events))


CHAIN = {
    "StartAt": "One",
    "States": {"One": {"Type": "Pass", "Next": "Two"}, "Two": {"Type": "Task", "End": True}},
}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], ("One", {"n": 0})),
        ([("entered", "One", {"n": 1})], ("One", {"n": 1})),
        ([("entered", "One", {"n": 1}), ("exited", "One", {"n": 2})], ("Two", {"n": 2})),
        (
            [("entered", "One", {"n": 1}), ("exited", "One", {"n": 2}), ("entered", "Two", {"n": 2})],
            ("Two", {"n": 2}),
        ),
    ],
)
def test_an_execution_goes_on_where_it_ended(events: list[Any], expected: Any) -> None:
    assert place(ended(CHAIN, *events)) == expected


@pytest.mark.parametrize(
    ("state", "events"),
    [
        ({"Type": "Map", "Next": "Two"}, [("entered", "One", {}), ("entered", "Inner", {})]),
        ({"Type": "Parallel", "Next": "Two"}, [("entered", "One", {})]),
        ({"Type": "Task", "Next": "Two", "Catch": []}, [("entered", "One", {}), ("exited", "One", {})]),
    ],
)
def test_a_redrive_that_is_not_emulated_is_refused_by_name(state: dict[str, Any], events: list[Any]) -> None:
    states = {"One": state, "Two": {"Type": "Succeed"}}
    with pytest.raises(moto.Refusal, match="not emulated locally: a redrive into One"):
        place(ended({"StartAt": "One", "States": states}, *events))
