"""Step Functions: jobs of SageMaker as tasks, the context object, names; moto's interpreter does the rest."""

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError

from local import moto_seams as moto

if TYPE_CHECKING:
    from local.cloud import Cloud

POLL_SECONDS = 0.05
SAME_NAME_IN_API = {"ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound"}


def install(cloud: "Cloud", stack: ExitStack) -> None:
    """Lets the executing interpreter run what the template deploys, until `stack` closes."""
    before = moto.USER_CONFIG["stepfunctions"]
    stack.callback(moto.USER_CONFIG.update, stepfunctions=before)
    moto.USER_CONFIG["stepfunctions"] = {"execute_state_machine": True}
    moto.put(stack, moto.MACHINES_OF_TEMPLATES, moto.MACHINES)
    # A failed `.sync` reports States.TaskFailed, which moto refuses as a custom name.
    moto.put(stack, moto.CUSTOM_ERROR_NAME, moto.ERROR_NAME.__init__)
    moto.put(stack, moto.TASK_OF_SAGEMAKER, _task(cloud))
    moto.put(stack, moto.FUNCTION_CLIENT, _client_with_role(cloud))
    moto.put(stack, moto.CONTEXT, _context(moto.CONTEXT.original))
    moto.put(stack, moto.START_EXECUTION, _start(moto.START_EXECUTION.original))
    _parse_once(stack)


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


def wait_for(executions: list[Any], longest_seconds: float = 5) -> None:
    """Waits until the executions have ended: their threads must not outlive the server that they call."""
    deadline = time.monotonic() + longest_seconds
    while any(one.status == "RUNNING" for one in executions) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _client_with_role(cloud: "Cloud") -> Any:
    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        return cloud.client(service, state_credentials and state_credentials.role_arn)

    return boto_client_for


def _start(original: Any) -> Any:
    """Executions without a name get one, as on AWS."""

    def start_execution(self: Any, arn: str, name: str | None = None, *rest: Any, **more: Any) -> Any:
        return original(self, arn, name or str(uuid4()), *rest, **more)

    return start_execution


def _context(original: Any) -> Any:
    """`$$.Execution.RedriveCount` is there, and StartTime is ISO text that may stand in state data."""

    def environment(self: Any) -> Any:
        env = original(self)
        execution = env.states.context_object.context_object_data["Execution"]
        start: datetime = execution["StartTime"]
        execution["StartTime"] = start.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        execution["RedriveCount"] = 0
        return env

    return environment


def _task(cloud: "Cloud") -> Any:
    """The class of `arn:aws:states:::sagemaker:<action>[.sync]` tasks."""

    class SageMakerTask(moto.TASK):  # type: ignore[misc]
        def __init__(self) -> None:
            # Without the callback pattern no token is made: moto's waiting on one breaks every retried `.sync`.
            super().__init__(supported_integration_patterns={moto.RESOURCE_CONDITION.Sync})

        def _validate_service_integration_is_supported(self) -> None:
            if self.resource.api_name != "sagemaker":
                raise ValueError(f"{self.resource.resource_arn} is not emulated locally")

        def _eval_service_task(
            self, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
        ) -> None:
            client = cloud.client("sagemaker", state_credentials.role_arn)
            if self._is_integration_pattern():
                mark = {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}
                normalised_parameters["Tags"] = [*normalised_parameters.get("Tags", []), mark]
            answer = getattr(client, self._get_boto_service_action())(**normalised_parameters)
            env.stack.append(_plain(answer))

        def _eval_integration_pattern(
            self, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
        ) -> None:
            """Waits for the job; ends it where the state times out or the execution is stopped."""
            client = cloud.client("sagemaker", state_credentials.role_arn)
            kind = self.resource.api_action.removeprefix("create").removesuffix("Job")
            name = {f"{kind}JobName": normalised_parameters[f"{kind}JobName"]}
            while not cloud.jobs.wait(kind.lower(), name[f"{kind}JobName"], POLL_SECONDS):
                if not env.is_running():
                    getattr(client, f"stop_{kind.lower()}_job")(**name)
                    return
            job = _plain(getattr(client, f"describe_{kind.lower()}_job")(**name))
            if job[f"{kind}JobStatus"] == "Failed":
                raise moto.FAILURE(self._failure(env, "States.TaskFailed", json.dumps(job)))
            env.stack[-1] = job

        def _from_error(self, env: Any, ex: Exception) -> Any:
            if not isinstance(ex, ClientError):
                return super()._from_error(env, ex)
            error = ex.response["Error"]
            code = error["Code"].removesuffix("Exception")
            name = code if code in SAME_NAME_IN_API else "AmazonSageMaker"
            cause = f"{error['Message']} (Service: AmazonSageMaker; Error Code: {error['Code']})"
            return self._failure(env, f"SageMaker.{name}Exception", cause)

        def _failure(self, env: Any, error: str, cause: str) -> Any:
            name = (
                moto.STATES_ERROR_NAME(moto.STATES_ERROR_TYPE.StatesTaskFailed)
                if error == "States.TaskFailed"
                else moto.ERROR_NAME(error)
            )
            details = moto.TASK_FAILED(
                error=error,
                cause=cause,
                resource=self._get_sfn_resource(),
                resourceType=self._get_sfn_resource_type(),
            )
            return moto.FAILURE_EVENT(
                env=env,
                error_name=name,
                event_type=moto.EVENT_TYPE.TaskFailed,
                event_details=moto.EVENT_DETAILS(taskFailedEventDetails=details),
            )

    return SageMakerTask


def _plain(answer: Any) -> Any:
    """An API answer as state data: no metadata, dates as epoch milliseconds."""
    if isinstance(answer, dict):
        return {key: _plain(value) for key, value in answer.items() if key != "ResponseMetadata"}
    if isinstance(answer, list):
        return [_plain(value) for value in answer]
    return int(answer.timestamp() * 1000) if isinstance(answer, datetime) else answer
