"""The one table: operation -> the rights that it needs. What a role calls and does not stand here is refused.

Service Authorization Reference, checked by tests/local/test_iam_table.py against AWS's own definitions. Keys:
DynamoDB Developer Guide, "Encryption at rest usage notes" (the table key is decrypted in the caller's name);
SNS Developer Guide, "Managing Amazon SNS encryption keys"; SQS Developer Guide, "Key management".
"""

import re
from collections.abc import Iterator
from typing import Any

from local.iam.needs import Call, Context, Need, Rule, anywhere, at, named, use_of_key
from local.iam.s3 import S3

JOBS = {"Training": "training-job", "Processing": "processing-job", "Transform": "transform-job"}
TRUSTED = "sagemaker.amazonaws.com"
FREE = {"sts:GetCallerIdentity"}  # needs no right


def _table(call: Call, name: str) -> str:
    return name if name.startswith("arn:") else call.arn(f"table/{name}")


def _items(call: Call, table: str, *actions: str, index: str | None = None) -> Iterator[Need]:
    arn = _table(call, table)
    name = arn.rpartition("/")[2]
    for action in actions:
        yield call.need(f"{arn}/index/{index}" if index else arn, action)
    encrypted = {"aws:dynamodb:tableName": name, "aws:dynamodb:subscriberId": call.account}
    yield from use_of_key(call.world.table_key(name), "dynamodb", encrypted, "Decrypt")


def _item(call: Call) -> Iterator[Need]:
    yield from _items(call, call["TableName"], call.operation, index=call.params.get("IndexName"))


def _batch(call: Call) -> Iterator[Need]:
    for table in call["RequestItems"]:
        yield from _items(call, table, call.operation)


def _transaction(call: Call) -> Iterator[Need]:
    verbs = {"Get": "GetItem", "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}
    for item in call["TransactItems"]:
        for verb, one in item.items():
            yield from _items(call, one["TableName"], verbs.get(verb, "ConditionCheckItem"))


def _of_table(call: Call) -> Iterator[Need]:
    yield call.need(_table(call, call["TableName"]))


def _import(call: Call) -> Iterator[Need]:
    yield call.need(_table(call, call["TableCreationParameters"]["TableName"]))


def _creating(parameter: str, kind: str) -> Rule:
    """A resource of SageMaker, its tags, and the role that it is to run under (its trust: see jobs.py)."""

    def rule(call: Call) -> Iterator[Need]:
        arn = call.arn(f"{kind}/{call[parameter]}")
        tags = {tag["Key"]: tag["Value"] for tag in call.params.get("Tags", [])}
        tagging: Context = {f"aws:requesttag/{key}".lower(): value for key, value in tags.items()}
        tagging |= {"aws:tagkeys": tuple(tags)} if tags else {}
        yield call.need(arn, context=_asked(call) | tagging)
        if tags:
            yield call.need(arn, "AddTags", {"sagemaker:taggingaction": call.operation, **tagging})
        role = call.params.get("RoleArn") or call.params.get("ExecutionRoleArn")
        if role:
            passed: Context = {"iam:passedtoservice": TRUSTED, "iam:associatedresourcearn": arn}
            yield Need(action="iam:PassRole", resource=role, context=passed)

    return rule


def _asked(call: Call) -> Context:
    """The condition keys that SageMaker makes of a Create request."""
    given = call.params
    cluster = given.get("ProcessingResources", {}).get("ClusterConfig")
    machine = given.get("ResourceConfig") or given.get("TransformResources") or cluster or {}
    outputs = ("OutputDataConfig", "TransformOutput", "ProcessingOutputConfig")
    output: dict[str, Any] = next((given[name] for name in outputs if name in given), {})
    network = {**given.get("NetworkConfig", {}), **given}
    vpc = network.get("VpcConfig", {})
    traffic = "EnableInterContainerTrafficEncryption"
    model = given.get("ModelName") if call.operation == "CreateTransformJob" else None
    found = {
        "sagemaker:instancetypes": (machine["InstanceType"],) if "InstanceType" in machine else (),
        "sagemaker:volumekmskey": machine.get("VolumeKmsKeyId"),
        "sagemaker:outputkmskey": output.get("KmsKeyId"),
        "sagemaker:networkisolation": _lower(network.get("EnableNetworkIsolation")),
        "sagemaker:intercontainertrafficencryption": _lower(network.get(traffic)),
        "sagemaker:maxruntimeinseconds": _lower(given.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")),
        "sagemaker:modelarn": call.arn(f"model/{model}") if model else None,
        "sagemaker:vpcsubnets": tuple(vpc.get("Subnets", ())),
        "sagemaker:vpcsecuritygroupids": tuple(vpc.get("SecurityGroupIds", ())),
    }
    return {key: value for key, value in found.items() if value}


def _lower(value: Any) -> str | None:
    return None if value is None else str(value).lower()


def _invoke(call: Call) -> Iterator[Need]:
    name, qualifier = call["FunctionName"], call.params.get("Qualifier")
    arn = name if name.startswith("arn:") else call.arn(f"function:{name}")
    yield call.need(f"{arn}:{qualifier}" if qualifier else arn, "InvokeFunction")


def _publish(call: Call) -> Iterator[Need]:
    topic = call.params.get("TopicArn") or call["TargetArn"]
    yield call.need(topic)
    key, encrypted = call.world.topic_key(topic), {"aws:sns:topicArn": topic}
    yield from use_of_key(key, "sns", encrypted, "GenerateDataKey", "Decrypt")


def _queue(action: str, *uses: str) -> Rule:
    """A right on a queue, and what is done with its key where it has one."""

    def rule(call: Call) -> Iterator[Need]:
        url = call.params.get("QueueUrl")
        name = re.split("[/:]", url)[-1] if url else call["QueueName"]  # an ARN will do
        yield call.need(call.arn(name), action)
        yield from use_of_key(call.world.queue_key(name), "sqs", {"aws:sqs:arn": call.arn(name)}, *uses)

    return rule


TABLE: dict[str, Rule] = {
    **S3,
    **{f"dynamodb:{verb}Item": _item for verb in ("Get", "Put", "Update", "Delete")},
    **{f"dynamodb:{verb}": _item for verb in ("Query", "Scan")},
    **{f"dynamodb:Batch{verb}Item": _batch for verb in ("Get", "Write")},
    **{f"dynamodb:Transact{verb}Items": _transaction for verb in ("Get", "Write")},
    "dynamodb:DescribeTable": _of_table,
    "dynamodb:DeleteTable": _of_table,
    "dynamodb:ImportTable": _import,
    "dynamodb:DescribeImport": at("ImportArn"),
    "dynamodb:ListImports": anywhere(),
    "dynamodb:ListTables": anywhere(),
    "states:StartExecution": at("stateMachineArn"),
    "states:ListExecutions": at("stateMachineArn"),
    "states:DescribeExecution": at("executionArn"),
    "states:GetExecutionHistory": at("executionArn"),
    "states:StopExecution": at("executionArn"),
    "states:RedriveExecution": at("executionArn"),
    **{f"sagemaker:Create{kind}Job": _creating(f"{kind}JobName", arn) for kind, arn in JOBS.items()},
    **{f"sagemaker:Describe{kind}Job": named(f"{kind}JobName", arn) for kind, arn in JOBS.items()},
    **{f"sagemaker:Stop{kind}Job": named(f"{kind}JobName", arn) for kind, arn in JOBS.items()},
    "sagemaker:CreateModel": _creating("ModelName", "model"),
    "sagemaker:DescribeModel": named("ModelName", "model"),
    "sagemaker:DeleteModel": named("ModelName", "model"),
    "sagemaker:ListModels": anywhere(),
    "sagemaker:AddTags": at("ResourceArn"),
    "sagemaker:ListTags": at("ResourceArn"),
    "lambda:Invoke": _invoke,
    "sns:Publish": _publish,
    "sqs:SendMessage": _queue("SendMessage", "GenerateDataKey", "Decrypt"),
    "sqs:ReceiveMessage": _queue("ReceiveMessage", "Decrypt"),
    "sqs:DeleteMessage": _queue("DeleteMessage"),
    "sqs:DeleteMessageBatch": _queue("DeleteMessage"),
    "sqs:ChangeMessageVisibility": _queue("ChangeMessageVisibility"),
    "sqs:GetQueueAttributes": _queue("GetQueueAttributes"),
    "sqs:GetQueueUrl": _queue("GetQueueUrl"),
    "events:DescribeRule": named("Name", "rule"),
    "events:PutRule": named("Name", "rule"),
    "events:PutTargets": named("Rule", "rule"),
    "servicequotas:ListServiceQuotas": anywhere(),
    "servicequotas:ListAWSDefaultServiceQuotas": anywhere(),
}
