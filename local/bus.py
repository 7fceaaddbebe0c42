"""What a rule on the bus says: what of it is emulated, its period, and the text that a target gets."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonpath_ng.parser import parse

PROPERTIES = {  # of a resource -> all that we act on; anything else would be ignored and is refused instead
    "AWS::Events::Rule": {
        *("Description", "EventPattern", "Name", "ScheduleExpression", "State", "Tags", "Targets"),
    },
    "AWS::Lambda::EventSourceMapping": {
        *("BatchSize", "EventSourceArn", "FunctionName", "FunctionResponseTypes", "ScalingConfig", "Tags"),
    },
}
OPERATORS = {  # of event patterns, beside plain values and `$or`; each is held by a test
    *("anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard"),
}
NESTED = {"equals-ignore-case", "prefix", "suffix", "wildcard"}  # may stand in another operator
TARGET = {"Arn", "Id", "Input", "InputPath", "InputTransformer", "RoleArn"}
TARGETS = {  # what a target may be: service in its ARN -> type in a template
    "lambda": "AWS::Lambda::Function",
    "sns": "AWS::SNS::Topic",
    "sqs": "AWS::SQS::Queue",
    "states": "AWS::StepFunctions::StateMachine",
}
RATE = re.compile(r"rate\(([1-9]\d*) (minute|hour|day)s?\)")
SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}


def seconds(schedule: str | None) -> int | None:
    """The period of `rate(...)`; None for any other text."""
    found = RATE.fullmatch(schedule or "")
    return int(found[1]) * SECONDS[found[2]] if found else None


def problems(resource: Mapping[str, Any], resources: Mapping[str, Any]) -> Iterator[str]:
    """What of a rule or an event source mapping is not emulated; `resources` are all of its template."""
    properties, known = resource.get("Properties", {}), PROPERTIES.get(resource["Type"], set())
    if known:
        yield from (f"has {name}; emulated: {', '.join(sorted(known))}" for name in properties.keys() - known)
    if resource["Type"] != "AWS::Events::Rule":
        return
    yield from _pattern_problems(properties.get("EventPattern", {}))
    schedule = properties.get("ScheduleExpression")
    if schedule is not None and seconds(schedule) is None:
        yield f"has the schedule {schedule}; emulated: rate(n minutes), hours or days"
    for target in properties.get("Targets", []):
        for name in target.keys() - TARGET:
            yield f"has {name} on target {target.get('Id')}; emulated: {', '.join(sorted(TARGET))}"
        kind = _kind(target.get("Arn"), resources)
        if kind not in TARGETS.values():
            yield f"has a target of {kind}; emulated: {', '.join(sorted(TARGETS.values()))}"


def _kind(arn: Any, resources: Mapping[str, Any]) -> str:
    """The type of what an ARN in a template leads to."""
    if isinstance(arn, dict):
        named = str(arn.get("Ref") or arn.get("Fn::GetAtt", [""])[0])
        return str(resources.get(named, {"Type": f"unknown type ({json.dumps(arn)})"})["Type"])
    service = (str(arn).split(":") + [""] * 3)[2]
    return TARGETS.get(service, f"unknown type ({arn})")


def _pattern_problems(pattern: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, tests in pattern.items():
        where = f"{above}.{name}" if above else name
        if name == "$or":
            for one in tests:
                yield from _pattern_problems(one, above)
        elif isinstance(tests, dict):
            yield from _pattern_problems(tests, where)
        elif not isinstance(tests, list) or not tests:
            yield f"has {json.dumps(tests)} for {where} in its pattern; EventBridge takes a list of values"
        else:
            for test in tests:
                if problem := _test_problem(test):
                    yield f"has {json.dumps(test)} for {where} in its pattern; {problem}"


def _test_problem(test: Any) -> str | None:
    if not isinstance(test, dict) or _intrinsic(test):
        return None
    if len(test) != 1 or not test.keys() <= OPERATORS:
        return f"emulated: values, $or, {', '.join(sorted(OPERATORS))}"
    inner = next(iter(test.values()))
    if isinstance(inner, dict) and not _intrinsic(inner) and not inner.keys() <= NESTED:
        return f"emulated inside an operator: {', '.join(sorted(NESTED))}"
    return None


def _intrinsic(value: dict[str, Any]) -> bool:
    """Whether CloudFormation puts something in its place."""
    return any(name == "Ref" or name.startswith("Fn::") for name in value)


def transformed(target: dict[str, Any], event: dict[str, Any]) -> str:
    """The JSON text that a target gets: the event, a part of it, a constant, or a filled template."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(_at(target["InputPath"], event))
    if "InputTransformer" not in target:
        return json.dumps(event)
    transformer = target["InputTransformer"]
    values = {name: _at(path, event) for name, path in transformer.get("InputPathsMap", {}).items()}
    values["aws.events.event.json"] = event

    def fill(found: re.Match[str]) -> str:
        inside_quotes = found["text"] is not None
        if inside_quotes:
            return re.sub(r"<([^<>]+)>", lambda name: _as_text(values.get(name[1])), found[0])
        return json.dumps(values.get(found["name"]))

    return re.sub(r'(?P<text>"(?:[^"\\]|\\.)*")|<(?P<name>[^<>"]+)>', fill, transformer["InputTemplate"])


def _at(path: str, event: dict[str, Any]) -> Any:
    quoted = re.sub(
        r"\.([\w]+(?:-[\w]+)+)", r'."\1"', path
    )  # names with hyphens, which the parser reads as minus
    found = parse(quoted).find(event)
    return found[0].value if found else None


def _as_text(value: Any) -> str:
    """A value inside the quotes of a template."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return json.dumps(text)[1:-1]
