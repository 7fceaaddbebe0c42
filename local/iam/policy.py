"""IAM's language: policy documents read strictly, and what they say to one request. Pure.

Whatever AWS would refuse, and whatever cannot be evaluated here, is a problem of the document: nothing is
allowed because it was not understood. Rules: IAM User Guide, "Policy evaluation logic" and "JSON policy
element reference".
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from local.iam.conditions import (
    ARN_COLONS,
    Condition,
    arn_fits,
    condition_problems,
    conditions_of,
    matcher,
    variables,
)
from topx.errors import TopxError, join

FIELDS = {
    *("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource"),
    *("Principal", "NotPrincipal", "Condition"),
}
IDENTITY, RESOURCE, TRUST = "identity", "resource", "trust"  # kinds of documents


class PolicyMalformed(TopxError):
    """When a policy document cannot be evaluated; the message lists every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One policy: whose it is, its name there, its kind and its JSON text."""

    owner: str  # ARN of a role, or of the resource that it guards
    name: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One thing that somebody wants to do. `principal` is a role's ARN or a service's name."""

    principal: str
    action: str
    resource: str
    context: Mapping[str, str | tuple[str, ...]]  # condition key in lower case -> value


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`explicit` is a deny, `implicit` the lack of an allow. `because` names the statements that decided."""

    how: str  # allowed | explicit | implicit
    because: tuple[str, ...] = ()
    lacks: str = IDENTITY  # the kind of policy that denies, or does not allow

    @property
    def allowed(self) -> bool:
        """Whether the request may go on."""
        return self.how == "allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement, compiled."""

    label: str
    allows: bool
    actions: tuple[str, ...]
    but_actions: bool
    resources: tuple[str, ...]
    but_resources: bool
    principals: tuple[str, ...]
    conditions: tuple[Condition, ...]
    variables: bool  # Version 2012-10-17

    def applies(self, asked: Asked) -> bool:
        """Whether action, resource and conditions fit; who asks is looked at apart."""
        action = asked.action.lower()
        if any(matcher(one)(action) for one in self.actions) == self.but_actions:
            return False
        context = asked.context if self.variables else None
        if any(arn_fits(one, asked.resource, context) for one in self.resources) == self.but_resources:
            return False
        return all(condition.holds(asked.context) for condition in self.conditions)

    def names(self, principal: str) -> str:
        """How this statement names who asks: "" not at all, "account", or "itself"."""
        account = principal.split(":")[4] if principal.startswith("arn:") else ""
        for one in self.principals:
            if one in ("*", principal):
                return "itself"
        whole = (account, f"arn:aws:iam::{account}:root")
        return "account" if account and any(one in whole for one in self.principals) else ""


def decide(asked: Asked, identity: Sequence[Document], resource: Sequence[Document]) -> Verdict:
    """The verdict of a principal's own policies and those of the resource, in one account.

    A deny wins. A key's policy must let the principal, or the account whose policies then decide; anywhere
    else either side may allow. Raises PolicyMalformed.
    """
    own = [one for document in identity for one in read(document) if one.applies(asked)]
    theirs = [
        (one, how)
        for document in resource
        for one in read(document)
        if (how := one.names(asked.principal)) and one.applies(asked)
    ]
    for kind, found in ((IDENTITY, own), (RESOURCE, [one for one, _ in theirs])):
        if denied := tuple(one.label for one in found if not one.allows):
            return Verdict(how="explicit", because=denied, lacks=kind)
    mine = tuple(one.label for one in own)
    direct = tuple(one.label for one, how in theirs if how == "itself")
    account = tuple(one.label for one, how in theirs if how == "account")
    if asked.action.startswith("kms:"):
        if direct or (account and mine):
            return Verdict(how="allowed", because=direct or (*mine, *account))
        return Verdict(how="implicit", lacks=IDENTITY if account else RESOURCE)
    if mine or direct:
        return Verdict(how="allowed", because=(*mine, *direct))
    return Verdict(how="implicit", lacks=IDENTITY if asked.principal.startswith("arn:") else RESOURCE)


@lru_cache(maxsize=1024)
def read(document: Document) -> tuple[Statement, ...]:
    """The compiled statements; raises PolicyMalformed with every problem."""
    try:
        content = json.loads(document.text)
    except ValueError as error:
        raise PolicyMalformed(f"policy {document.name} of {document.owner} is no JSON: {error}") from error
    found = list(problems(content, document.kind))
    if found:
        raise PolicyMalformed(f"policy {document.name} of {document.owner}: {join(found)}")
    newer = content.get("Version") == "2012-10-17"
    return tuple(
        Statement(
            label=f"{document.owner} {document.name}[{number}]",
            allows=one["Effect"] == "Allow",
            actions=tuple(a.lower() for a in listed(one.get("Action", one.get("NotAction")))),
            but_actions="NotAction" in one,
            resources=tuple(listed(one.get("Resource", one.get("NotResource", "*")))),
            but_resources="NotResource" in one,
            principals=tuple(_principals(one.get("Principal", {}))),
            conditions=conditions_of(one.get("Condition", {}), newer),
            variables=newer,
        )
        for number, one in enumerate(listed(content["Statement"]))
    )


def problems(content: Any, kind: str) -> Iterator[str]:
    """What AWS would refuse in a document, or what cannot be evaluated here.

    Works on templates too: an object in place of a text is a value that CloudFormation fills in later.
    """
    if not isinstance(content, dict) or not listed(content.get("Statement", [])):
        yield f"the document is {str(content)[:60]}; give {{Version, Statement}}"
        return
    if extra := content.keys() - {"Version", "Id", "Statement"}:
        yield f"the document has {', '.join(sorted(extra))}; allowed: Version, Id, Statement"
    if content.get("Version", "2012-10-17") not in ("2012-10-17", "2008-10-17"):
        yield f"Version is {content['Version']!r}; give 2012-10-17"
    for number, one in enumerate(listed(content["Statement"])):
        if not isinstance(one, dict):
            yield f"statement {number} is {one!r}; give an object"
            continue
        yield from (f"statement {number}: {problem}" for problem in _statement_problems(one, kind))


def _statement_problems(one: dict[str, Any], kind: str) -> Iterator[str]:
    if extra := one.keys() - FIELDS:
        yield f"unknown {', '.join(sorted(extra))}; allowed: {', '.join(sorted(FIELDS))}"
    if one.get("Effect") not in ("Allow", "Deny"):
        yield f"Effect is {one.get('Effect')!r}; allowed: Allow, Deny"
    if ("Action" in one) == ("NotAction" in one):
        yield "give one of Action, NotAction"
    for action in _texts(one, "Action", "NotAction"):
        vendor, colon, name = action.partition(":")
        if action != "*" and not (vendor.replace("-", "").isalnum() and colon and name):
            yield f"action {action!r} has no service before it; such as s3:GetObject"
    if kind == TRUST and ("Resource" in one or "NotResource" in one):
        yield "a trust policy has no Resource"
    if kind != TRUST and ("Resource" in one) == ("NotResource" in one):
        yield "give one of Resource, NotResource"
    for resource in _texts(one, "Resource", "NotResource"):
        if resource != "*" and not (resource.startswith("arn:") and resource.count(":") >= ARN_COLONS):
            yield f"resource {resource!r} is no ARN; give one, or *"
    if "NotPrincipal" in one:
        yield "NotPrincipal is not emulated; name who may in Principal"
    if kind == IDENTITY and "Principal" in one:
        yield "a policy of a role has no Principal"
    if kind != IDENTITY:
        if "Principal" not in one:
            yield "Principal is missing"
        for who in set(one["Principal"]) - {"AWS", "Service"} if isinstance(one.get("Principal"), dict) else ():
            yield f"a principal of kind {who} is not emulated; allowed: AWS, Service"
    for name in (*_texts(one, "Resource", "NotResource"), *_texts(one, "Action", "NotAction")):
        yield from (f"{name}: {problem}" for problem in variables(name))
    yield from condition_problems(one.get("Condition", {}))


def listed(value: Any) -> list[Any]:
    """A value that may stand alone or in a list, as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _texts(one: dict[str, Any], *names: str) -> list[str]:
    return [text for name in names if name in one for text in listed(one[name]) if isinstance(text, str)]


def _principals(given: Any) -> Iterator[str]:
    if isinstance(given, str):
        yield given
        return
    for values in given.values():
        yield from listed(values)
