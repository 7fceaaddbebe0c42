"""Events and messages that nobody meant for us: left out with a word in the log, or looked at in vain."""

import json
from typing import Any

import pytest

from lambdas import settle, trigger
from tests.doors.world import EXECUTION, MACHINE, World, event

NOTHING: dict[str, Any] = {"batchItemFailures": []}
KEY = "uploads/ratings/a.csv"
OBJECT = {"bucket": {"name": "uploads"}, "object": {"key": KEY}}
MESSAGES = {
    "no JSON": "not json",
    "empty": "",
    "a number": "7",
    "null": "null",
    "a list": "[1, 2]",
    "text": '"uploads/ratings/a.csv"',
    "no detail": '{"source": "aws.s3"}',
    "detail is text": '{"detail": "uploads/ratings/a.csv"}',
    "key is a number": '{"detail": {"object": {"key": 7}}}',
    "key is a list": '{"detail": {"object": {"key": ["uploads/ratings/a.csv"]}}}',
    "key without folders": '{"detail": {"object": {"key": "ratings"}}}',
    "another dataset": '{"detail": {"object": {"key": "uploads/nobody/a.csv"}}}',
    "sweep is no truth": '{"sweep": 1}',
    "half a pair": '{"detail": {"object": {"key": "\\ud800"}}}',
    "huge": json.dumps({"detail": "x" * 2**20}),
    "deep": "[" * 200_000,
    "a long number": "9" * 10_000,
    "not a number": "NaN",
    "from S3 itself": json.dumps({"Records": [{"s3": {"object": {"key": KEY}}}]}),
}
EVENTS: dict[str, Any] = {
    "nothing": {},
    "a text": "uploads/ratings/a.csv",
    "a list": [1],
    "null": None,
    "records are text": {"Records": "x"},
    "a record is a number": {"Records": [7]},
    "a record has no body": {"Records": [{"messageId": "m"}]},
    "a body is an object": {"Records": [{"messageId": "m", "body": {"sweep": True}}]},
    "an event of S3": {"source": "aws.s3", "detail": OBJECT},
    "an execution without a name": {"detail": {"stateMachineArn": MACHINE}},
    "an execution that is a number": {"detail": {"executionArn": 7, "stateMachineArn": MACHINE}},
    "a machine in its place": {"detail": {"executionArn": MACHINE, "stateMachineArn": MACHINE}},
    "a name in its place": {"detail": {"executionArn": "first", "stateMachineArn": MACHINE}},
    "nobody's execution": {"detail": {"executionArn": f"{EXECUTION}:nobody", "stateMachineArn": MACHINE}},
}


def batch(*bodies: str) -> dict[str, Any]:
    return {"Records": [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]}


@pytest.mark.parametrize("body", MESSAGES.values(), ids=MESSAGES)
def test_a_strange_message_is_left_out_and_its_neighbours_are_heard(
    aws: World, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    aws.upload(KEY)
    assert trigger.handler(batch(body), None) == NOTHING
    assert aws.executions() == []
    assert [record.getMessage() for record in caplog.records] == ["message ignored: no dataset of this stage"]
    assert len(caplog.records[0].body) <= 1000  # type: ignore[attr-defined]
    assert trigger.handler(batch(body, json.dumps({"detail": OBJECT})), None) == NOTHING
    assert len(aws.executions()) == 1


@pytest.mark.parametrize("given", EVENTS.values(), ids=EVENTS)
def test_a_strange_event_changes_nothing(aws: World, given: Any) -> None:
    aws.upload(KEY)
    before = aws.state()
    assert trigger.handler(given, None) == NOTHING
    settle.handler(given, None)
    assert aws.state() == before
    assert aws.messages() == []


@pytest.mark.parametrize("bucket", ["uploads", "somebody-elses"])
@pytest.mark.parametrize("source", ["aws.s3", "somebody.else"])
def test_where_a_message_comes_from_does_not_matter_as_only_the_bucket_is_believed(
    aws: World, bucket: str, source: str
) -> None:
    told = {"source": source, "detail": {"bucket": {"name": bucket}, "object": {"key": KEY, "size": -1}}}
    assert trigger.handler(batch(json.dumps(told)), None) == NOTHING
    assert aws.executions() == []  # nothing is there
    aws.upload(KEY)
    for _ in range(2):
        trigger.handler(batch(json.dumps(told)), None)
    assert len(aws.executions()) == 1


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
