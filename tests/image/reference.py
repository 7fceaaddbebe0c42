"""One small run of the real machine on this laptop: what the image must repeat byte for byte."""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from local.screen import Screen
from local.session import Session
from local.story import Story
from tests.image.processes import NotProven, last
from topx.paths import Paths

USERS, ITEMS, EACH = 160, 60, 20
OVERRIDES = {"train_factors": {"num_factors": 8}}


def ratings(path: Path) -> Path:
    """A file of two tastes: users like the items of their own half. Two lines cannot be used."""
    dice = random.Random(4)
    lines = ["user,item,rating,time"]
    for user in range(USERS):
        for item in dice.sample(range(ITEMS), EACH):
            rating = dice.choice([4, 5] if (user + item) % 2 == 0 else [1, 2])
            lines.append(f'u{user},"책, {item}",{rating},{1_700_000_000 + len(lines)}')
    lines += ["u1,,5,1700000000", "u2,i2,much,1700000000"]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one state asked a service for, and what came of it."""

    resource: str
    request: dict[str, Any]
    answer: dict[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A finished execution: its tasks by state, and its files in the Runs bucket."""

    ready: Session
    prefix: str
    tasks: dict[str, Task]

    def files(self) -> dict[str, bytes]:
        """Name below the run's prefix -> content, as it is now."""
        s3 = self.ready.cloud.client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.ready.runs, Prefix=self.prefix)
        return {
            one["Key"].removeprefix(self.prefix): s3.get_object(Bucket=self.ready.runs, Key=one["Key"])[
                "Body"
            ].read()
            for page in pages
            for one in page.get("Contents", [])
        }

    def remove(self, names: Iterable[str]) -> None:
        """Deletes files, so that whoever makes them again is seen to."""
        for name in names:
            self.ready.cloud.client("s3").delete_object(Bucket=self.ready.runs, Key=self.prefix + name)


def run(ready: Session) -> Reference:
    """Runs the machine on what is uploaded; raises NotProven where nothing is published."""
    execution = ready.cloud.client("stepfunctions").start_execution(
        stateMachineArn=ready.machine, input=json.dumps({"run": OVERRIDES})
    )["executionArn"]
    outcome = Screen().follow(Story(ready.cloud, execution))
    if outcome.code:
        end = last(ready.cloud.logs, outcome.state)
        raise NotProven(f"the run without the image ended with {outcome.told}\n{end}")
    prefix = Paths(outcome.output["dataset"], outcome.output["run_id"]).prefix
    return Reference(ready=ready, prefix=prefix, tasks=tasks(ready.cloud.history(execution)))


def tasks(history: list[dict[str, Any]]) -> dict[str, Task]:
    """State -> the task that succeeded in it."""
    found: dict[str, Task] = {}
    state, resource, given, since = "", "", "{}", datetime.min
    for event in history:
        kind = event["type"]
        details = next((value for key, value in event.items() if key.endswith("EventDetails")), None) or {}
        if kind.endswith("StateEntered"):
            state = details["name"]
        elif kind in {"LambdaFunctionScheduled", "TaskScheduled"}:
            since, resource = event["timestamp"], details["resource"]
            given = details["input"] if kind.startswith("Lambda") else details["parameters"]
        elif kind in {"LambdaFunctionSucceeded", "TaskSucceeded"}:
            found[state] = Task(
                resource=resource,
                request=json.loads(given),
                answer=json.loads(details["output"]),
                seconds=(event["timestamp"] - since).total_seconds(),
            )
    return found
