"""The tool that takes rights away: what it makes of a policy, what turns, and what the sourced list excuses."""

import json
from typing import Any

import pytest

from local.iam.authorizer import Decision
from local.iam.on_behalf import ON_BEHALF
from local.iam.policy import IDENTITY, Asked, Document, decide
from tests.definitions import action_data
from tests.mutants.__main__ import told
from tests.mutants.replay import all_turned, distinct, excused, mutants

OWNER = "arn:aws:iam::123456789012:role/topx-local-pipeline-FunctionsRankRole6EB2E162-ABCDEFGHIJKL"
NEEDED = {
    "Effect": "Allow",
    "Action": ["s3:GetObject", "s3:PutObject"],
    "Resource": ["arn:aws:s3:::a/*", "arn:aws:s3:::b/*"],
}
CONDITION = {"StringLike": {"s3:prefix": "a/*"}, "Bool": {"aws:SecureTransport": "true"}}


def document(*statements: dict[str, Any]) -> Document:
    text = json.dumps({"Version": "2012-10-17", "Statement": statements})
    return Document(owner=OWNER, name="own", kind=IDENTITY, text=text)


def decision(policy: Document, action: str, resource: str, **context: str) -> Decision:
    about = {key.replace("__", ":"): value for key, value in context.items()}
    asked = Asked(principal=OWNER, action=action, resource=resource, context=about)
    return Decision(
        asked=asked, verdict=decide(asked, [policy], []), identity=(policy,), resource=(), call=action
    )


def test_each_statement_action_resource_and_condition_is_touched() -> None:
    listing = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*", "Condition": CONDITION}
    denied = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
    made = [(one.number, one.what) for one in mutants([document(NEEDED, listing, denied)])]
    assert made == [
        *((0, what) for what in ("statement", "action", "action", "resource", "resource", "effect")),
        *((1, what) for what in ("statement", "effect", "condition", "condition")),
    ]


def test_a_right_that_was_used_turns_red_without_it() -> None:
    policy = document(NEEDED)
    used = [
        decision(policy, "s3:GetObject", "arn:aws:s3:::a/1"),
        decision(policy, "s3:PutObject", "arn:aws:s3:::b/1"),
    ]
    for mutant in mutants([policy]):
        assert next(all_turned(mutant, used)), mutant
    assert told(list(mutants([policy])), used) == len(ON_BEHALF)  # of which nothing is granted here


def test_a_right_that_nothing_used_stays_green() -> None:
    policy = document(NEEDED)
    used = [decision(policy, "s3:GetObject", "arn:aws:s3:::a/1")]
    green = [one for one in mutants([policy]) if not any(all_turned(one, used))]
    assert [(one.what, one.actions, one.resources) for one in green] == [
        ("action", ("s3:PutObject",), tuple(NEEDED["Resource"])),
        ("resource", tuple(NEEDED["Action"]), ("arn:aws:s3:::b/*",)),
    ]
    assert not any(map(excused, green))


def test_what_the_list_names_is_excused_for_its_owners_only() -> None:
    traces = {"Effect": "Allow", "Action": "xray:PutTelemetryRecords", "Resource": "*"}
    (mutant, *_) = mutants([document(traces)])
    assert excused(mutant)
    other = Document(
        owner=OWNER.replace("Functions", "Other"), name="own", kind=IDENTITY, text=document(traces).text
    )
    (mutant, *_) = mutants([other])
    assert not excused(mutant)
    (mutant, *_) = mutants([document({**traces, "Action": ["xray:PutTelemetryRecords", "s3:GetObject"]})])
    assert not excused(mutant)


def test_decisions_differ_by_what_was_asked_not_by_when() -> None:
    policy = document(NEEDED)
    early, late = (
        decision(policy, "s3:GetObject", "arn:aws:s3:::a/1", aws__currenttime=time) for time in ("1", "2")
    )
    refused = decision(policy, "s3:GetObject", "arn:aws:s3:::c/1")
    assert distinct([early, late, refused]) == [early]


def test_the_list_has_a_source_for_each_entry_and_names_real_actions() -> None:
    for entry in ON_BEHALF:
        assert "https://" in entry.source
        assert entry.why
        for action in entry.actions:
            assert action_data(action), action


def test_the_table_counts_and_only_what_stays_green_is_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    policy = document(NEEDED)
    used = [decision(policy, "s3:GetObject", "arn:aws:s3:::a/1")]
    made = list(mutants([policy]))
    assert told(made, used) == 2 + len(ON_BEHALF)
    said = capsys.readouterr().out
    assert said.startswith("Is every right that the deployed template grants needed")
    rows = {line[2:26].strip(): line[26:].split() for line in said.splitlines() if line.startswith("  ")}
    assert rows["single actions"] == ["2", "1", "0", "1"]  # tried, refused, on the list, green
    assert rows["single resources"] == ["2", "1", "0", "1"]
    assert rows["together"] == ["6", "4", "0", "2"]
    assert said.count("FunctionsRankRole own[0]") == 2
    told(made, used, every=True)
    assert capsys.readouterr().out.count("FunctionsRankRole own[0]") == 6
