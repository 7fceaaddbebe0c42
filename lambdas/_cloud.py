"""What the doors ask of AWS: files, the ledger, executions, items, quotas. All boto3 stands here.

Clients are made once per container. The environment is read at each call.
"""

import json
import logging
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from decimal import Decimal
from functools import cache
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lambdas._ledger import Ledger, Live, Running, Wanted, execution_name
from topx.plan import File

log = logging.getLogger(__name__)

CLOUD_ERRORS = (ClientError, BotoCoreError)  # AWS refused or could not be reached
ALIVE = {"RUNNING", "PENDING_REDRIVE"}  # of an execution that has not ended
PARTS = {"wanted": Wanted, "running": Running, "live": Live}
# For callers that bring their own threads. A shard goes in one request: it is far below the 5 GB that S3 takes.
ONE_THREAD = TransferConfig(use_threads=False, multipart_threshold=2**29)


@cache
def client(service: str) -> Any:
    """The client of an AWS service, one per container."""
    return boto3.client(service, config=Config(retries={"mode": "standard", "max_attempts": 6}))


def env(name: str) -> str:
    """A variable of the function's environment, without its prefix TOPX_."""
    return os.environ[f"TOPX_{name}"]


def datasets() -> list[str]:
    """The datasets of this stage; the first is the default."""
    return env("DATASETS").split(",")


def console(arn: str, path: str) -> str:
    """The address of a console page in the partition and Region of an ARN."""
    _, partition, _, region, *_ = arn.split(":")
    hosts = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}
    return f"https://{region}.{hosts.get(partition, 'console.aws.amazon.com')}/{path}"


# Files


def current(prefix: str) -> list[File]:
    """The current objects below a prefix of the Uploads bucket, by key.

    Left out: folder markers, names that begin with a dot, and Spark's `_SUCCESS`.
    """
    pages = client("s3").get_paginator("list_object_versions").paginate(Bucket=env("UPLOADS"), Prefix=prefix)
    found = [
        File(key=one["Key"], version=one["VersionId"], bytes=one["Size"])
        for page in pages
        for one in page.get("Versions", ())
        if one["IsLatest"] and not _hidden(one["Key"].removeprefix(prefix))
    ]
    return sorted(found, key=lambda file: file.key)


def _hidden(name: str) -> bool:
    parts = name.split("/")
    dotted = any(part.startswith(".") and part not in {".", ".."} for part in parts)
    return dotted or parts[-1] in {"", "_SUCCESS"}


def keys(prefix: str) -> list[str]:
    """The keys below a prefix of the Runs bucket, sorted."""
    pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=env("RUNS"), Prefix=prefix)
    return sorted(one["Key"] for page in pages for one in page.get("Contents", ()))


def folders(prefix: str) -> list[str]:
    """The names of the folders right below a prefix of the Runs bucket."""
    pager = client("s3").get_paginator("list_objects_v2")
    pages = pager.paginate(Bucket=env("RUNS"), Prefix=prefix, Delimiter="/")
    found = (one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ()))
    return [folder.removeprefix(prefix).rstrip("/") for folder in found]


def write_json(key: str, value: Mapping[str, Any]) -> None:
    """Puts one JSON object into the Runs bucket."""
    body = json.dumps(value, ensure_ascii=False, indent=1).encode()
    client("s3").put_object(Bucket=env("RUNS"), Key=key, Body=body, ContentType="application/json")


# The ledger


def ledger(dataset: str) -> Ledger:
    """The dataset's item as it is now, with those of its executions that are running."""
    found = _item(env("LEDGER"), {"dataset": dataset}) or {}
    read = Ledger(dataset=dataset, item=found, **_parts(found))
    named = {part.execution for part in (read.wanted, read.running) if part and part.execution}
    alive = frozenset(arn for arn in named if (status := execution(arn)) and status["status"] in ALIVE)
    return replace(read, read_at=int(time.time()), alive=alive)


def live(dataset: str) -> Live | None:
    """What is published of a dataset, None before its first publication."""
    found: Live | None = _parts(_item(env("LEDGER"), {"dataset": dataset}) or {}).get("live")
    return found


def _parts(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: PARTS[name](
            **{key: int(value) if isinstance(value, Decimal) else value for key, value in part.items()}
        )
        for name, part in unpacked(found).items()
        if name in PARTS
    }


def swap(before: Ledger, after: Ledger) -> bool:
    """Writes what changed; False, and nothing written, when the item is no longer as it was read."""
    sets, removes, conditions = [], [], []
    values = {}
    for name in PARTS:
        old, new = getattr(before, name), getattr(after, name)
        conditions.append(f"#{name} = :{name}" if name in before.item else f"attribute_not_exists(#{name})")
        if name in before.item:
            values[f":{name}"] = before.item[name]
        if new != old and new is not None:
            sets.append(f"#{name} = :new_{name}")
            given = {key: value for key, value in asdict(new).items() if value is not None}
            values[f":new_{name}"] = TypeSerializer().serialize(given)
        elif new != old:
            removes.append(f"#{name}")
    if not sets and not removes:
        return True
    try:
        client("dynamodb").update_item(
            TableName=env("LEDGER"),
            Key={"dataset": {"S": before.dataset}},
            UpdateExpression=" ".join(
                f"{verb} {', '.join(parts)}" for verb, parts in (("SET", sets), ("REMOVE", removes)) if parts
            ),
            ConditionExpression=" AND ".join(conditions),
            ExpressionAttributeNames={f"#{name}": name for name in PARTS},
            ExpressionAttributeValues=values,
        )
    except client("dynamodb").exceptions.ConditionalCheckFailedException:
        return False
    return True


# Executions


def execution(arn: str) -> dict[str, Any] | None:
    """What Step Functions says about an execution, None where there is none of this name."""
    try:
        described: dict[str, Any] = client("stepfunctions").describe_execution(executionArn=arn)
    except client("stepfunctions").exceptions.ExecutionDoesNotExist:
        return None
    return described


def start_waiting(ledger: Ledger, machine: str) -> None:
    """Starts the execution of what waits, if anything does; one that was started before is left alone."""
    waiting = ledger.waiting
    if waiting is None:
        return
    states = client("stepfunctions")
    name = execution_name(ledger.dataset, waiting)
    given = json.dumps({"dataset": ledger.dataset})
    try:
        states.start_execution(stateMachineArn=machine, name=name, input=given)
    except states.exceptions.ExecutionAlreadyExists:
        return
    log.info("started", extra={"execution": name})


def last_events(arn: str) -> list[dict[str, Any]]:
    """The last events of an execution's history, the newest first."""
    history = client("stepfunctions").get_execution_history
    events = history(executionArn=arn, reverseOrder=True, maxResults=100)["events"]
    return sorted(events, key=lambda event: -event["id"])


def tell(subject: str, text: str) -> None:
    """Sends a message to the stage's topic."""
    client("sns").publish(TopicArn=env("TOPIC"), Subject=subject, Message=text)


# Items


def item(table: str, key: Mapping[str, str]) -> dict[str, Any] | None:
    """One item of a table as plain values (numbers as Decimal), read consistently."""
    found = _item(table, key)
    return None if found is None else unpacked(found)


def _item(table: str, key: Mapping[str, str]) -> dict[str, Any] | None:
    packed = {name: {"S": value} for name, value in key.items()}
    found: dict[str, Any] | None = (
        client("dynamodb").get_item(TableName=table, Key=packed, ConsistentRead=True).get("Item")
    )
    return found


def unpacked(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values from DynamoDB's typed JSON."""
    read = TypeDeserializer()
    return {name: read.deserialize(value) for name, value in typed.items()}


# Quotas


def quotas(names: Collection[str]) -> dict[str, tuple[float, str]]:
    """(value, code) of those SageMaker quotas that are known in this Region, by name.

    The applied list leaves out quotas that only have a default: those come from the list of defaults.
    """
    service = client("service-quotas")
    found: dict[str, tuple[float, str]] = {}
    for operation in ("list_service_quotas", "list_aws_default_service_quotas"):
        pages = service.get_paginator(operation).paginate(
            ServiceCode="sagemaker", PaginationConfig={"PageSize": 100}
        )
        try:
            for page in pages:
                for one in page["Quotas"]:
                    if one["QuotaName"] in names and one.get("Value") is not None:
                        found.setdefault(one["QuotaName"], (one["Value"], one["QuotaCode"]))
                if len(found) == len(set(names)):
                    return found
        except service.exceptions.NoSuchResourceException:
            continue
    return found
