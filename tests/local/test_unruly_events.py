"""The deployed template when every event comes twice and in any order: one run each, and nothing is lost."""

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lambdas._ledger import content
from local.moto_seams import REGION
from local.quotas import load
from local.session import Session, session
from tests.doors.test_strange_events import EVENTS, MESSAGES
from tests.local.conftest import wait
from topx.plan import File

PREFIX = "uploads/ratings/"
QUIET_SECONDS = 3.0  # in which nothing new starts: the queue's delay, the window, a poll, a start


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Everything deployed, with the machine cut off after its first state: what follows is not in question."""
    with session(tmp_path_factory.mktemp("unruly"), quotas=load(None)) as made:
        states = made.cloud.client("stepfunctions")
        definition = json.loads(states.describe_state_machine(stateMachineArn=made.machine)["definition"])
        first = definition["States"][definition["StartAt"]]
        first.pop("Next")
        definition["States"] = {definition["StartAt"]: {**first, "End": True}}
        states.update_state_machine(stateMachineArn=made.machine, definition=json.dumps(definition))
        yield made


@pytest.fixture(autouse=True)
def as_before(ready: Session) -> Iterator[None]:
    """Each test finds events in order and leaves nothing lost."""
    yield
    events = ready.cloud.events
    events.twice, events.shuffled = False, None
    events.lost.clear()


@contextmanager
def without_ledger(ready: Session) -> Iterator[None]:
    """The table is gone, and comes back with all that was in it."""
    dynamodb = ready.cloud.client("dynamodb")
    items = dynamodb.scan(TableName=ready.ledger)["Items"]
    told = dynamodb.describe_table(TableName=ready.ledger)["Table"]
    dynamodb.delete_table(TableName=ready.ledger)
    try:
        yield
    finally:
        like = {name: told[name] for name in ("TableName", "KeySchema", "AttributeDefinitions")}
        dynamodb.create_table(**like, BillingMode="PAY_PER_REQUEST")
        for item in items:
            dynamodb.put_item(TableName=ready.ledger, Item=item)


def queues(ready: Session) -> tuple[str, str]:
    """URLs of the queue of changes, and of the one for what could not be handled."""
    urls = ready.cloud.client("sqs").list_queues()["QueueUrls"]
    changes, lost = (next(url for url in urls if name in url) for name in ("Changes", "Lost"))
    return changes, lost


def messages(ready: Session, url: str) -> int:
    """How many are in a queue, seen or not."""
    names = [
        "ApproximateNumberOfMessages",
        *(f"ApproximateNumberOfMessages{one}" for one in ("NotVisible", "Delayed")),
    ]
    found = ready.cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def function(ready: Session, name: str) -> str:
    """The physical name of a function."""
    functions = ready.cloud.client("lambda").list_functions()["Functions"]
    return next(str(one["FunctionName"]) for one in functions if name in one["FunctionName"])


def executions(ready: Session) -> list[dict[str, Any]]:
    """Described, by the sequence in their names."""
    states = ready.cloud.client("stepfunctions")
    found = states.list_executions(stateMachineArn=ready.machine)["executions"]
    described = [states.describe_execution(executionArn=one["executionArn"]) for one in found]
    return sorted(described, key=lambda one: int(one["name"].split("-")[1]))


def quiet(ready: Session, at_least: int) -> list[dict[str, Any]]:
    """The executions once that many have ended and nothing new has started for a while."""
    seen, since = 0, time.monotonic()

    def look() -> list[dict[str, Any]] | None:
        nonlocal seen, since
        found = executions(ready)
        if len(found) != seen or any(one["status"] == "RUNNING" for one in found):
            seen, since = len(found), time.monotonic()
        done = len(found) >= at_least and time.monotonic() - since > QUIET_SECONDS
        return found if done else None

    return wait(look, 60)  # type: ignore[no-any-return]


def there(ready: Session) -> str:
    """The content of what is in the bucket now."""
    listed = ready.cloud.client("s3").list_object_versions(Bucket=ready.uploads, Prefix=PREFIX)
    return content(
        File(key=one["Key"], version=one["VersionId"], bytes=one["Size"])
        for one in listed["Versions"]
        if one["IsLatest"]
    )


def multipart(ready: Session, key: str, body: bytes) -> None:
    s3, where = ready.cloud.client("s3"), {"Bucket": ready.uploads, "Key": key}
    where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
    etag = s3.upload_part(**where, PartNumber=1, Body=body)["ETag"]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]})


@pytest.mark.parametrize("seed", [1, 2])
def test_each_content_is_run_once_and_the_newest_is_run_last(ready: Session, seed: int, tmp_path: Path) -> None:
    events, s3 = ready.cloud.events, ready.cloud.client("s3")
    events.twice, events.shuffled = True, random.Random(seed)
    lines = "".join(f"u{n % 50},i{n % 40},{1 + n % 5},{seed}{n}\n" for n in range(2000)).encode()
    before = len(executions(ready))
    for name in "abc":
        s3.put_object(Bucket=ready.uploads, Key=f"{PREFIX}{seed}/{name}.csv", Body=lines)
    wait(lambda: len(executions(ready)) > before or None)  # the rest comes while the first is at work
    multipart(ready, f"{PREFIX}{seed}/d.csv", lines)
    s3.delete_object(Bucket=ready.uploads, Key=f"{PREFIX}{seed}/b.csv")
    ended = quiet(ready, before + 1)[before:]

    assert {one["status"] for one in ended} == {"SUCCEEDED"}
    plans = [json.loads(one["output"])["plan"] for one in ended]
    assert len({plan["content"] for plan in plans}) == len(plans)  # never the same twice
    assert plans[-1]["content"] == there(ready)
    sequences = [plan["sequence"] for plan in plans]
    assert sequences == sorted(set(sequences))
    item = ready.cloud.client("dynamodb").get_item(TableName=ready.ledger, Key={"dataset": {"S": "ratings"}})[
        "Item"
    ]
    assert item["wanted"]["M"]["content"]["S"] == there(ready)
    assert item["wanted"]["M"]["taken"]["BOOL"] is True
    assert "running" not in item
    assert events.lost == []


def test_strange_messages_harm_nobody(ready: Session) -> None:
    sqs, (changes, lost) = ready.cloud.client("sqs"), queues(ready)
    before, held = len(executions(ready)), messages(ready, lost)
    log = ready.cloud.logs / "functions" / f"{function(ready, 'Trigger')}.log"
    start = len(log.read_text()) if log.exists() else 0
    strange = [one for one in MESSAGES.values() if 0 < len(one.encode(errors="ignore")) <= 2**20]  # SQS takes
    for body in strange:
        sqs.send_message(QueueUrl=changes, MessageBody=body)
    ready.cloud.client("s3").put_object(Bucket=ready.uploads, Key=f"{PREFIX}between.csv", Body=b"u1,i1,5\n")
    for body in strange:
        sqs.send_message(QueueUrl=changes, MessageBody=body)
    # NaN is no JSON, and the role refuses executions of another machine of ours
    events = [one for one in EVENTS.values() if one == one and REGION not in str(one)]
    for event, name in product(events, ("Trigger", "Settle")):
        call = {"FunctionName": function(ready, name), "Payload": json.dumps(event)}
        assert "FunctionError" not in ready.cloud.client("lambda").invoke(**call), event
    wait(lambda: messages(ready, changes) == 0 or None, 40)
    [ended] = quiet(ready, before + 1)[before:]
    assert ended["status"] == "SUCCEEDED"
    assert (ready.cloud.events.lost, ready.cloud.iam.refused, messages(ready, lost)) == ([], [], held)
    said = log.read_text()[start:]
    assert said.count("message ignored") >= 2 * len(strange)
    assert "Traceback" not in said
    assert '"level": "ERROR"' not in said


def test_what_cannot_be_handled_ends_in_the_lost_queue(ready: Session) -> None:
    client, (changes, lost), settle = ready.cloud.client, queues(ready), function(ready, "Settle")
    before = len(executions(ready))
    client("s3").put_object(Bucket=ready.uploads, Key=f"{PREFIX}early.csv", Body=b"u1,i1,5\n")
    ended = quiet(ready, before + 1)[-1]
    visible = client("sqs").get_queue_attributes(QueueUrl=changes, AttributeNames=["VisibilityTimeout"])
    client("sqs").set_queue_attributes(QueueUrl=changes, Attributes={"VisibilityTimeout": "1"})
    event = {"detail": {"executionArn": ended["executionArn"]}}
    found: list[Any] = []

    def look() -> list[Any] | None:
        asked = {"QueueUrl": lost, "MaxNumberOfMessages": 10, "VisibilityTimeout": 60}
        found.extend(
            json.loads(one["Body"]) for one in client("sqs").receive_message(**asked).get("Messages", [])
        )
        return found if event in found and len(found) > 1 else None

    with without_ledger(ready):
        client("lambda").invoke(FunctionName=settle, InvocationType="Event", Payload=json.dumps(event))
        client("s3").put_object(Bucket=ready.uploads, Key=f"{PREFIX}late.csv", Body=b"u1,i1,5\n")
        wait(look, 40)
    client("sqs").set_queue_attributes(QueueUrl=changes, Attributes=visible["Attributes"])
    others = [one for one in found if one != event]
    assert {one["detail"]["object"]["key"] for one in others} == {f"{PREFIX}late.csv"}
    assert any("Settle" in line and "failed every time" in line for line in ready.cloud.events.lost)
    assert ready.cloud.iam.refused == []
