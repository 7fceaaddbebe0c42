"""The images of jobs: which there are for us, and what AWS says of others, in texts that others published."""

import re
from collections.abc import Iterator

from local.iam.needs import Need
from local.moto_seams import ACCOUNT, REGION

REGISTRY = "382416733822"  # account of both algorithms' images, in our region
ENGINES = {"factorization-machines": "local.engines.fm", "knn": "local.engines.knn"}  # repository -> module
TAGS_OF_ALGORITHMS = ("1", "latest")
IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[a-z0-9._/-]+):(?P<tag>[\w.-]+)",
    re.ASCII,
)
OF_TRAINING = (  # what AWS says of an image elsewhere than in ECR, and of one in another region
    "TrainingImageConfig with TrainingRepositoryAccessMode set to VPC must be provided when using a training "
    "image from a private Docker registry: {image}",
    "Invalid DNS suffix 'amazonaws.com' for region '{region}' in training image. Please provide the valid "
    f"<region>.<dns-suffix>: '{REGION}.amazonaws.com'",
)
OF_PROCESSING = (
    "Invalid image URI {image}. Please provide an image URI of ECR, with its tag.",
    "Invalid region {region} in image URI {image}. Please provide an image URI in region " + f"{REGION}.",
)
OF_MODELS = (
    'Using non-ECR image "{image}" without Vpc repository access mode is not supported.',
    'Region of "{image}" does not match expected region of '
    f"{REGION}. Cross region ECR image pulls are not allowed.",
)


def problems(image: str, texts: tuple[str, str], role: str) -> Iterator[str]:
    """Whether there is an image: one of ours in our region, or that of an algorithm with an engine."""
    parts = IMAGE.fullmatch(image)
    if parts is None:
        yield texts[0].format(image=image)
        return
    if parts["region"] != REGION:
        yield texts[1].format(image=image, region=parts["region"])
        return
    ours = parts["account"] == ACCOUNT and texts is OF_PROCESSING
    algorithm = parts["account"] == REGISTRY and parts["repository"] in ENGINES and texts is not OF_PROCESSING
    if not ours and not algorithm:
        yield (
            f"Cannot find repository: {parts['repository']} in registry ID: {parts['account']} Please check if "
            f"your ECR repository exists and role {role} has proper pull permissions for SageMaker: "
            "ecr:BatchCheckLayerAvailability, ecr:BatchGetImage, ecr:GetDownloadUrlForLayer; emulated locally: "
            + (", ".join(f"{REGISTRY}.dkr.ecr.{REGION}.amazonaws.com/{name}:1" for name in ENGINES))
            + f" and, for processing, images of {ACCOUNT}"
        )
    elif algorithm and parts["tag"] not in TAGS_OF_ALGORITHMS:
        yield f"Cannot find the requested image: {image}; there is :1"


def pull(image: str) -> Iterator[Need]:
    """The rights to pull an image that is one, as Docker does: a token, then its layers."""
    parts = IMAGE.fullmatch(image)
    assert parts is not None
    repository = f"arn:aws:ecr:{parts['region']}:{parts['account']}:repository/{parts['repository']}"
    yield Need(action="ecr:GetAuthorizationToken", resource="*")
    for name in ("BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage"):
        yield Need(action=f"ecr:{name}", resource=repository)


def engine(image: str) -> str:
    """The module that stands in for an algorithm's image."""
    return ENGINES[image.partition("/")[2].partition(":")[0]]
