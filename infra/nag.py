"""The findings of cdk-nag that we accept: one by one, each with its reason, where they arise."""

from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import IConstruct


def accept(construct: IConstruct, finding: str, reason: str) -> None:
    """Records why a finding, such as `IAM5[Resource::*]`, is right for this construct and what it holds."""
    Validations.of(construct).acknowledge(Acknowledgment(id=f"AwsSolutions-{finding}", reason=reason))


def accept_wildcards(construct: IConstruct, resources: list[str], reason: str) -> None:
    """Records why resources of a policy are patterns; those that are none need no reason."""
    for resource in resources:
        name = _flat(Stack.of(construct).resolve(resource))
        if "*" in name:
            accept(construct, f"IAM5[Resource::{name}]", reason)


def _flat(value: Any) -> str:
    """A resolved value as cdk-nag writes it: `<Machine.Arn>:*`."""
    match value:
        case {"Fn::Join": [between, parts]}:
            return str(between).join(map(_flat, parts))
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::ImportValue": name}:
            return _flat(name)
        case _:
            return str(value)
