"""Granted rights taken away one by one, and which decisions would turn: a decision is a pure function."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from local.iam.authorizer import Decision
from local.iam.conditions import listed
from local.iam.on_behalf import ON_BEHALF, OnBehalf
from local.iam.policy import Document, decide

OTHER = {"true": "false", "false": "true"}
CLOCK = ("aws:currenttime", "aws:epochtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A document without a statement, or one action or resource of it, or with something else there.

    `left` is None where nothing is left of the document.
    """

    document: Document
    number: int
    what: str  # statement, action, resource; or what was replaced: a condition, the principal, the effect
    actions: tuple[str, ...]  # that lose something
    resources: tuple[str, ...]
    condition: str
    left: Document | None

    @property
    def name(self) -> str:
        """The owner without the stack's name and what CloudFormation appended, and which statement."""
        owner = self.document.owner.rpartition(":")[2].rpartition("/")[2]
        short = re.sub(r"^topx-local-(pipeline|data)-|[0-9A-F]{8}-\w+$|-\w{12}$", "", owner)
        kind = {"identity": "", "trust": " (trust)", "resource": " (its policy)"}[self.document.kind]
        extra = "" if "DefaultPolicy" in self.document.name or kind else f" {self.document.name}"
        return f"{short}{kind}{extra}[{self.number}]"


def mutants(documents: Iterable[Document]) -> Iterator[Mutant]:
    """Every statement that allows something removed in turn, then each of its actions and resources."""
    for document in documents:
        for number, one in enumerate(listed(json.loads(document.text)["Statement"])):
            if one["Effect"] != "Allow":
                continue
            yield _mutant(document, number, "statement", one, None)
            for key in ("Action", "Resource"):
                values = listed(one.get(key, "*"))
                for value in values if len(values) > 1 else ():
                    kept = {**one, key: [other for other in values if other != value]}
                    yield _mutant(document, number, key.lower(), {**one, key: value}, kept)
            for damaged in _damaged(one):
                changed = next(name for name in damaged if damaged[name] != one[name])
                yield _mutant(document, number, changed.lower(), one, damaged)


def _damaged(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A statement with an effect, a principal or the values of a condition that do not fit any more."""
    yield {**one, "Effect": "Deny"}
    if isinstance(one.get("Principal"), dict):
        yield {**one, "Principal": {"Service": "other.amazonaws.com"}}
    for operator, keys in one.get("Condition", {}).items():
        for key, value in keys.items():
            other = OTHER.get(str(value).lower(), "arn:aws:other:::x" if "Arn" in operator else "other")
            yield {**one, "Condition": {**one["Condition"], operator: {**keys, key: other}}}


def _mutant(
    document: Document, number: int, what: str, lost: dict[str, Any], kept: dict[str, Any] | None
) -> Mutant:
    content = json.loads(document.text)
    statements = listed(content["Statement"])
    statements[number : number + 1] = [kept] if kept else []
    left = replace(document, text=json.dumps({**content, "Statement": statements})) if statements else None
    return Mutant(
        document=document,
        number=number,
        what=what,
        actions=tuple(listed(lost["Action"])),
        resources=tuple(listed(lost.get("Resource", "*"))),
        condition=json.dumps(lost.get("Condition", {})),
        left=left,
    )


def distinct(decisions: Iterable[Decision]) -> list[Decision]:
    """The allowed decisions, one of each kind: the clock apart."""
    found: dict[Any, Decision] = {}
    for one in decisions:
        if one.verdict.allowed:
            context = tuple(sorted((k, v) for k, v in one.asked.context.items() if k not in CLOCK))
            found.setdefault((one.role, one.action, one.asked.resource, context), one)
    return list(found.values())


def all_turned(mutant: Mutant, decisions: Iterable[Decision]) -> Iterator[Decision]:
    """The decisions that would turn to refusals."""
    for one in decisions:
        if mutant.document not in one.identity and mutant.document not in one.resource:
            continue
        identity, resource = (
            [kept for each in side if (kept := mutant.left if each == mutant.document else each)]
            for side in (one.identity, one.resource)
        )
        if not decide(one.asked, identity, resource).allowed:
            yield one


def excused(mutant: Mutant) -> list[OnBehalf]:
    """The entries of the sourced list that answer for all that a mutant lost; none where one does not."""
    found = []
    for action in mutant.actions:
        for resource in mutant.resources:
            given = (mutant.document.owner, action, resource, mutant.condition)
            entry = next((one for one in ON_BEHALF if one.covers(*given)), None)
            if entry is None:
                return []
            found.append(entry)
    return list(dict.fromkeys(found))
