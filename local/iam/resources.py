"""What AWS looks at when resources come to be: their policies, and whether roles and keys will do for them."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from inspect import signature
from typing import TYPE_CHECKING, Any

from local import moto_seams as moto
from local.iam.conditions import arn_fits
from local.iam.keys import SUFFIX, common
from local.iam.needs import Need, Refused, Role
from local.iam.policy import IDENTITY, Asked, Document, decide, read
from local.iam.templates import DOCUMENTS, INLINE_CHARS, MOST_MANAGED, documents, length, template_problems
from local.iam.world import World
from local.moto_seams import ACCOUNT, REGION
from topx.errors import join

if TYPE_CHECKING:
    from local.iam.authorizer import Iam

CODE = "ValidationException"  # moto knows AWS's own codes for the service that is called only: CloudFormation
TYPES = {*DOCUMENTS, "AWS::Lambda::EventSourceMapping", "AWS::StepFunctions::StateMachine"}
OF_QUEUES = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")  # what Lambda does with one
OF_DELIVERY = (  # Step Functions Developer Guide, "Logging execution history in CloudWatch Logs"
    *("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries"),
    *("PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups"),
)
OF_LOGS = ("Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "DescribeKey")


def install(iam: "Iam", stack: ExitStack) -> None:
    """Checks and completes resources as they are created, until `stack` closes."""

    def function(made: moto.Function, given: dict[str, Any]) -> None:
        text = "The role defined for the function cannot be assumed by Lambda."
        _trusted(iam, made.role, "lambda", made.function_arn, text)
        if given.get("TracingConfig", {}).get("Mode") == "Active":
            _executing(iam, made.role, "xray", "*", "PutTraceSegments")
        if target := given.get("DeadLetterConfig", {}).get("TargetArn"):
            service = target.split(":")[2]
            _executing(iam, made.role, service, target, "SendMessage" if service == "sqs" else "Publish")

    def role(made: moto.Role, given: dict[str, Any]) -> None:
        for arn in given.get("ManagedPolicyArns", []):
            moto.IAM[ACCOUNT]["aws"].attach_role_policy(arn, made.arn.rpartition("/")[2])

    def topic(made: Any, given: dict[str, Any]) -> None:
        made.kms_master_key_id = given.get("KmsMasterKeyId", "")

    def log_group(made: Any, given: dict[str, Any]) -> None:
        if key := given.get("KmsKeyId"):
            _encrypted(iam, key, f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{made.name}")

    for seam, check in (
        (moto.CREATE_FUNCTION, function),
        (moto.CREATE_ROLE, role),
        (moto.CREATE_TOPIC, topic),
        (moto.CREATE_LOG_GROUP, log_group),
    ):
        moto.put(stack, seam, _then(seam.original, check))
    moto.put(stack, moto.CREATE_MACHINE, _machine(iam, moto.CREATE_MACHINE.original))
    moto.put(stack, moto.START_EXECUTION, _execution(iam, moto.START_EXECUTION.original))
    models = {
        **moto.MODELS_OF_TEMPLATES.original(),
        "AWS::SQS::QueuePolicy": _policy(iam, "Queues", _queue_arn),
        "AWS::SNS::TopicPolicy": _policy(iam, "Topics", str),
        "AWS::S3::BucketPolicy": _policy(iam, "Bucket", "arn:aws:s3:::{}".format),
    }
    models |= {kind: _checked(iam, kind, models[kind]) for kind in TYPES}
    moto.put(stack, moto.MODELS_OF_TEMPLATES, lambda: models)


def _then(original: Any, check: Callable[[Any, dict[str, Any]], None]) -> Any:
    def create(cls: Any, /, name: str, given: Any, account: str, region: str, **more: Any) -> Any:
        made = original(name, given, account, region, **more)
        check(made, given.get("Properties", {}))
        return made

    return classmethod(create)


def _trusted(iam: "Iam", role: str, service: str, source: str, text: str) -> None:
    try:
        iam.trust(role, f"{service}{SUFFIX}", source)
    except Refused as error:
        raise moto.Refusal(CODE, f"{text} ({error})") from error


def _executing(iam: "Iam", role: str, service: str, resource: str, *actions: str) -> None:
    """Lambda tries what it will do under a function's role before it creates something."""
    acting = Role(arn=role, session=role, id="")
    for action in actions:
        try:
            iam.role_has(acting, Need(action=f"{service}:{action}", resource=resource), "lambda:CreateFunction")
        except Refused as error:
            of = {"sqs": "SQS", "sns": "SNS", "xray": "XRAY"}[service]
            text = f"The provided execution role does not have permissions to call {action} on {of}"
            raise moto.Refusal(CODE, f"{text} ({error})") from error


def _delivering(iam: "Iam", role: str) -> None:
    """Step Functions sets up the delivery of a log under the machine's role."""
    acting = Role(arn=role, session=role, id="")
    try:
        for action in OF_DELIVERY:
            iam.role_has(acting, Need(action=f"logs:{action}", resource="*"), "states:CreateStateMachine")
    except Refused as error:
        text = "The state machine IAM Role is not authorized to access the Log Destination"
        raise moto.Refusal(CODE, f"{text} ({error})") from error


def _checked(iam: "Iam", kind: str, model: Any) -> Any:
    """A type of CloudFormation that is created only if AWS would."""

    class Checked(model):  # type: ignore[misc]
        @classmethod
        def create_from_cloudformation_json(cls, name: str, given: Any, *rest: Any, **more: Any) -> Any:
            properties = given.get("Properties", {})
            if found := list(_problems(iam.world, kind, properties)):
                raise moto.Refusal(CODE, f"the policy of {name} is malformed: {join(found)}")
            if kind == "AWS::Lambda::EventSourceMapping":
                function = moto.FUNCTIONS[ACCOUNT][REGION].get_function(properties["FunctionName"])
                _executing(iam, function.role, "sqs", properties["EventSourceArn"], *OF_QUEUES)
            if properties.get("LoggingConfiguration", {}).get("Level", "OFF") != "OFF":
                _delivering(iam, properties["RoleArn"])
            return model.create_from_cloudformation_json(name, given, *rest, **more)

    return Checked


def _problems(world: World, kind: str, properties: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the policies of a resource, all its references filled in."""
    found = list(template_problems(kind, properties, later=False))
    yield from found
    if found:
        return
    for name, content, of, _ in documents(kind, properties):
        if of != IDENTITY:
            document = Document(owner=kind, name=name, kind=of, text=json.dumps(content))
            yield from (
                f"{name}: invalid principal {one}, which is not there" for one in _nobody(world, document)
            )
            if kind == "AWS::S3::BucketPolicy":
                yield from _elsewhere(document, f"arn:aws:s3:::{properties['Bucket']}")
            if kind == "AWS::KMS::Key" and not properties.get("BypassPolicyLockoutSafetyCheck"):
                yield from _locked(document)
    roles = properties.get("Roles", [])
    if kind == "AWS::IAM::Policy":
        if not (roles or properties.get("Users") or properties.get("Groups")):
            yield "it is given to nobody; give at least one of Roles, Users and Groups"
        for role in roles:
            size = length(properties["PolicyDocument"]) + world.inline_chars(role)
            if size > INLINE_CHARS:
                yield f"with it {role} has {size} characters of its own; the most is {INLINE_CHARS}"
    if kind == "AWS::IAM::ManagedPolicy":
        for role in roles:
            if world.managed(role) >= MOST_MANAGED:
                yield f"{role} has {MOST_MANAGED} managed policies already, which is the most"


def _nobody(world: World, document: Document) -> Iterator[str]:
    """Principals of this account that do not exist."""
    own = f"arn:aws:iam::{ACCOUNT}:"
    for one in {who for statement in read(document) for _, who in statement.principals}:
        if one.startswith((f"{own}role/", f"{own}user/")) and not world.role(one):
            yield one


def _elsewhere(document: Document, bucket: str) -> Iterator[str]:
    for statement in read(document):
        for one in statement.resources:
            if not (one.startswith(f"{bucket}/") or arn_fits(one, bucket) or arn_fits(one, f"{bucket}/x")):
                yield f"invalid resource {one}; the policy is that of {bucket}"


def _locked(document: Document) -> Iterator[str]:
    who, key = f"arn:aws:iam::{ACCOUNT}:role/deploying", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/new"
    about = common(ACCOUNT, REGION)
    asked = Asked(principal=who, action="kms:PutKeyPolicy", resource=key, context=about)
    may = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}
    own = Document(owner=who, name="own", kind=IDENTITY, text=json.dumps(may))
    if not decide(asked, [own], [document]).allowed:
        yield "the new key policy will not allow you to update the key policy in the future"


def _encrypted(iam: "Iam", key: str, arn: str) -> None:
    """What the service does with a key: CloudWatch Logs User Guide, "Encrypt log data using AWS KMS"."""
    context: Any = {"kms:encryptioncontext:aws:logs:arn": arn}
    try:
        for action in OF_LOGS:
            need = Need(action=f"kms:{action}", resource=str(iam.world.key(key)), context=context)
            iam.of_service(f"logs.{REGION}.amazonaws.com", need, arn, "logs:CreateLogGroup")
    except Refused as error:
        text = f"The specified KMS key does not exist or is not allowed to be used with Arn '{arn}'"
        raise moto.Refusal(CODE, f"{text} ({error})") from error


def _machine(iam: "Iam", original: Any) -> Any:
    def create_state_machine(*given: Any, **named: Any) -> Any:
        asked = signature(original).bind(*given, **named).arguments
        name, role = asked["name"], asked["roleArn"]
        arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"
        text = (
            "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to "
            "assume the provided role."
        )
        _trusted(iam, role, "states", arn, text)
        try:
            iam.managed_rules(role, asked["definition"])
        except Refused as error:
            text = f"'{role}' is not authorized to create managed-rule. ({error})"
            raise moto.Refusal(CODE, text) from error
        return original(*given, **named)

    return create_state_machine


def _execution(iam: "Iam", original: Any) -> Any:
    def start_execution(self: Any, arn: str, *rest: Any, **more: Any) -> Any:
        role = next((one.roleArn for one in self.state_machines if one.arn == arn), None)
        if role:
            text = f"States of {arn} cannot be run."
            _trusted(iam, role, "states", arn, text)
        return original(self, arn, *rest, **more)

    return start_execution


def _policy(iam: "Iam", names: str, arn: Callable[[str], str]) -> Any:
    """A type of CloudFormation that gives a policy to the resources in its property `names`."""

    class Policy(moto.MODEL_OF_TEMPLATES):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.physical_resource_id = name

        @classmethod
        def create_from_cloudformation_json(
            cls, name: str, given: Any, account: str, region: str, **more: Any
        ) -> Any:
            properties = given["Properties"]
            guarded: Iterable[str] = properties[names]
            for one in [guarded] if isinstance(guarded, str) else guarded:
                iam.world.policies[arn(one)] = json.dumps(properties["PolicyDocument"])
            return cls(name)

        def is_created(self) -> bool:
            return True

    return Policy


def _queue_arn(url: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rpartition('/')[2]}"
