"""Conditions of policies: wildcards, variables and operators; what is unknown is a problem, never ignored."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from local.iam.keys import MANY, known

Context = Mapping[str, str | tuple[str, ...]]
SETS = ("ForAllValues", "ForAnyValue")
ARN_COLONS = 5
COLON = re.compile(r":(?![^{}]*\})")  # none inside a variable
VARIABLE = re.compile(r"\$\{([^}]*)\}")
LITERAL = {"*", "?", "$"}  # `${*}` is a star


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> Callable[[str], bool]:
    parts = ({"*": ".*", "?": "."}.get(char) or re.escape(char) for char in pattern)
    match = re.compile("".join(parts), re.DOTALL).fullmatch
    return lambda value: match(value) is not None


def matcher(pattern: str, context: Context | None = None) -> Callable[[str], bool]:
    """A test for one pattern: `*` any text, `?` any sign, `${key}` a value of the context, taken literally.

    Without a context variables are plain text, as in policies of 2008-10-17. A variable without a value
    fits nothing.
    """
    if context is None or "${" not in pattern:
        return _compiled(pattern)
    filled = _filled(pattern, context)
    if filled is None:
        return lambda value: False
    match = re.compile(filled, re.DOTALL).fullmatch
    return lambda value: match(value) is not None


def _filled(pattern: str, context: Context) -> str | None:
    made = ""
    for number, part in enumerate(VARIABLE.split(pattern)):
        if number % 2 == 0:
            made += re.escape(part).replace(r"\*", ".*").replace(r"\?", ".")
            continue
        value = _value(part, context)
        if value is None:
            return None
        made += re.escape(value)
    return made


def _value(inside: str, context: Context) -> str | None:
    """What stands for the variable `key`, or `key, 'default'`; None where it has no value."""
    name, comma, default = inside.partition(",")
    value = name if name in LITERAL else context.get(name.strip().lower())
    if value is None and comma:
        return default.strip().strip("'")
    return value if isinstance(value, str) else None


def variables(text: str) -> Iterator[str]:
    """Problems of the policy variables in a text."""
    for inside in VARIABLE.findall(text):
        name = inside.partition(",")[0].strip()
        if name not in LITERAL and not known(name):
            yield f"the variable ${{{inside}}} has no value locally"


def arn_fits(pattern: str, arn: str, context: Context | None = None) -> bool:
    """Whether an ARN fits a pattern part by part: no wildcard reaches over the first five colons."""
    if pattern == "*":
        return True
    parts, wanted = arn.split(":", ARN_COLONS), COLON.split(pattern, maxsplit=ARN_COLONS)
    return len(parts) == len(wanted) == ARN_COLONS + 1 and all(
        p == w or matcher(w, context)(p) for w, p in zip(wanted, parts, strict=True)
    )


def _number(text: str) -> float:
    if not re.fullmatch(r"-?\d+(\.\d+)?", text):
        raise ValueError(text)
    return float(text)


def _moment(text: str) -> float:
    with suppress(ValueError):
        return _number(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _truth(text: str) -> str:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower()


def _arn(text: str) -> str:
    if text != "*" and len(COLON.split(text)) <= ARN_COLONS:
        raise ValueError(text)
    return text


def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


_Test = Callable[[str, str, Context | None], bool]  # value in the policy, value of the request, its context


def _test(
    read: Callable[[str], Any], compare: Callable[[Any, Any], bool]
) -> tuple[Callable[[str], Any], _Test]:
    """(reads a policy's value, test): `compare(have, wanted)` of both as `read`."""

    def test(wanted: str, have: str, context: Context | None) -> bool:
        value = _plain(wanted, context)
        return value is not None and compare(read(have), read(value))

    return read, test


ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}
OPERATORS: dict[str, tuple[Callable[[str], Any], _Test]] = {
    "StringEquals": _test(str, operator.eq),
    "StringEqualsIgnoreCase": _test(str.lower, operator.eq),
    "StringLike": (str, lambda wanted, have, context: matcher(wanted, context)(have)),
    "ArnEquals": (_arn, arn_fits),
    "ArnLike": (_arn, arn_fits),
    "Bool": _test(_truth, operator.eq),
    "IpAddress": _test(_network, lambda have, wanted: have.subnet_of(wanted)),
    **{f"Numeric{name}": _test(_number, compare) for name, compare in ORDER.items()},
    **{f"Date{name}": _test(_moment, compare) for name, compare in ORDER.items()},
}
FILLED = ("String", "Arn")  # kinds of operators whose values may hold variables
NEGATED = {
    "NotIpAddress": "IpAddress",
    **{
        f"{kind}Not{rest}": f"{kind}{rest}"
        for kind, names in {
            "String": ("Equals", "EqualsIgnoreCase", "Like"),
            "Arn": ("Equals", "Like"),
            "Numeric": ("Equals",),
            "Date": ("Equals",),
        }.items()
        for rest in names
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One key of one operator."""

    over: str  # ForAllValues, ForAnyValue or nothing
    test: str  # of OPERATORS, or Null
    negated: bool
    optional: bool
    key: str
    wanted: tuple[str, ...]
    variables: bool

    def holds(self, context: Context) -> bool:
        """Whether it is fulfilled, also where the key is absent."""
        have = context.get(self.key)
        if self.test == "Null":
            return any((have is None) == (one.lower() == "true") for one in self.wanted)
        if have is None or have == ():
            if self.over:
                return self.optional or self.over == "ForAllValues"
            return self.optional or self.negated
        hits = [self._hit(one, context) for one in ((have,) if isinstance(have, str) else have)]
        return any(hits) if self.over == "ForAnyValue" else all(hits)

    def _hit(self, have: str, context: Context) -> bool:
        return any(self._fits(one, have, context) for one in self.wanted) != self.negated

    def _fits(self, wanted: str, have: str, context: Context) -> bool:
        try:
            return OPERATORS[self.test][1](wanted, have, context if self.variables else None)
        except (ValueError, TypeError):  # a value of another type than the operator's, which AWS never fits
            return False


def _plain(text: str, context: Context | None) -> str | None:
    """A value with its variables filled in; None where one has no value."""
    if context is None or "${" not in text:
        return text
    values = {inside: _value(inside, context) for inside in VARIABLE.findall(text)}
    if None in values.values():
        return None
    return VARIABLE.sub(lambda found: str(values[found[1]]), text)


def conditions_of(given: Mapping[str, Mapping[str, Any]], newer: bool) -> tuple[Condition, ...]:
    """The compiled conditions of a statement without problems."""
    made = []
    for word, keys in given.items():
        over, name, optional = _operator(word)
        made += [
            Condition(
                over=over,
                test=NEGATED.get(name, name),
                negated=name in NEGATED,
                optional=optional,
                key=key.lower(),
                wanted=tuple(map(_text, listed(values))),
                variables=newer,
            )
            for key, values in keys.items()
        ]
    return tuple(made)


def condition_problems(given: Any, later: bool) -> Iterator[str]:
    """What is wrong with a Condition block, or cannot be evaluated here; `later` as for a whole document."""
    if not isinstance(given, dict) or not all(isinstance(keys, dict) and keys for keys in given.values()):
        yield f"Condition is {str(given)[:80]}; give {{operator: {{key: values}}}}"
        return
    for word, keys in given.items():
        over, name, optional = _operator(word)
        base = NEGATED.get(name, name)
        if (over and over not in SETS) or base not in {*OPERATORS, "Null"} or (name == "Null" and optional):
            yield f"operator {word} is not emulated; there are {', '.join([*OPERATORS, *NEGATED, 'Null'])}"
            continue
        for key, values in keys.items():
            if not known(key):
                yield f"{word}: the value of {key} is not known locally"
            if key.lower() in MANY and not over and name != "Null":
                yield f"{word}: {key} has many values; write ForAllValues:{word} or ForAnyValue:{word}"
            if not listed(values):
                yield f"{word}: {key} has no value; give at least one"
            for value in listed(values):
                if not (later and intrinsic(value)):
                    yield from (
                        f"{word}: {key} is {value!r}, {wrong}" for wrong in _value_problems(base, value)
                    )


def _value_problems(base: str, value: Any) -> Iterator[str]:
    """What is wrong with one value for an operator that is not negated."""
    if not isinstance(value, str | bool | int | float):
        yield "which is no text, number or truth"
    elif isinstance(value, str) and "${" in value and base.startswith(FILLED):
        yield from variables(value)
    else:
        try:
            (_truth if base == "Null" else OPERATORS[base][0])(_text(value))
        except (ValueError, OverflowError):
            yield "which is no value for this operator"


def intrinsic(value: Any) -> bool:
    """Whether CloudFormation puts something in the place of this part of a template, such as {"Ref": ...}."""
    names = list(value) if isinstance(value, dict) else []
    return len(names) == 1 and (names[0] == "Ref" or names[0].startswith("Fn::"))


def listed(value: Any) -> list[Any]:
    """A value that may stand alone or in a list, as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _operator(word: str) -> tuple[str, str, bool]:
    over, _, name = word.rpartition(":")
    return over, name.removesuffix("IfExists"), name.endswith("IfExists")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
