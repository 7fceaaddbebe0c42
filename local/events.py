"""EventBridge as AWS does it: what S3 and Step Functions tell it, rules, targets, queues and pollers."""

import copy
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from jsonpath_ng.parser import parse

from local import moto_seams as moto
from local.moto_seams import ACCOUNT, REGION

if TYPE_CHECKING:
    from local.cloud import Cloud

S3_REASONS = {  # moto's event name, after "s3:" -> detail type, reason
    "ObjectCreated:Put": ("Object Created", "PutObject"),
    "ObjectCreated:Post": ("Object Created", "POST Object"),
    "ObjectCreated:Copy": ("Object Created", "CopyObject"),
    "ObjectCreated:CompleteMultipartUpload": ("Object Created", "CompleteMultipartUpload"),
    "ObjectRemoved:Delete": ("Object Deleted", "DeleteObject"),
    "ObjectRemoved:DeleteMarkerCreated": ("Object Deleted", "DeleteObject"),
}
POLL_SECONDS = 0.2


class Events:
    """The default bus of one cloud; targets are called from threads, as everything here is asynchronous."""

    def __init__(self, cloud: "Cloud") -> None:
        self._cloud = cloud
        self._sending = ThreadPoolExecutor(max_workers=8, thread_name_prefix="event")
        self._numbers = count(1)
        self._pollers: list[Thread] = []
        self.lost: list[str] = []  # deliveries that failed, for a person to see

    def put(self, source: str, detail_type: str, resources: list[str], detail: dict[str, Any]) -> None:
        """Puts one event of an AWS service on the bus."""
        event = {
            "version": "0",
            "id": str(uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": REGION,
            "resources": resources,
            "detail": detail,
        }
        for rule in list(moto.BUSES[ACCOUNT][REGION].event_buses["default"].rules.values()):
            rule.send_to_targets(event)

    def deliver(self, rule: Any, event: dict[str, Any]) -> None:
        """Sends an event to all targets of a rule that matches it."""
        pattern = rule.event_pattern
        if rule.state != "ENABLED" or not pattern.get_pattern() or not pattern.matches_event(event):
            return  # a rule without a pattern is a schedule
        for target in rule.targets:
            if not self._cloud.closing.is_set():
                self._sending.submit(self._send, rule.name, copy.deepcopy(target), copy.deepcopy(event))

    def poll(self, mapping: Any) -> None:
        """Starts what Lambda does for an event source mapping of a queue."""
        at_once = int((mapping.scaling_config or {}).get("MaximumConcurrency", 2))
        for _ in range(at_once):
            poller = Thread(target=self._poll, args=(mapping,), daemon=True)
            self._pollers.append(poller)
            poller.start()

    def of_object(self, name: str, bucket: Any, key: Any) -> None:
        """Tells the bus what happened to an object, in the shape in which S3 does."""
        configuration = bucket.notification_configuration
        if configuration is None or configuration.event_bridge is None or name not in S3_REASONS:
            return
        if name == "ObjectCreated:Put" and key.multipart is not None:
            return  # moto announces the parts put together and the completion; S3 only the second
        detail_type, reason = S3_REASONS[name]
        about = {"key": key.name, "version-id": key.version_id, "sequencer": f"{next(self._numbers):018X}"}
        detail = {
            "version": "0",
            "bucket": {"name": bucket.name},
            "object": about,
            "request-id": uuid4().hex[:16].upper(),
            "requester": bucket.account_id,
            "source-ip-address": "127.0.0.1",
            "reason": reason,
        }
        if detail_type == "Object Created":
            about |= {"size": key.size, "etag": key.etag.strip('"')}
        else:
            marked = name.endswith("DeleteMarkerCreated")
            detail["deletion-type"] = "Delete Marker Created" if marked else "Permanently Deleted"
        self.put("aws.s3", detail_type, [bucket.arn], detail)

    def of_execution(self, execution: Any) -> None:
        """Tells the bus the status of an execution."""

        def milliseconds(moment: datetime | None) -> int | None:
            return int(moment.timestamp() * 1000) if moment else None

        detail = {
            "executionArn": execution.exec_arn,
            "stateMachineArn": execution.state_machine.arn,
            "name": execution.name,
            "status": execution.status,
            "startDate": milliseconds(execution.start_date),
            "stopDate": milliseconds(execution.stop_date),
            "input": json.dumps(execution.input_data),
            "output": None if execution.output is None else json.dumps(execution.output),
            "inputDetails": {"included": True},
            "outputDetails": None if execution.output is None else {"included": True},
        }
        self.put("aws.states", "Step Functions Execution Status Change", [execution.exec_arn], detail)

    def close(self) -> None:
        """Ends all pollers; what is on its way is dropped, as AWS promises no delivery."""
        self._sending.shutdown(wait=False, cancel_futures=True)
        for poller in self._pollers:
            poller.join()

    def _send(self, rule: str, target: dict[str, Any], event: dict[str, Any]) -> None:
        arn, given = target["Arn"], transformed(target, event)
        service = arn.split(":")[2]
        try:
            if service == "sqs":
                url = self._cloud.client("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
                self._cloud.client("sqs").send_message(QueueUrl=url, MessageBody=given)
            elif service == "lambda":
                self._cloud.client("lambda").invoke(
                    FunctionName=arn, InvocationType="Event", Payload=given.encode()
                )
            elif service == "states":
                self._cloud.client("stepfunctions").start_execution(stateMachineArn=arn, input=given)
            elif service == "sns":
                self._cloud.client("sns").publish(TopicArn=arn, Message=given)
            else:
                self.lost.append(
                    f"rule {rule}: target {arn} is not emulated; there are sqs, lambda, states, sns"
                )
        except (ClientError, BotoCoreError) as error:
            self.lost.append(f"rule {rule}: {arn} refused the event: {error}")

    def _poll(self, mapping: Any) -> None:
        sqs = self._cloud.client("sqs")
        url = sqs.get_queue_url(QueueName=mapping.event_source_arn.rpartition(":")[2])["QueueUrl"]
        while not self._cloud.closing.wait(POLL_SECONDS):
            try:
                found = sqs.receive_message(
                    QueueUrl=url, MaxNumberOfMessages=min(10, mapping.batch_size), AttributeNames=["All"]
                ).get("Messages", [])
                if found:
                    self._handle(mapping, sqs, url, found)
            except (ClientError, BotoCoreError) as error:
                if not self._cloud.closing.is_set():
                    self.lost.append(f"queue {url}: {error}")

    def _handle(self, mapping: Any, sqs: Any, url: str, messages: list[dict[str, Any]]) -> None:
        records = [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message.get("Attributes", {}),
                "messageAttributes": {},
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": mapping.event_source_arn,
                "awsRegion": mapping.region,
            }
            for message in messages
        ]
        answer = self._cloud.client("lambda").invoke(
            FunctionName=mapping.function_arn, Payload=json.dumps({"Records": records}).encode()
        )
        body = json.load(answer["Payload"])
        if answer.get("FunctionError"):
            return  # all of them come back when their visibility timeout is over
        failed: set[str] = set()
        if "ReportBatchItemFailures" in (mapping.function_response_types or []):
            failed = {one["itemIdentifier"] for one in (body or {}).get("batchItemFailures", [])}
        for message in messages:
            if message["MessageId"] not in failed:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def transformed(target: dict[str, Any], event: dict[str, Any]) -> str:
    """The JSON text that a target gets: the event, a part of it, a constant, or a filled template."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(_at(target["InputPath"], event))
    if "InputTransformer" not in target:
        return json.dumps(event)
    transformer = target["InputTransformer"]
    values = {name: _at(path, event) for name, path in transformer.get("InputPathsMap", {}).items()}
    values["aws.events.event.json"] = event

    def fill(found: re.Match[str]) -> str:
        inside_quotes = found["text"] is not None
        if inside_quotes:
            return re.sub(r"<([^<>]+)>", lambda name: _as_text(values.get(name[1])), found[0])
        return json.dumps(values.get(found["name"]))

    return re.sub(r'(?P<text>"(?:[^"\\]|\\.)*")|<(?P<name>[^<>"]+)>', fill, transformer["InputTemplate"])


def _at(path: str, event: dict[str, Any]) -> Any:
    quoted = re.sub(
        r"\.([\w]+(?:-[\w]+)+)", r'."\1"', path
    )  # names with hyphens, which the parser reads as minus
    found = parse(quoted).find(event)
    return found[0].value if found else None


def _as_text(value: Any) -> str:
    """A value inside the quotes of a template."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return json.dumps(text)[1:-1]


def install(cloud: "Cloud", stack: ExitStack) -> Events:
    """Lets the bus, S3, executions and queues tell each other what happens, until `stack` closes."""
    events = Events(cloud)
    starts, ends = moto.EXECUTION_STARTS.original, moto.EXECUTION_ENDS.original
    marker, mapping = moto.S3_DELETE_MARKER.original, moto.CREATE_MAPPING.original

    def send_to_targets(self: Any, original_event: Any, transform_input: bool = True) -> None:
        events.deliver(self, original_event)

    def send_event(account_id: str, event_name: Any, bucket: Any, key: Any) -> None:
        events.of_object(event_name.value.removeprefix("s3:"), bucket, key)

    def set_delete_marker(self: Any, bucket_name: str, key_name: str) -> Any:
        made = marker(self, bucket_name, key_name)
        bucket = self.get_bucket(bucket_name)
        events.of_object("ObjectRemoved:DeleteMarkerCreated", bucket, made)
        return made

    def start(self: Any) -> None:
        starts(self)
        events.of_execution(self)

    def reflect_execution_status(self: Any) -> None:
        ends(self)
        events.of_execution(self.execution)

    def create_event_source_mapping(self: Any, spec: Any) -> Any:
        made = mapping(self, spec)
        for queue in moto.QUEUES[self.account_id][self.region_name].queues.values():
            # moto would call the function while a message is being sent, whatever its delay.
            queue.lambda_event_source_mappings.pop(made.function_arn, None)
        events.poll(made)
        return made

    moto.put(stack, moto.SEND_TO_TARGETS, send_to_targets)
    moto.put(stack, moto.S3_EVENT, send_event)
    moto.put(stack, moto.S3_DELETE_MARKER, set_delete_marker)
    moto.put(stack, moto.EXECUTION_STARTS, start)
    moto.put(stack, moto.EXECUTION_ENDS, reflect_execution_status)
    moto.put(stack, moto.CREATE_MAPPING, create_event_source_mapping)
    return events
