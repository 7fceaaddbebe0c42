"""Redrives of whole runs, on the template: the dataset freed, taken again, published, or superseded."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.jobs import Job
from local.quotas import load
from local.session import Session, session
from local.story import Step, Story
from tests.local.conftest import wait
from tests.local.test_run import ratings

SECONDS = 90


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("redrive")
    first = {"uploads/ratings/r.csv": ratings(folder / "r.csv")}
    with session(folder / "logs", quotas=load(None), first=first) as made:
        yield made


@pytest.fixture(scope="module")
def told(ready: Session) -> Callable[[], str]:
    """The next message of the topic."""
    sqs = ready.cloud.client("sqs")
    url = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    ready.cloud.client("sns").subscribe(TopicArn=ready.topic, Protocol="sqs", Endpoint=arn)

    def look() -> str | None:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1).get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return str(json.loads(found[0]["Body"])["Message"]) if found else None

    return lambda: str(wait(look, SECONDS))


def start(ready: Session, **given: Any) -> str:
    answer = ready.cloud.client("stepfunctions").start_execution(
        stateMachineArn=ready.machine, input=json.dumps(given)
    )
    return str(answer["executionArn"])


def ended(ready: Session, execution: str) -> Any:
    """The execution's description once it has ended."""
    client = ready.cloud.client("stepfunctions")

    def look() -> Any:
        found = client.describe_execution(executionArn=execution)
        return None if found["status"] == "RUNNING" else found

    return wait(look, SECONDS)


def at_work(ready: Session, noun: str) -> Job:
    """The job for a noun, once its engine runs."""

    def look() -> Job | None:
        running = (job for _, job in ready.cloud.jobs.all() if job.child and not job.ended.is_set())
        return next((job for job in running if f"-{noun}-" in job.name), None)

    job: Job = wait(look, SECONDS)
    return job


def kill(ready: Session, noun: str) -> None:
    """Kills the engine of the job for a noun."""
    child = at_work(ready, noun).child
    assert child
    os.kill(child.pid, signal.SIGKILL)


def ledger(ready: Session) -> dict[str, Any]:
    key = {"dataset": {"S": "ratings"}}
    found: dict[str, Any] = ready.cloud.client("dynamodb").get_item(TableName=ready.ledger, Key=key)["Item"]
    return found


def entered(ready: Session, execution: str) -> list[str]:
    events = ready.cloud.history(execution)
    return [one["stateEnteredEventDetails"]["name"] for one in events if "stateEnteredEventDetails" in one]


def test_a_run_whose_engine_was_killed_twice_is_published_by_its_second_redrive(
    ready: Session, told: Callable[[], str]
) -> None:
    execution, client = start(ready), ready.cloud.client("stepfunctions")
    kill(ready, "factors")
    failed = ended(ready, execution)
    assert (failed["status"], failed["error"]) == ("FAILED", "States.TaskFailed")
    assert json.loads(failed["cause"])["FailureReason"].startswith("AlgorithmError: exit code 137")
    message = told()
    assert "FAILED in TrainFactors" in message
    assert f"redrive-execution --execution-arn {execution}" in message
    assert "running" not in ledger(ready)
    client.redrive_execution(executionArn=execution)
    kill(ready, "factors")
    assert ended(ready, execution)["redriveCount"] == 1
    assert "FAILED in TrainFactors" in told()
    client.redrive_execution(executionArn=execution)
    done = ended(ready, execution)
    assert (done["status"], json.loads(done["output"])["published"]) == ("SUCCEEDED", True)
    assert "published" in told()
    states = entered(ready, execution)
    assert states[:5] == ["Preflight", "Encode", "TrainFactors", "TrainFactors", "TrainFactors"]
    assert len(states) - len(set(states)) == 2
    story = Story(ready.cloud, execution)
    told_states = [news.state for news in story.advance() if isinstance(news, Step)]
    assert told_states == sorted(set(states), key=states.index)
    outcome = story.outcome()
    assert outcome is not None
    assert outcome.code == 0
    every = [name for (_, name), _ in ready.cloud.jobs.all()]
    assert [name.rsplit("-", 2)[1:] for name in every[:3]] == [["0", "0"], ["0", "1"], ["0", "2"]]
    assert len(every) == len(set(every)) == 6
    assert all(len(name) <= 63 for name in every)
    assert ledger(ready)["live"]["M"]["run_id"]["S"] == json.loads(done["output"])["run_id"]
    assert "running" not in ledger(ready)


def test_a_redriven_run_gives_way_to_a_newer_one(
    ready: Session, told: Callable[[], str], tmp_path: Path
) -> None:
    older, client = start(ready, nonce="older"), ready.cloud.client("stepfunctions")
    kill(ready, "neighbors")
    assert ended(ready, older)["status"] == "FAILED"
    assert "FAILED in TrainNeighbors" in told()
    newer = start(ready, nonce="newer")
    assert json.loads(ended(ready, newer)["output"])["published"] is True
    assert "published" in told()
    client.redrive_execution(executionArn=older)
    output = json.loads(ended(ready, older)["output"])
    assert output["published"] is False
    assert "superseded: run" in output["reasons"][-1]
    assert "not published" in told()


def test_a_quota_that_was_granted_lets_a_redrive_begin(ready: Session, told: Callable[[], str]) -> None:
    quota = "ml.m5.xlarge for training job usage"
    granted = ready.cloud.quotas.applied[quota]
    ready.cloud.quotas.applied[quota] = 0.0
    execution = start(ready, nonce="quota")
    assert ended(ready, execution)["error"] == "QuotasRejected"
    assert "FAILED in Preflight" in told()
    ready.cloud.quotas.applied[quota] = granted
    ready.cloud.client("stepfunctions").redrive_execution(executionArn=execution)
    kill(ready, "factors")
    assert ended(ready, execution)["redriveCount"] == 1
    assert entered(ready, execution)[:3] == ["Preflight", "Preflight", "Encode"]
    assert "FAILED in TrainFactors" in told()


def test_a_run_that_is_stopped_twice_leaves_no_engine_and_is_published_once(
    ready: Session, told: Callable[[], str]
) -> None:
    execution, client = start(ready, nonce="stopped"), ready.cloud.client("stepfunctions")
    names = []
    for noun, state in (("factors", "TrainFactors"), ("neighbors", "TrainNeighbors")):
        job = at_work(ready, noun)
        names.append(job.name)
        client.stop_execution(executionArn=execution)
        assert ended(ready, execution)["status"] == "ABORTED"
        wait(lambda job=job: job.ended.is_set() or None)
        assert job.child
        assert job.child.poll() is not None
        described = ready.cloud.client("sagemaker").describe_training_job(TrainingJobName=job.name)
        assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
        assert f"ABORTED in {state}" in told()
        assert "running" not in ledger(ready)
        client.redrive_execution(executionArn=execution)
    assert json.loads(ended(ready, execution)["output"])["published"] is True
    assert "published" in told()
    assert [name.rsplit("-", 2)[1:] for name in names] == [["0", "0"], ["0", "1"]]
    states = entered(ready, execution)
    assert [states.count(one) for one in ("Encode", "TrainFactors", "TrainNeighbors", "Publish")] == [
        1,
        2,
        2,
        1,
    ]


def test_a_run_that_is_stopped_in_a_function_goes_on_there(ready: Session, told: Callable[[], str]) -> None:
    execution, client = start(ready, nonce="in-function"), ready.cloud.client("stepfunctions")
    wait(lambda: "Encode" in entered(ready, execution) or None, SECONDS)
    client.stop_execution(executionArn=execution)
    assert ended(ready, execution)["status"] == "ABORTED"
    assert "ABORTED in Encode" in told()
    client.redrive_execution(executionArn=execution)
    assert json.loads(ended(ready, execution)["output"])["published"] is True
    assert "published" in told()
    assert [entered(ready, execution).count(one) for one in ("Preflight", "Encode", "Publish")] == [1, 2, 1]
