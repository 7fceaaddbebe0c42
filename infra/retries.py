"""What is worth trying again, and for how long. Nothing is caught: a caught failure could not be redriven."""

from aws_cdk import Duration
from aws_cdk import aws_stepfunctions as sfn

from topx.errors import ListsNotReady

Task = sfn.CustomState | sfn.TaskStateBase


def retry_function(task: Task) -> None:
    """Lambda's passing troubles: seconds; and a function that slept for weeks: minutes."""
    _retry(
        task,
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
        interval=2,
        longest=60,
        attempts=6,
    )
    _retry(
        task,
        "Lambda.CodeArtifactUserPendingException",
        "Lambda.CodeArtifactUserDeletedException",
        interval=20,
        longest=120,
        attempts=8,
    )


def retry_job(task: Task) -> None:
    """Refused at creation: throttled, or all machines of the quota busy. A job that failed is not retried."""
    _retry(task, "SageMaker.ResourceLimitExceededException", interval=300, longest=1200, attempts=8)
    # Throttling comes under this name, and so do mistakes: few attempts.
    _retry(task, "SageMaker.AmazonSageMakerException", interval=30, longest=120, attempts=3)


def retry_import(task: Task) -> None:
    """Publish looks for a minute and comes back up to two hours after it began."""
    _retry(task, ListsNotReady.__name__, interval=60, longest=60, attempts=80, backoff=1)


def _retry(task: Task, *errors: str, interval: int, longest: int, attempts: int, backoff: float = 2) -> None:
    task.add_retry(
        errors=list(errors),
        interval=Duration.seconds(interval),
        max_delay=Duration.seconds(longest),
        max_attempts=attempts,
        backoff_rate=backoff,
        jitter_strategy=sfn.JitterType.FULL,
    )
