"""The table of rights beside AWS's own definitions of actions, ARNs and condition keys."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.iam.keys import ALWAYS, OF_ACTIONS, OF_ROLES, OF_SERVICES, UNEVALUATED, common, known, of_role
from local.iam.needs import Call, Need, Role
from local.iam.table import FREE, TABLE
from tests.definitions import action_data, dependent, problems

ACCOUNT, REGION = "123456789012", "us-east-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Job"
OBJECT = {"Bucket": "data", "Key": "runs/a b/plan.json"}
EXECUTION = {"executionArn": f"arn:aws:states:{REGION}:{ACCOUNT}:execution:Machine:one"}
MACHINE = {"stateMachineArn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:Machine"}
QUEUE = {"QueueUrl": f"http://127.0.0.1:5000/{ACCOUNT}/Changes"}
TABLE_NAME, ITEM = {"TableName": "Ledger"}, {"TableName": "Ledger", "Key": {"dataset": {"S": "a"}}}
TAGS = {"Tags": [{"Key": "stage", "Value": "dev"}]}
DISK = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeKmsKeyId": KEY}
NET = {"EnableNetworkIsolation": True, "VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}
TRAINING = {
    "TrainingJobName": "topx-1",
    "RoleArn": ROLE,
    "ResourceConfig": DISK,
    "OutputDataConfig": {"KmsKeyId": KEY},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    "EnableInterContainerTrafficEncryption": True,
    **NET,
    **TAGS,
}
PROCESSING = {
    "ProcessingJobName": "topx-1",
    "RoleArn": ROLE,
    "ProcessingResources": {"ClusterConfig": DISK},
    "ProcessingOutputConfig": {"KmsKeyId": KEY},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    "NetworkConfig": NET,
    **TAGS,
}
TRANSFORM = {
    "TransformJobName": "topx-1",
    "ModelName": "topx-2",
    "TransformResources": DISK,
    "TransformOutput": {"KmsKeyId": KEY},
    **TAGS,
}
SAMPLES: dict[str, list[dict[str, Any]]] = {  # operation -> requests of it
    "s3:GetObject": [OBJECT, {**OBJECT, "VersionId": "1"}],
    "s3:HeadObject": [OBJECT],
    "s3:PutObject": [
        OBJECT,
        {**OBJECT, "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY, "Tagging": "a=b", "ACL": "private"},
    ],
    "s3:CopyObject": [
        {**OBJECT, "CopySource": "/other/a%20b"},
        {**OBJECT, "CopySource": "other/a?versionId=1"},
    ],
    "s3:CreateMultipartUpload": [OBJECT],
    "s3:UploadPart": [{**OBJECT, "UploadId": "1"}],
    "s3:CompleteMultipartUpload": [{**OBJECT, "UploadId": "1"}],
    "s3:AbortMultipartUpload": [{**OBJECT, "UploadId": "1"}],
    "s3:ListParts": [{**OBJECT, "UploadId": "1"}],
    "s3:DeleteObject": [OBJECT, {**OBJECT, "VersionId": "1"}],
    "s3:DeleteObjects": [
        {"Bucket": "data", "Delete": {"Objects": [{"Key": "a"}, {"Key": "b", "VersionId": "1"}]}}
    ],
    **{
        f"s3:{name}": [{"Bucket": "data"}, {"Bucket": "data", "Prefix": "a/", "Delimiter": "/", "MaxKeys": 7}]
        for name in ("ListObjects", "ListObjectsV2", "ListObjectVersions")
    },
    "s3:HeadBucket": [{"Bucket": "data"}],
    "s3:GetBucketLocation": [{"Bucket": "data"}],
    "s3:ListBuckets": [{}],
    **{f"dynamodb:{verb}Item": [ITEM] for verb in ("Get", "Put", "Update", "Delete")},
    **{f"dynamodb:{verb}": [ITEM, {**ITEM, "IndexName": "by"}] for verb in ("Query", "Scan")},
    **{
        f"dynamodb:Batch{verb}Item": [{"RequestItems": {"Ledger": [], "Lists": []}}]
        for verb in ("Get", "Write")
    },
    "dynamodb:TransactGetItems": [{"TransactItems": [{"Get": ITEM}]}],
    "dynamodb:TransactWriteItems": [
        {"TransactItems": [{verb: ITEM} for verb in ("Put", "Update", "Delete", "ConditionCheck")]}
    ],
    "dynamodb:DescribeTable": [TABLE_NAME, {"TableName": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/Ledger"}],
    "dynamodb:DeleteTable": [TABLE_NAME],
    "dynamodb:ImportTable": [{"TableCreationParameters": TABLE_NAME}],
    "dynamodb:DescribeImport": [{"ImportArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/Ledger/import/01-a"}],
    "dynamodb:ListImports": [{}],
    "dynamodb:ListTables": [{}],
    "states:StartExecution": [MACHINE],
    "states:ListExecutions": [MACHINE],
    **{
        f"states:{name}": [EXECUTION]
        for name in ("DescribeExecution", "GetExecutionHistory", "StopExecution", "RedriveExecution")
    },
    "sagemaker:CreateTrainingJob": [TRAINING],
    "sagemaker:CreateProcessingJob": [PROCESSING],
    "sagemaker:CreateTransformJob": [TRANSFORM],
    **{
        f"sagemaker:{verb}{kind}Job": [{f"{kind}JobName": "topx-1"}]
        for verb in ("Describe", "Stop")
        for kind in ("Training", "Processing", "Transform")
    },
    "sagemaker:CreateModel": [{"ModelName": "topx-2", "ExecutionRoleArn": ROLE, **NET, **TAGS}],
    "sagemaker:DescribeModel": [{"ModelName": "topx-2"}],
    "sagemaker:DeleteModel": [{"ModelName": "topx-2"}],
    "sagemaker:ListModels": [{}],
    **{
        f"sagemaker:{name}": [{"ResourceArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/topx-1"}]
        for name in ("AddTags", "ListTags")
    },
    "lambda:Invoke": [
        {"FunctionName": "Publish"},
        {"FunctionName": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Publish"},
    ],
    "sns:Publish": [{"TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:Topic"}],
    **{
        f"sqs:{name}": [QUEUE]
        for name in (
            *(
                "SendMessage",
                "ReceiveMessage",
                "DeleteMessage",
                "DeleteMessageBatch",
                "ChangeMessageVisibility",
            ),
            "GetQueueAttributes",
        )
    },
    "sqs:GetQueueUrl": [{"QueueName": "Changes"}],
    "events:PutRule": [{"Name": "One"}],
    "events:DescribeRule": [{"Name": "One"}],
    "events:PutTargets": [{"Rule": "One"}],
    "servicequotas:ListServiceQuotas": [{}],
    "servicequotas:ListAWSDefaultServiceQuotas": [{}],
}
# Quotas of these other services are looked up with their own calls; we ask for those of SageMaker.
OF_OTHER_SERVICES = {"ListServiceQuotas", "ListAWSDefaultServiceQuotas"}


class Guarded:
    """A world in which everything is under one key and no object is there."""

    def key(self, given: str | None) -> str | None:
        return given

    def object_exists(self, bucket: str, key: str, version: str | None) -> bool:
        return False

    def bucket_key(self, bucket: str) -> str | None:
        return KEY

    def object_key(self, bucket: str, key: str, version: str | None) -> str | None:
        return KEY

    def upload_key(self, bucket: str, upload: str) -> str | None:
        return KEY

    table_key = topic_key = queue_key = bucket_key


def needs(operation: str, params: dict[str, Any]) -> list[Need]:
    service, _, name = operation.partition(":")
    call = Call(service=service, operation=name, params=params, world=Guarded(), account=ACCOUNT, region=REGION)
    return list(TABLE[operation](call))


def every_need() -> Iterator[tuple[str, Need]]:
    for operation, requests in SAMPLES.items():
        for request in requests:
            for need in needs(operation, request):
                yield operation, need


def test_every_operation_has_a_sample() -> None:
    assert SAMPLES.keys() == TABLE.keys()


@pytest.mark.parametrize("operation", TABLE)
def test_actions_arns_and_keys_are_aws_s_own(operation: str) -> None:
    for request in SAMPLES[operation]:
        made = needs(operation, request)
        assert made
        for need in made:
            assert list(problems(need.action, need.resource, set(need.context))) == [], request


@pytest.mark.parametrize("operation", TABLE)
def test_what_an_action_depends_on_is_needed_too(operation: str) -> None:
    asked = {need.action for request in SAMPLES[operation] for need in needs(operation, request)}
    name = operation.partition(":")[2]
    if name not in OF_OTHER_SERVICES:
        for action in asked:
            # A transform's role is its model's; AWS's definitions say so by not listing PassRole.
            assert dependent(action) <= asked, action


def test_what_needs_no_right_is_an_action_that_everybody_has() -> None:
    assert all(action_data(name) for name in FREE)
    assert not FREE & TABLE.keys()


def test_known_keys_are_those_that_somebody_sets() -> None:
    role = Role(arn=ROLE, session=ROLE, id="A:b")
    always, alone = common(ACCOUNT, REGION), of_role(role, REGION, ())
    via = of_role(role, REGION, ("dynamodb", "s3"))
    assert always.keys() == ALWAYS
    assert (alone | via).keys() - {"kms:viaservice", "kms:calleraccount"} <= OF_ROLES | ALWAYS
    assert via["kms:viaservice"] == "s3.us-east-1.amazonaws.com"
    assert via["aws:calledvia"] == ("dynamodb.amazonaws.com", "s3.amazonaws.com")
    assert "aws:sourceip" not in via
    set_by_actions = {key for _, need in every_need() for key in need.context}
    assert all(map(known, set_by_actions))
    elsewhere = {"kms:viaservice", "kms:calleraccount", "kms:grantisforawsresource"} | OF_SERVICES
    assert set_by_actions | elsewhere >= OF_ACTIONS
    assert not UNEVALUATED & set_by_actions


def test_a_version_is_asked_for_by_its_own_action_alone() -> None:
    actions = [need.action for need in needs("s3:GetObject", {**OBJECT, "VersionId": "1"})]
    assert "s3:GetObject" not in actions
    assert actions[0] == "s3:GetObjectVersion"


def test_a_copy_needs_both_sides() -> None:
    made = needs("s3:CopyObject", {**OBJECT, "CopySource": "other/a%20b?versionId=1"})
    assert ("s3:GetObjectVersion", "arn:aws:s3:::other/a b") in [(one.action, one.resource) for one in made]
    assert ("s3:PutObject", "arn:aws:s3:::data/runs/a b/plan.json") in [
        (one.action, one.resource) for one in made
    ]


def test_what_goes_together_is_asked_for_apart() -> None:
    many = {"Bucket": "data", "Delete": {"Objects": [{"Key": "a"}, {"Key": "b", "VersionId": "1"}]}}
    assert [need.resource for need in needs("s3:DeleteObjects", many)] == [
        "arn:aws:s3:::data/a",
        "arn:aws:s3:::data/b",
    ]
    verbs = [{verb: ITEM} for verb in ("Put", "Update", "Delete", "ConditionCheck")]
    actions = [need.action for need in needs("dynamodb:TransactWriteItems", {"TransactItems": verbs})]
    assert [one for one in actions if one.startswith("dynamodb:")] == [
        *("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem")
    ]


def test_keys_are_used_through_the_service_that_encrypts() -> None:
    found = {(operation, need.action): need.via for operation, need in every_need() if need.resource == KEY}
    assert found["s3:GetObject", "kms:Decrypt"] == "s3"
    assert found["s3:PutObject", "kms:GenerateDataKey"] == "s3"
    assert {("s3:UploadPart", f"kms:{one}") for one in ("Decrypt", "GenerateDataKey")} <= found.keys()
    assert found["dynamodb:UpdateItem", "kms:Decrypt"] == "dynamodb"
    assert {("sns:Publish", f"kms:{one}") for one in ("Decrypt", "GenerateDataKey")} <= found.keys()


def test_a_job_is_asked_for_with_all_that_its_request_says() -> None:
    create, tags, passed = needs("sagemaker:CreateTrainingJob", TRAINING)
    assert create.context["sagemaker:instancetypes"] == ("ml.m5.large",)
    assert create.context["sagemaker:networkisolation"] == "true"
    assert (tags.action, tags.resource) == ("sagemaker:AddTags", create.resource)
    assert passed.context["iam:passedtoservice"] == "sagemaker.amazonaws.com"
    assert [need.action for need in needs("sagemaker:CreateTransformJob", TRANSFORM)] == [
        *("sagemaker:CreateTransformJob", "sagemaker:AddTags")
    ]
