"""Requests beside AWS's own model of its API, before they are answered: every problem at once, in AWS's words.

The model is the one that botocore ships: names, types, what is required, lengths, ranges, patterns and
enumerations. AWS reads past a member that it does not know; here it is refused, because it would be a mistake
that nobody notices. A member that is null counts as not given, as on AWS.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import regex
from botocore.model import ListShape, MapShape, OperationNotFoundError, Shape, StructureShape

from local import job_rules
from local import moto_seams as moto
from local.job_rules import bean, failed

CHECKED = {  # service -> which of its operations
    "sagemaker": re.compile(".*"),
    "stepfunctions": re.compile(".*Executions?|GetExecutionHistory"),
    "events": re.compile("PutEvents"),
    "dynamodb": re.compile("ImportTable|DescribeImport|ListImports"),
}
CALLS = (moto.CALL_SAGEMAKER, moto.CALL_STATES, moto.CALL_EVENTS, moto.CALL_DYNAMODB)
TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {  # of the model -> of JSON, AWS's word for it
    "string": ((str,), "String"),
    "integer": ((int,), "Integer"),
    "long": ((int,), "Long"),
    "float": ((int, float), "Float"),
    "double": ((int, float), "Double"),
    "boolean": ((bool,), "Boolean"),
    "timestamp": ((int, float, str), "Timestamp"),
    "blob": ((str,), "ByteBuffer"),
    "list": ((list,), "List"),
    "map": ((dict,), "Map"),
    "structure": ((dict,), "Structure"),
}
BITS = {"integer": 31, "long": 63}  # and a sign
GIVEN = {str: "STRING_VALUE", bool: "BOOLEAN_VALUE", int: "NUMBER_VALUE", float: "DECIMAL_VALUE"}
GIVEN |= {list: "LIST_VALUE", dict: "STRUCTURE_VALUE"}
NOT_IN_MESSAGES = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # of SQS
UNSENDABLE = "InvalidMessageContents", "The message contains characters outside the allowed set."
JAVA_SURROGATES = (r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a request: `text` as the API says it, `task_text` as Step Functions does."""

    kind: Literal["unknown", "missing", "type", "constraint"]
    text: str
    task_text: str = ""


def problems(service: str, operation: str, request: Any) -> list[Problem]:
    """Everything that contradicts the model of the operation, in its order; empty for a good request."""
    shape = _input(service, operation)
    return list(_walk(shape, request, "", operation)) if shape else []


def refusal(service: str, operation: str, request: Any) -> tuple[str, str] | None:
    """(error code, message) of the answer to a bad request, None for a good one."""
    found = problems(service, operation, request)
    malformed = [one.text for one in found if one.kind in ("type", "unknown")]
    if malformed:
        return "SerializationException", "; ".join(malformed)
    texts = [one.text for one in found] or list(job_rules.problems(service, operation, request))
    if not texts:
        return None
    several = "s" if len(texts) > 1 else ""
    return "ValidationException", f"{len(texts)} validation error{several} detected: {'; '.join(texts)}"


def without_nulls(service: str, operation: str, request: Any) -> Any:
    """A request without the members that are null; in a list or a map a null stays, to be refused."""
    return _without_nulls(_input(service, operation), request)


def install(stack: ExitStack) -> None:
    """Lets the services check their requests first, until `stack` closes: before rights, before any answer."""
    parse = moto.PARSE.original

    def parse_parameters(self: Any, request: Any) -> None:
        self.refused = _refused(self)
        if self.refused is None:  # moto's parser fails on other types than the model's
            parse(self, request)

    moto.put(stack, moto.PARSE, parse_parameters)
    for seam in CALLS:
        moto.put(stack, seam, _checked(seam.original))
    moto.put(stack, moto.SEND_MESSAGE, _sending(moto.SEND_MESSAGE.original))
    moto.put(stack, moto.SEND_MESSAGES, _sending_many(moto.SEND_MESSAGES.original))


def _sending(original: Any) -> Any:
    def send(self: Any, queue_name: str, message_body: str, message_attributes: Any = None, **more: Any) -> Any:
        if _unsendable(message_body, message_attributes):
            raise moto.Refusal(*UNSENDABLE)
        return original(self, queue_name, message_body, message_attributes, **more)

    return send


def _sending_many(original: Any) -> Any:
    """Each message of a batch by itself: the others are sent."""

    def send(self: Any, queue_name: str, entries: dict[str, dict[str, Any]]) -> Any:
        bad = [n for n, one in entries.items() if _unsendable(one["MessageBody"], one["MessageAttributes"])]
        messages, failed = original(self, queue_name, {n: one for n, one in entries.items() if n not in bad})
        code, text = UNSENDABLE
        refused = [{"Id": entries[n]["Id"], "SenderFault": True, "Code": code, "Message": text} for n in bad]
        return messages, [*failed, *refused]

    return send


def _unsendable(body: str, attributes: Mapping[str, Any] | None) -> bool:
    """Whether a message has characters that SQS does not take."""
    values = (str(one.get("StringValue", "")) for one in (attributes or {}).values())
    return any(map(NOT_IN_MESSAGES.search, (body, *values)))


def _checked(original: Any) -> Any:
    def call_action(self: Any) -> Any:
        refused = self.refused if hasattr(self, "refused") else _refused(self)
        if refused is None:
            try:
                return original(self)
            except NotImplementedError:
                refused = "ValidationException", f"not emulated locally: {self._get_action()}"
        return 400, self.response_headers, json.dumps({"__type": refused[0], "message": refused[1]})

    return call_action


def _refused(response: Any) -> tuple[str, str] | None:
    """The refusal of the request that one of moto's response objects is about to answer, without its nulls."""
    service, operation = response.boto3_service_name, response._get_action() or ""
    if service not in CHECKED:
        return None
    if operation not in moto.SERVICE_MODEL(service).operation_names:
        return "UnknownOperationException", f"{service} has no operation '{operation}'"
    if not CHECKED[service].fullmatch(operation):
        return None
    try:
        given = json.loads(response.body or "{}")
        if r"\ud" in response.body.lower():  # half a character, which no file and no message can hold
            json.dumps(given, ensure_ascii=False).encode()
        request = without_nulls(service, operation, given)
        refused = refusal(service, operation, request)
    except (ValueError, RecursionError) as error:
        return "SerializationException", f"the body is no JSON: {error}"
    if refused is None and "null" in response.body:
        response.body = json.dumps(request)
    return refused


def _without_nulls(shape: Shape | None, value: Any) -> Any:
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        given = {name: one for name, one in value.items() if one is not None}
        return {name: _without_nulls(shape.members.get(name), one) for name, one in given.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_without_nulls(shape.member, one) for one in value]
    return value


@cache
def _input(service: str, operation: str) -> Shape | None:
    try:
        shape: Shape | None = moto.SERVICE_MODEL(service).operation_model(operation).input_shape
    except OperationNotFoundError:
        return None
    return shape


def _walk(shape: Shape, value: Any, path: str, field: str) -> Iterator[Problem]:
    allowed, name = TYPES[shape.type_name]
    bits = BITS.get(shape.type_name, 0)
    if type(value) not in allowed or (bits and not -(1 << bits) <= value < 1 << bits):
        given = GIVEN.get(type(value), "NULL_VALUE")  # JSON knows no other types
        yield Problem(
            kind="type",
            text=f"{given} can not be converted to {_a(name)}: '{path}' is {_java(value)!r}"[:500],
            task_text=f"The value for the field '{field}' must be {_a(name.upper())}",
        )
        return
    if isinstance(shape, StructureShape):
        yield from _members(shape, value, path)
        return
    for constraint in _broken(shape, value):
        shown = "" if shape.metadata.get("sensitive") else f"'{_java(value)}'"
        yield Problem(kind="constraint", text=failed(shown, path, constraint))
    if isinstance(shape, ListShape):
        yield from _items(shape, value, path, field)
    elif isinstance(shape, MapShape):
        yield from _entries(shape, value, path, field)


def _members(shape: StructureShape, value: dict[str, Any], path: str) -> Iterator[Problem]:
    inside = f"{path}." if path else ""
    for name in shape.required_members:
        if value.get(name) is None:
            yield Problem(
                kind="missing",
                text=failed("null", inside + bean(name), "Member must not be null"),
                task_text=f"The field '{name}' is required but was missing",
            )
    for name, given in value.items():
        if name not in shape.members:
            yield Problem(
                kind="unknown",
                text=f"'{inside}{name}' is no member; there are {', '.join(shape.members)}",
                task_text=f"The field '{name}' is not supported by Step Functions",
            )
        elif given is not None:
            yield from _walk(shape.members[name], given, inside + bean(name), name)


def _items(shape: ListShape, value: list[Any], path: str, field: str) -> Iterator[Problem]:
    """Simple members are judged as one, as AWS does; structures each by itself."""
    simple = _is_simple(shape.member)
    for number, given in enumerate(value, 1):
        found = list(_walk(shape.member, given, f"{path}.{number}.member", field))
        if simple and any(one.kind == "constraint" for one in found):
            constraint = f"Member must satisfy constraint: [{', '.join(_constraints(shape.member))}]"
            yield Problem(kind="constraint", text=failed(f"'{_java(value)}'", path, constraint))
            return
        yield from found


def _entries(shape: MapShape, value: dict[str, Any], path: str, field: str) -> Iterator[Problem]:
    if any(True for key in value for _ in _broken(shape.key, key)):
        constraint = f"Map keys must satisfy constraint: [{', '.join(_constraints(shape.key))}]"
        yield Problem(kind="constraint", text=failed(f"'{_java(value)}'", path, constraint))
    simple, told = _is_simple(shape.value), False
    for key, given in value.items():
        found = list(_walk(shape.value, given, f"{path}.{key}.member", f"{field}.{key}"))
        if simple and any(one.kind == "constraint" for one in found):
            if not told:
                constraint = f"Map value must satisfy constraint: [{', '.join(_constraints(shape.value))}]"
                yield Problem(kind="constraint", text=failed(f"'{_java(value)}'", path, constraint))
            told = True
        else:
            yield from found


def _broken(shape: Shape, value: Any) -> Iterator[str]:
    """The constraints of this shape itself that a value of its type breaks."""
    about, unit = shape.metadata, "value" if isinstance(value, int | float) else "length"
    if not about:
        return
    size = value if unit == "value" else len(value)
    if "enum" in about and value not in about["enum"]:
        yield f"Member must satisfy enum value set: [{', '.join(about['enum'])}]"
    if "pattern" in about and not _pattern(about["pattern"]).fullmatch(value):
        yield f"Member must satisfy regular expression pattern: {about['pattern']}"
    if size > about.get("max", size):
        yield f"Member must have {unit} less than or equal to {about['max']}"
    if size < about.get("min", size):
        yield f"Member must have {unit} greater than or equal to {about['min']}"


def _constraints(shape: Shape) -> Iterator[str]:
    """All constraints of a simple shape."""
    about, unit = shape.metadata, "length" if shape.type_name == "string" else "value"
    if "max" in about:
        yield f"Member must have {unit} less than or equal to {about['max']}"
    if "min" in about:
        yield f"Member must have {unit} greater than or equal to {about['min']}"
    if "enum" in about:
        yield f"Member must satisfy enum value set: [{', '.join(about['enum'])}]"
    if "pattern" in about:
        yield f"Member must satisfy regular expression pattern: {about['pattern']}"


@cache
def _pattern(text: str) -> Any:
    """A pattern of Java's as one of `regex`, which knows its \\p classes.

    As in Java a dot is no end of a line, and \\d, \\w and \\s are ASCII; a pattern with both them and \\p{L}
    does not occur.
    """
    ascii_only = regex.ASCII if re.search(r"\\[dwsS]|\\p\{Al", text) else 0
    return regex.compile(text.replace(*JAVA_SURROGATES), regex.WORD | ascii_only)


def _is_simple(shape: Shape) -> bool:
    return shape.type_name not in ("structure", "list", "map")


def _a(noun: str) -> str:
    return f"a{'n' if noun[0] in 'AEIOU' else ''} {noun}"


def _java(value: Any) -> str:
    """A value as AWS's messages print it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}={_java(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_java, value))}]"
    return "null" if value is None else str(value)
