"""Where a template has policies, and what AWS would refuse of them or is not evaluated here."""

import json
from collections.abc import Iterator
from typing import Any

from local.iam.conditions import intrinsic
from local.iam.policy import IDENTITY, RESOURCE, TRUST, problems

DOCUMENTS = {  # type of a resource -> (property with a policy, its kind, the most characters without spaces)
    "AWS::IAM::ManagedPolicy": ("PolicyDocument", IDENTITY, 6_144),
    "AWS::IAM::Policy": ("PolicyDocument", IDENTITY, 10_240),
    "AWS::IAM::Role": ("AssumeRolePolicyDocument", TRUST, 2_048),
    "AWS::KMS::Key": ("KeyPolicy", RESOURCE, 32_768),
    "AWS::S3::BucketPolicy": ("PolicyDocument", RESOURCE, 20_480),
    "AWS::SNS::TopicPolicy": ("PolicyDocument", RESOURCE, 30_720),
    "AWS::SQS::QueuePolicy": ("PolicyDocument", RESOURCE, 8_192),
}
INLINE_CHARS = 10_240  # of all policies of a role's own
MOST_MANAGED = 10  # policies attached to a role
PERMISSION = {"Action", "FunctionName", "Principal", "SourceAccount", "SourceArn"}


def documents(kind: str, properties: dict[str, Any]) -> Iterator[tuple[str, Any, str, int]]:
    """(property, document, kind, most characters) of every policy in a resource of this type."""
    if kind in DOCUMENTS:
        name, of, most = DOCUMENTS[kind]
        yield name, properties.get(name), of, most
    if kind == "AWS::IAM::Role":
        for number, one in enumerate(_list(properties, "Policies")):
            document = one.get("PolicyDocument") if isinstance(one, dict) else one
            yield f"Policies[{number}]", document, IDENTITY, INLINE_CHARS


def template_problems(kind: str, properties: dict[str, Any], *, later: bool) -> Iterator[str]:
    """What of a resource's policies AWS would refuse, or is not evaluated locally.

    `later`: references may still stand for texts; sizes are known only without them.
    """
    for name, document, of, most in documents(kind, properties):
        yield from (f"{name}: {problem}" for problem in problems(document, of, later=later))
        if not later and (size := length(document)) > most:
            yield f"{name} has {size} characters; the most is {most}: split it or use wildcards"
    if kind == "AWS::IAM::Role":
        managed = _list(properties, "ManagedPolicyArns")
        if len(managed) > MOST_MANAGED:
            yield f"ManagedPolicyArns has {len(managed)} policies; the most is {MOST_MANAGED}"
        if ":iam::aws:policy/" in json.dumps(managed):
            yield "AWS's own managed policies are not evaluated; give the role its own policy"
        if "PermissionsBoundary" in properties:
            yield "permission boundaries are not evaluated; give the role policies that allow no more"
    if kind == "AWS::Lambda::Permission" and (extra := properties.keys() - PERMISSION):
        yield f"{', '.join(sorted(extra))} is not emulated; allowed: {', '.join(sorted(PERMISSION))}"


def length(document: Any) -> int:
    """Characters of a policy as IAM counts them: without spaces between its parts."""
    return len(json.dumps(document, separators=(",", ":"), ensure_ascii=False))


def _list(properties: dict[str, Any], name: str) -> list[Any]:
    given = properties.get(name, [])
    return given if isinstance(given, list) else [] if intrinsic(given) else [given]
