"""What S3 and Step Functions say in their events: names, order and values of the fields, as AWS sends them.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from local import moto_seams as moto
from local.moto_seams import ACCOUNT, REGION
from local.runtime import refuse_constant

CREATED = {  # moto's event -> the reason that S3 gives
    "s3:ObjectCreated:Put": "PutObject",
    "s3:ObjectCreated:Post": "POST Object",
    "s3:ObjectCreated:Copy": "CopyObject",
    "s3:ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
}
LIFECYCLE = "Lifecycle Expiration"
NOTHING = "d41d8cd98f00b204e9800998ecf8427e"  # MD5 of no bytes: a delete marker's etag
LONGEST = 248 * 1024  # bytes of an execution's input and output, escaped, that an event has room for
LARGEST = 2**20  # bytes that all entries of one PutEvents stay below
MALFORMED = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}


def event(
    source: str, detail_type: str, resources: list[str], detail: dict[str, Any], at: float | None = None
) -> dict[str, Any]:
    """An event as it comes to a rule; `at` is its time in epoch seconds, now if None."""
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": f"{_moment(at):%Y-%m-%dT%H:%M:%SZ}",
        "region": REGION,
        "resources": resources,
        "detail": detail,
    }


def refused(entry: dict[str, Any]) -> dict[str, str] | None:
    """What PutEvents answers to an entry that cannot be an event; None for a good one."""
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            return _invalid(name, f"{name} is a required argument.")
        if not _is_text(entry[name]):
            return _invalid(name, "it holds half of a surrogate pair.")
    try:
        _moment(entry.get("Time"))
    except (ValueError, OverflowError, OSError):
        return _invalid("Time", "it is no time; give epoch seconds.")
    if entry["Source"].startswith("aws."):
        return {
            "ErrorCode": "NotAuthorizedForSourceException",
            "ErrorMessage": "Not authorized for the source.",
        }
    try:
        detail = json.loads(entry["Detail"], parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        detail = None
    return None if isinstance(detail, dict) else MALFORMED


def _invalid(name: str, reason: str) -> dict[str, str]:
    text = f"Parameter {name} is not valid. Reason: {reason}"
    return {"ErrorCode": "InvalidArgument", "ErrorMessage": text}


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _moment(at: Any) -> datetime:
    """A time of PutEvents, now if None; raises ValueError, OverflowError or OSError where it is none."""
    return datetime.now(UTC) if at is None else datetime.fromtimestamp(float(at), UTC)


def size(entry: dict[str, Any]) -> int:
    """Bytes that an entry of PutEvents counts: 14 for a time, and UTF-8 of its texts."""
    texts = [
        *(entry.get(name) or "" for name in ("Source", "DetailType", "Detail")),
        *(entry.get("Resources") or ()),
    ]
    return 14 * ("Time" in entry) + sum(len(text.encode(errors="surrogatepass")) for text in texts)


def created(
    reason: str, bucket: moto.Bucket, key: moto.Key, sequencer: str, tags: dict[str, str]
) -> dict[str, Any]:
    """The event of a version of an object that is there now; `tags` are those that AWS gave the bucket."""
    about = {"key": key.name, "size": key.size, "etag": key.etag.strip('"')}
    if bucket.is_versioned:
        about["version-id"] = key.version_id
    about["sequencer"] = sequencer
    if reason == "CopyObject":
        about["has-object-annotation"] = False
    return event("aws.s3", "Object Created", [bucket.arn], _of_object(bucket, tags, about, reason))


def deleted(
    bucket: moto.Bucket,
    key: str,
    version: str | None,
    sequencer: str,
    tags: dict[str, str],
    *,
    marker: bool,
    reason: str,
) -> dict[str, Any]:
    """The event of a version that is gone for ever, or of a delete marker that lies above the others now."""
    about = {"key": key}
    if marker:
        about["etag"] = NOTHING
    if version:
        about["version-id"] = version
    about["sequencer"] = sequencer
    detail = _of_object(bucket, tags, about, reason)
    detail["deletion-type"] = "Delete Marker Created" if marker else "Permanently Deleted"
    return event("aws.s3", "Object Deleted", [bucket.arn], detail)


def _of_object(bucket: moto.Bucket, tags: dict[str, str], about: dict[str, Any], reason: str) -> dict[str, Any]:
    asked = {"requester": ACCOUNT, "source-ip-address": "127.0.0.1"}
    return {
        "version": "0",
        "event-version": "1.1",
        "bucket": {"name": bucket.name, **({"aws-generated-tags": tags} if tags else {})},
        "object": about,
        "request-id": uuid4().hex[:16].upper(),
        **({"requester": "s3.amazonaws.com"} if reason == LIFECYCLE else asked),
        "reason": reason,
    }


def of_execution(execution: moto.Execution) -> dict[str, Any]:
    """The event of an execution's new status; a long input is left out, and then a long output."""
    said = execution.to_describe_output()  # redrive.py adds its part
    given, output = said["input"], said.get("output")
    size, output_size = len(json.dumps(given)), len(json.dumps(output)) if output else 0
    input_fits, output_fits = size + output_size <= LONGEST, output_size <= LONGEST
    detail = {
        "executionArn": said["executionArn"],
        "stateMachineArn": said["stateMachineArn"],
        "name": said["name"],
        "status": said["status"],
        "startDate": _milliseconds(said["startDate"]),
        "stopDate": _milliseconds(said.get("stopDate")),
        "input": given if input_fits else None,
        "output": output if output_fits else None,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "redriveCount": said["redriveCount"],
        "redriveDate": _milliseconds(said.get("redriveDate")),
        "redriveStatus": said["redriveStatus"],
        "redriveStatusReason": said.get("redriveStatusReason"),
        "inputDetails": {"included": input_fits},
        "outputDetails": {"included": output_fits} if output else None,
        "error": said.get("error"),
        "cause": said.get("cause"),
    }
    return event("aws.states", "Step Functions Execution Status Change", [said["executionArn"]], detail)


def _milliseconds(moment: datetime | None) -> int | None:
    return int(moment.timestamp() * 1000) if moment else None
