"""Queues as Lambda reads them: pollers, batches, what comes back. moto's SQS does delays and dead letters."""

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Thread
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local import bus
from local import moto_seams as moto
from local.functions import LARGEST
from local.iam.needs import Refused
from local.moto_seams import ACCOUNT, REGION

if TYPE_CHECKING:
    from local.cloud import Cloud

POLL_SECONDS = 0.2
PAUSE_SECONDS = 2.0  # after a queue or its function could not be reached
POLLERS = 2  # of a mapping without MaximumConcurrency; AWS begins with five
BESIDE_BODY = 16 * 1024  # bytes of a record that are not its body, at most; senders' attributes are small
ATTRIBUTES = ("ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp")


class Queues:
    """The pollers of all event source mappings of one cloud."""

    def __init__(self, cloud: "Cloud") -> None:
        self._cloud = cloud
        self._pollers: list[Thread] = []

    def poll(self, mapping: moto.Mapping) -> None:
        """Starts bringing a queue's messages to its function."""
        for _ in range(int((mapping.scaling_config or {}).get("MaximumConcurrency", POLLERS))):
            poller = Thread(target=self._poll, args=(mapping,), daemon=True)
            self._pollers.append(poller)
            poller.start()

    def close(self) -> None:
        """Waits for the end of all pollers, which comes when the cloud closes."""
        for poller in self._pollers:
            poller.join()

    def _poll(self, mapping: moto.Mapping) -> None:
        name, pause = mapping.event_source_arn.rpartition(":")[2], POLL_SECONDS
        attributes = ["VisibilityTimeout"]
        while not self._cloud.closing.wait(pause):
            pause = POLL_SECONDS
            try:
                url = self._cloud.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
                sqs = self._cloud.client("sqs", _role(mapping), of=mapping.function_arn)
                if attributes:  # looked at first, with the function's own rights as all that follows
                    sqs.get_queue_attributes(QueueUrl=url, AttributeNames=attributes)
                    attributes = []
                found = sqs.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=min(bus.LARGEST_BATCH, mapping.batch_size),
                    AttributeNames=["All"],
                    MessageAttributeNames=["All"],
                ).get("Messages", [])
                for batch in batches(found):
                    self._handle(mapping, sqs, url, batch)
            except (ClientError, BotoCoreError, Refused) as error:
                pause = PAUSE_SECONDS
                self._cloud.events.lose(f"queue {name}: {error}")

    def _handle(self, mapping: moto.Mapping, sqs: Any, url: str, messages: list[dict[str, Any]]) -> None:
        records = [record(mapping.event_source_arn, message) for message in messages]
        answer = self._cloud.client("lambda").invoke(
            FunctionName=mapping.function_arn, Payload=json.dumps({"Records": records}).encode()
        )
        body = json.load(answer["Payload"])
        if answer.get("FunctionError"):
            return  # all of them come back when their visibility timeout is over
        partial = "ReportBatchItemFailures" in (mapping.function_response_types or [])
        failed = failures(body, {message["MessageId"] for message in messages}) if partial else set()
        for message in messages:
            if message["MessageId"] not in failed:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def batches(messages: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The messages in calls of a function that are not too large, which ten large messages would be."""
    batch: list[dict[str, Any]] = []
    size = 0
    for message in messages:
        bytes_in_json = len(json.dumps(message["Body"])) + BESIDE_BODY
        if batch and size + bytes_in_json > LARGEST["RequestResponse"]:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += bytes_in_json
    if batch:
        yield batch


def _role(mapping: moto.Mapping) -> str:
    """The role of the function that a queue is mapped to; raises Refused where the function is gone."""
    for function in moto.FUNCTIONS[ACCOUNT][REGION].list_functions():
        if function.function_arn == mapping.function_arn:
            return str(function.role)
    raise Refused(f"Function not found: {mapping.function_arn}")


def record(queue: str, message: dict[str, Any]) -> dict[str, Any]:
    """A message as Lambda hands it to a function."""
    attributes, own = message.get("Attributes", {}), message.get("MessageAttributes", {})
    digest = {"md5OfMessageAttributes": message["MD5OfMessageAttributes"]} if own else {}
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": {name: attributes[name] for name in ATTRIBUTES if name in attributes},
        "messageAttributes": {name: _attribute(one) for name, one in own.items()},
        **digest,
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue,
        "awsRegion": queue.split(":")[3],
    }


def _attribute(one: dict[str, Any]) -> dict[str, Any]:
    """A sender's attribute of a message; lists are reserved by SQS and stay empty."""
    text, binary = one.get("StringValue"), one.get("BinaryValue")
    value = {"binaryValue": base64.b64encode(binary).decode()} if binary is not None else {"stringValue": text}
    return {**value, "stringListValues": [], "binaryListValues": [], "dataType": one["DataType"]}


def failures(answer: Any, batch: set[str]) -> set[str]:
    """The message ids of a batch that come again; all of them where the answer cannot be read, as on AWS."""
    match answer:
        case None | {"batchItemFailures": None}:
            return set()
        case {"batchItemFailures": list(items)}:
            ids = [item.get("itemIdentifier") if isinstance(item, dict) else None for item in items]
            return (
                {str(one) for one in ids}
                if all(isinstance(one, str) and one in batch for one in ids)
                else batch
            )
        case dict() if not answer:
            return set()
    return batch


def install(cloud: "Cloud", stack: ExitStack) -> Queues:
    """Lets queues call the functions that are mapped to them, until `stack` closes."""
    queues = Queues(cloud)
    create = moto.CREATE_MAPPING.original

    def create_event_source_mapping(self: Any, spec: Any) -> Any:
        made = create(self, spec)
        for queue in moto.QUEUES[self.account_id][self.region_name].queues.values():
            # moto would call the function while a message is being sent, whatever its delay.
            queue.lambda_event_source_mappings.pop(made.function_arn, None)
        queues.poll(made)
        return made

    moto.put(stack, moto.CREATE_MAPPING, create_event_source_mapping)
    return queues
