"""The synthesized template: made in a subprocess, read, and checked against what local mode emulates."""

import copy
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.children import PYTHON, environment
from topx.errors import SettingsRejected, TopxError, join

ROOT = Path(__file__).parents[1]
STAGE = "local"

EMULATED = {
    "AWS::DynamoDB::Table",
    "AWS::Events::Rule",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::KMS::Key",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::StepFunctions::StateMachine",
}
LEFT_OUT = {  # resource types that have no effect locally -> what an operator should know
    "AWS::CDK::Metadata": "no usage metadata",
    "AWS::CloudWatch::Alarm": "alarms never fire",
    "AWS::CloudWatch::Dashboard": "no dashboards",
    "AWS::Lambda::EventInvokeConfig": "asynchronous calls are tried three times, without a dead-letter queue",
    "AWS::Logs::ResourcePolicy": "log delivery needs no permission",
    "AWS::S3::BucketPolicy": "bucket policies are not evaluated",
    "AWS::SNS::TopicPolicy": "topic policies are not evaluated",
    "AWS::SQS::QueuePolicy": "queue policies are not evaluated",
}
NOT_EMULATED = (  # beside the resource types above; the README lists both
    "policies of roles are not enforced (each function and job does have its own role's credentials)",
    "schedules never fire, so the sweep for lost events does not run",
    "redrive: start a new execution",
    "log groups and metrics stay empty; logs are files",
    "nothing expires and nothing is encrypted; keys exist in name",
    "one engine process stands for any number of machines of any type; disks and networks are not limited",
    "a function has at most four processes; its memory is watched on Linux only, its disk not at all",
    "subscriptions of the topic are not delivered by mail; `up` shows what is told",
)
TASKS = ("lambda:invoke", "sagemaker:")  # what follows `states:::` in a Task's Resource


class NotEmulated(TopxError):
    """When the template holds what local mode does not do; the message lists all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One stack of the assembly, in the order of deployment."""

    name: str
    template: dict[str, Any]
    zips: dict[str, Path]  # asset hash -> staged folder or file

    def to_create(self) -> str:
        """The template as JSON text without the types that are left out."""
        kept = {
            name: copy.deepcopy(one)
            for name, one in self.template["Resources"].items()
            if one["Type"] not in LEFT_OUT
        }
        for one in kept.values():
            one["DependsOn"] = [name for name in _listed(one.get("DependsOn", [])) if name in kept]
            if one["Type"] == "AWS::KMS::Key":
                one["Properties"].pop("Tags", None)  # moto reads them in the KMS API's spelling and fails
        return json.dumps({**self.template, "Resources": kept})

    def problems(self) -> Iterator[str]:
        """What of this stack local mode does not emulate."""
        for name, one in self.template["Resources"].items():
            if one["Type"] not in EMULATED | LEFT_OUT.keys():
                yield f"{self.name}/{name} is {one['Type']}; emulated: {', '.join(sorted(EMULATED))}"
            if one.get("Properties", {}).get("ManagedPolicyArns"):
                yield f"{self.name}/{name} has managed policies, which moto drops; give the role its own policy"
            if one["Type"] == "AWS::StepFunctions::StateMachine":
                text = json.dumps(one["Properties"].get("DefinitionString", ""))
                for resource in {part.split('\\"')[0] for part in text.split(":states:::")[1:]}:
                    if not resource.startswith(TASKS):
                        yield f"{self.name}/{name} uses {resource}; emulated: {', '.join(TASKS)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """What `app.py` synthesized: stacks, and the staged folder of each asset by its hash."""

    folder: Path
    stacks: tuple[Stack, ...]

    def staged(self, asset: str) -> Path:
        """The staged folder of an asset; raises NotEmulated when the assembly has none of that hash."""
        path = self.folder / f"asset.{asset}"
        if not path.is_dir():
            raise NotEmulated(f"{asset} is no asset of this template; an image must be staged in {self.folder}")
        return path


class Synthesis:
    """`app.py` at work in a subprocess, so that embedded AWS can start meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        given = {"CDK_OUTDIR": str(folder), "CDK_VALIDATION": "false"}
        self._process = subprocess.Popen(
            [PYTHON, "app.py", "-c", f"stage={STAGE}"],
            cwd=ROOT,
            env=environment(given),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def assembly(self) -> Assembly:
        """The checked assembly; raises SettingsRejected or NotEmulated with every problem."""
        said, _ = self._process.communicate()
        if self._process.returncode == 2:
            raise SettingsRejected(said.strip().removeprefix("SettingsRejected: "))
        if self._process.returncode:
            raise NotSynthesized(f"app.py ended with {self._process.returncode}: {said.strip()[-2000:]}")
        return read(self.folder)

    def end(self) -> None:
        """Ends it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class NotSynthesized(TopxError):
    """When app.py itself fails; the message holds the end of what it said."""


def read(folder: Path) -> Assembly:
    """The assembly in `folder`, checked; raises NotEmulated with every problem."""
    artifacts = json.loads((folder / "manifest.json").read_text("utf-8"))["artifacts"]
    found = {name: a for name, a in artifacts.items() if a["type"] == "aws:cloudformation:stack"}
    stacks: dict[str, Stack] = {}
    while len(stacks) < len(found):
        for name in sorted(found.keys() - stacks.keys()):
            if all(d in stacks for d in found[name].get("dependencies", []) if d in found):
                stacks[name] = _stack(folder, name, found[name]["properties"])
    problems = [problem for stack in stacks.values() for problem in stack.problems()]
    if problems:
        raise NotEmulated(join(problems))
    return Assembly(folder=folder, stacks=tuple(stacks.values()))


def _stack(folder: Path, name: str, properties: dict[str, Any]) -> Stack:
    files = json.loads((folder / f"{name}.assets.json").read_text("utf-8")).get("files", {})
    return Stack(
        name=properties.get("stackName", name),
        template=json.loads((folder / properties["templateFile"]).read_text("utf-8")),
        zips={
            asset: folder / one["source"]["path"]
            for asset, one in files.items()
            if one["source"]["packaging"] == "zip"
        },
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
