"""What a rule on the bus says: what of it is refused, its period, and the text that a target gets."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local import patterns
from local.iam.conditions import intrinsic
from local.patterns import shown

PROPERTIES = {  # of a resource -> all that we act on; anything else would be ignored and is refused instead
    "AWS::Events::Rule": {
        *("Description", "EventPattern", "Name", "ScheduleExpression", "State", "Tags", "Targets"),
    },
    "AWS::Lambda::EventSourceMapping": {
        *("BatchSize", "EventSourceArn", "FunctionName", "FunctionResponseTypes", "ScalingConfig", "Tags"),
    },
}
STATES = {"DISABLED", "ENABLED"}
TARGET = {"Arn", "Id", "Input", "InputPath", "InputTransformer", "RoleArn"}
TARGETS = {  # what a target may be: service in its ARN -> type in a template
    "lambda": "AWS::Lambda::Function",
    "sns": "AWS::SNS::Topic",
    "sqs": "AWS::SQS::Queue",
    "states": "AWS::StepFunctions::StateMachine",
}
MOST_TARGETS = 5
GIVEN = {  # in an input template without a path
    *(
        "aws.events.event.ingestion-time",
        "aws.events.event.json",
        "aws.events.rule-arn",
        "aws.events.rule-name",
    ),
}
PATH = re.compile(r"\$(?:\.[\w/-]+|\[\d+\])*")
STEP = re.compile(r"\.([\w/-]+)|\[(\d+)\]")
RATE = re.compile(r"rate\((?:(1) (minute|hour|day)|([2-9]|[1-9]\d+) (minute|hour|day)s)\)")
SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
LARGEST_BATCH = 10  # more needs a batching window
AT_ONCE = range(2, 1001)  # what MaximumConcurrency may be


def seconds(schedule: str | None) -> int | None:
    """The period of `rate(...)`; None for any other text."""
    found = RATE.fullmatch(schedule or "")
    return int(found[1] or found[3]) * SECONDS[found[2] or found[4]] if found else None


def problems(resource: Mapping[str, Any], resources: Mapping[str, Any]) -> Iterator[str]:
    """What AWS would refuse of a resource that has to do with events, or is not emulated.

    `resources` are all of its template.
    """
    given, known = resource.get("Properties", {}), PROPERTIES.get(resource["Type"], set())
    if known:
        yield from (f"has {name}; emulated: {', '.join(sorted(known))}" for name in given.keys() - known)
    match resource["Type"]:
        case "AWS::Events::Rule":
            yield from rule_problems(given)
            yield from target_problems(given.get("Targets", []), lambda arn: _kind(arn, resources))
        case "AWS::Lambda::EventSourceMapping":
            yield from _mapping_problems(given)
        case "AWS::S3::Bucket":
            for name in given.get("NotificationConfiguration", {}).keys() - {"EventBridgeConfiguration"}:
                yield f"has {name} in its NotificationConfiguration; emulated: EventBridgeConfiguration"


def rule_problems(given: Mapping[str, Any], *, template: bool = True) -> Iterator[str]:
    """What is wrong with a rule's pattern, schedule or state; a template's may hold Ref and Fn::..."""
    pattern, schedule = given.get("EventPattern"), given.get("ScheduleExpression")
    if pattern is None and schedule is None:
        yield "has neither EventPattern nor ScheduleExpression; give one of them"
    if pattern is not None:
        yield from (f"has {text}" for text in patterns.problems(pattern, template=template))
        yield from (f"waits for {text}" for text in patterns.unsent(pattern))
    if schedule is not None and seconds(schedule) is None:
        yield f"has the schedule {schedule}; emulated: rate(1 minute), rate(n minutes), hours or days"
    if given.get("State", "ENABLED") not in STATES:
        yield f"has the state {given['State']}; emulated: {', '.join(sorted(STATES))}"


def target_problems(targets: Any, kind: Callable[[Any], str]) -> Iterator[str]:
    """What is wrong with targets of a rule; `kind` gives the type of what an ARN leads to."""
    if not isinstance(targets, list) or not all(isinstance(one, dict) for one in targets):
        yield f"has the targets {shown(targets)}; give a list of objects"
        return
    ids = [shown(target.get("Id")) for target in targets]
    if len(ids) > MOST_TARGETS or len(set(ids)) < len(ids):
        yield f"has the targets {', '.join(ids)}; at most {MOST_TARGETS}, each with an Id of its own"
    for target in targets:
        yield from (f"has {text}" for text in _target_problems(target, kind(target.get("Arn"))))


def _target_problems(target: dict[str, Any], kind: str) -> Iterator[str]:
    name, inputs = target.get("Id"), target.keys() & {"Input", "InputPath", "InputTransformer"}
    if not isinstance(name, str) or not name:
        yield f"a target with the Id {shown(name)}; give each a text"
    for one in sorted(target.keys() - TARGET):
        yield f"{one} on target {name}; emulated: {', '.join(sorted(TARGET))}"
    if kind not in TARGETS.values():
        yield f"a target of {kind}; emulated: {', '.join(sorted(TARGETS.values()))}"
    if kind == TARGETS["states"] and not target.get("RoleArn"):
        yield f"no RoleArn on target {name}; EventBridge starts executions under a role"
    if len(inputs) > 1:
        yield f"{', '.join(sorted(inputs))} on target {name}; give only one of them"
    if isinstance(target.get("Input"), str) and not _is_json(target["Input"]):
        yield f"Input {target['Input'][:100]} on target {name}; it is no JSON"
    if "InputPath" in target and not _is_path(target["InputPath"]):
        yield f"InputPath {shown(target['InputPath'])} on target {name}; emulated: such as $.detail.a-b[0]"
    if "InputTransformer" in target:
        yield from _transformer_problems(target["InputTransformer"], name)


def _transformer_problems(transformer: Any, name: Any) -> Iterator[str]:
    match transformer:
        case {"InputTemplate": str(template), **more} if more.keys() <= {"InputPathsMap"}:
            paths = more.get("InputPathsMap", {})
        case {"InputTemplate": dict(filled_in)} if intrinsic(filled_in):
            return
        case _:
            paths = None
    if not isinstance(paths, dict):
        yield f"InputTransformer {shown(transformer)} on target {name}; give InputTemplate and InputPathsMap"
        return
    for variable, path in paths.items():
        if not re.fullmatch(r"(?!AWS)[\w-]{1,256}", variable, re.A) or not _is_path(path):
            text = f"{variable}: {shown(path)} in the InputPathsMap of target {name}"
            yield f"{text}; give a name of letters, digits, - and _, and a path such as $.detail.a-b[0]"
    for variable in re.findall(r"<([^<>]+)>", template):
        if variable not in paths.keys() | GIVEN:
            text = f"an InputTemplate for target {name} that contains invalid placeholder {variable}"
            yield f"{text}; emulated: {', '.join(sorted(paths.keys() | GIVEN))}"


def _mapping_problems(given: Mapping[str, Any]) -> Iterator[str]:
    size = given.get("BatchSize", LARGEST_BATCH)
    if type(size) is not int or not 1 <= size <= LARGEST_BATCH:
        yield f"has BatchSize {shown(size)}; emulated: 1 to {LARGEST_BATCH}"
    answers = given.get("FunctionResponseTypes", [])
    if answers not in ([], ["ReportBatchItemFailures"]):
        yield f"has FunctionResponseTypes {shown(answers)}; there is ReportBatchItemFailures"
    scaling = given.get("ScalingConfig", {})
    most = scaling.get("MaximumConcurrency", AT_ONCE[0]) if isinstance(scaling, dict) else None
    if most not in AT_ONCE or scaling.keys() - {"MaximumConcurrency"}:
        yield f"has ScalingConfig {shown(scaling)}; give MaximumConcurrency, {AT_ONCE[0]} to {AT_ONCE[-1]}"


def refusal(operation: str, given: Any) -> tuple[str, str] | None:
    """(error code, message) of the answer to a bad PutRule or PutTargets, or to one that is not emulated."""
    if operation not in ("PutRule", "PutTargets") or not isinstance(given, dict):
        return None
    bus = str(given.get("EventBusName") or "default").rpartition("/")[2]
    if bus != "default":
        return "ValidationException", f"not emulated locally: event bus {bus}; there is the default one"
    if operation == "PutTargets":
        found = list(target_problems(given.get("Targets", []), kind_of))
        return ("ValidationException", "; ".join(found)) if found else None
    try:
        pattern = json.loads(given["EventPattern"]) if given.get("EventPattern") is not None else None
    except (TypeError, ValueError, RecursionError):
        return "InvalidEventPatternException", "Event pattern is not valid. Reason: Invalid JSON"
    found = [] if pattern is None else list(patterns.problems(pattern, template=False))
    if found:
        return "InvalidEventPatternException", f"Event pattern is not valid. Reason: {'; '.join(found)}"
    found = list(rule_problems({**given, "EventPattern": pattern}, template=False))
    return ("ValidationException", "; ".join(found)) if found else None


def kind_of(arn: Any) -> str:
    """The type of what an ARN leads to."""
    service = (str(arn).split(":") + [""] * 3)[2]
    return TARGETS.get(service, f"unknown type ({shown(arn)})")


def _kind(arn: Any, resources: Mapping[str, Any]) -> str:
    """The type of what an ARN in a template leads to."""
    match arn:
        case {"Ref": str(named)} | {"Fn::GetAtt": [str(named), *_]}:
            return str(resources.get(named, {"Type": f"unknown type ({shown(arn)})"})["Type"])
        case dict():
            return f"unknown type ({shown(arn)})"
    return kind_of(arn)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and PATH.fullmatch(value) is not None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def transformed(target: dict[str, Any], event: dict[str, Any], rule: str = "") -> str:
    """The JSON text that a target gets: the event, a part of it, a constant, or a filled template.

    `rule` is the rule's ARN, which a template may name. A path that leads nowhere leaves an empty text.
    """
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(_at(target["InputPath"], event, None))
    if "InputTransformer" not in target:
        return json.dumps(event)
    transformer = target["InputTransformer"]
    values = {name: _at(path, event, "") for name, path in transformer.get("InputPathsMap", {}).items()}
    values["aws.events.event.json"], values["aws.events.event.ingestion-time"] = event, event.get("time")
    values["aws.events.rule-arn"], values["aws.events.rule-name"] = rule, rule.rpartition("/")[2]

    def fill(found: re.Match[str]) -> str:
        inside_quotes = found["text"] is not None
        if inside_quotes:
            return re.sub(r"<([^<>]+)>", lambda name: _as_text(values.get(name[1], "")), found[0])
        return json.dumps(values.get(found["name"], ""))

    return re.sub(r'(?P<text>"(?:[^"\\]|\\.)*")|<(?P<name>[^<>"]+)>', fill, transformer["InputTemplate"])


def _at(path: str, event: Any, otherwise: Any) -> Any:
    """What a path leads to in an event."""
    for name, place in STEP.findall(path):
        if name and isinstance(event, dict) and name in event:
            event = event[name]
        elif place and isinstance(event, list) and int(place) < len(event):
            event = event[int(place)]
        else:
            return otherwise
    return event


def _as_text(value: Any) -> str:
    """A value inside the quotes of a template."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return json.dumps(text)[1:-1]
