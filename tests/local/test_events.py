"""Events as AWS sends them: what S3, Step Functions and schedules say, what rules take, how queues go on."""

import json
import random
import time
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from local import bus, news, queues
from local.assembly import Stack
from local.cloud import KEYS
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


MADE = {
    "detail-type": "Made",
    "time": "2026-01-02T03:04:05Z",
    "detail": {"n": 1, "text": 'a "b"', "sub-key": "s", "list": ["a", "b"]},
}
NUMBERS = count()


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


def asked(small: Small, operation: str, request: Any) -> Any:
    """EventBridge's answer to a request that no client of Python's would send."""
    headers = {
        "X-Amz-Target": f"AWSEvents.{operation}",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={KEYS[0]}/20260101/us-east-1/events/aws4_request",
    }
    return requests.post(small.cloud.endpoint, json.dumps(request), headers=headers, timeout=10).json()


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
    assert (first["version"], first["event-version"]) == ("0", "1.1")
    assert (first["requester"], first["source-ip-address"]) == (ACCOUNT, "127.0.0.1")
    assert list(first["bucket"]) == ["name", "aws-generated-tags"]
    tags = first["bucket"]["aws-generated-tags"]
    assert tags.pop("aws:cloudformation:stack-id").startswith("arn:aws:cloudformation:")
    assert tags == {"aws:cloudformation:logical-id": "Bucket", "aws:cloudformation:stack-name": "small"}
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
    assert (event["version"], event["account"], event["region"]) == ("0", ACCOUNT, REGION)
    assert (event["source"], event["detail-type"]) == ("aws.s3", "Object Created")
    assert event["resources"] == [f"arn:aws:s3:::{where['Bucket']}"]
    time.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")
    assert len({one["id"] for one in events}) == 4


def test_s3_announces_forms_folders_and_replacements_and_nothing_that_makes_no_version(small: Small) -> None:
    s3, where = small.cloud.client("s3"), {"Bucket": small.names["Bucket"]}
    url = of_bucket(small, "ways", "ways/")
    form = s3.generate_presigned_post(where["Bucket"], "ways/${filename}")
    sent = requests.post(form["url"], data=form["fields"], files={"file": ("form.csv", b"1,2")}, timeout=10)
    assert sent.status_code == 204
    s3.put_object(**where, Key="ways/folder/")
    key = "ways/ü+ %2F\U0001f600" + "x" * 900
    part = {"Key": key, "UploadId": s3.create_multipart_upload(**where, Key=key, Tagging="a=b")["UploadId"]}
    etag = s3.upload_part(**where, **part, PartNumber=1, Body=b"3,4\n")["ETag"]
    s3.complete_multipart_upload(**where, **part, MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]})
    s3.put_object(**where, Key=key, Body=b"5", Tagging="a=b", ACL="private")
    s3.copy_object(**where, Key=key, CopySource={**where, "Key": key}, MetadataDirective="REPLACE")

    part["UploadId"] = s3.create_multipart_upload(**where, Key=key)["UploadId"]
    s3.upload_part(**where, **part, PartNumber=1, Body=b"6")
    s3.abort_multipart_upload(**where, **part)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(**where, Key=key, Body=b"7", IfNoneMatch="*")
    s3.put_object_tagging(**where, Key=key, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.delete_object_tagging(**where, Key=key)
    s3.put_object_acl(**where, Key=key, ACL="private")
    s3.get_object(**where, Key=key)
    form_, folder, whole, replaced, copied = details(heard(small, url, 5))
    assert (form_["reason"], form_["object"]["key"]) == ("POST Object", "ways/form.csv")
    assert (folder["reason"], folder["object"]["size"], folder["object"]["etag"]) == (
        *("PutObject", 0),
        news.NOTHING,
    )
    assert {one["object"]["key"] for one in (whole, replaced, copied)} == {key}
    reasons = [one["reason"] for one in (whole, replaced, copied)]
    assert reasons == ["CompleteMultipartUpload", "PutObject", "CopyObject"]
    assert len({one["object"]["version-id"] for one in (whole, replaced, copied)}) == 3


@pytest.mark.parametrize("enabled", [False, "false", None])
def test_a_bucket_that_does_not_tell_eventbridge_is_silent(small: Small, enabled: Any) -> None:
    told = {"EventBridgeConfiguration": {"EventBridgeEnabled": enabled}} if enabled is not None else {}
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"NotificationConfiguration": told}}
    made = {"Silent": bucket, "Queue": {"Type": "AWS::SQS::Queue"}, "Rule": rule({"source": ["aws.s3"]})}
    names = deploy(small.cloud, f"mute-{next(NUMBERS)}", made)
    small.cloud.client("s3").put_object(Bucket=names["Silent"], Key="a", Body=b"1")
    time.sleep(0.5)
    assert receive(small, names["Queue"]) == []


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
    with pytest.raises(ClientError, match="less than or equal to 10"):
        bus_of_all.put_events(Entries=[good] * 11)
    for entry, text in (
        ({**good, "Detail": json.dumps({"n": "é" * news.LARGEST})}, "over the limit"),
        ({**good, "EventBusName": "other"}, "not emulated locally: event bus other"),
    ):
        with pytest.raises(ClientError, match=text):
            bus_of_all.put_events(Entries=[entry])


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"Detail": '{"n": NaN}'}, "MalformedDetail"),
        ({"Detail": '{"n": ' * 2000 + "1" + "}" * 2000}, "MalformedDetail"),
        ({"Detail": "\ufeff{}"}, "MalformedDetail"),
        ({"Detail": '"text"'}, "MalformedDetail"),
        ({"Detail": "null"}, "MalformedDetail"),
        ({"Detail": None}, "InvalidArgument"),
        ({"Source": None}, "InvalidArgument"),
        ({"DetailType": None}, "InvalidArgument"),
        ({"Time": 1e18}, "InvalidArgument"),
        ({"Time": "noon"}, "InvalidArgument"),
        ({"Source": "aws.anything"}, "NotAuthorizedForSourceException"),
    ],
)
def test_a_damaged_entry_is_refused_and_its_neighbours_are_put(
    small: Small, part: dict[str, Any], code: str
) -> None:
    name = f"damaged-{next(NUMBERS)}"
    url = queue_of(small, name, rule({"source": [name]}))
    good = {"Source": name, "DetailType": "Made", "Detail": "{}", "EventBusName": None, "Resources": None}
    answer = asked(small, "PutEvents", {"Entries": [good, {**good, **part}, good]})
    assert [entry.get("ErrorCode") for entry in answer["Entries"]] == [None, code, None]
    assert len(heard(small, url, 2)) == 2


def test_an_event_may_be_deep_and_hold_anything_that_json_does(small: Small) -> None:
    url = queue_of(small, "deep", rule({"source": ["deep"]}))
    detail = '{"half": "\\ud800", "n": 1e999, "deep": ' + '{"a": ' * 400 + "1" + "}" * 401
    entry = {"Source": "deep", "DetailType": "Made", "Detail": detail}
    assert small.cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
    [event] = heard(small, url, 1)
    assert event["detail"]["half"] == "\ud800"


def test_what_a_delivery_stumbles_over_is_told(small: Small) -> None:
    made = BUSES[ACCOUNT][REGION].put_rule("stumbling", event_pattern='{"source": ["stumbling"]}')
    made.targets.append({"Id": "no ARN"})
    small.cloud.events.put(news.event("stumbling", "Made", [], {}))
    assert wait(lambda: [line for line in small.cloud.events.lost if "KeyError('Arn')" in line] or None)
    small.cloud.events.lost.clear()
    BUSES[ACCOUNT][REGION].event_buses["default"].rules.pop("stumbling")


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


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ("abc", "must be an object or an array"),
        (None, "must be an object or an array"),
        ([], "Empty arrays are not allowed"),
        ({}, "not empty"),
        ([[1]], "Match value must be String, number, true, false, or null"),
        ([{}], "Only one key allowed"),
        ([{"prefix": "a", "suffix": "b"}], "Only one key allowed"),
        ([{"like": "a"}], "Unrecognized match type like"),
        ([{"Prefix": "a"}], "Unrecognized match type Prefix"),
        ([{"prefix": 7}], "must be a string"),
        ([{"prefix": None}], "must be a string"),
        ([{"prefix": ["a", "b"]}], "must be a string"),
        ([{"suffix": {"prefix": "a"}}], "must be a string"),
        ([{"prefix": {"equals-ignore-case": 7}}], "must be a string"),
        ([{"equals-ignore-case": ["a"]}], "must be a string"),
        ([{"wildcard": "a**b"}], "Consecutive wildcard characters"),
        ([{"wildcard": "a\\b"}], "Invalid escape character"),
        ([{"wildcard": 7}], "must be a string"),
        ([{"exists": "true"}], "either true or false"),
        ([{"exists": 1}], "either true or false"),
        ([{"cidr": "10.0.0.9"}], "Malformed CIDR"),
        ([{"cidr": "10.0.0.9/24"}], "Malformed CIDR"),
        ([{"cidr": "a/b"}], "Malformed CIDR"),
        ([{"cidr": 7}], "Malformed CIDR"),
        ([{"numeric": 5}], "give one of"),
        ([{"numeric": []}], "give one of"),
        ([{"numeric": ["<"]}], "give one of"),
        ([{"numeric": ["<", "5"]}], "give one of"),
        ([{"numeric": ["<", True]}], "give one of"),
        ([{"numeric": ["!=", 5]}], "give one of"),
        ([{"numeric": ["<", 5, ">", 0]}], "give one of"),
        ([{"numeric": [">", 5, "<", 5]}], "Bottom must be less than top"),
        ([{"numeric": [">", 0, "<", 5, "=", 3]}], "give one of"),
        ([{"anything-but": None}], "Value of anything-but"),
        ([{"anything-but": True}], "Value of anything-but"),
        ([{"anything-but": []}], "Value of anything-but"),
        ([{"anything-but": ["a", 1]}], "Value of anything-but"),
        ([{"anything-but": [{"prefix": "a"}]}], "Value of anything-but"),
        ([{"anything-but": {}}], "Unsupported anything-but pattern"),
        ([{"anything-but": {"exists": True}}], "Unsupported anything-but pattern"),
        ([{"anything-but": {"prefix": ""}}], "none empty"),
        ([{"anything-but": {"suffix": ["a", 7]}}], "none empty"),
        ([float("nan")], "no such number"),
        ({"$or": {"a": ["b"]}}, "two patterns or more"),
        ({"$or": [{"a": ["b"]}]}, "two patterns or more"),
        ({"$or": [{"a": ["b"]}, 7]}, "an object of fields"),
    ],
)
def test_a_damaged_pattern_is_refused_by_name_at_deployment_and_by_the_api(
    small: Small, tests: Any, reason: str
) -> None:
    damaged = {"source": ["us"], "detail": {"a": {"b": tests}}}
    [problem] = bus.problems(rule(damaged), {"Queue": {"Type": "AWS::SQS::Queue"}})
    assert reason in problem
    assert "detail.a.b" in problem or "$or" in json.dumps(damaged)
    client = small.cloud.client("events")
    with pytest.raises(client.exceptions.InvalidEventPatternException, match="Event pattern is not valid"):
        client.put_rule(Name="damaged", EventPattern=json.dumps(damaged))


@pytest.mark.parametrize("pattern", ["", "{", "[]", "{}", "7", "null", '"source"', "\ufeff{}", "[" * 10_000])
def test_a_pattern_that_is_no_object_is_no_rule(small: Small, pattern: str) -> None:
    client = small.cloud.client("events")
    with pytest.raises(ClientError, match=r"InvalidEventPatternException|ValidationException"):
        client.put_rule(Name="damaged", EventPattern=pattern)
    assert "damaged" not in {one["Name"] for one in client.list_rules()["Rules"]}


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ({"source": ["aws.sagemaker"]}, "waits for events of aws.sagemaker"),
        ({"source": ["aws.s3"], "detail-type": ["Object Tags Added"]}, "waits for Object Tags Added of aws.s3"),
        ({"source": ["aws.s3"], "detail-type": ["Object Created"]}, None),
        ({"source": ["aws.s3", "my.app"], "detail-type": ["Anything"]}, None),
        ({"source": [{"prefix": "aws."}]}, None),
        ({"detail-type": ["Anything"]}, None),
    ],
)
def test_a_rule_that_would_wait_in_vain_is_told_so(pattern: dict[str, Any], said: str | None) -> None:
    found = list(bus.problems(rule(pattern), {"Queue": {"Type": "AWS::SQS::Queue"}}))
    assert found == [] if said is None else said in found[0]


@pytest.mark.parametrize(
    ("schedule", "period"),
    [
        *(
            ("rate(1 minute)", 60),
            ("rate(5 minutes)", 300),
            ("rate(1 hour)", 3600),
            ("rate(12 days)", 1_036_800),
        ),
        *((text, None) for text in ("rate(1 minutes)", "rate(5 minute)", "rate(0 minutes)", "rate(-1 minute)")),
        *(
            (text, None)
            for text in ("rate(1.5 hours)", "rate(1 week)", "rate( 1 minute)", "rate(1 minute) ", "")
        ),
        *(
            (text, None)
            for text in ("RATE(1 minute)", "rate(05 minutes)", "cron(0 * * * ? *)", "at(2026-01-01)")
        ),
    ],
)
def test_a_period_is_said_as_eventbridge_wants_it(small: Small, schedule: str, period: int | None) -> None:
    assert bus.seconds(schedule) == period
    if period is None:
        with pytest.raises(ClientError, match="ValidationException"):
            small.cloud.client("events").put_rule(Name="period", ScheduleExpression=schedule)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ({"Id": ""}, "with the Id"),
        ({"Id": 7}, "with the Id"),
        ({"Arn": "arn:aws:ecs:us-east-1:123456789012:cluster/c"}, "a target of unknown type"),
        ({"Arn": None}, "a target of unknown type"),
        ({"Arn": "arn:aws:states:us-east-1:123456789012:stateMachine:m"}, "no RoleArn"),
        ({"Input": "{"}, "it is no JSON"),
        ({"Input": "{}", "InputPath": "$"}, "give only one of them"),
        ({"InputPath": "detail"}, "InputPath"),
        ({"InputPath": "$.detail.*"}, "InputPath"),
        ({"InputPath": "$..key"}, "InputPath"),
        ({"InputPath": "$.a[?(@.b)]"}, "InputPath"),
        ({"InputPath": ["$"]}, "InputPath"),
        ({"InputTransformer": {}}, "give InputTemplate"),
        ({"InputTransformer": {"InputTemplate": 7}}, "give InputTemplate"),
        ({"InputTransformer": {"InputTemplate": "<a>"}}, "invalid placeholder a"),
        ({"InputTransformer": {"InputTemplate": "<aws.events.event>"}}, "invalid placeholder aws.events.event"),
        ({"InputTransformer": {"InputTemplate": "1", "InputPathsMap": {"AWSa": "$"}}}, "AWSa"),
        ({"InputTransformer": {"InputTemplate": "1", "InputPathsMap": {"a b": "$"}}}, "a b"),
        ({"InputTransformer": {"InputTemplate": "1", "InputPathsMap": {"a": "b"}}}, "a path such as"),
        ({"InputTransformer": {"InputTemplate": "1", "InputPathsMap": ["a"]}}, "give InputTemplate"),
        ({"RetryPolicy": {"MaximumRetryAttempts": 1}}, "RetryPolicy on target"),
    ],
)
def test_a_damaged_target_is_refused_at_deployment_and_by_the_api(
    small: Small, target: dict[str, Any], text: str
) -> None:
    whole = {"Id": "one", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"} | target
    made = {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": {"a": ["b"]}, "Targets": [whole]}}
    assert any(text in problem for problem in bus.problems(made, {}))
    client = small.cloud.client("events")
    client.put_rule(Name="damaged-target", EventPattern='{"a": ["b"]}')
    answer = asked(small, "PutTargets", {"Rule": "damaged-target", "Targets": [whole]})
    assert answer["__type"] in ("ValidationException", "SerializationException")
    assert client.list_targets_by_rule(Rule="damaged-target")["Targets"] == []


def test_a_rule_has_at_most_five_targets_each_with_a_name_of_its_own() -> None:
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
    for ids in ("abcdef", "aa"):
        [problem] = bus.target_problems([{"Id": one, "Arn": arn} for one in ids], bus.kind_of)
        assert "at most 5, each with an Id of its own" in problem


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({"BatchSize": 0}, "BatchSize 0"),
        ({"BatchSize": 100}, "BatchSize 100; emulated: 1 to 10"),
        ({"BatchSize": "10"}, 'BatchSize "10"'),
        ({"FunctionResponseTypes": ["ReportBatchItemFailure"]}, "there is ReportBatchItemFailures"),
        ({"ScalingConfig": {"MaximumConcurrency": 1}}, "2 to 1000"),
        ({"ScalingConfig": {"MaximumConcurrency": None}}, "2 to 1000"),
        ({"ScalingConfig": []}, "2 to 1000"),
        ({"FilterCriteria": {}}, "FilterCriteria"),
    ],
)
def test_a_mapping_that_we_would_not_follow_is_refused(part: dict[str, Any], text: str) -> None:
    [problem] = bus.problems({"Type": "AWS::Lambda::EventSourceMapping", "Properties": part}, {})
    assert text in problem


def test_a_bucket_that_tells_others_than_eventbridge_is_refused() -> None:
    told = {"EventBridgeConfiguration": {"EventBridgeEnabled": True}, "QueueConfigurations": []}
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"NotificationConfiguration": told}}
    [problem] = bus.problems(bucket, {})
    assert "QueueConfigurations" in problem


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
        ({}, MADE),
        ({"InputTransformer": {"InputTemplate": '{"all": <aws.events.event.json>}'}}, {"all": MADE}),
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
        ({"InputTransformer": {"InputPathsMap": {"s": "$.detail.list[1]"}, "InputTemplate": "<s>"}}, "b"),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {
                        "gone": "$.detail.none.at-all",
                        "far": "$.detail.list[9]",
                        "in": "$.time[0]",
                    },
                    "InputTemplate": '{"gone": <gone>, "text": "<gone>/<far>/<in>", "far": <far>}',
                }
            },
            {"gone": "", "text": "//", "far": ""},
        ),
        (
            {
                "InputTransformer": {
                    "InputTemplate": '{"r": <aws.events.rule-name>, "t": "<aws.events.rule-arn>"}'
                }
            },
            {"r": "mine", "t": "arn:aws:events:us-east-1:123456789012:rule/mine"},
        ),
        (
            {"InputTransformer": {"InputTemplate": "<aws.events.event.ingestion-time>"}},
            "2026-01-02T03:04:05Z",
        ),
        ({"InputPath": "$.detail.none"}, None),
    ],
)
def test_a_target_gets_what_its_rule_says(target: dict[str, Any], expected: Any) -> None:
    whole = {"Id": "one", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", **target}
    assert list(bus.target_problems([whole], bus.kind_of)) == []
    assert json.loads(bus.transformed(whole, MADE, f"arn:aws:events:{REGION}:{ACCOUNT}:rule/mine")) == expected


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
    assert made["messageAttributes"] == {}
    assert (made["eventSource"], made["awsRegion"]) == ("aws:sqs", "us-east-1")


def test_the_attributes_that_a_sender_gave_reach_the_function(small: Small) -> None:
    assert small.cloud.assembly is not None
    program = "import json\n\ndef handler(event, context):\n    print(json.dumps(event['Records'][0]))\n"
    (small.cloud.assembly.staged("code") / "shown.py").write_text(program)
    names = deploy(small.cloud, "attributes", polled("shown.handler", False))
    sqs, log = small.cloud.client("sqs"), small.cloud.logs / "functions" / f"{names['Batch']}.log"
    given = {
        "Kind": {"DataType": "String", "StringValue": "é"},
        "Count": {"DataType": "Number.int", "StringValue": "7"},
        "Raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    sqs.send_message(QueueUrl=names["Queue"], MessageBody="{}", MessageAttributes=given)
    wait(lambda: (log.exists() and "Kind" in log.read_text()) or None)
    record = json.loads(next(line for line in log.read_text().splitlines() if "Kind" in line))
    assert list(record)[4:7] == ["messageAttributes", "md5OfMessageAttributes", "md5OfBody"]
    lists = {"stringListValues": [], "binaryListValues": []}
    assert record["messageAttributes"] == {
        "Kind": {"stringValue": "é", **lists, "dataType": "String"},
        "Count": {"stringValue": "7", **lists, "dataType": "Number.int"},
        "Raw": {"binaryValue": "AP8=", **lists, "dataType": "Binary"},
    }


def test_large_messages_come_in_calls_that_lambda_takes() -> None:
    messages = [{"Body": '"' * 2**20} for _ in range(10)]
    found = list(queues.batches(messages))
    assert [one for batch in found for one in batch] == messages
    assert [len(batch) for batch in found] == [2, 2, 2, 2, 2]
    assert list(queues.batches([])) == []
    assert list(queues.batches([{"Body": "x"}] * 10)) == [[{"Body": "x"}] * 10]


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
        ({"batchItemFailures": {}}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": ["a"]}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": {"a": 1}}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": 7}]}, {"a", "b"}),
        ({"batchItemFailures": [None, {"itemIdentifier": "a"}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": "a"}] * 2}, {"a"}),
        ([], {"a", "b"}),
        (7, {"a", "b"}),
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
