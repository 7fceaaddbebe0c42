"""Which members of requests, and which of their values, are heeded here; all others are refused by name.

They are valid on AWS, and would be ignored in silence.
"""

from collections.abc import Iterator, Mapping
from typing import Any

ANY: Mapping[str, Any] = {}
TAGS = {"Key": ANY, "Value": ANY}
SOURCE = {"S3DataSource": {"S3DataType": {"S3Prefix"}, "S3Uri": ANY, "S3DataDistributionType": ANY}}
PLAIN = {"None"}
EMULATED: Mapping[str, Mapping[str, Any]] = {  # operation -> members, down to ANY or the values that are heeded
    "CreateTrainingJob": {
        "TrainingJobName": ANY,
        "HyperParameters": ANY,
        "AlgorithmSpecification": {"TrainingImage": ANY, "TrainingInputMode": {"File", "Pipe"}},
        "RoleArn": ANY,
        "InputDataConfig": {
            **{"ChannelName": ANY, "ContentType": ANY, "DataSource": SOURCE, "InputMode": {"File", "Pipe"}},
            **{"CompressionType": PLAIN, "RecordWrapperType": PLAIN},
        },
        "OutputDataConfig": {"S3OutputPath": ANY, "KmsKeyId": ANY},
        "ResourceConfig": dict.fromkeys(
            ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId"), ANY
        ),
        "StoppingCondition": {"MaxRuntimeInSeconds": ANY},
        "Tags": TAGS,
        "EnableNetworkIsolation": ANY,
        "EnableInterContainerTrafficEncryption": ANY,
    },
    "CreateProcessingJob": {
        "ProcessingJobName": ANY,
        "ProcessingInputs": {
            "InputName": ANY,
            "S3Input": {
                **dict.fromkeys(("S3Uri", "LocalPath", "S3DataDistributionType"), ANY),
                **{"S3DataType": {"S3Prefix"}, "S3InputMode": {"File"}, "S3CompressionType": PLAIN},
            },
        },
        "ProcessingOutputConfig": {
            "KmsKeyId": ANY,
            "Outputs": {
                "OutputName": ANY,
                "S3Output": {"S3Uri": ANY, "LocalPath": ANY, "S3UploadMode": {"EndOfJob"}},
            },
        },
        "ProcessingResources": {
            "ClusterConfig": dict.fromkeys(
                ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId"), ANY
            )
        },
        "StoppingCondition": ANY,
        "AppSpecification": {"ImageUri": ANY, "ContainerEntrypoint": ANY, "ContainerArguments": ANY},
        "Environment": ANY,
        "NetworkConfig": {"EnableNetworkIsolation": ANY},
        "RoleArn": ANY,
        "Tags": TAGS,
    },
    "CreateTransformJob": {
        **dict.fromkeys(("TransformJobName", "ModelName", "MaxConcurrentTransforms", "MaxPayloadInMB"), ANY),
        "BatchStrategy": ANY,
        "TransformInput": {
            **{"DataSource": SOURCE, "ContentType": ANY, "SplitType": {"RecordIO"}, "CompressionType": PLAIN},
        },
        "TransformOutput": {
            **dict.fromkeys(("S3OutputPath", "Accept", "KmsKeyId"), ANY),
            "AssembleWith": {"Line"},
        },
        "TransformResources": dict.fromkeys(("InstanceType", "InstanceCount", "VolumeKmsKeyId"), ANY),
        "Tags": TAGS,
    },
    "CreateModel": {
        "ModelName": ANY,
        "PrimaryContainer": {"Image": ANY, "ModelDataUrl": ANY},
        "ExecutionRoleArn": ANY,
        "EnableNetworkIsolation": ANY,
        "Tags": TAGS,
    },
    "ImportTable": {
        **dict.fromkeys(("ClientToken", "S3BucketSource"), ANY),
        **{"InputFormat": {"DYNAMODB_JSON"}, "InputCompressionType": {"NONE", "GZIP"}},
        "TableCreationParameters": dict.fromkeys(
            ("TableName", "AttributeDefinitions", "KeySchema", "BillingMode", "ProvisionedThroughput"), ANY
        ),
    },
}


HARMLESS = (
    "Describe",
    "List",
    "Get",
    "Search",
    "Stop",
    "Delete",
    "AddTags",
)  # of SageMaker, as far as moto has them


def problems(service: str, operation: str, request: Mapping[str, Any]) -> Iterator[str]:
    """Every member and value of a request that nothing here would heed, or the whole operation."""
    if operation in EMULATED:
        yield from _ignored(request, EMULATED[operation], "")
    elif service == "sagemaker" and not operation.startswith(HARMLESS):
        yield f"not emulated locally: {operation}"


def _ignored(given: Mapping[str, Any], heeded: Any, path: str) -> Iterator[str]:
    for name, value in given.items():
        known = heeded.get(name)
        if known is None or (isinstance(known, set) and value not in known):
            yield f"not emulated locally: {path}{name}" + ("" if known is None else f" {value}")
        elif known and isinstance(known, Mapping):
            for one in value if isinstance(value, list) else [value]:
                yield from _ignored(one, known, f"{path}{name}.")
