"""The synthesized template: made in a subprocess, read, and checked against what local mode emulates."""

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from local import bus
from local.children import PYTHON, environment
from local.iam.policy import once
from local.iam.templates import template_problems
from topx.errors import SettingsRejected, TopxError, join

ROOT = Path(__file__).parents[1]
STAGE = "local"

EMULATED = {
    "AWS::DynamoDB::Table",
    "AWS::Events::Rule",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::KMS::Key",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Topic",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::Queue",
    "AWS::SQS::QueuePolicy",
    "AWS::StepFunctions::StateMachine",
}
LEFT_OUT = {  # resource types that have no effect locally -> what an operator should know
    "AWS::CDK::Metadata": "no usage metadata",
    "AWS::CloudWatch::Alarm": "alarms never fire",
    "AWS::CloudWatch::Dashboard": "no dashboards",
    "AWS::Logs::ResourcePolicy": "log delivery needs no permission",
}
NOT_EMULATED = (  # beside the resource types above; the README lists both
    "rights on what services do for us (logs, traces, metrics); local/iam/on_behalf.py lists them",
    "permission boundaries, session policies, organisations' policies, AWS's own managed policies; signatures",
    "redrives into a Map or Parallel state",
    "a training job that is stopped leaves an empty artifact: local engines write theirs at their end",
    "log groups and metrics stay empty; logs are files",
    "nothing expires and nothing is encrypted; keys exist in name",
    "one engine process stands for any number of machines of any type; disks and networks are not limited",
    "a function has at most four processes; its memory is watched on Linux only, its disk not at all",
    "nothing waits: a failed asynchronous call is tried again at once, and a target of a rule only once",
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
        return json.dumps({**self.template, "Resources": _creatable(kept)})

    def problems(self) -> Iterator[str]:
        """What of this stack local mode does not emulate."""
        for name, one in self.template["Resources"].items():
            if one["Type"] not in EMULATED | LEFT_OUT.keys():
                yield f"{self.name}/{name} is {one['Type']}; emulated: {', '.join(sorted(EMULATED))}"
            for problem in bus.problems(one, self.template["Resources"]):
                yield f"{self.name}/{name} {problem}"
            for problem in template_problems(one["Type"], one.get("Properties", {}), later=True):
                yield f"{self.name}/{name}: {problem}"
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
        template=_template(folder / properties["templateFile"]),
        zips={
            asset: folder / one["source"]["path"]
            for asset, one in files.items()
            if one["source"]["packaging"] == "zip"
        },
    )


def _template(file: Path) -> dict[str, Any]:
    try:
        made: dict[str, Any] = json.loads(file.read_text("utf-8"), object_pairs_hook=once)
    except ValueError as error:
        raise NotEmulated(f"the template {file.name} cannot be read: {error}") from error
    return made


def _creatable(resources: dict[str, Any]) -> dict[str, Any]:
    """The resources in an order in which each comes after all that it names; policies as late as they may.

    AWS creates side by side what does not wait for each other: who needs a policy must say so.
    """
    waits = TopologicalSorter({name: _named(one) & resources.keys() for name, one in resources.items()})
    waits.prepare()
    made: dict[str, Any] = {}
    ready: list[str] = []
    while waits.is_active():
        ready = sorted([*ready, *waits.get_ready()], key=lambda name: "Policy" in resources[name]["Type"])
        made[ready[0]] = resources[ready[0]]
        waits.done(ready.pop(0))
    return made


def _named(value: Any) -> set[str]:
    """The logical ids that a part of a template may name."""
    match value:
        case {"Ref": str(name)}:
            return {name}
        case {"Fn::GetAtt": [str(name), _]}:
            return {name}
        case {"Fn::Sub": str(text)}:
            return {name.partition(".")[0] for name in re.findall(r"\$\{([^}]+)\}", text)}
        case dict():
            named = set(_listed(value.get("DependsOn", []))) if "Type" in value else set()
            return named.union(*map(_named, value.values()))
        case list():
            return set().union(*map(_named, value))
    return set()


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
