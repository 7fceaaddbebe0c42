"""Embedded AWS with a small template of its own, for the tests of local mode."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local.assembly import Assembly, Stack
from local.cloud import Cloud
from local.quotas import load

ROLE = {"Fn::GetAtt": ["Role", "Arn"]}
HANDLERS = """
import json, os, sys, time
COLD = time.time()
CALLS = 0

def answer(event, context):
    global CALLS
    CALLS += 1
    time.sleep(event.get("wait", 0))
    return {"event": event, "pid": os.getpid(), "calls": CALLS, "folder": os.getcwd(),
            "environment": dict(os.environ),
            "left": context.get_remaining_time_in_millis()}

def whoami(event, context):
    import boto3
    return boto3.client("sts").get_caller_identity()["Arn"]

def break_(event, context):
    if event == "raise":
        raise LookupError("nothing there")
    if event == "exit":
        sys.exit(3)
    if event == "kill":
        os.kill(os.getpid(), 9)
    if event == "sleep":
        time.sleep(60)
    if event == "memory":
        held = b"x" * (600 * 2**20)
        time.sleep(60)
    if event == "nan":
        return float("nan")
    return event

def batch(event, context):
    print("batch", len(event["Records"]))
    failed = [r["messageId"] for r in event["Records"] if json.loads(r["body"]).get("bad")]
    return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}
"""
PROGRAM = """
import os, sys
from pathlib import Path
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
source, target = Path(given["--input"]), Path(given["--output"])
if (source / "text" / "fail.txt").exists():
    Path(given["--message"]).write_text("InputRejected: the text says fail")
    sys.exit(1)
assert not any(name.startswith("AWS_") for name in os.environ), "a container has no credentials"
for file in (source / "text").iterdir():
    (target / "texts" / file.name).write_text(file.read_text().upper())
print("done")
"""


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]}


def trust(*services: str, **more: Any) -> dict[str, Any]:
    names = [f"{one}.amazonaws.com" for one in services]
    return policy({"Principal": {"Service": names}, "Action": "sts:AssumeRole", **more})


ALMIGHTY = {  # what a role may do is another test's
    "Type": "AWS::IAM::Role",
    "Properties": {
        "AssumeRolePolicyDocument": trust("lambda", "states", "sagemaker", "events"),
        "Policies": [{"PolicyName": "all", "PolicyDocument": policy({"Action": "*", "Resource": "*"})}],
    },
}


def function(handler: str, **more: Any) -> dict[str, Any]:
    properties = {
        "Code": {
            "S3Bucket": {"Fn::Sub": "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"},
            "S3Key": "code.zip",
        },
        "Handler": handler,
        "Runtime": "python3.13",
        "Role": ROLE,
        "MemorySize": 256,
        "Timeout": 20,
        "LoggingConfig": {"LogFormat": "JSON"},
        "Environment": {"Variables": {"GREETING": "hello"}},
        **more,
    }
    return {"Type": "AWS::Lambda::Function", "Properties": properties}


def machine(definition: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(definition).replace("ROLE", "${Role.Arn}").replace("ANSWER", "${Answer.Arn}")
    text = (
        text.replace("BREAK", "${Break.Arn}").replace("WHOAMI", "${Whoami.Arn}").replace("BUCKET", "${Bucket}")
    )
    return {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {"DefinitionString": {"Fn::Sub": text}, "RoleArn": ROLE},
    }


def wait(look: Callable[[], Any], seconds: float = 20) -> Any:
    """The first thing that `look` gives back."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.05)
    return found


@dataclass(frozen=True, slots=True)
class Small:
    """The small template, deployed: physical names by logical name."""

    cloud: Cloud
    names: dict[str, str]

    def call(self, name: str, event: Any) -> tuple[Any, bool]:
        answer = self.cloud.client("lambda").invoke(
            FunctionName=self.names[name], Payload=json.dumps(event).encode()
        )
        return json.load(answer["Payload"]), "FunctionError" in answer

    def ended(self, execution: str) -> Any:
        """The execution's description once it has ended."""
        client = self.cloud.client("stepfunctions")

        def look() -> Any:
            found = client.describe_execution(executionArn=execution)
            return None if found["status"] == "RUNNING" else found

        return wait(look)


def deploy(cloud: Cloud, name: str, resources: dict[str, Any]) -> dict[str, str]:
    """Physical names of a stack made of `resources` and a role."""
    resources = {"Role": ALMIGHTY, **resources, **_open_to_rules(resources)}
    outputs = {one: {"Value": {"Ref": one}} for one in resources}
    assert cloud.assembly is not None
    zips = {"code": cloud.assembly.staged("code")}
    return cloud.deploy(Stack(name=name, template={"Resources": resources, "Outputs": outputs}, zips=zips))


def _open_to_rules(resources: dict[str, Any]) -> dict[str, Any]:
    """Policies that let any rule send to the queues; whom rules reach is another test's."""
    made = {}
    for name, one in resources.items():
        if one["Type"] == "AWS::SQS::Queue":
            to = {"Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
            document = policy({**to, "Resource": {"Fn::GetAtt": [name, "Arn"]}})
            properties = {"Queues": [{"Ref": name}], "PolicyDocument": document}
            made[f"{name}Policy"] = {"Type": "AWS::SQS::QueuePolicy", "Properties": properties}
    return made


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    folder = tmp_path_factory.mktemp("local")
    for asset in ("code", "image"):
        (folder / f"cdk.out/asset.{asset}").mkdir(parents=True)
        (folder / f"cdk.out/asset.{asset}/handlers.py").write_text(HANDLERS)
    (folder / "cdk.out/asset.image/program.py").write_text(PROGRAM)
    assembly = Assembly(folder=folder / "cdk.out", stacks=())
    with Cloud(folder / "work", folder / "logs", quotas=load(None)) as cloud:
        cloud.prepare(assembly)
        image = {
            "PackageType": "Image",
            "Code": {
                "ImageUri": {"Fn::Sub": "${AWS::AccountId}.dkr.ecr.${AWS::Region}.amazonaws.com/assets:image"}
            },
            "ImageConfig": {"Command": ["handlers.answer"]},
        }
        heavy = function("handlers.answer", **image)
        del heavy["Properties"]["Handler"], heavy["Properties"]["Runtime"]
        names = deploy(
            cloud,
            "small",
            {
                "Answer": function("handlers.answer"),
                "Heavy": heavy,
                "Whoami": function("handlers.whoami"),
                "Break": function("handlers.break_", Timeout=1),
                "Missing": function("nowhere.handler"),
                "Batch": function("handlers.batch"),
                "Bucket": {
                    "Type": "AWS::S3::Bucket",
                    "Properties": {
                        "VersioningConfiguration": {"Status": "Enabled"},
                        "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
                    },
                },
            },
        )
        yield Small(cloud, names)
        assert not cloud.iam.refused  # unasked: a test that wants refusals takes them away
