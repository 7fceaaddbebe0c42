"""What a good SageMaker request must still be: rules of the documentation, and what is emulated of it.

Members that are valid on AWS but would be ignored here are refused: EMULATED is the whole of what is heeded.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

DAY = 86_400
LONGEST_TRAINING = 28 * DAY
LARGEST_PAYLOAD_MB = 100
PROCESSING_ROOT = "/opt/ml/processing/"
# Types that bring their own encrypted disks take no key: d in the name, newer GPUs, Trainium.
OWN_DISKS = re.compile(r"ml\.(?:[a-z]+\d[a-z]*d[a-z]*|g[5-9][a-z]*|p[5-9][a-z]*|trn\d[a-z]*)\.")

Request = Mapping[str, Any]

ANY: Mapping[str, Any] = {}
TAGS = {"Key": ANY, "Value": ANY}
SOURCE = {"S3DataSource": {"S3DataType": ANY, "S3Uri": ANY, "S3DataDistributionType": ANY}}
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
                **dict.fromkeys(("S3Uri", "LocalPath", "S3DataType", "S3DataDistributionType"), ANY),
                **{"S3InputMode": {"File"}, "S3CompressionType": PLAIN},
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
            **{"DataSource": SOURCE, "ContentType": ANY, "SplitType": ANY, "CompressionType": PLAIN},
        },
        "TransformOutput": dict.fromkeys(("S3OutputPath", "Accept", "AssembleWith", "KmsKeyId"), ANY),
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
}


def problems(service: str, operation: str, request: Request) -> Iterator[str]:
    """Every broken rule of an operation; the request already agrees with the API model."""
    for rule in RULES.get((service, operation), ()):
        yield from rule(request)
    if service == "sagemaker" and operation in EMULATED:
        yield from _ignored(request, EMULATED[operation], "")


def _training(request: Request) -> Iterator[str]:
    yield from _needed(request, "AlgorithmSpecification.TrainingImage", "InputDataConfig")
    machines = ("InstanceType", "InstanceCount", "VolumeSizeInGB")
    yield from _needed(request, *(f"ResourceConfig.{name}" for name in machines))
    resources = request.get("ResourceConfig") or {}
    yield from _at_least_one(resources, "resourceConfig", "InstanceCount", "VolumeSizeInGB")
    yield from _keyless(resources, "resourceConfig")
    longest = (request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", DAY)
    if longest > LONGEST_TRAINING:
        yield (
            f"Value '{longest}' at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: "
            f"Member must have value less than or equal to {LONGEST_TRAINING}"
        )
    yield from _unique(request, "InputDataConfig", "ChannelName")
    for channel in request.get("InputDataConfig") or ():
        yield from _needed(channel, "DataSource.S3DataSource")


def _processing(request: Request) -> Iterator[str]:
    machines = ("InstanceType", "InstanceCount")
    yield from _needed(request, *(f"ProcessingResources.ClusterConfig.{name}" for name in machines))
    yield from _keyless(request["ProcessingResources"]["ClusterConfig"], "processingResources.clusterConfig")
    yield from _unique(request, "ProcessingInputs", "InputName")
    outputs = request.get("ProcessingOutputConfig") or {}
    yield from _unique(outputs, "Outputs", "OutputName")
    application = request["AppSpecification"]
    if not (outputs and application.get("ContainerEntrypoint") and application.get("ContainerArguments")):
        yield "not emulated locally: a job without ContainerEntrypoint, ContainerArguments or an output"
    places = [(one["InputName"], one.get("S3Input")) for one in request.get("ProcessingInputs") or ()]
    places += [(one["OutputName"], one.get("S3Output")) for one in outputs.get("Outputs") or ()]
    for name, place in places:
        if place is None:
            yield f"not emulated locally: {name}, which has neither S3Input nor S3Output"
        elif not (place.get("LocalPath") or "").startswith(PROCESSING_ROOT):
            yield f"LocalPath of {name} is {place.get('LocalPath')!r}; it must begin with {PROCESSING_ROOT}"


def _transform(request: Request) -> Iterator[str]:
    yield from _at_least_one(request["TransformResources"], "transformResources", "InstanceCount")
    yield from _keyless(request["TransformResources"], "transformResources")
    yield from _needed(request, "TransformInput.DataSource.S3DataSource")
    payload, at_once = request.get("MaxPayloadInMB", 6), request.get("MaxConcurrentTransforms") or 1
    if payload * at_once > LARGEST_PAYLOAD_MB:
        yield (
            f"MaxConcurrentTransforms, {at_once}, times MaxPayloadInMB, {payload}, must be at most "
            f"{LARGEST_PAYLOAD_MB} MB"
        )


def _model(request: Request) -> Iterator[str]:
    yield from _needed(request, "ExecutionRoleArn", "PrimaryContainer.Image", "PrimaryContainer.ModelDataUrl")


def _tags(request: Request) -> Iterator[str]:
    yield from _unique(request, "Tags", "Key")
    for tag in request.get("Tags") or ():
        if tag["Key"].lower().startswith("aws:"):
            yield f"Tag key '{tag['Key']}' is not valid: tags that begin with aws: are AWS's own"


RULES: Mapping[tuple[str, str], tuple[Callable[[Request], Iterator[str]], ...]] = {
    ("sagemaker", "CreateTrainingJob"): (_training, _tags),
    ("sagemaker", "CreateProcessingJob"): (_processing, _tags),
    ("sagemaker", "CreateTransformJob"): (_transform, _tags),
    ("sagemaker", "CreateModel"): (_model, _tags),
    ("sagemaker", "CreateEndpointConfig"): (_tags,),
    ("sagemaker", "CreateEndpoint"): (_tags,),
    ("sagemaker", "AddTags"): (_tags,),
}


def _ignored(given: Request, heeded: Any, path: str) -> Iterator[str]:
    """Members and values that nothing here would heed."""
    for name, value in given.items():
        known = heeded.get(name)
        if known is None or (isinstance(known, set) and value not in known):
            yield f"not emulated locally: {path}{name}" + ("" if known is None else f" {value}")
        elif known and isinstance(known, Mapping):
            for one in value if isinstance(value, list) else [value]:
                yield from _ignored(one, known, f"{path}{name}.")


def _needed(request: Request, *paths: str) -> Iterator[str]:
    """What the model calls optional and a job of our kind cannot be without."""
    for path in paths:
        value: Any = request
        for name in path.split("."):
            value = (value or {}).get(name)
        if value is None:
            bean = ".".join(name[:1].lower() + name[1:] for name in path.split("."))
            yield f"Value null at '{bean}' failed to satisfy constraint: Member must not be null"


def _at_least_one(resources: Request, path: str, *names: str) -> Iterator[str]:
    for name in names:
        if resources.get(name, 1) < 1:
            yield (
                f"Value '{resources[name]}' at '{path}.{name[:1].lower() + name[1:]}' failed to satisfy "
                "constraint: Member must have value greater than or equal to 1"
            )


def _keyless(resources: Request, path: str) -> Iterator[str]:
    kind = resources.get("InstanceType") or ""
    if resources.get("VolumeKmsKeyId") and OWN_DISKS.match(kind):
        yield f"'{path}.volumeKmsKeyId' is not supported for {kind}, which encrypts disks of its own"


def _unique(request: Request, member: str, key: str) -> Iterator[str]:
    for name, count in Counter(one[key] for one in request.get(member) or ()).items():
        if count > 1:
            yield f"{key} '{name}' stands {count} times in {member}; it must be unique"
