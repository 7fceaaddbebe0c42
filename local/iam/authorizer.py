"""Roles bite: every call of a role is allowed by its policies, or refused in AWS's words. The operator may all.

One seam of moto sees every request. Which rights a call needs stands in table.py, what policies say about
them is decided in policy.py, and where policies come from is world.py. Signatures are not checked.
"""

import json
import re
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from local import moto_seams as moto
from local.iam import resources
from local.iam.keys import SUFFIX, common, of_role
from local.iam.needs import Call, Context, Need, Refused, Role
from local.iam.policy import IDENTITY, Asked, Document, PolicyMalformed, Verdict, decide
from local.iam.table import FREE, TABLE
from local.iam.world import World
from local.moto_seams import ACCOUNT, REGION

MOST = 200_000  # decisions that are kept
SYNC = re.compile(r":states:::sagemaker:create(\w+)Job\.sync")
RULE = "StepFunctionsGetEventsForSageMaker{}JobsRule"  # by which `.sync` hears that a job ended
IGNORED = {  # calls of the operator -> the parameter that would have no effect here, and why
    ("iam", "CreateRole"): ("PermissionsBoundary", "permission boundaries are not evaluated"),
    ("iam", "PutRolePermissionsBoundary"): ("PermissionsBoundary", "permission boundaries are not evaluated"),
    ("sts", "AssumeRole"): ("PolicyArns.member.1.arn", "session policies are not evaluated"),
    ("s3", "PutBucketPolicy"): ("policy", "a bucket has the policy of its template alone"),
}
BAD_KEYS = "The security token included in the request is invalid."


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was asked, by whom and how it was decided, with the policies as they were: to be decided again."""

    asked: Asked
    verdict: Verdict
    identity: tuple[Document, ...]
    resource: tuple[Document, ...]
    call: str  # operation, such as `s3:GetObject`

    @property
    def role(self) -> str:
        """ARN of the role, or the name of the service, that asked."""
        return self.asked.principal

    @property
    def action(self) -> str:
        """Such as `s3:GetObjectVersion`."""
        return self.asked.action


class Iam:
    """Decides and records; `refused` holds a text for each refusal to a role or to a service."""

    def __init__(self, operator: str) -> None:
        self.decisions: deque[Decision] = deque(maxlen=MOST)
        self.refused: list[str] = []
        self.world = World()
        self._operator = operator

    def authorize(self, response: Any) -> None:
        """Lets moto's request pass, or raises what its service answers."""
        token = response.headers.get("X-Amz-Security-Token")
        try:
            if response.access_key == self._operator and token is None:
                return self._heed(response)
            role = self.world.role_of(response.access_key, token)
            if role is None:
                raise self._refusal(BAD_KEYS, "UnrecognizedClient")
            if role.limited:
                raise self._refusal(f"{role.session} has a session policy, which is not evaluated locally")
            self.may(role, self._call(response))
        except Refused as error:
            raise _answer(response, error) from error

    def _heed(self, response: Any) -> None:
        """Raises Refused where the operator asks for what would be ignored here."""
        service, given = response.boto3_service_name, response.querystring
        for (of, operation), (parameter, why) in IGNORED.items():
            asked = response.method == "PUT" if of == "s3" else operation in given.get("Action", ())
            if of == service and asked and parameter in given:
                raise Refused(f"{operation}: {why} locally", "Validation")

    def may(self, role: Role, call: Call, via: str = "") -> None:
        """Raises Refused unless a role's policies allow a call; made by `via` where it is given."""
        for need in self._needs(call):
            self.role_has(role, need, call.name, via)

    def role_has(self, role: Role, need: Need, call: str, via: str = "") -> None:
        """Raises Refused unless a role has one right, for the operation `call`."""
        chain = tuple(one for one in (via, need.via) if one)
        context = {**common(ACCOUNT, REGION), **of_role(role, REGION, chain), **need.context}
        asked = Asked(principal=role.arn, action=need.action, resource=need.resource, context=context)
        self._decide(asked, call, role.session, self.world.of_role(role.arn))

    def service_may(self, service: str, call: Call, source: str) -> None:
        """Raises Refused unless a resource lets a service such as `events` make a call for `source`."""
        for need in self._needs(call):
            self.of_service(f"{service}{SUFFIX}", need, source, call.name)

    def trust(self, role: str, service: str, source: str) -> None:
        """Raises Refused unless a role lets `service` act under it for the thing with the ARN `source`."""
        need = Need(action="sts:AssumeRole", resource=role)
        self.of_service(service, need, source, "sts:AssumeRole")

    def call(self, service: str, operation: str, params: Mapping[str, Any]) -> Call:
        """A call that does not come as a request."""
        return Call(
            service=service,
            operation=operation,
            params=params,
            world=self.world,
            account=ACCOUNT,
            region=REGION,
        )

    def managed_rules(self, role: str, definition: str) -> None:
        """Raises Refused unless a machine's role may make the rules by which its `.sync` tasks hear of ends."""
        acting = Role(arn=role, session=role, id="")
        for kind in sorted(set(SYNC.findall(definition))):
            for action in ("PutRule", "PutTargets", "DescribeRule"):
                arn = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{RULE.format(kind)}"
                self.role_has(
                    acting, Need(action=f"events:{action}", resource=arn), "states:CreateStateMachine"
                )

    def of_service(self, service: str, need: Need, source: str, call: str) -> None:
        """Raises Refused unless the resource's policy gives a service one right, for the thing `source`."""
        about: Context = {
            "aws:sourcearn": source,
            "aws:sourceaccount": ACCOUNT,
            "aws:principalisawsservice": "true",
            "aws:principalservicename": service,
        }
        asked = Asked(
            principal=service,
            action=need.action,
            resource=need.resource,
            context={**common(ACCOUNT, REGION), **need.context, **about},
        )
        self._decide(asked, call, service, ())

    def _decide(self, asked: Asked, call: str, who: str, identity: tuple[Document, ...]) -> None:
        resource = () if asked.resource == "*" else self.world.of_resource(asked.resource)
        try:
            verdict = decide(asked, identity, resource)
        except PolicyMalformed as error:
            raise self._refusal(f"User: {who} is not authorized to perform: {asked.action}: {error}") from error
        self.decisions.append(
            Decision(asked=asked, verdict=verdict, identity=identity, resource=resource, call=call)
        )
        if not verdict.allowed:
            raise self._refusal(refusal(who, asked, verdict))

    def _needs(self, call: Call) -> list[Need]:
        name = call.name
        if name in FREE:
            return []
        if name not in TABLE:
            raise self._refusal(f"{name}: not in the table of local/iam/table.py, so its rights are unknown")
        try:
            return list(TABLE[name](call))
        except KeyError as error:
            raise Refused(f"{name}: the request lacks {error}", "Validation") from error

    def _refusal(self, text: str, code: str = "AccessDenied") -> Refused:
        self.refused.append(text)
        return Refused(text, code)

    def _call(self, response: Any) -> Call:
        """The operation and parameters of a request, read with AWS's API model."""
        model, request = moto.SERVICE_MODEL(response.boto3_service_name), response.normalized_request
        protocol = moto.PROTOCOL(model, request.content_type)
        rest = protocol.startswith("rest")
        operation = (
            response._get_action_from_method_and_request_uri(request) if rest else response._get_action()
        )
        params = moto.PARSERS[protocol](model.operation_model(operation)).parse(
            {
                "method": request.method,
                "values": request.values,
                "headers": request.headers,
                "body": request.data,
                "url_path": request.path,
                "url_params": response.uri_match,
            }
        )
        return self.call(model.signing_name, operation, params)


def refusal(who: str, asked: Asked, verdict: Verdict) -> str:
    """AWS's text about something that is not allowed."""
    why = (
        f"with an explicit deny in {_a(verdict.lacks)}-based policy"
        if verdict.how == "explicit"
        else f"because no {verdict.lacks}-based policy allows the {asked.action} action"
    )
    return f"User: {who} is not authorized to perform: {asked.action} on resource: {asked.resource} {why}"


def _a(kind: str) -> str:
    return f"an {kind}" if kind == IDENTITY else f"a {kind}"


def _answer(response: Any, error: Refused) -> Exception:
    """The refusal as the request's service words it."""
    if response.boto3_service_name == "s3":
        names = {"UnrecognizedClient": "InvalidAccessKeyId", "Validation": "InvalidRequest"}
        made: Exception = moto.S3_ERROR(names.get(error.code, error.code), str(error))
        return made
    model = moto.SERVICE_MODEL(response.boto3_service_name)
    if moto.PROTOCOL(model, response.normalized_request.content_type) == "query":
        names = {"UnrecognizedClient": "InvalidClientTokenId", "Validation": "ValidationError"}
        code = names.get(
            error.code, "AuthorizationError" if response.boto3_service_name == "sns" else error.code
        )
        text = f"<Type>Sender</Type><Code>{code}</Code><Message>{escape(str(error))}</Message>"
        return moto.Denied(403, f"<ErrorResponse><Error>{text}</Error></ErrorResponse>")
    return moto.Denied(400, json.dumps({"__type": f"{error.code}Exception", "message": str(error)}))


def install(stack: ExitStack, operator: str) -> Iam:
    """Lets roles bite, until `stack` closes; `operator` is the access key that may all."""
    iam = Iam(operator)

    def authorize(self: Any, iam_request_cls: type, resource: str = "*") -> None:
        iam.authorize(self)

    moto.put(stack, moto.AUTHORIZE, authorize)
    resources.install(iam, stack)
    return iam
