"""Settings declared once as dataclass fields: built from JSON, checked, documented.

A settings class is a frozen dataclass whose fields are made by `setting`, with default, meaning and
range; a `problems` method yields what fits no single field. Standard library only.
"""

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from topx.errors import SettingsRejected, join


def setting(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    pattern: str | None = None,
) -> Any:
    """A dataclass field that carries its meaning and its range."""
    about = {"meaning": meaning, "low": low, "high": high, "choices": choices, "pattern": pattern}
    if isinstance(default, Mapping):
        return field(default_factory=lambda: dict(default), metadata=about)
    if isinstance(default, type):
        return field(default_factory=default, metadata=about)
    return field(default=default, metadata=about)


def unknown_key(where: str, key: str, known: list[str]) -> str:
    """The message for a key that does not exist, naming the nearest known one."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{where} does not exist; {hint}allowed: {', '.join(known)}"


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on top, objects key by key, everything else whole."""
    out = dict(base)
    for key, value in over.items():
        below = out.get(key)
        out[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return out


def checked(cls: type, given: Mapping[str, Any]) -> Any:
    """An instance of a settings class from JSON; raises SettingsRejected with every problem."""
    built, problems = examined(cls, given)
    if problems:
        raise SettingsRejected(join(problems))
    return built


def examined(cls: type, given: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """An instance of a settings class from what fits, and every problem of what does not."""
    problems: list[str] = []
    return _build(cls, given, "", problems), problems


def as_json(settings: Any) -> dict[str, Any]:
    """Settings as plain JSON values, the inverse of `load_run` and `load_deploy`."""
    return typing.cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(settings))))


def rows(cls: type, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(dotted name, default, meaning and range) of each setting, sections walked through."""
    for name, hint, about, default in _fields(cls):
        if dataclasses.is_dataclass(hint):
            yield from rows(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            span = _span(about)
            yield f"{prefix}{name}", default, about["meaning"] + (f" ({span})" if span else "")


def _build(cls: type, given: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(given, Mapping):
        problems.append(f"{where.rstrip('.') or 'settings'} is {_show(given)}; give an object of settings")
        return cls()
    known = {name: (hint, about) for name, hint, about, _ in _fields(cls)}
    problems += [unknown_key(f"{where}{key}", str(key), list(known)) for key in given if key not in known]
    values = {}
    for name, (hint, about) in known.items():
        if name not in given:
            continue
        if dataclasses.is_dataclass(hint):
            values[name] = _build(typing.cast(type, hint), given[name], f"{where}{name}.", problems)
        else:
            value, problem = _value(given[name], hint, about)
            if problem:
                problems.append(f"{where}{name} is {_show(given[name])}; {problem}")
            else:
                values[name] = value
    built = cls(**values)
    if hasattr(built, "problems"):
        problems += [f"{where}{problem}" for problem in built.problems()]
    return built


def _value(given: Any, hint: Any, about: Mapping[str, Any]) -> tuple[Any, str]:
    """The value in its own type, and what is wrong with it ("" when nothing is)."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    hints = typing.get_args(hint) if union else (hint,)
    wants = " or ".join("unset" if h is type(None) else _NAMES[typing.get_origin(h) or h] for h in hints)
    if given is None:
        return None, "" if type(None) in hints else f"give {wants}"
    for one in hints:
        kind = typing.get_origin(one) or one
        if kind is tuple and isinstance(given, (list, tuple)) and all(isinstance(v, str) for v in given):
            bad = next((v for v in given if about["pattern"] and not re.fullmatch(about["pattern"], v)), None)
            return tuple(given), f"{_show(bad)} does not fit {about['pattern']}" if bad is not None else ""
        if kind is Mapping and isinstance(given, Mapping):
            _, inner = typing.get_args(one)
            made = {str(key): _value(value, inner, _FREE) for key, value in given.items()}
            wrong = [f"{key}: {problem}" for key, (_, problem) in made.items() if problem]
            return {key: value for key, (value, _) in made.items()}, "; ".join(wrong)
        if type(given) is kind or (kind is float and type(given) is int):
            value = float(given) if kind is float else given
            return value, "" if _inside(value, about) else f"choose {_span(about)}"
    return None, f"give {wants}" + (f", {_span(about)}" if _span(about) else "")


_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    tuple: "a list of texts",
    Mapping: "an object",
}
_FREE: dict[str, Any] = {"low": 0, "high": None, "choices": None, "pattern": None}


def _inside(value: Any, about: Mapping[str, Any]) -> bool:
    if isinstance(value, float) and not abs(value) < float("inf"):
        return False
    low, high = about["low"], about["high"]
    return (
        (low is None or value >= low)
        and (high is None or value <= high)
        and (about["choices"] is None or value in about["choices"])
        and (about["pattern"] is None or re.fullmatch(about["pattern"], value) is not None)
    )


def _span(about: Mapping[str, Any]) -> str:
    low, high = about["low"], about["high"]
    if about["choices"]:
        return "one of " + ", ".join(json.dumps(choice) for choice in about["choices"])
    if about["pattern"]:
        return f"text like {about['pattern']}"
    if low is not None and high is not None:
        return f"{low:,} to {high:,}"
    return f"{low:,} or more" if low is not None else ""


def _fields(cls: type) -> Iterator[tuple[str, Any, Mapping[str, Any], Any]]:
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        default = (
            f.default_factory()
            if f.default is dataclasses.MISSING and callable(f.default_factory)
            else f.default
        )
        yield f.name, hints[f.name], f.metadata, default


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
