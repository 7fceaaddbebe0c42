"""The template is checked against a written list before anything of it is deployed."""

import json
from pathlib import Path
from typing import Any

import pytest

from local import assembly
from local.assembly import Assembly, NotEmulated, Stack, Synthesis
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
            Role={**ROLE, "Properties": {"ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"]}},
            Machine={
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {"DefinitionString": definition},
            },
        ).problems()
    )
    assert [problem.partition(";")[0] for problem in problems] == [
        "one/Cluster is AWS::ECS::Cluster",
        "one/Role has managed policies, which moto drops",
        "one/Machine uses ecs:runTask.sync",
    ]


def test_types_without_effect_are_left_out_with_what_waits_for_them() -> None:
    made = json.loads(
        stack(
            Policy={"Type": "AWS::S3::BucketPolicy"},
            Bucket={"Type": "AWS::S3::Bucket", "DependsOn": ["Policy", "Role"]},
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
