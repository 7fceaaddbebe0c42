"""Events as AWS sends them: what S3, Step Functions and schedules say, what rules take, how queues go on."""

import json
import random
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import bus, news, queues
from local.assembly import Stack
from local.moto_seams import ACCOUNT, BUCKETS, BUSES, REGION
from tests.local.conftest import Small, deploy, function, machine, wait
from tests.local.contracts import contract

EVENT = ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"]
DETAIL = [
    "version",
    "event-version",
    "bucket",
    "object",
    "request-id",
    "requester",
    "source-ip-address",
    "reason",
]


def rule(pattern: dict[str, Any], **target: Any) -> dict[str, Any]:
    """A template's rule whose target is its queue."""
    to = {"Id": "queue", "Arn": {"Fn::GetAtt": ["Queue", "Arn"]}, **target}
    return {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": pattern, "Targets": [to]}}


def queue_of(small: Small, name: str, one: dict[str, Any], **properties: Any) -> str:
    """URL of a queue that gets what a rule sends."""
    queue = {"Type": "AWS::SQS::Queue", "Properties": properties}
    return deploy(small.cloud, name, {"Queue": queue, "Rule": one})["Queue"]


def receive(small: Small, url: str) -> list[Any]:
    """Bodies of the messages that came."""
    found = small.cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in found]


def heard(small: Small, url: str, number: int) -> list[Any]:
    """That many events, and whatever else comes in half a second."""
    events: list[Any] = []
    wait(lambda: len(events.extend(receive(small, url)) or events) >= number or None)  # type: ignore[func-returns-value]
    time.sleep(0.5)
    return events + receive(small, url)


def of_bucket(small: Small, name: str, prefix: str) -> str:
    """URL of a queue that hears what happens below a prefix of the bucket."""
    return queue_of(
        small, name, rule({"source": ["aws.s3"], "detail": {"object": {"key": [{"prefix": prefix}]}}})
    )


def details(events: list[Any]) -> list[Any]:
    """Details of S3's events in the order in which S3 says that they happened."""
    return sorted((event["detail"] for event in events), key=lambda detail: detail["object"]["sequencer"])


@contract("S3_EVENT", "SEND_TO_TARGETS", "BUSES")
def test_s3_announces_each_way_to_create_an_object_once(small: Small) -> None:
    s3, where = small.cloud.client("s3"), {"Bucket": small.names["Bucket"]}
    url = of_bucket(small, "created", "made/")
    key = "made/é + %20.csv"
    put = s3.put_object(**where, Key=key, Body=b"1,2\n")
    s3.put_object(**where, Key="elsewhere.csv", Body=b"1,2\n")
    s3.copy_object(**where, Key="made/copy.csv", CopySource={**where, "Key": key})
    upload = s3.create_multipart_upload(**where, Key="made/parts.csv")["UploadId"]
    part = {"Key": "made/parts.csv", "UploadId": upload}
    etag = s3.upload_part(**where, **part, PartNumber=1, Body=b"3,4\n")["ETag"]
    parts = {"Parts": [{"ETag": etag, "PartNumber": 1}]}
    whole = s3.complete_multipart_upload(**where, **part, MultipartUpload=parts)
    s3.copy_object(**where, Key="made/parts-copy.csv", CopySource={**where, "Key": "made/parts.csv"})
    events = heard(small, url, 4)
    first, copy, multipart, again = details(events)
    assert [one["reason"] for one in (first, copy, multipart, again)] == [
        *("PutObject", "CopyObject", "CompleteMultipartUpload", "CopyObject")
    ]
    assert list(first) == DETAIL
    assert list(first["object"]) == ["key", "size", "etag", "version-id", "sequencer"]
    sequencer = first["object"].pop("sequencer")
    assert first["object"] == {
        "key": key,  # as it is: only notifications that S3 sends by itself encode it
        "size": 4,
        "etag": put["ETag"].strip('"'),
        "version-id": put["VersionId"],
    }
    assert len(sequencer) == 18
    assert abs(int(sequencer[:10], 16) - time.time()) < 60
    assert multipart["object"]["etag"] == whole["ETag"].strip('"')
    assert copy["object"]["has-object-annotation"] is False
    event = next(one for one in events if one["detail"]["reason"] == "PutObject")
    assert list(event) == EVENT
    assert (event["source"], event["detail-type"]) == ("aws.s3", "Object Created")
    assert event["resources"] == [f"arn:aws:s3:::{where['Bucket']}"]
    time.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")
    assert len({one["id"] for one in events}) == 4


@contract("S3_DELETE")
def test_s3_announces_each_deleted_version_and_each_marker(small: Small) -> None:
    s3, where = small.cloud.client("s3"), {"Bucket": small.names["Bucket"]}
    versions = [s3.put_object(**where, Key=f"gone/{one}", Body=b"1")["VersionId"] for one in "aab"]
    url = of_bucket(small, "deleted", "gone/")
    marked = s3.delete_objects(**where, Delete={"Objects": [{"Key": "gone/a"}, {"Key": "gone/b"}]})["Deleted"]
    s3.delete_object(**where, Key="gone/a", VersionId=versions[0])
    s3.delete_object(**where, Key="gone/a", VersionId=marked[0]["DeleteMarkerVersionId"])
    s3.delete_object(**where, Key="gone/a", VersionId="no-such-version")
    events = heard(small, url, 4)
    first, second, version, marker = details(events)
    assert {event["detail-type"] for event in events} == {"Object Deleted"}
    assert list(first) == [*DETAIL, "deletion-type"]
    for found, told in zip((first, second), marked, strict=True):
        assert found["deletion-type"] == "Delete Marker Created"
        assert list(found["object"]) == ["key", "etag", "version-id", "sequencer"]
        assert found["object"]["key"] == told["Key"]
        assert found["object"]["version-id"] == told["DeleteMarkerVersionId"]
        assert found["object"]["etag"] == "d41d8cd98f00b204e9800998ecf8427e"
    assert version["deletion-type"] == marker["deletion-type"] == "Permanently Deleted"
    assert list(version["object"]) == ["key", "version-id", "sequencer"]
    assert version["object"]["version-id"] == versions[0]
    assert marker["object"]["version-id"] == first["object"]["version-id"]


def test_a_bucket_without_versions_names_none(small: Small) -> None:
    told = {"NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}}
    bucket = {"Type": "AWS::S3::Bucket", "Properties": told}
    names = deploy(
        small.cloud,
        "plain",
        {"Plain": bucket, "Queue": {"Type": "AWS::SQS::Queue"}, "Rule": rule({"source": ["aws.s3"]})},
    )
    s3, where = small.cloud.client("s3"), {"Bucket": names["Plain"], "Key": "a"}
    s3.put_object(**where, Body=b"1")
    s3.delete_object(**where)
    s3.delete_object(**where)  # nothing is there any more, so nothing happens
    created, deleted = details(heard(small, names["Queue"], 2))
    assert "version-id" not in created["object"]
    assert list(deleted["object"]) == ["key", "sequencer"]
    assert deleted["deletion-type"] == "Permanently Deleted"


def test_what_a_lifecycle_rule_deletes_is_told_as_its_own(small: Small) -> None:
    url = of_bucket(small, "expired", "old/")
    bucket: Any = BUCKETS[ACCOUNT]["aws"].get_bucket(small.names["Bucket"])
    small.cloud.events.deleted(bucket, "old/a", "v1", marker=False, reason=news.LIFECYCLE)
    [event] = heard(small, url, 1)
    assert event["detail"]["requester"] == "s3.amazonaws.com"
    assert "source-ip-address" not in event["detail"]
    assert event["detail"]["reason"] == "Lifecycle Expiration"


def execution(small: Small, name: str, state: dict[str, Any], given: str = "{}") -> tuple[Any, list[Any]]:
    """The description of an ended execution, and the two events of it in order."""
    names = deploy(
        small.cloud,
        name,
        {
            "Machine": machine({"StartAt": "Do", "States": {"Do": state}}),
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Rule": rule({"source": ["aws.states"], "detail": {"stateMachineArn": [{"Ref": "Machine"}]}}),
        },
    )
    states = small.cloud.client("stepfunctions")
    arn = states.start_execution(stateMachineArn=names["Machine"], input=given)["executionArn"]
    done = small.ended(arn)
    return done, sorted(heard(small, names["Queue"], 2), key=lambda event: event["detail"]["stopDate"] or 0)


@contract("EXECUTION_STARTS", "EXECUTION_ENDS")
def test_the_bus_hears_how_an_execution_starts_and_ends(small: Small) -> None:
    failing = {"Type": "Fail", "Error": "JobStopped", "Cause": "too long"}
    done, (start, end) = execution(small, "failing", failing, '{"a": 1}')
    assert list(start) == EVENT
    assert start["detail-type"] == end["detail-type"] == "Step Functions Execution Status Change"
    assert start["resources"] == [done["executionArn"]]
    assert list(start["detail"].items()) == [
        ("executionArn", done["executionArn"]),
        ("stateMachineArn", done["stateMachineArn"]),
        ("name", done["name"]),
        ("status", "RUNNING"),
        ("startDate", int(done["startDate"].timestamp() * 1000)),
        ("stopDate", None),
        ("input", '{"a":1}'),
        ("output", None),
        ("stateMachineVersionArn", None),
        ("stateMachineAliasArn", None),
        ("redriveCount", 0),
        ("redriveDate", None),
        ("redriveStatus", "NOT_REDRIVABLE"),
        ("redriveStatusReason", "Execution is RUNNING and cannot be redriven"),
        ("inputDetails", {"included": True}),
        ("outputDetails", None),
        ("error", None),
        ("cause", None),
    ]
    changed = {name: value for name, value in end["detail"].items() if value != start["detail"][name]}
    assert changed == {
        "status": "FAILED",
        "stopDate": int(done["stopDate"].timestamp() * 1000),
        "redriveStatus": "REDRIVABLE",
        "redriveStatusReason": None,
        "error": "JobStopped",
        "cause": "too long",
    }


def test_a_long_input_is_left_out_before_a_long_output(small: Small) -> None:
    given = json.dumps({"a": "x" * (news.LONGEST // 2)})
    _, (_, end) = execution(small, "long", {"Type": "Pass", "End": True}, given)
    assert (end["detail"]["input"], end["detail"]["inputDetails"]) == (None, {"included": False})
    assert len(end["detail"]["output"]) > news.LONGEST // 2
    assert end["detail"]["outputDetails"] == {"included": True}


def test_a_schedule_fires_when_its_period_is_over(small: Small) -> None:
    scheduled = rule({}, Input='{"sweep": true}')
    del scheduled["Properties"]["EventPattern"]
    scheduled["Properties"]["ScheduleExpression"] = "rate(1 hour)"
    url = queue_of(small, "sweeps", scheduled)
    time.sleep(1)
    assert receive(small, url) == []
    small.cloud.events.haste = 3600 / 1.5
    found = wait(lambda: receive(small, url) or None)
    small.cloud.events.haste = 1.0
    assert found[0] == {"sweep": True}


@contract("PUT_EVENTS")
def test_anybody_s_event_reaches_the_rules_and_nobody_speaks_for_aws(small: Small) -> None:
    url = queue_of(small, "anybody", rule({"detail-type": ["Object Created"]}))
    bus_of_all = small.cloud.client("events")
    good = {"Source": "my.app", "DetailType": "Object Created", "Detail": '{"n": 1}', "Resources": ["r"]}
    told = bus_of_all.put_events(
        Entries=[
            {**good, "Time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)},
            {**good, "Source": "aws.s3"},
            {**good, "Detail": "[1]"},
            {**good, "Detail": "{"},
            {**good, "DetailType": ""},
        ]
    )
    assert told["FailedEntryCount"] == 4
    codes = [one.get("ErrorCode") for one in told["Entries"]]
    malformed = ["MalformedDetail"] * 2
    assert codes == [None, "NotAuthorizedForSourceException", *malformed, "InvalidArgument"]
    [event] = heard(small, url, 1)
    assert list(event) == EVENT
    assert event["id"] == told["Entries"][0]["EventId"]
    assert (event["source"], event["time"], event["detail"]) == ("my.app", "2026-01-02T03:04:05Z", {"n": 1})
    for entry, text in (
        ({**good, "Detail": json.dumps({"n": "é" * news.LARGEST})}, "over the limit"),
        ({**good, "EventBusName": "other"}, "not emulated locally: event bus other"),
    ):
        with pytest.raises(ClientError, match=text):
            bus_of_all.put_events(Entries=[entry])


def test_a_disabled_rule_is_silent(small: Small) -> None:
    silent = rule({"source": ["test"]})
    silent["Properties"]["State"] = "DISABLED"
    url = queue_of(small, "silent", silent)
    small.cloud.events.put(news.event("test", "Made", [], {}))
    time.sleep(0.5)
    assert receive(small, url) == []


@contract("Pattern")
@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ({"text": ["abc"]}, True),
        ({"text": [None, "b"]}, False),
        ({"text": [{"prefix": "ab"}]}, True),
        ({"text": [{"prefix": {"equals-ignore-case": "AB"}}]}, True),
        ({"text": [{"suffix": "ab"}]}, False),
        ({"text": [{"equals-ignore-case": "ABC"}]}, True),
        ({"text": [{"anything-but": ["abc", "d"]}]}, False),
        ({"text": [{"anything-but": {"prefix": "d"}}]}, True),
        ({"text": [{"wildcard": "a*c"}]}, True),
        ({"none": [{"exists": False}]}, True),
        ({"number": [{"numeric": [">", 4, "<=", 5]}]}, True),
        ({"number": [{"numeric": ["<", 5]}]}, False),
        ({"address": [{"cidr": "10.0.0.0/24"}]}, True),
        ({"$or": [{"text": ["d"]}, {"number": [5]}]}, True),
        ({"list": ["b"]}, True),
    ],
)
def test_a_pattern_matches_as_eventbridge_says(pattern: dict[str, Any], matches: bool) -> None:
    detail = {"text": "abc", "number": 5, "address": "10.0.0.9", "list": ["a", "b"]}
    assert list(bus.problems(rule({"detail": pattern}), {"Queue": {"Type": "AWS::SQS::Queue"}})) == []
    made = BUSES[ACCOUNT][REGION].put_rule("pattern", event_pattern=json.dumps({"detail": pattern}))
    assert made.event_pattern.matches_event({"source": "test", "detail": detail}) is matches


def test_what_a_rule_asks_for_in_vain_is_told_all_at_once() -> None:
    bad = rule(
        {"a": [{"like": "x"}, {"anything-but": {"numeric": [1]}}], "b": "c", "d": []}, DeadLetterConfig={}
    )
    bad["Properties"] |= {"ScheduleExpression": "cron(0 * * * ? *)", "EventBusName": "other"}
    bad["Properties"]["Targets"].append({"Id": "two", "Arn": "arn:aws:ecs:us-east-1:123456789012:cluster/c"})
    mapping = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {"FilterCriteria": {}}}
    made = {"Queue": {"Type": "AWS::Kinesis::Stream"}, "Rule": bad, "Mapping": mapping}
    problems = list(Stack(name="s", template={"Resources": made}, zips={}).problems())
    for text in (
        *('{"like": "x"} for a', '{"anything-but": {"numeric": [1]}} for a', '"c" for b', "[] for d"),
        *("cron(0 * * * ? *)", "EventBusName", "DeadLetterConfig on target queue", "AWS::Kinesis::Stream"),
        *("cluster/c", "s/Mapping has FilterCriteria"),
    ):
        assert any(text in problem for problem in problems), text


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({}, {"detail-type": "Made", "detail": {"n": 1, "text": 'a "b"', "sub-key": "s"}}),
        ({"Input": '{"sweep": true}'}, {"sweep": True}),
        ({"InputPath": "$.detail.n"}, 1),
        ({"InputTransformer": {"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": '{"n": <n>}'}}, {"n": 1}),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"t": "$.detail.text"},
                    "InputTemplate": '{"t": <t>, "s": "<t>!"}',
                }
            },
            {"t": 'a "b"', "s": 'a "b"!'},
        ),
        ({"InputTransformer": {"InputPathsMap": {"s": "$.detail.sub-key"}, "InputTemplate": "<s>"}}, "s"),
    ],
)
def test_a_target_gets_what_its_rule_says(target: dict[str, Any], expected: Any) -> None:
    event = {"detail-type": "Made", "detail": {"n": 1, "text": 'a "b"', "sub-key": "s"}}
    assert json.loads(bus.transformed({"Arn": "a", **target}, event)) == expected


def test_events_come_twice_and_in_any_order_where_a_test_asks_for_it(small: Small) -> None:
    url = queue_of(small, "unruly", rule({"source": ["unruly"]}))
    small.cloud.events.twice, small.cloud.events.shuffled = True, random.Random(1)
    try:
        for number in range(20):
            small.cloud.events.put(news.event("unruly", "Made", [], {"number": number}))
        events = heard(small, url, 40)
    finally:
        small.cloud.events.twice, small.cloud.events.shuffled = False, None
    assert len(events) == 40
    assert len({event["id"] for event in events}) == 20
    numbers = [event["detail"]["number"] for event in events]
    assert sorted(numbers) == sorted([*range(20)] * 2)
    assert numbers != sorted(numbers)


def polled(handler: str, lost: bool, **queue: Any) -> dict[str, Any]:
    """A queue whose messages go to a function, and to another queue after two failures."""
    mapping = {
        "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
        "FunctionName": {"Ref": "Batch"},
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }
    if lost:
        target = {"Fn::GetAtt": ["Lost", "Arn"]}
        queue["RedrivePolicy"] = {"deadLetterTargetArn": target, "maxReceiveCount": 2}
    return {
        "Lost": {"Type": "AWS::SQS::Queue"},
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": queue},
        "Batch": function(handler),
        "Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": mapping},
    }


@contract("CREATE_MAPPING", "QUEUES")
def test_a_queue_calls_its_function_and_keeps_what_failed(small: Small) -> None:
    names = deploy(small.cloud, "poll", polled("handlers.batch", False, DelaySeconds=1, VisibilityTimeout=60))
    sqs, log = small.cloud.client("sqs"), small.cloud.logs / "functions" / f"{names['Batch']}.log"
    start = time.monotonic()
    for body in ({"bad": False}, {"bad": True}):
        sqs.send_message(QueueUrl=names["Queue"], MessageBody=json.dumps(body))

    def left() -> list[int] | None:
        which = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = sqs.get_queue_attributes(QueueUrl=names["Queue"], AttributeNames=which)["Attributes"]
        counts = [int(found[name]) for name in which]
        return counts if log.exists() and "batch" in log.read_text() and counts == [0, 1] else None

    assert wait(left)
    assert time.monotonic() - start >= 1  # the queue's delay


@pytest.mark.parametrize("handler", ["handlers.batch", "handlers.break_"])
def test_what_fails_again_and_again_ends_in_the_dead_letter_queue(small: Small, handler: str) -> None:
    name = f"lost-{handler[-3:].strip('_')}"
    names = deploy(small.cloud, name, polled(handler, True, VisibilityTimeout=1))
    sqs = small.cloud.client("sqs")
    # `batch` reports it; `break_` gets a batch instead of its word, and answers what is no report
    sqs.send_message(QueueUrl=names["Queue"], MessageBody='{"bad": true}')
    assert wait(lambda: receive(small, names["Lost"]) or None) == [{"bad": True}]


def test_a_record_is_what_lambda_hands_to_a_function() -> None:
    message = {"MessageId": "m", "ReceiptHandle": "r", "Body": "b", "MD5OfBody": "5"}
    attributes = {"SentTimestamp": "1", "ApproximateReceiveCount": "1", "SequenceNumber": "9"}
    made = queues.record("arn:aws:sqs:us-east-1:123456789012:q", {**message, "Attributes": attributes})
    assert list(made) == [
        *("messageId", "receiptHandle", "body", "attributes", "messageAttributes", "md5OfBody"),
        *("eventSource", "eventSourceARN", "awsRegion"),
    ]
    assert made["attributes"] == {"ApproximateReceiveCount": "1", "SentTimestamp": "1"}
    assert (made["eventSource"], made["awsRegion"]) == ("aws:sqs", "us-east-1")


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, {"a"}),
        ({"batchItemFailures": [{"itemIdentifier": "z"}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"a", "b"}),
        ({"batchItemFailures": [{"id": "a"}]}, {"a", "b"}),
        ({"batchItemFailures": "a"}, {"a", "b"}),
        ("text", {"a", "b"}),
    ],
)
def test_a_report_that_cannot_be_read_brings_the_whole_batch_back(answer: Any, failed: set[str]) -> None:
    assert queues.failures(answer, {"a", "b"}) == failed


def test_an_asynchronous_call_that_fails_every_time_is_kept(small: Small) -> None:
    dead = {"DeadLetterConfig": {"TargetArn": {"Fn::GetAtt": ["Lost", "Arn"]}}}
    names = deploy(
        small.cloud, "kept", {"Lost": {"Type": "AWS::SQS::Queue"}, "Fail": function("handlers.break_", **dead)}
    )
    small.cloud.client("lambda").invoke(FunctionName=names["Fail"], InvocationType="Event", Payload=b'"raise"')
    sqs = small.cloud.client("sqs")

    def look() -> Any:
        asked = {"QueueUrl": names["Lost"], "MessageAttributeNames": ["All"]}
        return sqs.receive_message(**asked).get("Messages")

    [message] = wait(look)
    assert message["Body"] == '"raise"'
    told = {name: one["StringValue"] for name, one in message["MessageAttributes"].items()}
    assert told.keys() == {"RequestID", "ErrorCode", "ErrorMessage"}
    assert "nothing there" in told["ErrorMessage"]
