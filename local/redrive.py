"""RedriveExecution: an execution that did not succeed goes on at the state where it ended.

Fields, reasons and limits follow
https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
Where AWS names no error, as for the 1,000th redrive, it is ExecutionLimitExceeded.
"""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from local import moto_seams as moto

if TYPE_CHECKING:
    from local.cloud import Cloud

PERIOD = timedelta(days=14)  # from its end, in which an execution can be redriven
LONGEST = timedelta(days=365)  # that an execution can be open
MOST_EVENTS = 24_999  # of a history that has room for a redrive
MOST_REDRIVES = 1000
TOKEN_LIFE = timedelta(minutes=15)
TOKENS = 10  # the last that are known
ENDS = {  # status -> the event with which a history ends
    "FAILED": "ExecutionFailed",
    "ABORTED": "ExecutionAborted",
    "TIMED_OUT": "ExecutionTimedOut",
}
BRANCHING = ("Map", "Parallel")
PATIENCE_SECONDS = 5.0


@dataclass(slots=True)
class Redrives:
    """How often an execution was redriven, when last, and for which client tokens."""

    count: int = 0
    date: datetime | None = None
    tokens: dict[str, datetime] = field(default_factory=dict)

    def known(self, token: str | None) -> datetime | None:
        """The date of the redrive that this token asked for lately, None where it is a new wish."""
        lately = list(self.tokens.items())[-TOKENS:]
        return next((date for one, date in lately if one == token and _now() - date < TOKEN_LIFE), None)


def of(execution: moto.Execution) -> Redrives:
    """The redrives of an execution so far."""
    if not hasattr(execution, "redrives"):
        execution.redrives = Redrives()
    made: Redrives = execution.redrives
    return made


def about(execution: moto.Execution) -> dict[str, Any]:
    """What DescribeExecution says of redrives."""
    redrives, reason = of(execution), refused(execution)
    said = {
        "redriveCount": redrives.count,
        "redriveDate": redrives.date,
        "redriveStatus": "NOT_REDRIVABLE" if reason else "REDRIVABLE",
        "redriveStatusReason": reason,
    }
    return {name: value for name, value in said.items() if value is not None}


def refused(execution: moto.Execution) -> str | None:
    """Why an execution cannot be redriven, in AWS's words; None where it can."""
    if execution.status not in ENDS:
        return f"Execution is {execution.status} and cannot be redriven"
    if str(execution.sm_type or "STANDARD").upper().endswith("EXPRESS"):
        return "Execution is of an EXPRESS state machine and cannot be redriven"
    if len(execution.exec_worker.env.event_manager._history_event_list) >= MOST_EVENTS:
        return "Execution history event limit exceeded"
    if _now() - execution.start_date > LONGEST:
        return "Execution has exceeded the max execution time"
    if _now() - execution.stop_date > PERIOD:
        return "Execution redrivable period exceeded"
    return None


def place(execution: moto.Execution) -> tuple[str, Any]:
    """(state, input) where an ended execution goes on; raises a Refusal for what is not emulated."""
    definition = json.loads(execution.state_machine.definition)
    state, given, output, done = definition["StartAt"], execution.input_data, None, False
    for event in execution.to_history_output()["events"]:
        if (entered := event.get("stateEnteredEventDetails")) and entered["name"] in definition["States"]:
            state, given, done = entered["name"], json.loads(entered["input"]), False
        elif (exited := event.get("stateExitedEventDetails")) and exited["name"] == state:
            output, done = json.loads(exited["output"]), True
    ended_in = definition["States"][state]
    if ended_in["Type"] in BRANCHING or (done and "Catch" in ended_in):
        raise moto.Refusal(
            "ValidationException",
            f"not emulated locally: a redrive into {state}, a {ended_in['Type']} state; only "
            "states without branches, and without Catch where they were left, can be gone on from",
        )
    if done and "Next" in ended_in:  # ended between two states
        return ended_in["Next"], output
    return state, given  # a Choice is judged again


def again(execution: moto.Execution) -> Thread:
    """The thread in which an ended execution goes on; its history continues, retries and limits begin anew."""
    state, given = place(execution)
    redrives, before = of(execution), execution.exec_worker.env
    redrives.count, redrives.date = redrives.count + 1, _now()
    worker = execution._get_start_execution_worker()
    program = worker._get_evaluation_entrypoint()
    program.start_at.start_at_name = state
    env = worker.env = worker._get_evaluation_environment()
    env.variable_store = before.variable_store
    env.states.reset(given)
    past = _whole_history(execution)
    env.event_manager._history_event_list.extend(past)
    env.event_manager._event_id_gen._next_id = len(past) + 1
    env.event_history_context = moto.HISTORY_PLACE(previous_event_id=len(past))
    env.event_manager.add_event(
        context=env.event_history_context,
        event_type=moto.EVENT_TYPE.ExecutionRedriven,
        event_details={"executionRedrivenEventDetails": {"redriveCount": redrives.count}},
    )
    execution.stop_date = execution.output = execution.error = execution.cause = None
    execution.exec_worker = worker
    execution.exec_status = moto.EXECUTION_STATUS.RUNNING

    def run() -> None:
        program.eval(env)
        worker._execution_communication.terminated()

    return Thread(target=run, daemon=True)


def install(cloud: "Cloud", stack: ExitStack) -> None:
    """Lets executions be redriven and say so, until `stack` closes."""
    describe, described = moto.DESCRIBE_EXECUTION.original, moto.EXECUTION_DESCRIBED.original
    listed = moto.LIST_EXECUTIONS.original
    one_by_one = Lock()  # of two requests the second finds the execution running

    def redrive_execution(self: Any) -> Any:
        with one_by_one:
            return redrive(self)

    def redrive(self: Any) -> Any:
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        token, redrives = self._get_param("clientToken"), of(execution)
        if date := redrives.known(token):
            return moto.ANSWER({"redriveDate": date})
        if reason := refused(execution):
            raise moto.Refusal("ExecutionNotRedrivable", reason)
        if redrives.count >= MOST_REDRIVES:
            raise moto.Refusal("ExecutionLimitExceeded", f"Execution was redriven {MOST_REDRIVES} times")
        thread = again(execution)
        if token:
            redrives.tokens[token] = redrives.date or _now()
        cloud.events.of_execution(execution)  # it can be over in a moment
        thread.start()
        return moto.ANSWER({"redriveDate": redrives.date})

    def describe_execution(self: Any) -> Any:
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        said = {**describe(self).result, **about(execution), "inputDetails": execution.input_details}
        if execution.stop_date:
            said["stopDate"] = execution.stop_date  # moto leaves it out after TIMED_OUT
        return moto.ANSWER(said)

    def to_describe_output(self: Any) -> Any:
        return {**described(self), **about(self)}

    def list_executions(self: Any) -> Any:
        if self._get_param("redriveFilter") or self._get_param("mapRunArn"):
            raise moto.Refusal("ValidationException", "not emulated locally: redriveFilter, mapRunArn")
        answer = listed(self)
        for one in answer.result["executions"]:
            execution = self.stepfunction_backend.describe_execution(one["executionArn"])
            one["redriveCount"] = of(execution).count
            dates = {"redriveDate": of(execution).date, "stopDate": execution.stop_date}
            one.update({name: date for name, date in dates.items() if date})
        return answer

    moto.put(stack, moto.REDRIVE, redrive_execution)
    moto.put(stack, moto.DESCRIBE_EXECUTION, describe_execution)
    moto.put(stack, moto.EXECUTION_DESCRIBED, to_describe_output)
    moto.put(stack, moto.LIST_EXECUTIONS, list_executions)


def _whole_history(execution: moto.Execution) -> list[dict[str, Any]]:
    """The history with its end, which moto writes a moment after the status."""
    manager, deadline = execution.exec_worker.env.event_manager, time.monotonic() + PATIENCE_SECONDS
    events: list[dict[str, Any]] = manager.get_event_history()
    while events[-1]["type"] != ENDS[execution.status] and time.monotonic() < deadline:
        time.sleep(0.02)
        events = manager.get_event_history()
    return events


def _now() -> datetime:
    return datetime.now(UTC)
