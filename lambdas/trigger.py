"""Uploads and deletions -> executions: one for each content, and the newest content always gets its own."""

import json
import logging
from typing import Any

from lambdas import _cloud as cloud
from lambdas import _ledger as ledgers
from topx import paths

log = logging.getLogger(__name__)

SHOWN = 1000  # ASCII characters of a strange message in the log, which takes no halves of surrogate pairs


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A batch of queue messages -> those that failed, for the queue to send again.

    A message only says which dataset to look at; what is there, the bucket says. `{"sweep": true}` looks at
    every dataset, for events that never came. What is neither that nor S3's event of our bucket is left out.
    """
    records = event.get("Records") if isinstance(event, dict) else None
    asked: dict[str, set[str]] = {}
    for record in records if isinstance(records, list) else [event]:
        match record:
            case {"messageId": str(message), "body": str(body)}:
                asked[message] = asked.get(message, set()) | named(body)
            case _:
                log.warning("event ignored: it is no message of a queue", extra={"body": ascii(record)[:SHOWN]})
    failed = {dataset for dataset in set().union(*asked.values()) if not looked(dataset)}
    again = [message for message, asks in asked.items() if not failed.isdisjoint(asks)]
    return {"batchItemFailures": [{"itemIdentifier": message} for message in again]}


def named(body: str) -> set[str]:
    """The datasets that a message is about; none for a message that is about nothing of ours."""
    try:
        message = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):  # the second for brackets in brackets in brackets
        message = None
    _, _, _, region, account, *_ = cloud.env("MACHINE").split(":")
    found = set()
    match message:
        case {"sweep": True}:
            return set(cloud.datasets())
        case {
            "source": "aws.s3",
            "detail-type": "Object Created" | "Object Deleted",
            "detail": {"bucket": {"name": bucket}, "object": {"key": str(key)}},
        } if (message.get("account"), message.get("region"), bucket) == (account, region, cloud.env("UPLOADS")):
            folders = {name: (paths.uploads(name), paths.tests(name)) for name in cloud.datasets()}
            found = {name for name, prefixes in folders.items() if key.startswith(prefixes)}
    if not found:
        log.warning("message ignored: no dataset of this stage", extra={"body": ascii(body)[:SHOWN]})
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def looked(dataset: str) -> bool:
    """Looks at the bucket and starts what waits; False when AWS did not let us."""
    machine = cloud.env("MACHINE")
    try:
        while True:
            before = cloud.ledger(dataset)
            files = cloud.current(paths.uploads(dataset))
            if not files:
                log.info("no files, nothing to run", extra={"dataset": dataset})
                return True
            content = ledgers.content([*files, *cloud.current(paths.tests(dataset))])
            after = ledgers.assigned(ledgers.noted(before, content), machine)
            if cloud.swap(before, after):
                break
        cloud.start_waiting(after, machine)
    except cloud.CLOUD_ERRORS:
        log.exception("could not look", extra={"dataset": dataset})
        return False
    return True
