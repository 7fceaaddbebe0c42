"""What a good request must still be: rules that AWS documents or was seen to have, most of them on jobs."""

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local import emulated, images

DAY = 86_400
LONGEST_TRAINING = 28 * DAY
LARGEST_VOLUME_GB = 16_384  # of EBS
LARGEST_PAYLOAD_MB = 100
LARGEST_INPUT = 262_144  # bytes of UTF-8
PROCESSING_ROOT = "/opt/ml/processing/"
# Types that bring their own encrypted disks take no key: d in the name, newer GPUs, Trainium.
OWN_DISKS = re.compile(r"ml\.(?:[a-z]+\d[a-z]*d[a-z]*|g[5-9][a-z]*|p[5-9][a-z]*|trn\d[a-z]*)\.")

Request = Mapping[str, Any]


def failed(value: str, path: str, constraint: str) -> str:
    """What AWS says of a value at a path that breaks a constraint; an empty one is not shown."""
    return f"Value{value and ' '}{value} at '{path}' failed to satisfy constraint: {constraint}"


def bean(name: str) -> str:
    """A member's name as AWS writes it in messages: it begins with a small letter."""
    return name[:1].lower() + name[1:]


def problems(service: str, operation: str, request: Request) -> Iterator[str]:
    """Every broken rule of an operation; the request already agrees with the API model."""
    for rule in RULES.get((service, operation), ()):
        yield from rule(request)
    yield from emulated.problems(service, operation, request)


def _training(request: Request) -> Iterator[str]:
    yield from _needed(request, "AlgorithmSpecification.TrainingImage", "InputDataConfig")
    image = (request.get("AlgorithmSpecification") or {}).get("TrainingImage")
    if image is not None:
        yield from images.problems(image, images.OF_TRAINING, request["RoleArn"])
    machines = ("InstanceType", "InstanceCount", "VolumeSizeInGB")
    yield from _needed(request, *(f"ResourceConfig.{name}" for name in machines))
    resources = request.get("ResourceConfig", {})
    yield from _at_least_one(resources, "resourceConfig", "InstanceCount", "VolumeSizeInGB")
    yield from _at_most(resources, "resourceConfig", "VolumeSizeInGB", LARGEST_VOLUME_GB)
    yield from _keyless(resources, "resourceConfig")
    stopping = request.get("StoppingCondition", {})
    yield from _at_most(stopping, "stoppingCondition", "MaxRuntimeInSeconds", LONGEST_TRAINING)
    if "MaxWaitTimeInSeconds" in stopping and not request.get("EnableManagedSpotTraining"):
        yield "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
    yield from _unique(request, "InputDataConfig", "ChannelName")
    for number, channel in enumerate(request.get("InputDataConfig", ()), 1):
        yield from _needed(channel, "DataSource.S3DataSource", inside=f"inputDataConfig.{number}.member.")


def _processing(request: Request) -> Iterator[str]:
    machines = ("InstanceType", "InstanceCount")
    yield from _needed(request, *(f"ProcessingResources.ClusterConfig.{name}" for name in machines))
    yield from _keyless(
        request["ProcessingResources"].get("ClusterConfig", {}), "processingResources.clusterConfig"
    )
    yield from _unique(request, "ProcessingInputs", "InputName")
    outputs = request.get("ProcessingOutputConfig", {})
    yield from _unique(outputs, "Outputs", "OutputName")
    application = request["AppSpecification"]
    yield from images.problems(application["ImageUri"], images.OF_PROCESSING, request["RoleArn"])
    if "ContainerEntrypoint" not in application:
        yield "not emulated locally: a job without ContainerEntrypoint, which the image would name"
    places = [(one["InputName"], one.get("S3Input")) for one in request.get("ProcessingInputs", ())]
    places += [(one["OutputName"], one.get("S3Output")) for one in outputs.get("Outputs", ())]
    used: Counter[str] = Counter()
    for name, place in places:
        path = place.get("LocalPath") if place else None
        if place is None:
            yield f"not emulated locally: {name}, which has neither S3Input nor S3Output"
        elif not path or not posixpath.normpath(path).startswith(PROCESSING_ROOT):
            yield f"LocalPath of {name} is {path!r}; it must begin with {PROCESSING_ROOT}"
        else:
            used[posixpath.normpath(path)] += 1
    for path, count in used.items():
        if count > 1:
            yield f"LocalPath '{path}' stands {count} times in inputs and outputs; it must be unique"


def _transform(request: Request) -> Iterator[str]:
    yield from _at_least_one(request["TransformResources"], "transformResources", "InstanceCount")
    yield from _keyless(request["TransformResources"], "transformResources")
    payload, at_once = request.get("MaxPayloadInMB", 6), request.get("MaxConcurrentTransforms") or 1
    yield from _at_most(request, "", "MaxPayloadInMB", LARGEST_PAYLOAD_MB)
    if payload <= LARGEST_PAYLOAD_MB < payload * at_once:
        yield (
            f"MaxConcurrentTransforms, {at_once}, times MaxPayloadInMB, {payload}, must be at most "
            f"{LARGEST_PAYLOAD_MB} MB"
        )


def _model(request: Request) -> Iterator[str]:
    yield from _needed(request, "ExecutionRoleArn", "PrimaryContainer.Image", "PrimaryContainer.ModelDataUrl")
    image = request.get("PrimaryContainer", {}).get("Image")
    if image is not None:
        yield from images.problems(image, images.OF_MODELS, request.get("ExecutionRoleArn", ""))


def _import(request: Request) -> Iterator[str]:
    table = request["TableCreationParameters"]
    kinds = [one["KeyType"] for one in table["KeySchema"]]
    if kinds not in (["HASH"], ["HASH", "RANGE"]):
        yield f"Invalid KeySchema: it is {', '.join(kinds)}; give a HASH key, then perhaps a RANGE key"
    if len({one["AttributeName"] for one in table["KeySchema"]}) < len(kinds):
        yield "Both the Hash Key and the Range Key element in the KeySchema have the same name"
    if table.get("BillingMode") != "PAY_PER_REQUEST" and "ProvisionedThroughput" not in table:
        yield (
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be "
            "specified when BillingMode is PROVISIONED"
        )


def _start(request: Request) -> Iterator[str]:
    if len(request.get("input", "").encode()) > LARGEST_INPUT:
        yield failed("", "input", f"Member must have length less than or equal to {LARGEST_INPUT}")


def _of_a_machine(request: Request) -> Iterator[str]:
    yield from _needed(request, "stateMachineArn")


def _tags(request: Request) -> Iterator[str]:
    yield from _unique(request, "Tags", "Key")
    for tag in request.get("Tags", ()):
        if tag["Key"].lower().startswith("aws:"):
            yield f"Tag key '{tag['Key']}' is not valid: tags that begin with aws: are AWS's own"


RULES: Mapping[tuple[str, str], tuple[Callable[[Request], Iterator[str]], ...]] = {
    ("sagemaker", "CreateTrainingJob"): (_training, _tags),
    ("sagemaker", "CreateProcessingJob"): (_processing, _tags),
    ("sagemaker", "CreateTransformJob"): (_transform, _tags),
    ("sagemaker", "CreateModel"): (_model, _tags),
    ("sagemaker", "AddTags"): (_tags,),
    ("dynamodb", "ImportTable"): (_import,),
    ("stepfunctions", "StartExecution"): (_start,),
    ("stepfunctions", "ListExecutions"): (_of_a_machine,),
}


def _needed(request: Request, *paths: str, inside: str = "") -> Iterator[str]:
    """What the model calls optional and a request of our kind cannot be without."""
    for path in paths:
        value: Any = request
        for name in path.split("."):
            value = None if value is None else value.get(name)
        if value is None:
            yield failed("null", inside + ".".join(map(bean, path.split("."))), "Member must not be null")


def _at_least_one(given: Request, path: str, *names: str) -> Iterator[str]:
    for name in names:
        if given.get(name, 1) < 1:
            constraint = "Member must have value greater than or equal to 1"
            yield failed(f"'{given[name]}'", f"{path}.{bean(name)}", constraint)


def _at_most(given: Request, path: str, name: str, most: int) -> Iterator[str]:
    if given.get(name, most) > most:
        constraint = f"Member must have value less than or equal to {most}"
        yield failed(f"'{given[name]}'", f"{path}.{bean(name)}".lstrip("."), constraint)


def _keyless(resources: Request, path: str) -> Iterator[str]:
    kind = resources.get("InstanceType") or ""
    if resources.get("VolumeKmsKeyId") and OWN_DISKS.match(kind):
        yield f"'{path}.volumeKmsKeyId' is not supported for {kind}, which encrypts disks of its own"


def _unique(request: Request, member: str, key: str) -> Iterator[str]:
    for name, count in Counter(one[key] for one in request.get(member, ())).items():
        if count > 1:
            yield f"{key} '{name}' stands {count} times in {member}; it must be unique"
