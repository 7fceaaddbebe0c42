"""How executions end before their last state, stopped or out of time: at once, as on AWS."""

import time
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_any
from contextlib import ExitStack
from datetime import UTC, datetime
from threading import Thread
from threading import local as thread_local
from types import SimpleNamespace
from typing import Any

from local import moto_seams as moto

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 5.0


class Over(Exception):
    """When a state or its execution ends before what it waits for; nobody hears of it."""


def install(stack: ExitStack) -> None:
    """Lets executions end at once, until `stack` closes."""
    moto.put(stack, moto.STOP_EXECUTION, _stop)
    moto.put(stack, moto.FAILING, _failing(moto.FAILING.original))
    moto.put(stack, moto.TELL, _telling(moto.TELL.original))
    moto.put(stack, moto.CALL_FUNCTION, _calling(moto.CALL_FUNCTION.original))
    _wake_retries(stack)


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


def _telling(original: Any) -> Any:
    """And its history tells of its end, not of how its last state was left."""

    def add_event(self: Any, context: Any, event_type: Any, *rest: Any, **more: Any) -> Any:
        told = event_type.value.startswith("Execution") or event_type.value.endswith("Aborted")
        if isinstance(self.env.program_state(), moto.CUT_SHORT) and not told:
            return context.last_published_event_id
        return original(self, context, event_type, *rest, **more)

    return add_event


def _calling(original: Any) -> Any:
    """The call of a function is no longer waited for; the function runs on, as on AWS."""

    def call(env: Any, **given: Any) -> None:
        answer: Future[None] = Future()

        def work() -> None:
            try:
                answer.set_result(original(env=env, **given))
            except Exception as error:  # noqa: BLE001, RUF100  raised where it is waited for
                answer.set_exception(error)

        Thread(target=work, daemon=True).start()
        while env.is_running():
            if wait_for_any([answer], POLL_SECONDS).done:
                return answer.result()
        raise Over

    return call


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
