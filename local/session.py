"""Both stacks, deployed to embedded AWS: what every command of the laptop starts with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from local.assembly import Synthesis
from local.quotas import Quotas

if TYPE_CHECKING:
    from local.cloud import Cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A running cloud and the names of what is deployed in it."""

    cloud: "Cloud"
    uploads: str
    runs: str
    ledger: str
    machine: str
    recommend: str
    topic: str

    def upload(self, files: dict[str, Path]) -> None:
        """Puts files into the Uploads bucket: key -> file."""
        _upload(self.cloud, self.uploads, files)

    def download(self, prefix: str, folder: Path) -> None:
        """All objects of the Runs bucket below `prefix`, in `folder`."""
        s3 = self.cloud.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.runs, Prefix=prefix):
            for one in page.get("Contents", []):
                path = folder / one["Key"].removeprefix(prefix)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    for part in s3.get_object(Bucket=self.runs, Key=one["Key"])["Body"].iter_chunks(2**20):
                        file.write(part)


@contextmanager
def session(
    logs: Path,
    *,
    quotas: Quotas,
    first: dict[str, Path] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[Session]:
    """Everything deployed, until the context ends; nothing is left of it but `logs`.

    Files in `first` are uploaded before the pipeline stack is there to hear of them. `tell` gets what is being
    done, for a person. Raises SettingsRejected or NotEmulated with every problem of the template.
    """
    with TemporaryDirectory(prefix="topx-") as temporary:
        work = Path(temporary)
        tell("synthesizing the template")
        synthesis = Synthesis(work / "cdk.out")
        try:
            from local.cloud import Cloud  # seconds of imports, while the template is being synthesized

            with Cloud(work, logs, quotas=quotas) as cloud:
                cloud.rouse()  # synthesis still keeps the other core busy
                assembly = synthesis.assembly()
                tell("deploying it to embedded AWS")
                cloud.prepare(assembly)
                data, pipeline = assembly.stacks
                outputs = cloud.deploy(data)
                _upload(cloud, outputs["Uploads"], first or {})
                outputs |= cloud.deploy(pipeline)
                names = ("Uploads", "Runs", "Ledger", "Machine", "Recommend", "Topic")
                yield Session(cloud=cloud, **{name.lower(): outputs[name] for name in names})
        finally:
            synthesis.end()


def _upload(cloud: "Cloud", bucket: str, files: dict[str, Path]) -> None:
    for key, path in files.items():
        with path.open("rb") as file:
            cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=file)
