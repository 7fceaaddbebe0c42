"""Step Functions: names, inputs, the context object; moto's interpreter does the rest."""

import json
import re
from contextlib import ExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from local import moto_seams as moto
from local import redrive, stopping, tasks

if TYPE_CHECKING:
    from local.cloud import Cloud

FORBIDDEN_IN_NAMES = re.compile(r'[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ufffe\uffff\U0010ffff]')


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
    _parse_once(stack)
    stopping.install(stack)
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


def _client_with_role(cloud: "Cloud") -> Any:
    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        return cloud.client(service, state_credentials and state_credentials.role_arn)

    return boto_client_for


def _start(original: Any) -> Any:
    """Executions without a name get one, as on AWS."""

    def start_execution(self: Any, arn: str, name: str | None = None, given: str | None = None) -> Any:
        if name and FORBIDDEN_IN_NAMES.search(name):
            raise moto.Refusal("InvalidName", f"Invalid Name: '{name}'")
        try:
            json.loads("{}" if given is None else given, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            text = f"Invalid State Machine Execution Input: '{error}'"
            raise moto.Refusal("InvalidExecutionInput", text) from error
        return original(self, arn, name or str(uuid4()), given)

    return start_execution


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _context(original: Any) -> Any:
    """`$$.Execution` has RedriveCount, RedriveTime too after a redrive, times as text fit for state data."""

    def environment(self: Any) -> Any:
        env = original(self)
        env.event_manager.env = env  # for stopping.py
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
