"""Whether a job will find what its request names: SageMaker looks before it answers a Create call.

Of input, only that of training and transform jobs was seen to be looked at; a processing job fails without it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local import images
from local.assembly import NotEmulated
from local.moto_seams import REGION
from local.staging import JobFailed, split

if TYPE_CHECKING:
    from local.cloud import Cloud

TRANSFORMS = "local.engines.knn"  # the one engine that answers batches


def missing(cloud: "Cloud", kind: str, request: dict[str, Any], role: str) -> Iterator[str]:
    """A text for each image and each input that is not there, or that the role may not see."""
    if kind == "processing":
        assert cloud.assembly is not None
        image = request["AppSpecification"]["ImageUri"]
        try:
            cloud.assembly.staged(image.rpartition(":")[2])
        except NotEmulated as error:
            yield f"Cannot find the requested image: {error}"
        return
    channels = request["InputDataConfig"] if kind == "training" else [request["TransformInput"]]
    s3 = cloud.client("s3", role)
    for channel in channels:
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
        if not _holds_objects(s3, uri):
            yield (
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the '
                f"bucket exists in the selected region ({REGION}), that objects exist under that S3 prefix, "
                f'and that the role "{role}" has "s3:ListBucket" permissions on the bucket.'
            )
    if kind == "transform":
        image = cloud.jobs.model(request["ModelName"])["PrimaryContainer"]["Image"]
        if images.engine(image) != TRANSFORMS:
            yield f"not emulated locally: a batch transform by {image}; only knn has one"


def _holds_objects(s3: Any, uri: str) -> bool:
    try:
        bucket, prefix = split(uri)
        return bool(s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("Contents"))
    except (ClientError, BotoCoreError, JobFailed):  # no such bucket, no right to look, no name of a bucket
        return False
