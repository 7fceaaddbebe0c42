"""Event patterns of rules: what EventBridge would refuse, and what nothing here would ever match."""

import json
import math
import re
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

from local.iam.conditions import intrinsic

SENT = {  # who of AWS speaks to the bus here -> of what; a schedule's event goes to its own rule alone
    "aws.s3": {"Object Created", "Object Deleted"},
    "aws.states": {"Step Functions Execution Status Change"},
}
NESTED = {"equals-ignore-case", "prefix", "suffix", "wildcard"}  # may stand in `anything-but`
BOUNDS = {"<", "<=", "=", ">", ">="}


def problems(pattern: Any, above: str = "", *, template: bool = True) -> Iterator[str]:
    """What EventBridge answers InvalidEventPatternException to, all of it, in its words where they are known.

    `above` is the place of a pattern within another one; a template's may hold Ref and Fn::...
    """
    if not isinstance(pattern, dict) or not pattern:
        yield f"{shown(pattern)} for {above or 'all'} in its pattern; give an object of fields, not empty"
        return
    for name, tests in pattern.items():
        where = f"{above}.{name}" if above else name
        if template and intrinsic(tests):
            continue
        if name == "$or":
            if not isinstance(tests, list) or len(tests) < 2:
                yield f"{shown(tests)} for {where} in its pattern; give a list of two patterns or more"
                continue
            for one in tests:
                yield from problems(one, above, template=template)
        elif isinstance(tests, dict):
            yield from problems(tests, where, template=template)
        elif not isinstance(tests, list):
            yield f'{shown(tests)} for {where} in its pattern; "{name}" must be an object or an array'
        elif not tests:
            yield f"[] for {where} in its pattern; Empty arrays are not allowed"
        else:
            for test in tests:
                reason = None if template and intrinsic(test) else _test_problem(test, template)
                if reason:
                    yield f"{shown(test)} for {where} in its pattern; {reason}"


def unsent(pattern: Any) -> Iterator[str]:
    """Events of AWS that a rule would wait for in vain, as nothing sends them here."""
    sources, kinds = _texts(pattern, "source"), _texts(pattern, "detail-type")
    for source in sources:
        if source.startswith("aws.") and source not in SENT:
            yield f"events of {source}; emulated: {', '.join(sorted(SENT))}, and what anybody puts"
    if sources and set(sources) <= SENT.keys():
        known = set().union(*(SENT[source] for source in sources))
        for kind in kinds:
            if kind not in known:
                yield f"{kind} of {', '.join(sources)}; emulated: {', '.join(sorted(known))}"


def _texts(pattern: Any, name: str) -> list[str]:
    """The plain texts that a pattern allows for a field at its top."""
    tests = pattern.get(name) if isinstance(pattern, dict) else None
    return [one for one in tests if isinstance(one, str)] if isinstance(tests, list) else []


def _test_problem(test: Any, template: bool) -> str | None:
    match test:
        case None | bool() | str():
            return None
        case int() | float():
            return None if math.isfinite(test) else "there is no such number in JSON"
        case dict() if len(test) != 1:
            return "Only one key allowed in match expression"
        case dict():
            ((operator, value),) = test.items()
            if operator not in OPERATORS:
                return f"Unrecognized match type {operator}; there are {', '.join(sorted(OPERATORS))}"
            return None if template and intrinsic(value) else OPERATORS[operator](value)
    return "Match value must be String, number, true, false, or null"


def _anything_but(value: Any) -> str | None:
    if isinstance(value, dict):
        if len(value) != 1 or not value.keys() <= NESTED:
            return f"Unsupported anything-but pattern; there are {', '.join(sorted(NESTED))}"
        operator = str(next(iter(value)))
        inside = _several(value[operator])
        if all(isinstance(one, str) and one and OPERATORS[operator](one) is None for one in inside):
            return None
        return f"{operator} in anything-but takes a text or a list of texts, none empty"
    inside = _several(value)
    if all(isinstance(one, str) for one in inside) or all(map(_is_number, inside)):
        return None
    return "Value of anything-but must be an array or single string/number value, not of both kinds"


def _cidr(value: Any) -> str | None:
    try:
        if isinstance(value, str) and "/" in value:
            ip_network(value)
            return None
    except ValueError:
        pass
    return "Malformed CIDR: give a network's address, one '/' and the number of its bits"


def _exists(value: Any) -> str | None:
    return None if isinstance(value, bool) else "exists match pattern must be either true or false."


def _ignoring_case(value: Any) -> str | None:
    return None if isinstance(value, str) else "equals-ignore-case match pattern must be a string"


def _numeric(value: Any) -> str | None:
    match value:
        case [str(first), bound] if first in BOUNDS and _is_number(bound):
            return None
        case [">" | ">=", low, "<" | "<=", high] if _is_number(low) and _is_number(high):
            return None if low < high else "Bottom must be less than top"
    return f'give one of {", ".join(sorted(BOUNDS))} and a number, or a range such as [">", 0, "<=", 5]'


def _start_or_end(value: Any) -> str | None:
    if isinstance(value, dict) and value.keys() == {"equals-ignore-case"}:
        value = value["equals-ignore-case"]
    return None if isinstance(value, str) else "prefix/suffix match pattern must be a string"


def _wildcard(value: Any) -> str | None:
    if not isinstance(value, str):
        return "wildcard match pattern must be a string"
    if "**" in value:
        return "Consecutive wildcard characters"
    return None if re.fullmatch(r"(?:[^\\]|\\[\\*])*", value, re.S) else "Invalid escape character"


OPERATORS: dict[str, Callable[[Any], str | None]] = {  # -> what is wrong with the value of one
    "anything-but": _anything_but,
    "cidr": _cidr,
    "equals-ignore-case": _ignoring_case,
    "exists": _exists,
    "numeric": _numeric,
    "prefix": _start_or_end,
    "suffix": _start_or_end,
    "wildcard": _wildcard,
}


def _several(value: Any) -> list[Any]:
    """What is in a list, or the one value in its place; an empty list is no list."""
    return value if isinstance(value, list) and value else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def shown(value: Any) -> str:
    """A value in a message."""
    return json.dumps(value)[:200]
