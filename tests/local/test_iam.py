"""Roles bite on embedded AWS: each service, each kind of policy, what comes to be and what is delivered."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lambdas import _cloud, _files
from local import moto_seams as moto
from local import news
from local.cloud import NotDeployed
from local.iam.needs import Refused
from tests.local.conftest import ROLE, Small, deploy, function, machine, policy, trust, wait
from tests.local.contracts import contract
from tests.local.test_jobs import processing
from topx.errors import RunRejected

ACCOUNT, REGION = moto.ACCOUNT, moto.REGION
ROOT = {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
Client = Callable[[str], Any]
NUMBERS = count()


@pytest.fixture
def refused(small: Small) -> Iterator[list[str]]:
    """The refusals of a test that wants some."""
    small.cloud.iam.refused.clear()
    yield small.cloud.iam.refused
    small.cloud.iam.refused.clear()


def arn(service: str, name: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"


def role(small: Small, *statements: dict[str, Any], trusting: dict[str, Any] | None = None) -> str:
    """ARN of a new role with one policy of these statements."""
    iam = small.cloud.client("iam")
    name = f"role-{next(NUMBERS)}"
    document = json.dumps(trusting or trust("lambda", "states", "sagemaker", "events"))
    made: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy(*statements)))
    return made


def acting(small: Small, *statements: dict[str, Any]) -> Client:
    """Clients of a new role with one policy of these statements."""
    made = role(small, *statements)
    return lambda service: small.cloud.client(service, made)


def error(call: Callable[[], Any]) -> tuple[int, str, str]:
    """Status, code and message of what a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


CALLS: dict[str, tuple[str, str, Callable[[Client, Small], Any]]] = {  # action -> code, resource, call
    "s3:PutObject": (
        "AccessDenied",
        "arn:aws:s3:::{Bucket}/a b",
        lambda client, small: client("s3").put_object(Bucket=small.names["Bucket"], Key="a b", Body=b"1"),
    ),
    "s3:ListBucket": (
        "AccessDenied",
        "arn:aws:s3:::{Bucket}",
        lambda client, small: client("s3").list_objects_v2(Bucket=small.names["Bucket"], Prefix="a/"),
    ),
    "s3:DeleteObject": (
        "AccessDenied",
        "arn:aws:s3:::{Bucket}/two",
        lambda client, small: client("s3").delete_objects(
            Bucket=small.names["Bucket"], Delete={"Objects": [{"Key": "two"}]}
        ),
    ),
    "dynamodb:GetItem": (
        "AccessDeniedException",
        arn("dynamodb", "table/none"),
        lambda client, small: client("dynamodb").get_item(TableName="none", Key={"id": {"S": "1"}}),
    ),
    "states:StartExecution": (
        "AccessDeniedException",
        arn("states", "stateMachine:none"),
        lambda client, small: client("stepfunctions").start_execution(
            stateMachineArn=arn("states", "stateMachine:none"), input="{}"
        ),
    ),
    "states:RedriveExecution": (
        "AccessDeniedException",
        arn("states", "execution:none:one"),
        lambda client, small: client("stepfunctions").redrive_execution(
            executionArn=arn("states", "execution:none:one")
        ),
    ),
    "sagemaker:DeleteModel": (
        "AccessDeniedException",
        arn("sagemaker", "model/none"),
        lambda client, small: client("sagemaker").delete_model(ModelName="none"),
    ),
    "lambda:InvokeFunction": (
        "AccessDeniedException",
        arn("lambda", "function:{Answer}"),
        lambda client, small: client("lambda").invoke(FunctionName=small.names["Answer"]),
    ),
    "sns:Publish": (
        "AuthorizationError",
        arn("sns", "none"),
        lambda client, small: client("sns").publish(TopicArn=arn("sns", "none"), Message="<&>"),
    ),
    "sqs:ReceiveMessage": (
        "AccessDeniedException",
        arn("sqs", "none"),
        lambda client, small: client("sqs").receive_message(QueueUrl=f"{small.cloud.endpoint}/{ACCOUNT}/none"),
    ),
    "servicequotas:ListServiceQuotas": (
        "AccessDeniedException",
        "*",
        lambda client, small: client("service-quotas").list_service_quotas(ServiceCode="sagemaker"),
    ),
}


@contract("AUTHORIZE", "PARSERS", "PROTOCOL", "S3_ERROR", "SESSIONS")
@pytest.mark.parametrize("action", CALLS)
def test_who_may_nothing_is_refused_in_the_words_of_aws(small: Small, refused: list[str], action: str) -> None:
    code, resource, call = CALLS[action]
    status, said, text = error(lambda: call(acting(small), small))
    assert (status, said) == (403 if code in ("AccessDenied", "AuthorizationError") else 400, code)
    wanted = f"is not authorized to perform: {action} on resource: {resource.format(**small.names)} "
    assert wanted + f"because no identity-based policy allows the {action} action" in text
    assert text.startswith(f"User: arn:aws:sts::{ACCOUNT}:assumed-role/role-")
    assert refused == [text]


@pytest.mark.parametrize("action", ["s3:PutObject", "s3:ListBucket", "servicequotas:ListServiceQuotas"])
def test_who_may_is_answered_and_the_decision_is_kept(small: Small, action: str) -> None:
    _, resource, call = CALLS[action]
    where = resource.format(**small.names)
    call(acting(small, {"Action": action, "Resource": where}), small)
    last = small.cloud.iam.decisions[-1]
    assert (last.action, last.asked.resource, last.verdict.how) == (action, where, "allowed")
    assert last.verdict.because[0].endswith(" own[0]")
    assert last.role.startswith(f"arn:aws:iam::{ACCOUNT}:role/role-")


def test_a_deny_is_told_as_one(small: Small, refused: list[str]) -> None:
    client = acting(
        small, {"Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": "s3:Put*", "Resource": "*"}
    )
    _, _, text = error(lambda: client("s3").put_object(Bucket=small.names["Bucket"], Key="a", Body=b"1"))
    assert text.endswith("with an explicit deny in an identity-based policy")


def test_a_call_that_the_table_does_not_know_is_refused(small: Small, refused: list[str]) -> None:
    client = acting(small, {"Action": "*", "Resource": "*"})
    for service, call, given in (
        ("s3", "get_bucket_acl", {"Bucket": small.names["Bucket"]}),
        ("dynamodb", "list_backups", {}),
        ("kms", "list_keys", {}),
        ("iam", "list_roles", {}),
    ):
        _, _, text = error(lambda: getattr(client(service), call)(**given))  # noqa: B023
        assert "not in the table of local/iam/table.py" in text


def test_a_request_without_what_it_needs_is_a_mistake_of_its_own(small: Small, refused: list[str]) -> None:
    client = acting(small, {"Action": "*", "Resource": "*"})
    _, code, _ = error(lambda: client("dynamodb").get_item(Key={"id": {"S": "1"}}))
    assert code == "ValidationException"


def test_everybody_may_ask_who_they_are(small: Small) -> None:
    assert ":assumed-role/role-" in acting(small)("sts").get_caller_identity()["Arn"]


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("sns", "list_topics", "InvalidClientTokenId"),
        ("dynamodb", "list_tables", "UnrecognizedClientException"),
    ],
)
def test_unknown_keys_are_refused(small: Small, refused: list[str], service: str, call: str, code: str) -> None:
    sessions = small.cloud.client("sts").assume_role(RoleArn=role(small), RoleSessionName="one")["Credentials"]
    for key, token in (
        ("AKIAIOSFODNN7EXAMPLE", None),
        (sessions["AccessKeyId"], "other"),
        ("AKIATOPXLOCALOPERATO", "x"),
    ):
        client = boto3.client(
            service,
            endpoint_url=small.cloud.endpoint,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key="x",
            aws_session_token=token,
        )
        assert error(getattr(client, call))[1] == code
        client.close()


def test_a_session_policy_is_refused(small: Small, refused: list[str]) -> None:
    limit = json.dumps(policy({"Action": "s3:*", "Resource": "*"}))
    given = {
        "RoleArn": role(small, {"Action": "*", "Resource": "*"}),
        "RoleSessionName": "one",
        "Policy": limit,
    }
    keys = small.cloud.client("sts").assume_role(**given)["Credentials"]
    client = boto3.client(
        "s3",
        endpoint_url=small.cloud.endpoint,
        region_name=REGION,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    assert "session policy" in error(client.list_buckets)[2]
    client.close()


def test_who_may_not_list_is_not_told_that_nothing_is_there(small: Small, refused: list[str]) -> None:
    where = {"Bucket": small.names["Bucket"], "Key": "nowhere"}
    get = {"Action": "s3:GetObject", "Resource": "*"}
    blind, seeing = acting(small, get), acting(small, get, {"Action": "s3:ListBucket", "Resource": "*"})
    assert error(lambda: blind("s3").get_object(**where))[:2] == (403, "AccessDenied")
    assert error(lambda: blind("s3").head_object(**where))[0] == 403
    assert error(lambda: seeing("s3").get_object(**where))[:2] == (404, "NoSuchKey")
    assert error(lambda: seeing("s3").head_object(**where))[0] == 404


@pytest.mark.parametrize(
    ("actions", "key", "version", "ends"),
    [
        (["s3:GetObject"], "planned", None, ""),
        (["s3:GetObject"], "gone", None, "RunRejected: s3://{}/gone is gone"),
        (["s3:GetObject", "s3:ListBucket"], "gone", None, "RunRejected: s3://{}/gone is gone"),
        (["s3:GetObjectVersion"], "gone", "1", r"RunRejected: s3://{}/gone \(version 1\) is gone"),
        (["s3:ListBucket"], "planned", None, "AccessDenied: .*perform: s3:GetObject on resource"),
        (["s3:ListBucket"], "gone", None, "AccessDenied: .*perform: s3:GetObject on resource"),
        (["s3:GetObject"], "planned", "1", "AccessDenied: .*perform: s3:GetObjectVersion on resource"),
    ],
)
def test_a_step_tells_a_file_that_is_gone_from_a_right_that_it_lacks(
    small: Small,
    refused: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    actions: list[str],
    key: str,
    version: str | None,
    ends: str,
) -> None:
    bucket = small.names["Bucket"]
    small.cloud.client("s3").put_object(Bucket=bucket, Key="planned", Body=b"plan")
    for name, value in small.cloud.environment(role(small, {"Action": actions, "Resource": "*"})).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # which keeps the credentials that it found first
    _cloud.client.cache_clear()
    wanted = [(tmp_path / "file", key, version)]
    if ends:
        with pytest.raises((RunRejected, ClientError)) as caught:
            _files.fetch(bucket, wanted)
        assert re.match(ends.format(bucket), f"{caught.typename}: {caught.value}"), caught.value
    else:
        _files.fetch(bucket, wanted)
        assert (tmp_path / "file").read_bytes() == b"plan"
    _cloud.client("s3").close()
    _cloud.client.cache_clear()


@contract("IAM")
def test_policies_of_each_kind_count_and_changes_at_once(small: Small, refused: list[str]) -> None:
    iam, bucket = small.cloud.client("iam"), small.names["Bucket"]
    made = role(small)
    name = made.rpartition("/")[2]

    def allowed() -> bool:
        try:
            small.cloud.client("s3", made).list_objects_v2(Bucket=bucket)
        except ClientError:
            return False
        return True

    text = json.dumps(policy({"Action": "s3:ListBucket", "Resource": "*"}))
    assert not allowed()
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=text)
    assert allowed()
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    assert not allowed()
    managed = iam.create_policy(PolicyName="managed", PolicyDocument=text)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=managed)
    assert allowed()
    nothing = json.dumps(policy({"Action": "s3:GetObject", "Resource": "*"}))
    iam.create_policy_version(PolicyArn=managed, PolicyDocument=nothing, SetAsDefault=True)
    assert not allowed()


@contract("CREATE_ROLE", "MODEL_OF_TEMPLATES", "MODELS_OF_TEMPLATES")
def test_templates_give_policies_of_each_kind(small: Small, refused: list[str]) -> None:
    def empty(**more: Any) -> dict[str, Any]:
        return {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust("lambda"), **more}}

    document = policy({"Action": "s3:ListBucket", "Resource": "*"})
    of_bucket = policy(
        {
            "Principal": {"AWS": {"Fn::GetAtt": ["Named", "Arn"]}},
            "Action": "s3:ListBucket",
            "Resource": "arn:aws:s3:::*",
        },
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": "arn:aws:s3:::*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    )
    names = deploy(
        small.cloud,
        "kinds",
        {
            "Own": empty(Policies=[{"PolicyName": "own", "PolicyDocument": document}]),
            "Attached": empty(),
            "Policy": {
                "Type": "AWS::IAM::Policy",
                "Properties": {"PolicyName": "x", "PolicyDocument": document, "Roles": [{"Ref": "Attached"}]},
            },
            "Managed": empty(ManagedPolicyArns=[{"Ref": "ManagedPolicy"}]),
            "ManagedPolicy": {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}},
            "Named": empty(),
            "Nothing": empty(),
            "Data": {"Type": "AWS::S3::Bucket"},
            "DataPolicy": {
                "Type": "AWS::S3::BucketPolicy",
                "Properties": {"Bucket": {"Ref": "Data"}, "PolicyDocument": of_bucket},
            },
        },
    )
    for name, expected in {"Own": 1, "Attached": 1, "Managed": 1, "Named": 1, "Nothing": 0}.items():
        client = small.cloud.client("s3", f"arn:aws:iam::{ACCOUNT}:role/{names[name]}")
        if expected:
            client.list_objects_v2(Bucket=names["Data"])
        else:
            assert error(lambda: client.list_objects_v2(Bucket=names["Data"]))[1] == "AccessDenied"  # noqa: B023


def test_a_policy_that_cannot_be_evaluated_is_loud(small: Small, refused: list[str]) -> None:
    document = policy({"Action": "s3:ListBucket", "Resource": "*"})
    document["Statement"][0]["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}
    made = role(small)
    small.cloud.client("iam").put_role_policy(
        RoleName=made.rpartition("/")[2], PolicyName="own", PolicyDocument=json.dumps(document)
    )
    client = small.cloud.client("s3", made)
    text = error(lambda: client.list_objects_v2(Bucket=small.names["Bucket"]))[2]
    assert "the value of aws:PrincipalOrgID is not known locally" in text


# What SageMaker is asked for.

TRAINING: dict[str, Any] = {
    "TrainingJobName": "topx-local-factors-1",
    "AlgorithmSpecification": {
        "TrainingImage": f"382416733822.dkr.ecr.{REGION}.amazonaws.com/knn:1",
        "TrainingInputMode": "File",
    },
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}},
        }
    ],
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    "Tags": [{"Key": "stage", "Value": "local"}],
}
JOBS = arn("sagemaker", "training-job/topx-local-factors-*")
TYPES = {
    "ForAllValues:StringEquals": {"sagemaker:InstanceTypes": ["ml.m5.large"]},
    "Null": {"sagemaker:InstanceTypes": "false"},
}


def job_rights(job: str, **changed: dict[str, Any] | None) -> list[dict[str, Any]]:
    given: dict[str, dict[str, Any] | None] = {
        "create": {"Action": "sagemaker:CreateTrainingJob", "Resource": JOBS, "Condition": TYPES},
        "tags": {"Action": "sagemaker:AddTags", "Resource": JOBS},
        "passes": {
            "Action": "iam:PassRole",
            "Resource": job,
            "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        },
    }
    return [one for one in (given | changed).values() if one]


@pytest.mark.parametrize(
    ("changed", "request_", "action"),
    [
        ({"create": None}, {}, "sagemaker:CreateTrainingJob"),
        ({"tags": None}, {}, "sagemaker:AddTags"),
        ({"passes": None}, {}, "iam:PassRole"),
        ({}, {"TrainingJobName": "topx-prod-factors-1"}, "sagemaker:CreateTrainingJob"),
        (
            {},
            {"ResourceConfig": {**TRAINING["ResourceConfig"], "InstanceType": "ml.m5.24xlarge"}},
            "sagemaker:CreateTrainingJob",
        ),
        (
            {
                "passes": {
                    "Action": "iam:PassRole",
                    "Resource": "*",
                    "Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
                }
            },
            {},
            "iam:PassRole",
        ),
        (
            {"passes": {"Action": "iam:PassRole", "Resource": f"arn:aws:iam::{ACCOUNT}:role/other"}},
            {},
            "iam:PassRole",
        ),
    ],
)
def test_a_job_needs_its_name_tags_types_and_role(
    small: Small, refused: list[str], changed: dict[str, Any], request_: dict[str, Any], action: str
) -> None:
    job = role(small)
    client = acting(small, *job_rights(job, **changed))("sagemaker")
    text = error(lambda: client.create_training_job(**{**TRAINING, "RoleArn": job, **request_}))[2]
    assert f"is not authorized to perform: {action} on resource: " in text


def test_a_role_that_does_not_trust_sagemaker_runs_no_job(small: Small, refused: list[str]) -> None:
    strange = {"StringEquals": {"aws:SourceAccount": "210987654321"}}
    for trusting in (trust("lambda"), trust("sagemaker", Condition=strange)):
        job = role(small, {"Action": "*", "Resource": "*"}, trusting=trusting)
        for client in (acting(small, *job_rights(job))("sagemaker"), small.cloud.client("sagemaker")):
            status, code, text = error(lambda: client.create_training_job(**TRAINING, RoleArn=job))  # noqa: B023
            assert (status, code) == (400, "ValidationException")
            assert text.startswith(f"Could not assume role {job}.")
            assert f"perform: sts:AssumeRole on resource: {job} because no resource-based policy" in text


PULLS = ("ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer")


@pytest.mark.parametrize("action", [*PULLS, "ecr:BatchGetImage"])
def test_a_job_pulls_its_image_with_its_role(small: Small, refused: list[str], action: str) -> None:
    where = "*" if action == PULLS[0] else arn("ecr", "repository/assets")
    job = role(small, {"Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": action, "Resource": where})
    name = f"pull-{next(NUMBERS)}"
    client = small.cloud.client("sagemaker")
    client.create_processing_job(**processing(small, name, "a", RoleArn=job))

    def look() -> str | None:
        found = client.describe_processing_job(ProcessingJobName=name)
        return found.get("FailureReason") if found["ProcessingJobStatus"] == "Failed" else None

    text = wait(look)
    assert text.startswith("ClientError: ")
    assert f"is not authorized to perform: {action} on resource: {where}" in text


# What comes to be.


def test_a_role_that_does_not_trust_lambda_has_no_function(small: Small, refused: list[str]) -> None:
    untrusting = {
        "Type": "AWS::IAM::Role",
        "Properties": {"AssumeRolePolicyDocument": trust("states")},
    }
    lazy = function("handlers.answer", Role={"Fn::GetAtt": ["Closed", "Arn"]})
    with pytest.raises(NotDeployed, match="The role defined for the function cannot be assumed by Lambda"):
        deploy(small.cloud, "untrusted-function", {"Closed": untrusting, "Lazy": lazy})


@contract("CREATE_MACHINE")
@pytest.mark.parametrize(
    ("trusting", "statements", "text"),
    [
        (
            trust("lambda"),
            [{"Action": "events:*", "Resource": "*"}],
            "is authorized to assume the provided role",
        ),
        (
            trust("states"),
            [{"Action": "events:PutRule", "Resource": "*"}],
            "not authorized to create managed-rule",
        ),
        (
            trust("states"),
            [
                {
                    "Action": "events:*",
                    "Resource": arn("events", "rule/StepFunctionsGetEventsForSageMakerTransformJobsRule"),
                }
            ],
            "events:PutRule on resource: .*StepFunctionsGetEventsForSageMakerTrainingJobsRule",
        ),
    ],
)
def test_a_machine_needs_trust_and_the_rules_of_sync(
    small: Small, refused: list[str], trusting: dict[str, Any], statements: list[dict[str, Any]], text: str
) -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync",
        "Parameters": TRAINING,
        "End": True,
    }
    made = machine({"StartAt": "Train", "States": {"Train": state}})
    made["Properties"]["RoleArn"] = role(small, *statements, trusting=trusting)
    with pytest.raises(NotDeployed, match=text):
        deploy(small.cloud, f"machine-{len(refused)}{abs(hash(text))}", {"Machine": made})


def test_a_machine_waits_for_the_policies_that_it_depends_on_only(small: Small, refused: list[str]) -> None:
    own = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust("states")}}
    rules = {
        "Type": "AWS::IAM::Policy",
        "Properties": {
            "PolicyName": "rules",
            "PolicyDocument": policy({"Action": "events:*", "Resource": "*"}),
            "Roles": [{"Ref": "Own"}],
        },
    }
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync",
        "Parameters": TRAINING,
        "End": True,
    }
    made = machine({"StartAt": "Train", "States": {"Train": state}})
    made["Properties"]["RoleArn"] = {"Fn::GetAtt": ["Own", "Arn"]}
    deploy(small.cloud, "waiting", {"Machine": {**made, "DependsOn": ["Rules"]}, "Own": own, "Rules": rules})
    with pytest.raises(NotDeployed, match="not authorized to create managed-rule"):
        deploy(small.cloud, "hasty", {"Rules": rules, "Machine": made, "Own": own})


@contract("CREATE_LOG_GROUP")
def test_a_log_group_needs_a_key_that_lets_its_service(small: Small, refused: list[str]) -> None:
    def key(condition: str) -> dict[str, Any]:
        logs = {
            "Principal": {"Service": f"logs.{REGION}.amazonaws.com"},
            "Action": [
                "kms:Encrypt",
                "kms:Decrypt",
                "kms:ReEncrypt*",
                "kms:GenerateDataKey*",
                "kms:DescribeKey",
            ],
            "Resource": "*",
            "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": arn("logs", condition)}},
        }
        return {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": policy(ROOT, logs)}}

    group = {
        "Type": "AWS::Logs::LogGroup",
        "Properties": {"LogGroupName": "/topx/one", "KmsKeyId": {"Fn::GetAtt": ["Key", "Arn"]}},
    }
    deploy(small.cloud, "logs-right", {"Key": key("log-group:/topx/*"), "Group": group})
    group["Properties"]["LogGroupName"] = "/other/one"
    with pytest.raises(NotDeployed, match="is not allowed to be used with Arn"):
        deploy(small.cloud, "logs-wrong", {"Key": key("log-group:/topx/*"), "Group": group})


# Keys.


@pytest.fixture(scope="module")
def guarded(small: Small) -> dict[str, str]:
    """A bucket, a table and a topic under one key of the template."""
    key = {"Fn::GetAtt": ["Key", "Arn"]}
    encryption = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    names = deploy(
        small.cloud,
        "guarded",
        {
            "Key": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": policy(ROOT)}},
            "Data": {
                "Type": "AWS::S3::Bucket",
                "Properties": {"BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]}},
            },
            "Table": {
                "Type": "AWS::DynamoDB::Table",
                "Properties": {
                    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                    "BillingMode": "PAY_PER_REQUEST",
                    "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key},
                },
            },
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"KmsMasterKeyId": key}},
        },
    )
    small.cloud.client("s3").put_object(Bucket=names["Data"], Key="there", Body=b"1")
    return names


USES: dict[
    str, tuple[str, str, str, Callable[[Client, dict[str, str]], Any]]
] = {  # call -> action, use, service
    "get_object": (
        "s3:GetObject",
        "kms:Decrypt",
        "s3",
        lambda client, names: client("s3").get_object(Bucket=names["Data"], Key="there"),
    ),
    "put_object": (
        "s3:PutObject",
        "kms:GenerateDataKey",
        "s3",
        lambda client, names: client("s3").put_object(Bucket=names["Data"], Key="here", Body=b"1"),
    ),
    "put_item": (
        "dynamodb:PutItem",
        "kms:Decrypt",
        "dynamodb",
        lambda client, names: client("dynamodb").put_item(TableName=names["Table"], Item={"id": {"S": "1"}}),
    ),
    "publish": (
        "sns:Publish",
        "kms:GenerateDataKey",
        "sns",
        lambda client, names: client("sns").publish(TopicArn=names["Topic"], Message="x"),
    ),
}


@contract("KEYS", "BUCKETS", "TABLES", "TOPICS", "CREATE_TOPIC")
@pytest.mark.parametrize("name", USES)
def test_a_key_is_used_through_its_service(
    small: Small, refused: list[str], guarded: dict[str, str], name: str
) -> None:
    action, use, service, call = USES[name]
    right = {"Action": action, "Resource": "*"}

    def via(other: str) -> dict[str, Any]:
        condition = {"StringEquals": {"kms:ViaService": f"{other}.{REGION}.amazonaws.com"}}
        return {"Action": "kms:*", "Resource": arn("kms", f"key/{guarded['Key']}"), "Condition": condition}

    call(acting(small, right, via(service)), guarded)
    for mine in ([right], [right, via("sqs")], [right, {**via(service), "Resource": arn("kms", "key/other")}]):
        text = error(lambda: call(acting(small, *mine), guarded))[2]  # noqa: B023
        assert f"perform: {use} on resource: {arn('kms', 'key/' + guarded['Key'])} because no identity" in text


@contract("Role", "CustomerKey")
def test_a_key_s_own_policy_must_let_the_account(
    small: Small, refused: list[str], guarded: dict[str, str]
) -> None:
    kms, key = small.cloud.client("kms"), guarded["Key"]
    client = acting(small, {"Action": ["s3:*", "kms:*"], "Resource": "*"})
    before = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    other = policy({**ROOT, "Principal": {"AWS": "arn:aws:iam::210987654321:root"}})
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(other))
    text = error(lambda: client("s3").get_object(Bucket=guarded["Data"], Key="there"))[2]
    assert "because no resource-based policy allows the kms:Decrypt action" in text
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=before)
    client("s3").get_object(Bucket=guarded["Data"], Key="there")


def test_parts_are_put_together_with_both_uses_of_the_key(
    small: Small, refused: list[str], guarded: dict[str, str]
) -> None:
    put = {"Action": ["s3:PutObject", "kms:GenerateDataKey"], "Resource": "*"}
    where = {"Bucket": guarded["Data"], "Key": "large"}
    poor, rich = acting(small, put)("s3"), acting(small, put, {"Action": "kms:Decrypt", "Resource": "*"})("s3")
    upload = poor.create_multipart_upload(**where)["UploadId"]
    part = {**where, "UploadId": upload, "PartNumber": 1, "Body": b"1"}
    assert "kms:Decrypt" in error(lambda: poor.upload_part(**part))[2]
    etag = rich.upload_part(**part)["ETag"]
    parts = {"Parts": [{"ETag": etag, "PartNumber": 1}]}
    assert "s3:AbortMultipartUpload" in error(lambda: rich.abort_multipart_upload(**where, UploadId=upload))[2]
    rich.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=parts)


@contract("RUN_IMPORT")
def test_an_import_reads_with_the_rights_of_who_asked(
    small: Small, refused: list[str], guarded: dict[str, str]
) -> None:
    start = {"Action": "dynamodb:ImportTable", "Resource": "*"}
    small.cloud.client("s3").put_object(
        Bucket=guarded["Data"], Key="import/a.json", Body=b'{"Item": {"id": {"S": "1"}}}'
    )
    listing = {
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{guarded['Data']}",
        "Condition": {"StringEquals": {"s3:prefix": "import/"}},
    }
    reading = {
        "Action": ["s3:GetObject", "kms:Decrypt"],
        "Resource": "*",
        "Condition": {"ForAnyValue:StringEquals": {"aws:CalledVia": "dynamodb.amazonaws.com"}},
    }
    for number, (statements, status) in enumerate(
        (([], "FAILED"), ([listing], "FAILED"), ([listing, reading], "COMPLETED"))
    ):
        client = acting(small, start, *statements)("dynamodb")
        made = client.import_table(
            S3BucketSource={"S3Bucket": guarded["Data"], "S3KeyPrefix": "import/"},
            InputFormat="DYNAMODB_JSON",
            TableCreationParameters={
                "TableName": f"imported-{number}",
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        )["ImportTableDescription"]["ImportArn"]

        def done(arn: str = made) -> Any:
            found = small.cloud.client("dynamodb").describe_import(ImportArn=arn)["ImportTableDescription"]
            return None if found["ImportStatus"] == "IN_PROGRESS" else found

        ended = wait(done)
        assert ended["ImportStatus"] == status
        if status == "FAILED":
            assert ended["FailureCode"] == "S3AccessDenied"
            assert "is not authorized to perform: s3:" in ended["FailureMessage"]


# What is delivered.


def hearing(small: Small, name: str, resources: dict[str, Any], target: dict[str, Any]) -> dict[str, str]:
    """A stack with a rule on events of executions named like the stack."""
    pattern = {"source": ["aws.states"], "detail": {"name": [name]}}
    rule = {
        "Type": "AWS::Events::Rule",
        "Properties": {"EventPattern": pattern, "Targets": [{"Id": "one", **target}]},
    }
    return deploy(small.cloud, name, {**resources, "Rule": rule})


def tell(small: Small, name: str) -> None:
    detail_type = "Step Functions Execution Status Change"
    small.cloud.events.put(news.event("aws.states", detail_type, [], {"name": name}))


@contract("FUNCTIONS")
def test_a_function_hears_a_rule_that_it_was_permitted(small: Small, refused: list[str]) -> None:
    lost = small.cloud.events.lost
    target = {"Arn": {"Fn::GetAtt": ["Hears", "Arn"]}}
    permission = {
        "Type": "AWS::Lambda::Permission",
        "Properties": {
            "Action": "lambda:InvokeFunction",
            "FunctionName": {"Ref": "Hears"},
            "Principal": "events.amazonaws.com",
            "SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]},
        },
    }
    hears = function("handlers.answer")
    names = hearing(small, "permitted", {"Hears": hears, "Permission": permission}, target)
    tell(small, "permitted")
    log = small.cloud.logs / "functions" / f"{names['Hears']}.log"
    wait(lambda: log.exists() or None)
    assert not refused
    permission["Properties"]["SourceArn"] = arn("events", "rule/other")
    for name, resources in (
        ("unasked", {"Hears": hears}),
        ("misnamed", {"Hears": hears, "Permission": permission}),
    ):
        hearing(small, name, resources, target)
        tell(small, name)
        wait(lambda name=name: any(name in text for text in lost) or None)
        assert "events.amazonaws.com is not authorized to perform: lambda:InvokeFunction" in refused[-1]
    lost.clear()


def test_a_queue_hears_a_rule_that_its_policy_names(small: Small, refused: list[str]) -> None:
    lost = small.cloud.events.lost
    queue = small.cloud.client("sqs").create_queue(QueueName="closed")["QueueUrl"]
    for change in ({}, {"Condition": {"ArnEquals": {"aws:SourceArn": arn("events", "rule/other")}}}):
        if change:
            to = {"Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
            document = json.dumps(policy({**to, "Resource": arn("sqs", "closed"), **change}))
            small.cloud.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": document})
        name = f"queue-{len(change)}"
        hearing(small, name, {}, {"Arn": arn("sqs", "closed")})
        tell(small, name)
        wait(lambda name=name: any(name in text for text in lost) or None)
        assert (
            f"perform: sqs:SendMessage on resource: {arn('sqs', 'closed')} because no resource-based"
            in refused[-1]
        )
    lost.clear()


def test_a_machine_is_started_under_the_role_of_the_target(small: Small, refused: list[str]) -> None:
    lost = small.cloud.events.lost
    passing = machine({"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}})
    target = {"Arn": {"Ref": "Machine"}, "RoleArn": role(small)}
    names = hearing(small, "unstarted", {"Machine": passing}, target)
    tell(small, "unstarted")
    wait(lambda: any("unstarted" in text for text in lost) or None)
    assert f"perform: states:StartExecution on resource: {names['Machine']}" in refused[-1]
    target["RoleArn"] = ROLE
    names = hearing(small, "started", {"Machine": passing}, target)
    tell(small, "started")
    client = small.cloud.client("stepfunctions")
    wait(lambda: client.list_executions(stateMachineArn=names["Machine"])["executions"] or None)
    lost.clear()


def test_a_queue_is_read_with_the_rights_of_its_function(small: Small, refused: list[str]) -> None:
    may = [{"Action": f"sqs:{verb}", "Resource": "*"} for verb in ("ReceiveMessage", "DeleteMessage")]
    own = role(small, *may, {"Action": "sqs:GetQueueAttributes", "Resource": "*"})
    mapping = {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {"EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]}, "FunctionName": {"Ref": "Batch"}},
    }
    resources = {
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Batch": function("handlers.batch", Role=own),
        "Mapping": mapping,
    }
    deploy(small.cloud, "polled", resources)
    refused.clear()

    def put(*statements: dict[str, Any]) -> None:
        document = json.dumps(policy(*statements))
        small.cloud.client("iam").put_role_policy(
            RoleName=own.rpartition("/")[2], PolicyName="own", PolicyDocument=document
        )

    put(*may)
    wait(lambda: any("sqs:GetQueueAttributes" in text for text in refused) or None)
    put({"Action": "sqs:*", "Resource": "*"})  # or it would be refused until the end of the module
    small.cloud.events.lost.clear()


@pytest.mark.parametrize("lacking", ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"])
def test_a_queue_is_not_mapped_to_a_function_that_may_not_read_it(
    small: Small, refused: list[str], lacking: str
) -> None:
    held = [f"sqs:{one}" for one in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes") if one != lacking]
    mapping = {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {"EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]}, "FunctionName": {"Ref": "Batch"}},
    }
    resources = {
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Batch": function("handlers.batch", Role=role(small, {"Action": held, "Resource": "*"})),
        "Mapping": mapping,
    }
    text = f"execution role does not have permissions to call {lacking} on SQS .*sqs:{lacking} on resource: arn"
    with pytest.raises(NotDeployed, match=text):
        deploy(small.cloud, f"unread-{lacking}", resources)


def test_trust_is_looked_at_whenever_a_service_acts(small: Small, refused: list[str]) -> None:
    made = role(small, {"Action": "*", "Resource": "*"}, trusting=trust("lambda"))
    of = arn("lambda", "function:one")
    assert small.cloud.environment(made, of=of)["AWS_SESSION_TOKEN"]
    document = json.dumps(
        trust("lambda", Condition={"ArnEquals": {"aws:SourceArn": arn("lambda", "function:two")}})
    )
    small.cloud.client("iam").update_assume_role_policy(
        RoleName=made.rpartition("/")[2], PolicyDocument=document
    )
    with pytest.raises(
        Refused, match=r"User: lambda.amazonaws.com is not authorized to perform: sts:AssumeRole"
    ):
        small.cloud.client("s3", made, of=of)
    with pytest.raises(Refused, match=r"states\.amazonaws\.com"):
        small.cloud.client("s3", made, of=arn("states", "stateMachine:one"))
