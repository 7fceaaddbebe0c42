"""The template is checked against a written list before anything of it is deployed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from local import assembly
from local.assembly import Assembly, NotEmulated, Stack, Synthesis
from tests.local.conftest import policy, trust
from topx.errors import SettingsRejected

ROLE = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}}


def stack(**resources: Any) -> Stack:
    return Stack(name="one", template={"Resources": resources}, zips={})


def test_everything_that_is_not_emulated_is_told() -> None:
    definition = {
        "Fn::Join": ["", ['{"Resource":"arn:', {"Ref": "AWS::Partition"}, ':states:::ecs:runTask.sync"}']]
    }
    problems = list(
        stack(
            Cluster={"Type": "AWS::ECS::Cluster"},
            Role={
                **ROLE,
                "Properties": {
                    "AssumeRolePolicyDocument": trust("lambda"),
                    "ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"],
                },
            },
            Machine={
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {"DefinitionString": definition},
            },
        ).problems()
    )
    assert [problem.partition(";")[0] for problem in problems] == [
        "one/Cluster is AWS::ECS::Cluster",
        "one/Role: AWS's own managed policies are not evaluated",
        "one/Machine uses ecs:runTask.sync",
    ]


def test_every_policy_that_cannot_be_evaluated_is_told() -> None:
    reference = {"Fn::GetAtt": ["Bucket", "Arn"]}

    def of(kind: str, name: str, *statements: dict[str, Any]) -> dict[str, Any]:
        return {"Type": kind, "Properties": {name: policy(*statements)}}

    right = {"Action": "s3:GetObject", "Resource": reference}
    let = {**right, "Principal": {"AWS": "*"}}
    condition = {"StringEqual": {"s3:prefix": "a"}}
    found = stack(
        Good=of("AWS::IAM::Policy", "PolicyDocument", right),
        Operator=of("AWS::IAM::Policy", "PolicyDocument", {**right, "Condition": condition}),
        Key=of("AWS::KMS::Key", "KeyPolicy", right),
        Queue=of("AWS::SQS::QueuePolicy", "PolicyDocument", {**let, "NotPrincipal": "*"}),
        Trust=of("AWS::IAM::Role", "AssumeRolePolicyDocument", let),
        Bounded={
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": trust("lambda"),
                "PermissionsBoundary": "arn:aws:iam::123456789012:policy/x",
                "Policies": [{"PolicyName": "x", "PolicyDocument": policy({"Action": "x", "Resource": "*"})}],
            },
        },
    ).problems()
    assert [re.split("[;,]", problem)[0] for problem in found] == [
        "one/Operator: PolicyDocument: statement 0: operator StringEqual is not emulated",
        "one/Key: KeyPolicy: statement 0: Principal is missing",
        "one/Queue: PolicyDocument: statement 0: NotPrincipal is not emulated",
        "one/Trust: AssumeRolePolicyDocument: statement 0: action 's3:GetObject' in a trust policy",
        "one/Trust: AssumeRolePolicyDocument: statement 0: a trust policy has no Resource",
        "one/Bounded: Policies[0]: statement 0: action 'x' is not service:Name",
        "one/Bounded: permission boundaries are not evaluated",
    ]


def test_resources_come_after_all_that_they_name() -> None:
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust("lambda")}}
    rights = {
        "Type": "AWS::IAM::Policy",
        "Properties": {
            "PolicyDocument": policy({"Action": "s3:*", "Resource": "*"}),
            "Roles": [{"Ref": "Role"}],
        },
    }
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": ["Role", "Arn"]}}}
    text = {"Fn::Sub": "${Function.Arn} of ${AWS::Region}"}
    machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"DefinitionString": text}}

    def order(**resources: dict[str, Any]) -> list[str]:
        return list(json.loads(stack(**resources).to_create())["Resources"])

    asked = order(Rights=rights, Machine=machine, Function={**function, "DependsOn": "Rights"}, Role=role)
    assert asked == ["Role", "Rights", "Function", "Machine"]
    unasked = order(Rights=rights, Machine=machine, Function=function, Role=role)
    assert unasked == ["Role", "Function", "Machine", "Rights"]  # who does not ask for a policy has none


def test_types_without_effect_are_left_out_with_what_waits_for_them() -> None:
    made = json.loads(
        stack(
            Alarm={"Type": "AWS::CloudWatch::Alarm"},
            Bucket={"Type": "AWS::S3::Bucket", "DependsOn": ["Alarm", "Role"]},
            Role=ROLE,
        ).to_create()
    )
    assert made["Resources"].keys() == {"Bucket", "Role"}
    assert made["Resources"]["Bucket"]["DependsOn"] == ["Role"]


def test_an_image_that_is_not_staged_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotEmulated, match="abc is no asset of this template"):
        Assembly(folder=tmp_path, stacks=()).staged("abc")


def test_settings_that_cannot_be_synthesized_end_as_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "STAGE", "nowhere")
    with pytest.raises(SettingsRejected, match=r"stage is nowhere; cdk\.json has"):
        Synthesis(tmp_path / "cdk.out").assembly()
