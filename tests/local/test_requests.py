"""Requests against the API model and SageMaker's rules: what is refused, in which words, all at once."""

import copy
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError

import pytest
from botocore.loaders import Loader

from local import job_rules, requests
from local import moto_seams as moto
from local.cloud import KEYS
from local.requests import CHECKED, problems, refusal
from tests.local.conftest import Small, deploy, machine, wait
from tests.local.contracts import contract
from tests.local.test_jobs import IMAGE, processed, processing, training

NAME = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
ROLE = "arn:aws:iam::123456789012:role/jobs"
OURS = "123456789012.dkr.ecr.us-east-1.amazonaws.com/assets:image"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
SOURCE = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://a/b"}}}
GOOD: dict[str, dict[str, Any]] = {
    "CreateTrainingJob": {
        "TrainingJobName": "a" * 63,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE.format("factorization-machines"),
            "TrainingInputMode": "File",
        },
        "HyperParameters": {str(n): "1" for n in range(100)},
        "InputDataConfig": [{"ChannelName": "train", **SOURCE}],
        "OutputDataConfig": {"S3OutputPath": "s3://a/b", "KmsKeyId": KEY},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
            "VolumeKmsKeyId": KEY,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 28 * 86_400},
        "RoleArn": ROLE,
        "Tags": [{"Key": f"ké:y {n}", "Value": ""} for n in range(50)],
    },
    "CreateProcessingJob": {
        "ProcessingJobName": "p",
        "AppSpecification": {
            "ImageUri": OURS,
            "ContainerEntrypoint": ["python"],
            "ContainerArguments": ["a"],
        },
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": "s3://a/c",
                        "LocalPath": "/opt/ml/processing/out",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "ProcessingInputs": [
            {
                "InputName": "in",
                "S3Input": {
                    "S3Uri": "s3://a/b",
                    "S3DataType": "S3Prefix",
                    "LocalPath": "/opt/ml/processing/in",
                    "S3InputMode": "File",
                },
            }
        ],
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 16_384}
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 777_600},
        "RoleArn": ROLE,
    },
    "CreateTransformJob": {
        "TransformJobName": "t",
        "ModelName": "m",
        "MaxPayloadInMB": 25,
        "MaxConcurrentTransforms": 4,
        "TransformInput": SOURCE,
        "TransformOutput": {"S3OutputPath": "s3://a/c"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    },
    "ImportTable": {
        "S3BucketSource": {"S3Bucket": "runs", "S3KeyPrefix": "import/"},
        "InputFormat": "DYNAMODB_JSON",
        "InputCompressionType": "GZIP",
        "TableCreationParameters": {
            "TableName": "lists",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    },
    "StartExecution": {"stateMachineArn": "arn", "name": "n" * 80, "input": '"' + "é" * 131_071 + '"'},
    "CreateModel": {
        "ModelName": "m",
        "PrimaryContainer": {"Image": IMAGE.format("knn"), "ModelDataUrl": "s3://a/model.tar.gz"},
        "ExecutionRoleArn": ROLE,
    },
}


def damaged(operation: str, path: str, value: Any) -> dict[str, Any]:
    """A good request with another value at a path; None takes the member away."""
    return changed(GOOD[operation], path, value)


def changed(good: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A request with another value at a path; None takes the member away."""
    request: Any = copy.deepcopy(good)
    *above, last = path.split(".")
    inner = request
    for name in above:
        inner = inner[int(name) if name.isdigit() else name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return dict(request)


@pytest.mark.parametrize("operation", GOOD)
def test_good_requests_to_their_limits_pass(operation: str) -> None:
    assert refusal(SERVICE.get(operation, "sagemaker"), operation, GOOD[operation]) is None


SERVICE = {"ImportTable": "dynamodb", "StartExecution": "stepfunctions"}  # or else sagemaker
FAILED = "failed to satisfy constraint: "
TRAINING, PROCESSING = "CreateTrainingJob", "CreateProcessingJob"
TRANSFORM, MODEL = "CreateTransformJob", "CreateModel"
IMPORT, START = "ImportTable", "StartExecution"
ELSEWHERE = IMAGE.format("knn").replace("us-east-1", "eu-west-1")
DATA, PLACE = "InputDataConfig.0.DataSource.S3DataSource", "ProcessingInputs.0.S3Input"
HASH = {"AttributeName": "id", "KeyType": "HASH"}


FEW, MUCH = (
    "Member must have length less than or equal to {}",
    "Member must have value less than or equal to {}",
)
ENUM, FORM = "Member must satisfy enum value set: [", "Member must satisfy regular expression pattern: "
ONE = "Member must have {} greater than or equal to 1"
TAG = {"Key": "a", "Value": ""}
ANY = "SageMaker.AmazonSageMakerException"


@pytest.mark.parametrize(
    ("operation", "path", "value", "text"),
    [
        (TRAINING, "TrainingJobName", None, "Member must not be null"),
        (TRAINING, "TrainingJobName", "a" * 64, FEW.format(63)),
        (TRAINING, "TrainingJobName", "a_b", f"Value 'a_b' at 'trainingJobName' {FAILED}{FORM}{NAME}"),
        (TRAINING, "TrainingJobName", "a-", FORM + NAME),
        (TRAINING, "TrainingJobName", "a\n", FORM + NAME),
        (TRAINING, "RoleArn", "jobs-role-of-this-account", f"at 'roleArn' {FAILED}{FORM}arn:aws"),
        (TRAINING, "HyperParameters", {str(n): "1" for n in range(101)}, FEW.format(100)),
        (TRAINING, "HyperParameters", {"k" * 257: "1"}, f"{FAILED}Map keys must satisfy constraint: [Member"),
        (TRAINING, "HyperParameters", {"k": "1" * 2501}, f"{FAILED}Map value must satisfy constraint: [Member"),
        (TRAINING, "ResourceConfig.InstanceType", "ml.t2.medium", f"{FAILED}{ENUM}ml."),
        (TRAINING, "ResourceConfig.InstanceType", "ml.c6i.large", ENUM),
        (TRAINING, "ResourceConfig.InstanceCount", 0, f"Value '0' at 'resourceConfig.instanceCount' {FAILED}"),
        (TRAINING, "ResourceConfig.VolumeSizeInGB", 0, ONE.format("value")),
        (TRAINING, "ResourceConfig", None, "Value null at 'resourceConfig.instanceType'"),
        (TRAINING, "ResourceConfig.InstanceType", "ml.g5.xlarge", "volumeKmsKeyId' is not supported for ml.g5"),
        (TRAINING, "ResourceConfig.InstanceType", "ml.r5d.large", "is not supported for ml.r5d.large"),
        (TRAINING, "StoppingCondition.MaxRuntimeInSeconds", 28 * 86_400 + 1, MUCH.format(2419200)),
        (TRAINING, "StoppingCondition.MaxRuntimeInSeconds", 0, ONE.format("value")),
        (TRAINING, "OutputDataConfig.S3OutputPath", "b/c", FORM + "(https|s3)://"),
        (TRAINING, "InputDataConfig.0.ChannelName", "a b", "at 'inputDataConfig.1.member.channelName'"),
        (TRAINING, "InputDataConfig", [{"ChannelName": "train", **SOURCE}] * 2, "ChannelName 'train' stands 2"),
        (TRAINING, "InputDataConfig.0.DataSource.S3DataSource.S3DataType", "Prefix", ENUM + "ManifestFile"),
        (TRAINING, "AlgorithmSpecification.TrainingImage", None, "null at 'algorithmSpecification.train"),
        (TRAINING, "AlgorithmSpecification.TrainingInputMode", "Files", ENUM + "Pipe, File, FastFile]"),
        (TRAINING, "Tags", [{"Key": str(n), "Value": ""} for n in range(51)], FEW.format(50)),
        (TRAINING, "Tags", [{"Key": "a!", "Value": ""}], "Value 'a!' at 'tags.1.member.key'"),
        (TRAINING, "Tags", [{"Key": "a"}], "Value null at 'tags.1.member.value'"),
        (TRAINING, "Tags", [{"Key": "aws:a", "Value": ""}], "tags that begin with aws: are AWS's own"),
        (TRAINING, "Tags", [TAG] * 2, "Key 'a' stands 2 times in Tags"),
        (PROCESSING, "StoppingCondition.MaxRuntimeInSeconds", 777_601, MUCH.format(777600)),
        (PROCESSING, "ProcessingResources.ClusterConfig.VolumeSizeInGB", 16_385, MUCH.format(16384)),
        (PROCESSING, "ProcessingResources.ClusterConfig.InstanceCount", 101, MUCH.format(100)),
        (PROCESSING, "ProcessingResources.ClusterConfig.InstanceType", "ml.c5n.xlarge", ENUM),
        (PROCESSING, "AppSpecification.ContainerEntrypoint", ["x" * 257], f"constraint: [{FEW.format(256)}"),
        (PROCESSING, "AppSpecification.ContainerEntrypoint", [], ONE.format("length")),
        (PROCESSING, "ProcessingInputs.0.S3Input.LocalPath", "/opt/ml/in", "begin with /opt/ml/processing/"),
        (TRANSFORM, "TransformResources.InstanceType", "ml.t3.medium", ENUM),
        (TRANSFORM, "TransformResources.InstanceType", "ml.r5.large", ENUM),
        (TRANSFORM, "MaxPayloadInMB", 26, "must be at most 100 MB"),
        (TRANSFORM, "BatchStrategy", "Multi", ENUM + "MultiRecord, SingleRecord]"),
        (TRAINING, "CheckpointConfig", {"S3Uri": "s3://a/b"}, "not emulated locally: CheckpointConfig"),
        (TRAINING, "InputDataConfig.0.ShuffleConfig", {"Seed": 1}, "locally: InputDataConfig.ShuffleConfig"),
        (TRAINING, "InputDataConfig.0.CompressionType", "Gzip", "InputDataConfig.CompressionType Gzip"),
        (TRAINING, "AlgorithmSpecification.TrainingInputMode", "FastFile", "TrainingInputMode FastFile"),
        (PROCESSING, "AppSpecification.ContainerEntrypoint", None, "locally: a job without"),
        (TRANSFORM, "TransformInput.CompressionType", "Gzip", "locally: TransformInput.CompressionType Gzip"),
        (MODEL, "PrimaryContainer.ModelDataUrl", None, "Value null at 'primaryContainer.modelDataUrl'"),
        (MODEL, "PrimaryContainer.Image", "a b", FORM + "[\\S]+"),
        (TRAINING, "TrainingJobName", "é", FORM + NAME),
        (TRAINING, "RoleArn", "arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:role/jobs", f"at 'roleArn' {FAILED}{FORM}arn:aws"),
        (TRAINING, "HyperParameters", {"a\u2028b": "1"}, f"{FAILED}Map keys must satisfy constraint: [Member"),
        (TRAINING, "HyperParameters", {"k": "1\r2"}, f"{FAILED}Map value must satisfy constraint: [Member"),
        (TRAINING, "ResourceConfig.InstanceCount", -1, "greater than or equal to 0"),
        (TRAINING, "ResourceConfig.InstanceType", "m5.large", ENUM),
        (TRAINING, "ResourceConfig.VolumeSizeInGB", 16_385, f"volumeSizeInGB' {FAILED}{MUCH.format(16384)}"),
        (TRAINING, "StoppingCondition.MaxWaitTimeInSeconds", 9, "Invalid MaxWaitTimeInSeconds. It is only"),
        (TRAINING, "InputDataConfig.0.DataSource", {}, "null at 'inputDataConfig.1.member.dataSource.s3DataS"),
        (TRAINING, "InputDataConfig.0.ChannelName", "a" * 65, FEW.format(64)),
        (TRAINING, f"{DATA}.S3DataType", "ManifestFile", "DataSource.S3DataSource.S3DataType ManifestFile"),
        (TRAINING, f"{DATA}.S3Uri", "ftp://a/b", FORM + "(https|s3)://"),
        (TRAINING, "AlgorithmSpecification.TrainingImage", "knn:1", "TrainingImageConfig with Train"),
        (TRAINING, "AlgorithmSpecification.TrainingImage", ELSEWHERE, "the valid <region>.<dns-suffix>: "),
        (TRAINING, "AlgorithmSpecification.TrainingImage", IMAGE.format("xgboost"), "find repository: xgb"),
        (TRAINING, "AlgorithmSpecification.TrainingImage", OURS, "repository: assets in registry ID"),
        (TRAINING, "AlgorithmSpecification.TrainingImage", IMAGE[:-1].format("knn") + "9", "find the request"),
        (PROCESSING, "AppSpecification.ImageUri", "../../etc", "Invalid image URI ../../etc."),
        (PROCESSING, "AppSpecification.ImageUri", ELSEWHERE, "Invalid region eu-west-1 in image URI"),
        (PROCESSING, "AppSpecification.ImageUri", IMAGE.format("knn"), "Cannot find repository: knn in "),
        (PROCESSING, f"{PLACE}.LocalPath", "/opt/ml/processing/../x", "must begin with /opt/ml/processing/"),
        (PROCESSING, f"{PLACE}.LocalPath", "/opt/ml/processing/.", "must begin with /opt/ml/processing/"),
        (PROCESSING, f"{PLACE}.LocalPath", "/opt/ml/processing//out/", "/out' stands 2 times in inputs"),
        (PROCESSING, f"{PLACE}.S3DataType", "ManifestFile", "locally: ProcessingInputs.S3Input.S3DataType"),
        (PROCESSING, "ProcessingInputs", GOOD[PROCESSING]["ProcessingInputs"] * 11, FEW.format(10)),
        (PROCESSING, "Environment", {"1a": ""}, "Map keys must satisfy constraint"),
        (TRANSFORM, "MaxPayloadInMB", 101, f"Value '101' at 'maxPayloadInMB' {FAILED}{MUCH.format(100)}"),
        (TRANSFORM, "TransformInput.SplitType", "Line", "not emulated locally: TransformInput.SplitType Line"),
        (TRANSFORM, "TransformOutput.AssembleWith", "None", "locally: TransformOutput.AssembleWith None"),
        (TRANSFORM, "TransformResources.InstanceCount", 0, ONE.format("value")),
        (TRANSFORM, "Environment", {str(n): "" for n in range(17)}, FEW.format(16)),
        (MODEL, "PrimaryContainer.Image", "knn:1", 'non-ECR image "knn:1" without Vpc repository access mode'),
        (MODEL, "PrimaryContainer.Image", ELSEWHERE, "Cross region ECR image pulls are not allowed."),
        (MODEL, "PrimaryContainer", None, "Value null at 'primaryContainer.image'"),
        (MODEL, "PrimaryContainer", {}, "Value null at 'primaryContainer.image'"),
        (IMPORT, "InputFormat", "CSV", "not emulated locally: InputFormat CSV"),
        (IMPORT, "InputFormatOptions", {"Csv": {}}, "not emulated locally: InputFormatOptions"),
        (IMPORT, "TableCreationParameters.BillingMode", None, "must both be specified when Billi"),
        (IMPORT, "TableCreationParameters.KeySchema", [HASH] * 2, "have the same name"),
        (IMPORT, "TableCreationParameters.KeySchema.0.KeyType", "RANGE", "Invalid KeySchema: it is RANGE;"),
        (IMPORT, "TableCreationParameters.TableName", "ab", "greater than or equal to 3"),
        (START, "name", "n" * 81, FEW.format(80)),
        (START, "name", "", ONE.format("length")),
        (START, "input", '"' + "x" * 262_143 + '"', f"Value at 'input' {FAILED}{FEW.format(262144)}"),
        (START, "input", '"' + "é" * 131_072 + '"', f"Value at 'input' {FAILED}{FEW.format(262144)}"),
    ],
)  # fmt: skip
def test_a_value_that_aws_refuses_is_refused_in_its_words(
    operation: str, path: str, value: Any, text: str
) -> None:
    service = SERVICE.get(operation, "sagemaker")
    refused = refusal(service, operation, damaged(operation, path, value))
    assert refused is not None
    assert refused[0] == "ValidationException"
    assert text in refused[1]


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("ResourceConfig.InstanceCount", "1", "STRING_VALUE can not be converted to an Integer"),
        ("ResourceConfig.InstanceCount", True, "BOOLEAN_VALUE can not be converted to an Integer"),
        ("ResourceConfig.InstanceCount", 2**31, "NUMBER_VALUE can not be converted to an Integer"),
        ("HyperParameters", {"k": None}, "NULL_VALUE can not be converted to a String"),
        ("Tags", [None], "NULL_VALUE can not be converted to a Structure"),
        ("trainingJobName", "x", "'trainingJobName' is no member"),
        ("ResourceConfig.InstanceCount", 1.5, "DECIMAL_VALUE can not be converted to an Integer"),
        ("EnableNetworkIsolation", "yes", "STRING_VALUE can not be converted to a Boolean"),
        ("EnableNetworkIsolation", 1, "NUMBER_VALUE can not be converted to a Boolean"),
        (
            "HyperParameters",
            {"k": 1},
            "NUMBER_VALUE can not be converted to a String: 'hyperParameters.k.member'",
        ),
        ("InputDataConfig", {"ChannelName": "a"}, "STRUCTURE_VALUE can not be converted to a List"),
        ("Image", "x", "'Image' is no member; there are TrainingJobName, "),
        ("OutputDataConfig.S3Uri", "s3://a", "'outputDataConfig.S3Uri' is no member"),
    ],
)
def test_a_request_of_another_form_is_no_request(path: str, value: Any, text: str) -> None:
    refused = refusal("sagemaker", TRAINING, damaged(TRAINING, path, value))
    assert refused is not None
    assert refused[0] == "SerializationException"
    assert text in refused[1]


def test_all_problems_are_told_at_once() -> None:
    request = damaged(TRAINING, "TrainingJobName", "_")
    request["ResourceConfig"]["InstanceType"] = "ml.none"
    del request["OutputDataConfig"]
    refused = refusal("sagemaker", TRAINING, request)
    assert refused is not None
    assert refused[1].startswith("3 validation errors detected: ")


@pytest.mark.parametrize("service", CHECKED)
def test_every_pattern_of_the_models_can_be_read(service: str) -> None:
    shapes = Loader().load_service_model(service, "service-2")["shapes"].values()
    for text in {shape["pattern"] for shape in shapes if "pattern" in shape}:
        requests._pattern(text)


def test_every_rule_belongs_to_an_operation() -> None:
    for service, operation in job_rules.RULES:
        assert operation in moto.SERVICE_MODEL(service).operation_names


def test_checking_takes_no_time_to_speak_of() -> None:
    problems("sagemaker", TRAINING, GOOD[TRAINING])
    start = time.perf_counter()
    for _ in range(20):
        problems("sagemaker", TRAINING, GOOD[TRAINING])
    assert (time.perf_counter() - start) / 20 < 0.005  # well below 1 ms where nothing else runs


OF_JOBS = "arn:aws:sagemaker:us-east-1:123456789012:"


@contract("TAGGED")
@contract("CALL_SAGEMAKER", "CALL_STATES", "CALL_EVENTS", "CALL_DYNAMODB", "SERVICE_MODEL")
@pytest.mark.parametrize(
    ("service", "call", "given", "text"),
    [
        ("sagemaker", "describe_training_job", {"TrainingJobName": "a_b"}, "at 'trainingJobName'"),
        ("sagemaker", "stop_transform_job", {"TransformJobName": "-"}, "at 'transformJobName'"),
        ("sagemaker", "list_training_jobs", {"MaxResults": 101}, "less than or equal to 100"),
        ("sagemaker", "add_tags", {"ResourceArn": "a", "Tags": [{"Key": "a"}]}, "'tags.1.member.value'"),
        ("stepfunctions", "redrive_execution", {"executionArn": "a", "clientToken": "a b"}, "'clientToken'"),
        ("stepfunctions", "start_execution", {"stateMachineArn": "a", "name": "n" * 81}, "at 'name'"),
        ("stepfunctions", "stop_execution", {}, "Value null at 'executionArn'"),
        (
            "stepfunctions",
            "stop_execution",
            {"executionArn": "a", "error": "e" * 257},
            "Value at 'error' failed",
        ),
        ("stepfunctions", "list_executions", {}, "Value null at 'stateMachineArn'"),
        ("sagemaker", "list_tags", {"ResourceArn": f"{OF_JOBS}training-job/nobody"}, "resource not found"),
        ("sagemaker", "list_tags", {"ResourceArn": f"{OF_JOBS}nothing/nobody"}, "resource not found"),
        ("sagemaker", "add_tags", {"ResourceArn": f"{OF_JOBS}model/no", "Tags": []}, "resource not found"),
        ("sagemaker", "describe_transform_job", {"TransformJobName": "nobody"}, "Could not find transform job"),
        ("sagemaker", "stop_processing_job", {"ProcessingJobName": "nobody"}, "resource not found"),
        (
            "sagemaker",
            "create_endpoint",
            {"EndpointName": "a", "EndpointConfigName": "b"},
            "not emulated locally: CreateEndpoint",
        ),
        (
            "sagemaker",
            "delete_training_job",
            {"TrainingJobName": "a"},
            "not emulated locally: DeleteTrainingJob",
        ),
        ("events", "put_events", {"Entries": []}, "greater than or equal to 1"),
        ("dynamodb", "import_table", {"InputFormat": "JSON"}, "at 'inputFormat'"),
    ],
)
def test_services_refuse_before_they_answer(
    small: Small, service: str, call: str, given: dict[str, Any], text: str
) -> None:
    client = small.cloud.client(service)
    with pytest.raises(client.exceptions.ClientError, match=text) as refused:
        getattr(client, call)(**given)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@contract("SEND_MESSAGE", "SEND_MESSAGES")
@pytest.mark.parametrize("text", ["a\ud800", "\udc00a", "a\x00", "\x1f", "\ufffe", "\uffff"], ids=ascii)
def test_a_message_with_characters_that_sqs_does_not_take_is_refused_and_no_other(
    small: Small, text: str
) -> None:
    sqs = small.cloud.client("sqs")
    queue = deploy(small.cloud, f"chars-{ord(text.strip('a')):x}", {"Queue": {"Type": "AWS::SQS::Queue"}})
    url, taken = queue["Queue"], "\t\n\r \ud7ff\ue000\ufffd\U00010000\U0010ffff"
    attributes = {"name": {"DataType": "String", "StringValue": text}}
    for given in ({"MessageBody": text}, {"MessageBody": "a", "MessageAttributes": attributes}):
        with pytest.raises(sqs.exceptions.ClientError, match="InvalidMessageContents"):
            sqs.send_message(QueueUrl=url, **given)
    entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate((taken, text))]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [one["Id"] for one in answer["Successful"]] == ["0"]
    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("1", "InvalidMessageContents")]
    (message,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert message["Body"] == taken


def answered(small: Small, operation: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer to a bare request."""
    headers = {
        "X-Amz-Target": f"SageMaker.{operation}",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={KEYS[0]}/20260101/us-east-1/sagemaker/aws4_request",
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(small.cloud.endpoint, body, headers)) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


@contract("PARSE")
@pytest.mark.parametrize(
    "body",
    [
        *(b'{"ModelName": 1}', b'{"ModelName": {"a": []}}', b"[]", b"null", b"{", b"[" * 100_000),
        b'{"ModelName": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"ModelName": NaN}',
        b'{"ModelName": "\\uD800"}',
        b'{"EnableNetworkIsolation": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: str(body[:30]),
)
def test_a_bare_request_is_checked_too(small: Small, body: bytes) -> None:
    status, answer = answered(small, "CreateModel", body)
    assert (status, answer["__type"]) == (400, "SerializationException")


def test_an_operation_that_aws_does_not_have_is_refused(small: Small) -> None:
    status, answer = answered(small, "CreateModels", b"{}")
    assert (status, answer["__type"]) == (400, "UnknownOperationException")


def test_a_null_counts_as_not_given(small: Small) -> None:
    request = processing(small, "nulls", "hello", Environment=None, Tags=None, NetworkConfig=None)
    assert answered(small, "CreateProcessingJob", json.dumps(request).encode())[0] == 200
    assert processed(small, "nulls")["ProcessingJobStatus"] == "Completed"
    model = {**GOOD["CreateModel"], "PrimaryContainer": None}
    assert "primaryContainer.image" in answered(small, "CreateModel", json.dumps(model).encode())[1]["message"]


def test_a_name_that_step_functions_forbids_is_refused(small: Small) -> None:
    names = deploy(
        small.cloud, "names", {"Machine": machine({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})}
    )
    client = small.cloud.client("stepfunctions")
    for name in ("a b", "a/b", "a\x01", "a\uffff"):
        with pytest.raises(client.exceptions.InvalidName, match="Invalid Name: 'a"):
            client.start_execution(stateMachineArn=names["Machine"], name=name)
    for given in ("", "{", "NaN", "[" * 5000 + "]" * 5000):
        with pytest.raises(client.exceptions.InvalidExecutionInput, match="State Machine Execution Input"):
            client.start_execution(stateMachineArn=names["Machine"], input=given)
    assert client.list_executions(stateMachineArn=names["Machine"])["executions"] == []


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"ProcessingJobName": "a_b"}, ANY, "1 validation error detected: Value 'a_b' at 'processingJobName'"),
        ({"ProcessingJobName": ""}, ANY, "greater than or equal to 1"),
        (
            {"NetworkConfig": {"VpcConfig": None}, "ProcessingJobName": "a_b"},
            ANY,
            "1 validation error detected: Value 'a_b'",
        ),
        ({"RoleArn": 1}, "States.Runtime", "[The value for the field 'RoleArn' must be a STRING]"),
        ({"Role": "x"}, "States.Runtime", "[The field 'Role' is not supported by Step Functions]"),
        ({"ProcessingResources": {}}, "States.Runtime", "'ClusterConfig' is required but was missing]"),
    ],
)  # fmt: skip
def test_a_state_learns_who_refused_its_request(
    small: Small, change: dict[str, Any], error: str, text: str
) -> None:
    request = processing(small, "refused", "hello", **change)
    job = {"Type": "Task", "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync", "End": True}
    definition = {"StartAt": "Job", "States": {"Job": {**job, "Parameters": request}}}
    name = f"refused-{abs(hash(str(change)))}"
    arn = small.cloud.client("stepfunctions").start_execution(
        stateMachineArn=deploy(small.cloud, name, {"Machine": machine(definition)})["Machine"]
    )["executionArn"]
    done = small.ended(arn)
    assert (done["status"], done["error"]) == ("FAILED", error)
    assert text in done["cause"]


@contract("CREATE_MODEL")
def test_a_model_needs_a_name_of_its_own_a_role_and_data(small: Small) -> None:
    client, bucket = small.cloud.client("sagemaker"), small.names["Bucket"]
    small.cloud.client("s3").put_object(Bucket=bucket, Key="model.tar.gz", Body=b"")
    role = f"arn:aws:iam::123456789012:role/{small.names['Role']}"
    model = {
        "ModelName": "once",
        "PrimaryContainer": {"Image": IMAGE.format("knn"), "ModelDataUrl": f"s3://{bucket}/model.tar.gz"},
        "ExecutionRoleArn": role,
    }
    client.create_model(**model)
    missing = {"Image": IMAGE.format("knn"), "ModelDataUrl": f"s3://{bucket}/no.tar.gz"}
    for change, text in (
        ({}, "Cannot create already existing model"),
        ({"ModelName": "two", "ExecutionRoleArn": ROLE}, "Could not assume role"),
        ({"ModelName": "two", "PrimaryContainer": missing}, "Could not access model data at s3://"),
        (
            {"ModelName": "two", "VpcConfig": {"Subnets": ["a"], "SecurityGroupIds": ["b"]}},
            "not emulated locally",
        ),
    ):
        with pytest.raises(client.exceptions.ClientError, match=text) as refused:
            client.create_model(**{**model, **change})
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    small.cloud.iam.refused.clear()


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("RoleArn", ROLE, "Please ensure that the role exists"),
        (f"{DATA}.S3Uri", "s3://BUCKET/nothing", 'No S3 objects found under S3 URL "s3://small-bucket'),
        (
            f"{DATA}.S3Uri",
            "s3://there-is-no-such-bucket/",
            'URL "s3://there-is-no-such-bucket/" given in input',
        ),
        (f"{DATA}.S3Uri", "s3://no name/", 'No S3 objects found under S3 URL "s3://no name/" given in input'),
        (f"{DATA}.S3Uri", "https://example.com/a", 'S3 URL "https://example.com/a" given in input data source'),
        ("ResourceConfig.InstanceCount", 101, "a request delta of 101 Instances"),
    ],
)
def test_a_training_job_that_cannot_begin_leaves_no_trace(
    small: Small, path: str, value: Any, text: str
) -> None:
    client = small.cloud.client("sagemaker")
    request = training(small, "never")
    if isinstance(value, str):
        value = value.replace("BUCKET", small.names["Bucket"])
    with pytest.raises(client.exceptions.ClientError, match=text):
        client.create_training_job(**changed(request, path, value))
    small.cloud.iam.refused.clear()
    with pytest.raises(client.exceptions.ClientError, match="Could not find training job"):
        client.describe_training_job(TrainingJobName="never")


def test_a_processing_job_needs_an_image_that_was_built(small: Small) -> None:
    client = small.cloud.client("sagemaker")
    request = processing(small, "unbuilt", "hello")
    request["AppSpecification"]["ImageUri"] += "-of-yesterday"
    with pytest.raises(client.exceptions.ClientError, match="Cannot find the requested image: image-of-yest"):
        client.create_processing_job(**request)


@contract("CREATE_MODEL")
def test_a_transform_job_needs_input_and_a_model_that_answers(small: Small) -> None:
    client, bucket = small.cloud.client("sagemaker"), small.names["Bucket"]
    small.cloud.client("s3").put_object(Bucket=bucket, Key="answering/model.tar.gz", Body=b"no archive")
    role = f"arn:aws:iam::123456789012:role/{small.names['Role']}"
    data = f"s3://{bucket}/answering/model.tar.gz"
    for name in ("knn", "factorization-machines"):
        container = {"Image": IMAGE.format(name), "ModelDataUrl": data}
        client.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role)
    request = {
        "TransformJobName": "answering",
        "ModelName": "knn",
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data}}},
        "TransformOutput": {"S3OutputPath": f"s3://{bucket}/answers"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    uri = "TransformInput.DataSource.S3DataSource.S3Uri"
    for path, value, text in (
        ("ModelName", "nobody", "Could not find model"),
        ("ModelName", "factorization-machines", "not emulated locally: a batch transform by"),
        (uri, f"s3://{bucket}/answers", "No S3 objects found under S3 URL"),
    ):
        with pytest.raises(client.exceptions.ClientError, match=text):
            client.create_transform_job(**changed(request, path, value))
    client.create_transform_job(**request)
    name = {"TransformJobName": "answering"}
    reason = wait(lambda: client.describe_transform_job(**name).get("FailureReason") or None)
    assert reason.startswith("ClientError: Failed to extract model data archive from URL")


def test_of_two_jobs_with_one_name_one_begins(small: Small) -> None:
    client, request = small.cloud.client("sagemaker"), processing(small, "once-only", "hello")

    def create(_: int) -> str:
        try:
            return str(client.create_processing_job(**request)["ProcessingJobArn"])
        except client.exceptions.ResourceInUse as error:
            return str(error.response["Error"]["Message"])

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(create, range(4)))
    [arn] = [answer for answer in answers if answer.startswith("arn:")]
    text = "Processing job names must be unique within an AWS account and region, and a processing job"
    assert [answer for answer in answers if answer != arn] == [
        f"{text} with this name already exists ({arn})"
    ] * 3
