"""What is checked when resources come to be: who may use keys and roles; and where policies of templates go."""

import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from inspect import signature
from typing import TYPE_CHECKING, Any

from local import moto_seams as moto
from local.iam.keys import SUFFIX
from local.iam.needs import Need, Refused
from local.moto_seams import ACCOUNT, REGION

if TYPE_CHECKING:
    from local.iam.authorizer import Iam

CODE = "ValidationException"  # moto knows AWS's own codes for the service that is called only: CloudFormation
OF_LOGS = ("Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "DescribeKey")


def install(iam: "Iam", stack: ExitStack) -> None:
    """Checks and completes resources as they are created, until `stack` closes."""

    def function(made: moto.Function, given: dict[str, Any]) -> None:
        text = "The role defined for the function cannot be assumed by Lambda."
        _trusted(iam, made.role, "lambda", made.function_arn, text)

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
