"""AWS in this process (moto), with what the data stack makes; events as AWS sends them; crashes."""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from moto import mock_aws

from local import imports
from local.iam.authorizer import Iam
from local.quotas import Quotas
from topx.settings import JOBS, Deploy

REGION, ACCOUNT = "eu-west-1", "123456789012"
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:topx"
EXECUTION = MACHINE.replace(":stateMachine:", ":execution:")
ENOUGH = {f"{name}s": 20.0 for name in (f"Number of instances across all {kind}" for kind in JOBS.values())} | {
    f"{name} for {kind} usage": 4.0 for job, kind in JOBS.items() for name in Deploy().instance_types[job]
}


client = cache(boto3.client)  # making one takes longer than most tests


def event(name: str) -> Any:
    """An event as it arrives."""
    return json.loads((Path(__file__).parent / "events" / f"{name}.json").read_text("utf-8"))


class World:
    """What the tests do to AWS, and see of it."""

    def __init__(self, *, machine: dict[str, Any] | None = None, quotas: Quotas | None = None) -> None:
        self._stack = ExitStack()
        config = {"stepfunctions": {"execute_state_machine": machine is not None}}
        self._stack.enter_context(mock_aws(config=config))
        imports.install(Iam(operator="the tests"), self._stack)
        (quotas or Quotas(applied=ENOUGH, default={})).install(self._stack)
        self.s3, self.dynamodb = client("s3"), client("dynamodb")
        self.states, self.sagemaker = client("stepfunctions"), client("sagemaker")
        for bucket in ("uploads", "runs"):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
            self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        self.table("ledger", "dataset")
        definition = machine or {"StartAt": "Work", "States": {"Work": {"Type": "Pass", "End": True}}}
        role = f"arn:aws:iam::{ACCOUNT}:role/machine"
        self.states.create_state_machine(name="topx", definition=json.dumps(definition), roleArn=role)
        self.topic = client("sns").create_topic(Name="topic")["TopicArn"]
        self.inbox = client("sqs").create_queue(QueueName="inbox")["QueueUrl"]
        client("sns").subscribe(
            TopicArn=self.topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:inbox"
        )

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def table(self, name: str, key: str) -> None:
        self.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def upload(self, key: str, text: str = "u1,i1,5\n") -> str:
        version: str = self.s3.put_object(Bucket="uploads", Key=key, Body=text.encode())["VersionId"]
        return version

    def put(self, key: str, body: bytes = b"") -> None:
        self.s3.put_object(Bucket="runs", Key=key, Body=body)

    def objects(self, bucket: str = "runs") -> dict[str, bytes]:
        found = self.s3.list_objects_v2(Bucket=bucket).get("Contents", ())
        return {o["Key"]: self.s3.get_object(Bucket=bucket, Key=o["Key"])["Body"].read() for o in found}

    def json(self, key: str) -> Any:
        return json.loads(self.s3.get_object(Bucket="runs", Key=key)["Body"].read())

    def begin(self, name: str, given: str = "{}") -> str:
        """An execution that runs until it is stopped."""
        started = self.states.start_execution(stateMachineArn=MACHINE, name=name, input=given)
        arn: str = started["executionArn"]
        return arn

    def end(self, arn: str) -> None:
        self.states.stop_execution(executionArn=arn)

    def executions(self) -> list[str]:
        found = self.states.list_executions(stateMachineArn=MACHINE)["executions"]
        return sorted(one["name"] for one in found)

    def ledger(self, dataset: str = "ratings") -> dict[str, Any]:
        found = self.dynamodb.get_item(TableName="ledger", Key={"dataset": {"S": dataset}}).get("Item", {})
        return {name: TypeDeserializer().deserialize(value) for name, value in found.items()}

    def set_ledger(self, **parts: Any) -> None:
        item = {
            name: TypeSerializer().serialize(value) for name, value in {"dataset": "ratings", **parts}.items()
        }
        self.dynamodb.put_item(TableName="ledger", Item=item)

    def messages(self) -> list[dict[str, Any]]:
        found = client("sqs").receive_message(QueueUrl=self.inbox, MaxNumberOfMessages=10)
        return [json.loads(one["Body"]) for one in found.get("Messages", ())]

    def tables(self) -> list[str]:
        names: list[str] = self.dynamodb.list_tables()["TableNames"]
        return sorted(set(names) - {"ledger"})

    def model(self, name: str) -> None:
        role = f"arn:aws:iam::{ACCOUNT}:role/job"
        self.sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": "knn:1"}, ExecutionRoleArn=role)

    def models(self) -> list[str]:
        return sorted(one["ModelName"] for one in self.sagemaker.list_models()["Models"])

    def state(self) -> str:
        """Everything that must be the same after a crash and a retry as after one clean run."""
        whole = {
            "ledger": [self.ledger(dataset) for dataset in ("ratings", "books")],
            "objects": {key: body.decode("latin-1") for key, body in self.objects().items()},
            "tables": {name: self.dynamodb.scan(TableName=name)["Count"] for name in self.tables()},
            "models": self.models(),
            "executions": self.executions(),
        }
        text = json.dumps(whole, sort_keys=True, default=int)
        varying = r"[0-9a-f]{64}|(?<=-)[0-9a-f]{12}|[0-9a-f-]{36}|\d{10}|[0-9T:-]{19}\+00:00"
        return re.sub(varying, "0", text)  # digests, versions, times


def import_lists(
    world: World, run: str, users: int = 3, *, dataset: str = "ratings", good: bool = True
) -> None:
    """What Rank writes for the import: each user's list and `popular`, in two files."""
    entry = {"M": {"item_id": {"S": "i1"}, "score": {"N": "0.6543210123"}, "reason": {"S": "factors"}}}
    ids = [*(f"user:u{number}" for number in range(users)), "popular"]
    lines = [json.dumps({"Item": {"id": {"S": one}, "items": {"L": [entry]}}}) for one in ids]
    if not good:
        lines[-1] = json.dumps({"Item": {"items": {"L": [entry]}}})
    for part, chosen in enumerate((lines[:2], lines[2:])):
        body = gzip.compress("".join(f"{line}\n" for line in chosen).encode(), mtime=0)
        world.put(f"runs/{dataset}/{run}/import/part-{part:05}.json.gz", body)


class Crash(Exception):
    """The function's machine goes away, right after AWS did what it was asked."""


@contextmanager
def crash_after(write: int) -> Iterator[list[str]]:
    """Ends the function right after its n-th change, counted from 0; gives the changes made so far.

    Between two changes nothing is left behind, so a crash there is one of these, too.
    """
    changes: list[str] = []
    real = botocore.client.BaseClient._make_api_call

    def call(self: Any, operation: str, given: Any) -> Any:
        answer = real(self, operation, given)
        if not operation.startswith(("Get", "List", "Describe")):
            changes.append(operation)
            if len(changes) == write + 1:
                raise Crash(operation)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.client.BaseClient, "_make_api_call", call)
        yield changes


def same_after_any_crash(prepare: Callable[[World], object], run: Callable[[], object]) -> None:
    """Crashes after each change in turn and runs again: all must end like one clean run."""
    with World() as clean:
        prepare(clean)
        run()
        expected = clean.state()
    for number in count():
        with World() as broken:
            prepare(broken)
            with suppress(Crash), crash_after(number) as changes:
                run()
            run()
            assert json.loads(broken.state()) == json.loads(expected), f"after change {number}, {changes[-1:]}"
        if len(changes) <= number:  # it ran through; how many changes there are depends on the clock's second
            break
    assert number
