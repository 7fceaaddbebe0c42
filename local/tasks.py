"""Step Functions' integration with SageMaker: requests, jobs waited for and stopped, errors by name."""

import json
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local import moto_seams as moto
from local import requests
from local.stopping import Over

if TYPE_CHECKING:
    from local.cloud import Cloud

POLL_SECONDS = 0.05
SAME_NAME_IN_API = {"ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound"}


def task(cloud: "Cloud") -> Any:
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
            operation = self.resource.api_action[0].upper() + self.resource.api_action[1:]
            given = requests.without_nulls("sagemaker", operation, normalised_parameters)
            self._check(env, operation, given)
            client = cloud.client("sagemaker", state_credentials.role_arn)
            if self._is_integration_pattern():
                mark = {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}
                given["Tags"] = [*given.get("Tags", []), mark]
            answer = getattr(client, self._get_boto_service_action())(**given)
            env.stack.append(_plain(answer))

        def _check(self, env: Any, operation: str, parameters: dict[str, Any]) -> None:
            """Names and types are Step Functions' own to refuse; what values may be is SageMaker's."""
            found = requests.problems("sagemaker", operation, parameters)
            wrong = [problem.task_text for problem in found if problem.task_text]
            if wrong:
                text = f"The Parameters '{json.dumps(parameters)}' could not be used to start the Task: "
                raise moto.FAILURE(self._failure(env, "States.Runtime", f"{text}[{'; '.join(wrong)}]"))

        def _eval_integration_pattern(
            self, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
        ) -> None:
            """Waits for the job; ends it where the state times out or the execution is stopped."""
            client = cloud.client("sagemaker", state_credentials.role_arn)
            kind = self.resource.api_action.removeprefix("create").removesuffix("Job")
            name = {f"{kind}JobName": normalised_parameters[f"{kind}JobName"]}
            while not cloud.jobs.wait(kind.lower(), name[f"{kind}JobName"], POLL_SECONDS):
                if not env.is_running():
                    with suppress(ClientError):  # it may have ended by itself meanwhile
                        getattr(client, f"stop_{kind.lower()}_job")(**name)
                    raise Over
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
            known = {
                "States.TaskFailed": moto.STATES_ERROR_TYPE.StatesTaskFailed,
                "States.Runtime": moto.STATES_ERROR_TYPE.StatesRuntime,
            }
            name = moto.STATES_ERROR_NAME(known[error]) if error in known else moto.ERROR_NAME(error)
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
