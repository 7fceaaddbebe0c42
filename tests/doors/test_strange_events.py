"""Events and messages that nobody meant for us: left out with a word in the log, or looked at in vain."""

import copy
import json
from typing import Any

import pytest

from lambdas import settle, trigger
from tests.doors.world import EXECUTION, MACHINE, World, event

NOTHING: dict[str, Any] = {"batchItemFailures": []}
KEY = "uploads/ratings/a.csv"
WHOLE = event("uploads")["Records"][0]["body"]  # as S3 sent it
MESSAGES = {
    "no JSON": "not json",
    "empty": "",
    "a number": "7",
    "null": "null",
    "a list": "[1, 2]",
    "text": '"uploads/ratings/a.csv"',
    "two of them": WHOLE * 2,
    "cut off": WHOLE[:-1],
    "with a byte order mark": f"\ufeff{WHOLE}",
    "in a list": f"[{WHOLE}]",
    "text of a text": json.dumps(WHOLE),
    "sweep is no truth": '{"sweep": 1}',
    "sweep is text": '{"sweep": "true"}',
    "sweep twice": '{"sweep": true, "sweep": false}',
    "half a pair": "\ud800",
    "huge": json.dumps({"detail": "x" * 2**20}),
    "deep": "[" * 200_000,
    "deep inside": '{"detail": ' * 100_000,
    "a long number": "9" * 10_000,
    "a long number inside": WHOLE.replace('"size": 8', f'"size": {"9" * 10_000}'),
    "not a number": "NaN",
    "not a number inside": WHOLE.replace('"size": 8', '"size": NaN'),
    "from S3 itself": json.dumps(
        {"Records": [{"s3": {"bucket": {"name": "uploads"}, "object": {"key": KEY}}}]}
    ),
    "S3's test": json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "uploads"}),
}
NO_VALUE = object()
ELSE = (NO_VALUE, None, True, 7, -0.5, "", "something else", [], ["aws.s3"], {}, {"aws.s3": 1})
SAYS = {  # what says that a message is ours: path -> other values, beside those that nothing may have
    "source": ("aws.ec2", "AWS.S3", "aws.s3 "),
    "detail-type": ("Object Tags Added", "Object Restore Completed", "object created"),
    "account": ("999999999999", 123456789012),
    "region": ("us-east-1",),
    "detail": (),
    "detail.bucket": ("uploads",),
    "detail.bucket.name": ("somebody-elses", "Uploads", "uploads/"),
    "detail.object": (KEY,),
    "detail.object.key": (
        *("ratings", "uploads/ratings", "uploads/nobody/a.csv", "uploads/Ratings/a.csv", "runs/ratings/a.csv"),
        *("/uploads/ratings/a.csv", "uploads//ratings/a.csv", "uploads/../uploads/ratings/a.csv"),
        *("uploads%2Fratings%2Fa.csv", "uploads\\ratings\\a.csv", "uploads/\ud800/a.csv", "x/ratings/a.csv"),
        *("uploads/ratings\u200b/a.csv", "uploads/ratings2/a.csv", [KEY], "a/" * 600),
    ),
}
TELLS = {  # what else an event tells, which nobody believes
    "version": (),
    "id": (),
    "time": ("1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    "resources": (["arn:aws:s3:::somebody-elses"],),
    "detail.version": (),
    "detail.object.size": (-1, 10**30, 1e308, "8"),
    "detail.object.etag": (),
    "detail.object.version-id": ("null",),
    "detail.object.sequencer": ("0", "zz", "F" * 1000),
    "detail.request-id": (),
    "detail.requester": ("s3.amazonaws.com",),
    "detail.source-ip-address": (),
    "detail.reason": ("Lifecycle Expiration",),
    "detail.deletion-type": ("Permanently Deleted",),
    "detail.bucket.aws-generated-tags": ({"aws:cloudformation:logical-id": "Uploads"},),
    "of-another-year": (),
}
EVENTS: dict[str, Any] = {
    "nothing": {},
    "a text": "uploads/ratings/a.csv",
    "a list": [1],
    "null": None,
    "a number": float("nan"),
    "records are text": {"Records": "x"},
    "records are null": {"Records": None},
    "no records": {"Records": []},
    "a record is a number": {"Records": [7]},
    "a record is null": {"Records": [None]},
    "a record has no body": {"Records": [{"messageId": "m"}]},
    "a record has no id": {"Records": [{"body": '{"sweep": true}'}]},
    "an id is a number": {"Records": [{"messageId": 7, "body": '{"sweep": true}'}]},
    "a body is an object": {"Records": [{"messageId": "m", "body": {"sweep": True}}]},
    "a body is null": {"Records": [{"messageId": "m", "body": None}]},
    "half a pair": {"Records": [{"messageId": "\ud800", "body": "\udfff"}]},
    "an event of S3": json.loads(WHOLE),
    "no execution": {"detail": {"stateMachineArn": MACHINE}},
    "an execution that is a number": {"detail": {"executionArn": 7, "stateMachineArn": MACHINE}},
    "an execution that is null": {"detail": {"executionArn": None, "stateMachineArn": MACHINE}},
    "detail is text": {"detail": f"{EXECUTION}:ended"},
    "another source": {"source": "aws.codepipeline", "detail": {"executionArn": f"{EXECUTION}:ended"}},
    **{
        f"the execution {arn}"[:60]: {"detail": {"executionArn": arn, "stateMachineArn": MACHINE}}
        for arn in (
            *("", "first", MACHINE, EXECUTION, f"{EXECUTION}:", f"{EXECUTION}:nobody", f"{EXECUTION}:a:b:c"),
            *(f"{EXECUTION}:ended ", f"{EXECUTION}:ended\n", f"{EXECUTION}:\ud800"),
            *(f"{EXECUTION}:*", f" {EXECUTION}:ended", f"{EXECUTION}:ended".upper(), "::::::::", ":" * 10_000),
            *(f"{EXECUTION}:ended".replace(*other) for other in (("eu-west-1", "us-east-1"), ("1234", "9999"))),
            f"{EXECUTION}:ended".replace(":aws:", ":aws-cn:"),
            f"{EXECUTION}:ended".replace(":execution:", ":express:"),
        )
    },
}


def batch(*bodies: str) -> dict[str, Any]:
    return {"Records": [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]}


def with_other(path: str, value: Any) -> str:
    """The whole event with another value somewhere, or none there."""
    message = copy.deepcopy(json.loads(WHOLE))
    *folders, name = path.split(".")
    place = message
    for folder in folders:
        place = place[folder]
    if value is NO_VALUE:
        place.pop(name, None)
    else:
        place[name] = value
    return json.dumps(message)


def left_out(aws: World, bodies: list[str], caplog: pytest.LogCaptureFixture) -> None:
    aws.upload(KEY)
    for body in bodies:
        caplog.clear()
        assert trigger.handler(batch(body), None) == NOTHING, body[:1000]
        assert aws.executions() == [], body[:1000]
        (record,) = caplog.records
        assert record.getMessage() == "message ignored: no dataset of this stage"
        assert len(record.body.encode()) <= 4000  # type: ignore[attr-defined]
    assert trigger.handler(batch(*bodies, WHOLE, *bodies), None) == NOTHING
    assert len(aws.executions()) == 1


@pytest.mark.parametrize("body", MESSAGES.values(), ids=MESSAGES)
def test_a_strange_message_is_left_out_and_its_neighbours_are_heard(
    aws: World, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    left_out(aws, [body], caplog)


@pytest.mark.parametrize("path", SAYS)
def test_an_event_that_is_not_of_our_bucket_is_left_out(
    aws: World, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    left_out(aws, [with_other(path, value) for value in (*ELSE, *SAYS[path])], caplog)


@pytest.mark.parametrize("path", TELLS)
def test_whatever_else_an_event_tells_only_the_bucket_is_believed(aws: World, path: str) -> None:
    bodies = [with_other(path, value) for value in (*ELSE, *TELLS[path])]
    assert trigger.handler(batch(*bodies), None) == NOTHING
    assert aws.executions() == []  # nothing is there
    for number, body in enumerate(bodies, 1):
        aws.upload(f"uploads/ratings/{number}.csv")
        assert trigger.handler(batch(body, body), None) == NOTHING
        assert aws.ledger()["wanted"]["sequence"] == number, body  # it was looked
    assert len(aws.executions()) == 1


def test_messages_under_one_id_are_all_heard(aws: World) -> None:
    aws.upload(KEY)
    given = batch(WHOLE, "not json")
    given["Records"][1]["messageId"] = given["Records"][0]["messageId"]
    assert trigger.handler(given, None) == NOTHING
    assert len(aws.executions()) == 1


def test_neither_folders_nor_hidden_files_start_anything(aws: World) -> None:
    for key in (
        "uploads/ratings/",
        "uploads/ratings/new/",
        "uploads/ratings/.part",
        "uploads/ratings/_SUCCESS",
    ):
        aws.upload(key, "")
        assert trigger.handler(batch(with_other("detail.object.key", key)), None) == NOTHING
    assert aws.executions() == []


@pytest.mark.parametrize("given", EVENTS.values(), ids=EVENTS)
def test_a_strange_event_changes_nothing(aws: World, given: Any) -> None:
    aws.upload(KEY)
    aws.end(aws.begin("ended"))
    before = aws.state()
    assert trigger.handler(given, None) == NOTHING
    settle.handler(given, None)
    assert aws.state() == before
    assert aws.messages() == []


def test_the_machine_is_the_executions_own_whatever_the_event_says(aws: World) -> None:
    aws.upload(KEY)
    trigger.handler(event("uploads"), None)
    (name,) = aws.executions()
    aws.end(f"{EXECUTION}:{name}")
    aws.upload("uploads/ratings/b.csv")
    foreign = MACHINE.replace("topx", "foreign")
    settle.handler({"detail": {"executionArn": f"{EXECUTION}:{name}", "stateMachineArn": foreign}}, None)
    assert foreign not in json.dumps(aws.ledger(), default=str)
    assert "execution:topx:" in aws.ledger()["wanted"]["execution"]
