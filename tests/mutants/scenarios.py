"""All that a deployed template does, done once on embedded AWS, so that all its decisions are recorded."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig

from local import moto_seams as moto
from local.moto_seams import ACCOUNT, REGION
from local.session import Session

USERS, ITEMS = 240, 40
LARGE = 6 * 2**20  # bytes; S3 takes parts of at least 5 MiB
JOBS = {
    "TrainFactors": "factors",
    "Repackage": "matrices",
    "TrainNeighbors": "neighbors",
    "MatchUsers": "matches",
}


class World:
    """A deployed template and its functions, roles and executions by name."""

    def __init__(self, ready: Session, folder: Path) -> None:
        self.ready, self.cloud, self.folder = ready, ready.cloud, folder
        self.states = self.cloud.client("stepfunctions")

    def function(self, name: str) -> Any:
        """The function whose construct has this name."""
        functions = moto.FUNCTIONS[ACCOUNT][REGION].list_functions()
        return next(one for one in functions if f"-Functions{name}" in one.function_name)

    def role(self, name: str) -> moto.Role:
        """The role whose construct has this name."""
        roles = moto.IAM[ACCOUNT]["aws"].roles.values()
        return next(one for one in roles if f"-{name}" in one.arn)

    def upload(self, key: str, crowd: int = 0) -> None:
        """Puts a file of ratings into the Uploads bucket."""
        file = self.folder / "ratings.csv"
        file.write_text(ratings(crowd, test=key.startswith("tests/")))
        self.ready.upload({key: file})

    def started(self, count: int) -> str:
        """The newest execution once there are `count`."""

        def look() -> str | None:
            found = self.states.list_executions(stateMachineArn=self.ready.machine)["executions"]
            newest = max(found, key=lambda one: one["startDate"], default=None)
            return newest["executionArn"] if newest and len(found) >= count else None

        return wait(look)

    def start(self, run: dict[str, Any]) -> str:
        """A new execution with settings of its own."""
        given = json.dumps({"run": run} if run else {})
        started: str = self.states.start_execution(stateMachineArn=self.ready.machine, input=given)[
            "executionArn"
        ]
        return started

    def ended(self, execution: str) -> dict[str, Any]:
        """What is said of an execution that is over."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.states.describe_execution(executionArn=execution)
            return None if found["status"] == "RUNNING" else found

        return wait(look)

    def at_work(self, noun: str) -> None:
        """Waits until a job that makes a noun was begun."""
        wait(lambda: any(f"-{noun}-" in name for (_, name), _ in self.cloud.jobs.all()) or None)

    def call(self, name: str, event: Any) -> Any:
        """A function's answer."""
        client = self.cloud.client("lambda")
        answer = client.invoke(FunctionName=self.function(name).function_name, Payload=json.dumps(event))
        return json.load(answer["Payload"])

    def decided(self, text: str, role: str = "") -> None:
        """Waits until a role asked for something on a thing whose ARN holds a text."""

        def look() -> bool | None:
            made = list(self.cloud.iam.decisions)
            return any(text in one.asked.resource and role in one.role for one in made) or None

        wait(look)


def everything(world: World) -> None:
    """Runs that publish, are stopped, redriven and pruned; uploads, reads, lost events, large files."""
    ready, cloud = world.ready, world.cloud
    world.upload("tests/ratings/test.csv")
    world.upload("uploads/ratings/first.csv")
    first = world.started(1)
    for noun in JOBS.values():
        world.at_work(noun)
        world.states.stop_execution(executionArn=first)
        assert world.ended(first)["status"] == "ABORTED", noun
        world.states.redrive_execution(executionArn=first)
    published(world.ended(first))
    for user in ("u7", "nobody"):
        assert world.call("Recommend", {"user": user})["items"]

    world.upload("uploads/ratings/second.csv", crowd=1)
    second = world.started(2)
    wait(lambda: "Encode" in entered(world, second) or None)
    world.upload("uploads/ratings/third.csv", crowd=2)  # the dataset is held: the end of the run will start it
    time.sleep(2.5)  # the quiet period, and a look at the queue
    stop(world, second)
    third = world.started(3)
    stop(world, third)

    classic = world.start({"encode": {"recipe": "classic"}})  # the one with a test channel for training
    world.decided("/encoded/test/", "JobsRolesTrainFactors")
    stop(world, classic)
    published(world.ended(world.start({"publish": {"keep_runs": 1}})))

    arn = (
        f"{ready.machine.replace(':stateMachine:', ':execution:')}:{'too-long' * 40}"  # settle fails each time
    )
    settle, strange = world.function("Settle").function_name, json.dumps({"detail": {"executionArn": arn}})
    cloud.client("lambda").invoke(FunctionName=settle, InvocationType="Event", Payload=strange)
    world.decided("-Lost")
    cloud.events.haste = 36_000.0  # an hour in a tenth of a second
    wait(
        lambda: (
            any("Sweep" in str(d.asked.context.get("aws:sourcearn")) for d in list(cloud.iam.decisions)) or None
        )
    )
    cloud.events.haste = 1.0
    large_files(world)


def stop(world: World, execution: str) -> None:
    """Stops an execution that may be over already."""
    world.states.stop_execution(executionArn=execution)
    world.ended(execution)


def entered(world: World, execution: str) -> set[str]:
    """The states that an execution was in."""
    events = world.cloud.history(execution)
    return {e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e}


def published(ended: dict[str, Any]) -> None:
    """Fails unless an execution has published its lists."""
    assert ended["status"] == "SUCCEEDED", ended
    assert json.loads(ended["output"])["published"], ended["output"]


def large_files(world: World) -> None:
    """Files above the size that goes in one request, from roles whose files grow with the ratings."""
    run = "runs/ratings/20260101-000000-00000000"
    (world.folder / "large").write_bytes(bytes(LARGE))
    parts = TransferConfig(multipart_threshold=LARGE - 1, multipart_chunksize=5 * 2**20, use_threads=False)
    nouns = {"FunctionsEncodeRole": "encoded", "FunctionsRankRole": "lists"}
    for role, noun in (nouns | {f"JobsRoles{state}": noun for state, noun in JOBS.items()}).items():
        s3 = world.cloud.client("s3", world.role(role).arn)
        where = {"Bucket": world.ready.runs, "Key": f"{run}/{noun}/large"}
        s3.upload_file(str(world.folder / "large"), *where.values(), Config=parts)
        upload = s3.create_multipart_upload(**where)["UploadId"]
        s3.abort_multipart_upload(**where, UploadId=upload)


def ratings(crowd: int, *, test: bool) -> str:
    """A file of two tastes; each crowd has users of its own, and what tests hold is in no other file."""
    dice = random.Random(crowd)
    lines = []
    for user in range(USERS):
        rated = dice.sample(range(ITEMS), 18)
        for item in rated[15:] if test else rated[:15]:
            rating = dice.choice([4, 5] if (user + item) % 2 == 0 else [1, 2])
            lines.append(f"u{user + USERS * crowd},i{item},{rating},{user}")
    return "\n".join(["user,item,rating,time", *lines]) + "\n"


def wait(look: Callable[[], Any], seconds: float = 60) -> Any:
    """The first thing that `look` gives back."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.02)
    return found
