"""AWS's own schema over the synthesized files, the joined definition included."""

import json
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from drawn import template

NOISE = ManualArgs(ignore_checks=["W3005"])  # the CDK writes each dependency of a function's role twice


def complaints(stack: dict[str, Any]) -> list[str]:
    return [f"{match.rule.id} {match.message}" for match in lint(json.dumps(stack), config=NOISE)]


@pytest.fixture(scope="module")
def joined(assembly: Path) -> str:
    """The definition as one text, tokens replaced: in the template they hide it from a linter."""
    resources = template(assembly, "topx-dev-pipeline")["Resources"].values()
    (machine,) = (one for one in resources if one["Type"] == "AWS::StepFunctions::StateMachine")
    between, parts = machine["Properties"]["DefinitionString"]["Fn::Join"]
    tokens = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::URLSuffix": "amazonaws.com"}
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:one"
    text: str = between.join(one if isinstance(one, str) else tokens.get(one.get("Ref"), arn) for one in parts)
    return text


def machine(text: str) -> dict[str, Any]:
    """A template of nothing but this machine."""
    role = "arn:aws:iam::123456789012:role/one"
    properties = {"DefinitionString": text, "RoleArn": role}
    return {"Resources": {"Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}


@pytest.mark.parametrize("name", ["topx-dev-data", "topx-dev-pipeline"])
def test_cfn_lint_finds_nothing_in_the_templates(assembly: Path, name: str) -> None:
    assert complaints(template(assembly, name)) == []


def test_cfn_lint_finds_nothing_in_the_joined_definition(joined: str) -> None:
    assert complaints(machine(joined)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"StartAt":"Preflight"', '"StartAt":"Prefight"'),
        ('"Type":"Choice"', '"Type":"Choose"'),
        ('"MaxAttempts":6', '"MaxAttempts":"six"'),
    ],
)
def test_cfn_lint_reads_the_joined_definition(joined: str, old: str, new: str) -> None:
    assert old in joined
    assert complaints(machine(joined.replace(old, new)))
