"""What SageMaker's agent does around a container: S3 to a folder before it starts, and back after it ends."""

import json
import re
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import Any

from local.moto_seams import REGION

HOST = re.compile(rf"(?:(?P<bucket>[^/]+)\.)?s3(?:[.-]{REGION})?\.amazonaws\.com")


class JobFailed(Exception):
    """When a job ends as Failed; the text becomes its FailureReason."""


class JobStopped(Exception):
    """When a job is ended from outside; the text is its secondary status."""


class Staging:
    """S3 with the rights of one job's role."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3

    def fetch(self, source: dict[str, Any], target: Path) -> None:
        """All objects of an S3DataSource or S3Input below `target`; raises JobFailed where there are none.

        Streams: a ranged download from embedded S3 would read each object once for every range.
        """
        bucket, prefix = split(source["S3Uri"])
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [
            one["Key"] for page in pages for one in page.get("Contents", []) if not one["Key"].endswith("/")
        ]
        if not keys:
            raise JobFailed(f'ClientError: No S3 objects found under S3 URL "{source["S3Uri"]}"')
        for key in keys:
            path = target / below(prefix, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(self._s3.get_object(Bucket=bucket, Key=key)["Body"], file, 2**20)

    def send(self, folder: Path, uri: str, key: str | None) -> None:
        """All files below `folder` to below `uri`, encrypted with the KMS key where one is given."""
        bucket, prefix = split(uri)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = f"{prefix.rstrip('/')}/{path.relative_to(folder).as_posix()}"
            more = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}
            with path.open("rb") as file:
                self._s3.put_object(Bucket=bucket, Key=name, Body=file, **more)

    def fetch_archive(self, uri: str, target: Path) -> None:
        """The members of a model.tar.gz in `target`."""
        bucket, name = split(uri)
        body = self._s3.get_object(Bucket=bucket, Key=name)["Body"]
        try:
            with tarfile.open(fileobj=body, mode="r|gz") as archive:
                archive.extractall(target, filter="data")
        except (tarfile.TarError, zlib.error, EOFError) as error:
            raise JobFailed(
                f'ClientError: Failed to extract model data archive from URL "{uri}": {error}. Please ensure '
                "that the object located at the URL is a valid tar.gz archive."
            ) from error


def archive(folder: Path, target: Path) -> None:
    """`target` as a tar.gz of everything in `folder`, as SageMaker makes of /opt/ml/model."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:gz", compresslevel=1) as file:  # the level is nowhere promised: be quick
        for path in sorted(folder.iterdir()):
            file.add(path, path.name)


def configure(folder: Path, **configs: Any) -> None:
    """`input/config/<name>.json` for each config."""
    (folder / "input/config").mkdir(parents=True, exist_ok=True)
    for name, content in configs.items():
        (folder / "input/config" / f"{name}.json").write_text(json.dumps(content), "utf-8")


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key` or of S3's own https address; raises JobFailed for anything else."""
    scheme, _, rest = uri.partition("://")
    host, _, path = rest.partition("/")
    if scheme == "s3" and host:
        return host, path
    address = HOST.fullmatch(host) if scheme == "https" else None
    if address is None:
        raise JobFailed(f"ClientError: {uri} is no S3 address of {REGION}; give s3://bucket/prefix")
    bucket, _, key = (address["bucket"], "", path) if address["bucket"] else path.partition("/")
    return bucket, key


def below(prefix: str, key: str) -> str:
    """A key's path below the prefix; its own name where the prefix is the key or cuts a name."""
    folder = prefix.rpartition("/")[0]
    return key.removeprefix(folder).lstrip("/")
