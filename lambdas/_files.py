"""A run's files, moved between S3 and a step's folders. For the heavy doors.

Objects are streamed, each once and a few at a time: on a laptop's S3 a download in ranges reads the whole
object again for each range.
"""

import mimetypes
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from lambdas import _cloud as cloud
from topx.errors import RunRejected
from topx.plan import Plan

COPIES = 4  # files moved at the same time
ENCODED = tuple(
    f"encoded/{name}"
    for name in (
        "users.parquet",
        "items.parquet",
        "seen_train.parquet",
        "seen_all.parquet",
        "held_out.parquet",
        "summary.json",
    )
)  # what Rank and Evaluate read of Encode's work: all but the training records


@contextmanager
def workspace() -> Iterator[tuple[Path, Path]]:
    """Two empty folders for a step, `input` and `output`, removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder, "input"), Path(folder, "output")
        for one in both:
            one.mkdir()
        yield both


def fetch(bucket: str, wanted: Iterable[tuple[Path, str, str | None]]) -> None:
    """Copies objects, given as (file, key, version or None).

    Raises RunRejected for an object that is not there any more.
    """
    with ThreadPoolExecutor(COPIES) as pool:
        list(pool.map(lambda one: _copy(bucket, *one), wanted))


def _copy(bucket: str, file: Path, key: str, version: str | None) -> None:
    s3 = cloud.client("s3")
    pinned = {"VersionId": version} if version else {}
    try:
        answer = s3.get_object(Bucket=bucket, Key=key, **pinned)
    except s3.exceptions.ClientError as error:
        told = error.response["Error"]
        # Who may not list a bucket is not told that an object is missing, but that he may not list.
        hidden = told["Code"] == "AccessDenied" and "s3:ListBucket" in told["Message"]
        if not hidden and told["Code"] not in {"NoSuchKey", "NoSuchVersion"}:
            raise
        which = f"s3://{bucket}/{key}" + (f" (version {version})" if version else "")
        raise RunRejected(f"{which} is gone, expired or deleted since it was planned; start anew") from error
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(answer["Body"]) as body, file.open("wb") as out:
        shutil.copyfileobj(body, out, 2**20)


def fetch_run(plan: Plan, folder: Path, names: Iterable[str]) -> None:
    """Copies files of a run to the same place below a folder, and plan.json to `plan/plan.json`.

    A name that ends in a slash stands for everything below it.
    """
    prefix = plan.paths.prefix
    found = [
        key for name in names for key in (cloud.keys(prefix + name) if name[-1] == "/" else [prefix + name])
    ]
    own = [(folder / key.removeprefix(prefix), key, None) for key in found]
    fetch(cloud.env("RUNS"), [(folder / "plan" / "plan.json", plan.paths.plan, None), *own])


def send(folder: Path, prefix: str) -> None:
    """Uploads every file below a folder to the same place below a prefix of the Runs bucket."""

    def copy(file: Path) -> None:
        cloud.client("s3").upload_file(
            str(file),
            cloud.env("RUNS"),
            prefix + file.relative_to(folder).as_posix(),
            ExtraArgs={"ContentType": mimetypes.guess_type(file.name)[0] or "application/octet-stream"},
            Config=cloud.ONE_THREAD,
        )

    with ThreadPoolExecutor(COPIES) as pool:
        list(pool.map(copy, sorted(path for path in folder.rglob("*") if path.is_file())))
