"""Uploads and deletions -> executions: one for each content, and the newest content always gets its own."""

import json
import logging
from typing import Any

from lambdas import _cloud as cloud
from lambdas import _ledger as ledgers
from topx import paths

log = logging.getLogger(__name__)

SHOWN = 1000  # characters of a strange message in the log; it may have a million


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A batch of queue messages -> those that failed, for the queue to send again.

    A message only says which dataset to look at; what is there, the bucket says. `{"sweep": true}` looks at
    every dataset, for events that never came. What is no message at all is left out.
    """
    records = event.get("Records") if isinstance(event, dict) else None
    asked = {}
    for record in records if isinstance(records, list) else [event]:
        match record:
            case {"messageId": str(message), "body": str(body)}:
                asked[message] = named(body)
            case _:
                log.warning("event ignored: it is no message of a queue", extra={"body": str(record)[:SHOWN]})
    failed = {dataset for dataset in set().union(*asked.values()) if not looked(dataset)}
    again = [message for message, asks in asked.items() if not failed.isdisjoint(asks)]
    return {"batchItemFailures": [{"itemIdentifier": message} for message in again]}


def named(body: str) -> set[str]:
    """The datasets that a message is about; none for a message that is about nothing of ours."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):  # the second for brackets in brackets in brackets
        message = body
    match message:
        case {"sweep": True}:
            return set(cloud.datasets())
        case {"detail": {"object": {"key": str(key)}}} if key.count("/") > 1:
            found = {key.split("/")[1]} & set(cloud.datasets())
        case _:
            found = set()
    if not found:
        log.warning("message ignored: no dataset of this stage", extra={"body": body[:SHOWN]})
    return found


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
