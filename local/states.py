"""Step Functions: names, the context object, ends by hand; moto's interpreter does the rest."""

import re
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from threading import local as thread_local
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from local import moto_seams as moto
from local import redrive, tasks

if TYPE_CHECKING:
    from local.cloud import Cloud

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 5.0
FORBIDDEN_IN_NAMES = re.compile(r'[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]')


def install(cloud: "Cloud", stack: ExitStack) -> None:
    """Lets the executing interpreter run what the template deploys, until `stack` closes."""
    before = moto.USER_CONFIG["stepfunctions"]
    stack.callback(moto.USER_CONFIG.update, stepfunctions=before)
    moto.USER_CONFIG["stepfunctions"] = {"execute_state_machine": True}
    moto.put(stack, moto.MACHINES_OF_TEMPLATES, moto.MACHINES)
    # A failed `.sync` reports States.TaskFailed, which moto refuses as a custom name.
    moto.put(stack, moto.CUSTOM_ERROR_NAME, moto.ERROR_NAME.__init__)
    moto.put(stack, moto.TASK_OF_SAGEMAKER, tasks.task(cloud))
    moto.put(stack, moto.FUNCTION_CLIENT, _client_with_role(cloud))
    moto.put(stack, moto.CONTEXT, _context(moto.CONTEXT.original))
    moto.put(stack, moto.START_EXECUTION, _start(moto.START_EXECUTION.original))
    moto.put(stack, moto.STOP_EXECUTION, _stop)
    moto.put(stack, moto.FAILING, _failing(moto.FAILING.original))
    _parse_once(stack)
    _wake_retries(stack)
    redrive.install(cloud, stack)


def _parse_once(stack: ExitStack) -> None:
    """Lets the first execution use the program that was parsed to validate the definition: 0.3 s less.

    A program holds the state of its execution, so that each is used once.
    """
    parse = moto.PARSER_OF_DEFINITIONS.original.parse
    unused: dict[str, Any] = {}

    def keep(definition: str) -> Any:
        unused[definition] = parse(definition)
        return unused[definition]

    def take(definition: str) -> Any:
        return unused.pop(definition, None) or parse(definition)

    moto.put(stack, moto.PARSER_OF_DEFINITIONS, SimpleNamespace(parse=keep))
    moto.put(stack, moto.PARSER_OF_EXECUTIONS, SimpleNamespace(parse=take))


def _wake_retries(stack: ExitStack) -> None:
    """Ends a retry's wait with its execution: moto would sleep on after a stop, for up to 20 minutes."""
    current, evaluate = thread_local(), moto.RETRIER.original

    def eval_body(self: Any, env: Any) -> None:
        current.env = env
        evaluate(self, env)

    def sleep(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while current.env.is_running() and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, POLL_SECONDS))

    moto.put(stack, moto.RETRIER, eval_body)
    moto.put(stack, moto.RETRIER_CLOCK, SimpleNamespace(sleep=sleep))


def stop_all() -> list[Any]:
    """Stops every running execution; returns them."""
    machines = [
        m for account in moto.MACHINES.values() for backend in account.values() for m in backend.state_machines
    ]
    running = [one for machine in machines for one in machine.executions if one.status == "RUNNING"]
    for execution in running:
        if execution.exec_worker.env is not None:
            execution.stop(datetime.now(UTC), None, None)
    return running


def wait_for(executions: list[Any], longest_seconds: float = PATIENCE_SECONDS) -> None:
    """Waits until the executions have ended: their threads must not outlive the server that they call."""
    deadline = time.monotonic() + longest_seconds
    while any(one.status == "RUNNING" for one in executions) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _stop(self: Any) -> Any:
    """StopExecution: an execution that has just been asked for is stopped once it runs."""
    execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
    now, deadline = datetime.now(UTC), time.monotonic() + PATIENCE_SECONDS
    while execution.status == "RUNNING" and time.monotonic() < deadline:
        env = execution.exec_worker.env
        if env is not None and env.is_running():
            error, cause = self._get_param("error"), self._get_param("cause")
            execution.error, execution.cause = error, cause
            execution.stop(now, error, cause)
            return moto.ANSWER({"stopDate": now})
        time.sleep(POLL_SECONDS)
    return moto.ANSWER({"stopDate": execution.stop_date or now})


def _failing(original: Any) -> Any:
    """An execution that was stopped or ran out of time stays so, whatever its last state comes to."""

    def set_error(self: Any, error: Any) -> None:
        if self.is_frame() or self.is_running():
            original(self, error)

    return set_error


def _client_with_role(cloud: "Cloud") -> Any:
    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        return cloud.client(service, state_credentials and state_credentials.role_arn)

    return boto_client_for


def _start(original: Any) -> Any:
    """Executions without a name get one, as on AWS."""

    def start_execution(self: Any, arn: str, name: str | None = None, *rest: Any, **more: Any) -> Any:
        if name and FORBIDDEN_IN_NAMES.search(name):
            raise moto.Refusal("InvalidName", f"Invalid Name: '{name}'")
        return original(self, arn, name or str(uuid4()), *rest, **more)

    return start_execution


def _context(original: Any) -> Any:
    """`$$.Execution` has RedriveCount, RedriveTime too after a redrive, times as text fit for state data."""

    def environment(self: Any) -> Any:
        env = original(self)
        execution = env.states.context_object.context_object_data["Execution"]
        redrives = redrive.of(self._execution_communication.execution)
        execution["StartTime"] = _iso(execution["StartTime"])
        execution["RedriveCount"] = redrives.count
        if redrives.date:
            execution["RedriveTime"] = _iso(redrives.date)
        return env

    return environment


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
