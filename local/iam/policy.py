"""IAM's language: policy documents read strictly, and what they say to one request. Pure.

Whatever AWS would refuse, and whatever cannot be evaluated here, is a problem of the document: nothing is
allowed because it was not understood. Rules: IAM User Guide, "Policy evaluation logic" and "JSON policy
element reference".
"""

import json
import re
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
    intrinsic,
    listed,
    matcher,
    variables,
)
from topx.errors import TopxError, join

FIELDS = {
    *("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource"),
    *("Principal", "NotPrincipal", "Condition"),
}
IDENTITY, RESOURCE, TRUST = "identity", "resource", "trust"  # kinds of documents
VERSIONS = ("2012-10-17", "2008-10-17")
SID = re.compile(r"[A-Za-z0-9]*")
ACTION = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
# IAM knows no wildcard for the service. Where the account is no number, a star would have to reach over colons.
ARN = re.compile(r"arn:[a-z*?-]+:[a-z0-9-]+:[a-z0-9*?-]*:([0-9*?]*|aws):.+", re.DOTALL)
CUT = re.compile(r"arn:[a-z*?-]+:[a-z0-9-]+(:[a-z0-9-]*)?:[a-z0-9-]*\*")  # the last star stands for the rest
WHO = {
    "AWS": re.compile(r"\*|\d{12}|arn:aws:iam::\d{12}:(root|(role|user)/[\w+=,.@/-]+)"),
    "Service": re.compile(r"[a-z0-9.-]+\.amazonaws\.com"),
}
STATES = "states.amazonaws.com"  # the one service that policies may also name with its Region


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
    principals: frozenset[tuple[str, str]]  # (AWS or Service, who)
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

    def names(self, asked: Asked) -> str:
        """How this statement names who asks: "" not at all, "account", or "itself"."""
        who, account = asked.principal, ""
        itself = {("AWS", "*")}
        if who.startswith("arn:"):
            account = who.split(":")[4]
            itself.add(("AWS", who))
        else:
            itself.add(("Service", who))
            if who == STATES:
                itself.add(("Service", f"states.{asked.context.get('aws:requestedregion')}.amazonaws.com"))
        if itself & self.principals:
            return "itself"
        whole = {("AWS", account), ("AWS", f"arn:aws:iam::{account}:root")}
        return "account" if whole & self.principals else ""


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
        if (how := one.names(asked)) and one.applies(asked)
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
        content = json.loads(document.text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise PolicyMalformed(f"policy {document.name} of {document.owner} is no JSON: {error}") from error
    found = list(problems(content, document.kind))
    if found:
        raise PolicyMalformed(f"policy {document.name} of {document.owner}: {join(found)}")
    newer = content.get("Version") == VERSIONS[0]
    return tuple(
        Statement(
            label=f"{document.owner} {document.name}[{number}]",
            allows=one["Effect"] == "Allow",
            actions=tuple(a.lower() for a in listed(one.get("Action", one.get("NotAction")))),
            but_actions="NotAction" in one,
            resources=tuple(map(_whole, listed(one.get("Resource", one.get("NotResource", "*"))))),
            but_resources="NotResource" in one,
            principals=frozenset(_principals(one.get("Principal", {}))),
            conditions=conditions_of(one.get("Condition", {}), newer),
            variables=newer,
        )
        for number, one in enumerate(listed(content["Statement"]))
    )


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object; raises ValueError where one stands twice, of which one would be ignored."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{max(names, key=names.count)} stands twice in one object")
    return made


def problems(content: Any, kind: str, *, later: bool = False) -> Iterator[str]:
    """What AWS would refuse in a document, or what cannot be evaluated here.

    `later`: in place of a text there may be a reference, such as {"Ref": ...}, that CloudFormation fills in.
    """
    if not isinstance(content, dict) or not listed(content.get("Statement", [])):
        yield f"the document is {str(content)[:60]}; give {{Version, Statement}}"
        return
    if extra := content.keys() - {"Version", "Id", "Statement"}:
        yield f"the document has {', '.join(sorted(extra))}; allowed: Version, Id, Statement"
    if content.get("Version", VERSIONS[0]) not in VERSIONS:
        yield f"Version is {content['Version']!r}; give {VERSIONS[0]}"
    if not isinstance(content.get("Id", ""), str):
        yield f"Id is {content['Id']!r}; give a text"
    seen = set[str]()
    for number, one in enumerate(listed(content["Statement"])):
        if not isinstance(one, dict):
            yield f"statement {number} is {one!r}; give an object"
            continue
        yield from (f"statement {number}: {problem}" for problem in _statement_problems(one, kind, later))
        sid = str(one.get("Sid", ""))
        if sid and sid in seen:
            yield f"statement {number}: Sid {sid} stands twice; it must be unique"
        seen.add(sid)


def _statement_problems(one: dict[str, Any], kind: str, later: bool) -> Iterator[str]:
    if extra := one.keys() - FIELDS:
        yield f"unknown {', '.join(sorted(extra))}; allowed: {', '.join(sorted(FIELDS))}"
    sid = one.get("Sid", "")
    if not isinstance(sid, str) or (kind != RESOURCE and not SID.fullmatch(sid)):
        yield f"Sid is {sid!r}; give letters and digits"
    if one.get("Effect") not in ("Allow", "Deny"):
        yield f"Effect is {one.get('Effect')!r}; allowed: Allow, Deny"
    yield from _action_problems(one, kind, later)
    yield from _resource_problems(one, kind, later)
    if kind == IDENTITY and one.keys() & {"Principal", "NotPrincipal"}:
        yield "a policy of a role has no Principal"
    elif "NotPrincipal" in one:
        yield "NotPrincipal is not emulated; name who may in Principal"
    elif kind != IDENTITY:
        yield from _principal_problems(one, later)
    yield from condition_problems(one.get("Condition", {}), later)


def _action_problems(one: dict[str, Any], kind: str, later: bool) -> Iterator[str]:
    if ("Action" in one) == ("NotAction" in one):
        yield "give one of Action, NotAction"
    if kind == TRUST and "NotAction" in one:
        yield "a trust policy has no NotAction"
    for name in ("Action", "NotAction"):
        texts, found = _texts(one, name, later)
        yield from found
        for action in texts:
            if action != "*" and not ACTION.fullmatch(action):
                yield f"action {action!r} is not service:Name; give such as s3:GetObject, s3:Get* or *"
            elif kind == TRUST and not action.lower().startswith("sts:"):
                yield f"action {action!r} in a trust policy, which may allow actions of sts only"


def _resource_problems(one: dict[str, Any], kind: str, later: bool) -> Iterator[str]:
    if kind == TRUST and one.keys() & {"Resource", "NotResource"}:
        yield "a trust policy has no Resource"
    if kind != TRUST and ("Resource" in one) == ("NotResource" in one):
        yield "give one of Resource, NotResource"
    for name in ("Resource", "NotResource"):
        texts, found = _texts(one, name, later)
        yield from found
        for resource in texts:
            if resource != "*" and not ARN.fullmatch(resource) and not CUT.fullmatch(resource):
                yield (
                    f"resource {resource!r} is no ARN; give arn:partition:service:region:account:name with the "
                    "service spelled out and variables in the name only, or *"
                )
            yield from (f"{resource}: {problem}" for problem in variables(resource))


def _principal_problems(one: dict[str, Any], later: bool) -> Iterator[str]:
    given = one.get("Principal")
    if given == "*":
        return
    if not isinstance(given, dict) or not given:
        said = repr(given) if "Principal" in one else "missing"
        yield f'Principal is {said}; give "*", {{"AWS": ARN}} or {{"Service": name}}'
        return
    for kind in given:
        if kind not in WHO:
            yield f"a principal of kind {kind} is not emulated; allowed: AWS, Service"
            continue
        texts, found = _texts(given, kind, later)
        yield from found
        for who in texts:
            if not WHO[kind].fullmatch(who):
                yield f"principal {kind} {who!r} is no account, role, user or service, or a pattern"


def _texts(given: dict[str, Any], name: str, later: bool) -> tuple[list[str], list[str]]:
    """(texts, problems) of a member that may stand alone or in a list, if it is there."""
    if name not in given:
        return [], []
    values = listed(given[name])
    wrong = [one for one in values if not isinstance(one, str) and not (later and intrinsic(one))]
    found = [f"{name} holds {one!r}; give a text" for one in wrong]
    if not values:
        found.append(f"{name} is empty; give at least one")
    return [one for one in values if isinstance(one, str)], found


def _whole(arn: str) -> str:
    """A pattern with all parts of an ARN, of which the last star stood for those left out."""
    return arn + ":*" * (ARN_COLONS - arn.count(":")) if CUT.fullmatch(arn) else arn


def _principals(given: Any) -> Iterator[tuple[str, str]]:
    if isinstance(given, str):
        yield "AWS", given
        return
    for kind, values in given.items():
        yield from ((kind, one) for one in listed(values))
