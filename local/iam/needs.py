"""A call and the rights that it needs: the words in which the tables of rights are written."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Context = dict[str, str | tuple[str, ...]]


class World(Protocol):
    """Which customer key guards a thing (None: no such key), and whether an object is there."""

    def key(self, given: str | None) -> str | None:
        """The ARN of a customer key, given by ARN, id or alias."""

    def bucket_key(self, bucket: str) -> str | None:
        """The default key of a bucket."""

    def object_key(self, bucket: str, key: str, version: str | None) -> str | None:
        """The key of an object."""

    def object_exists(self, bucket: str, key: str, version: str | None) -> bool:
        """Whether an object, or a version of it, is there."""

    def upload_key(self, bucket: str, upload: str) -> str | None:
        """The key of a multipart upload."""

    def table_key(self, table: str) -> str | None:
        """The key of a table."""

    def topic_key(self, topic: str) -> str | None:
        """The key of a topic."""

    def queue_key(self, queue: str) -> str | None:
        """The key of a queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role as somebody who asks."""

    arn: str
    session: str  # ARN of the assumed role, which error messages name
    id: str
    limited: bool = False  # by a session policy


class Refused(Exception):
    """When policies do not allow something; the text is AWS's, `code` the name of its error."""

    def __init__(self, text: str, code: str = "AccessDenied") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One right. `via` is a service that asks for it in the caller's name."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)
    via: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: the service as policies spell it, operation and parameters as the API model does."""

    service: str
    operation: str
    params: Mapping[str, Any]
    world: World
    account: str
    region: str

    def __getitem__(self, name: str) -> Any:
        return self.params[name]

    @property
    def name(self) -> str:
        """The operation as the table names it."""
        return f"{self.service}:{self.operation}"

    def arn(self, rest: str) -> str:
        """ARN of something of this service, account and Region."""
        return f"arn:aws:{self.service}:{self.region}:{self.account}:{rest}"

    def need(self, resource: str, action: str = "", context: Context | None = None) -> Need:
        """The right of the same name as the operation, or another one of the same service."""
        return Need(
            action=f"{self.service}:{action or self.operation}", resource=resource, context=context or {}
        )


Rule = Callable[[Call], Iterator[Need]]


def use_of_key(arn: str | None, service: str, encrypted: Mapping[str, str], *actions: str) -> Iterator[Need]:
    """What a service does with a customer key in the caller's name; nothing without such a key."""
    context: Context = {f"kms:encryptioncontext:{key}".lower(): value for key, value in encrypted.items()}
    for action in actions if arn else ():
        yield Need(action=f"kms:{action}", resource=str(arn), context=context, via=service)


def at(parameter: str, action: str = "") -> Rule:
    """The right on the ARN that a parameter holds."""
    return lambda call: iter([call.need(call[parameter], action)])


def anywhere(action: str = "") -> Rule:
    """A right for which AWS knows no resource."""
    return lambda call: iter([call.need("*", action)])


def named(parameter: str, kind: str) -> Rule:
    """The right on `<kind>/<name>`."""
    return lambda call: iter([call.need(call.arn(f"{kind}/{call[parameter]}"))])
