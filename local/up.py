"""`up`: both stacks kept running on embedded AWS; uploads start runs by their events."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.quotas import load
from local.run import deployed
from local.screen import Screen
from local.session import Session, session
from local.story import Story
from topx import paths

LOOK_SECONDS = 0.5


def up(quotas: Path | None, logs: Path, screen: Screen) -> None:
    """Says how to talk to it and shows every execution, until it is interrupted."""
    limits = load(quotas)
    logs.mkdir(parents=True, exist_ok=True)
    with session(logs, quotas=limits, tell=screen.doing) as ready:
        screen.done()
        screen.say(how_to_talk(ready))
        told: dict[str, Story] = {}
        hear = _listening(ready)
        while True:
            for one in _listed(ready):
                execution, name = one["executionArn"], one["name"]
                if execution not in told:
                    told[execution] = Story(ready.cloud, execution)
                    screen.say(f"{name}  started")
                if told[execution].ended and one["status"] == "RUNNING":
                    told[execution].ended = False
                    screen.say(f"{name}  redriven")
                if not told[execution].ended:
                    _tell(told[execution], name, screen)
            for subject in hear():
                screen.say(f"the topic is told: {subject}")
            for line in ready.cloud.events.lost:
                screen.trouble(f"an event was lost: {line}")
            ready.cloud.events.lost.clear()
            while ready.cloud.iam.refused:
                screen.trouble(f"refused: {ready.cloud.iam.refused.pop(0)}")
            time.sleep(LOOK_SECONDS)


def executions(ready: Session) -> list[str]:
    """All executions there have been, oldest first."""
    return [one["executionArn"] for one in _listed(ready)]


def _listed(ready: Session) -> list[dict[str, Any]]:
    pages = ready.cloud.client("stepfunctions").get_paginator("list_executions")
    found = [one for page in pages.paginate(stateMachineArn=ready.machine) for one in page["executions"]]
    return sorted(found, key=lambda one: one["startDate"])


def how_to_talk(ready: Session) -> str:
    """Addresses, and the AWS CLI's commands to upload, start and read."""
    variables = ready.cloud.environment()
    exports = " ".join(
        f"{name}={variables[name]}"
        for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    )
    dataset = deployed().datasets[0]
    return f"""Embedded AWS answers at {ready.cloud.endpoint}
  uploads  s3://{ready.uploads}/{paths.uploads(dataset)}
  runs     s3://{ready.runs}/runs/{dataset}/

In another terminal:
  export {exports}
Upload; the event starts a run:
  aws s3 cp ratings.csv s3://{ready.uploads}/{paths.uploads(dataset)}
Start a run by hand, with or without settings:
  aws stepfunctions start-execution --state-machine-arn {ready.machine} \\
    --input '{{"run": {{"rank": {{"x": 5}}}}}}'
Read one user's list:
  aws lambda invoke --function-name {ready.recommend} --cli-binary-format raw-in-base64-out \\
    --payload '{{"user": "1"}}' /dev/stdout

Ctrl-C ends it; its data is in memory and goes with it.
"""


def _listening(ready: Session) -> Callable[[], list[str]]:
    """Subscribes to the topic; the function gives the subjects of what it was told since the last call."""
    sqs = ready.cloud.client("sqs")
    url = sqs.create_queue(QueueName="topic-on-screen")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    ready.cloud.client("sns").subscribe(TopicArn=ready.topic, Protocol="sqs", Endpoint=arn)

    def hear() -> list[str]:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]).get("Subject", "") for message in messages]

    return hear


def _tell(story: Story, name: str, screen: Screen) -> None:
    for news in story.advance():
        if isinstance(news, str):
            screen.trouble(news, name)
        else:
            screen.step(news, name)
    outcome = story.outcome()
    if outcome:
        story.ended = True
        screen.say(f"{name}  {outcome.status} after {outcome.seconds:.1f} s. {outcome.told}")
