"""One job's folder, read as SageMaker's algorithm containers read /opt/ml, and how a job fails.

A job that cannot succeed writes the reason to `output/failure` and exits 1; SageMaker shows that text as
FailureReason. Texts about hyperparameters follow the managed ones; unlike those, they name all problems.
"""

import dataclasses
import difflib
import json
import logging
import math
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from topx.errors import RecordsRejected, join
from topx.recordio import read_chunks

RECORDIO = "application/x-recordio-protobuf"
_LONGEST = 1024  # characters of a FailureReason

log = logging.getLogger(__name__)
Settings = TypeVar("Settings")


class JobFailed(Exception):
    """When a job ends as Failed; the name of the class is the prefix of its FailureReason."""


class ClientError(JobFailed):
    """When the caller must change hyperparameters, channels or data."""


class AlgorithmError(JobFailed):
    """When the engine cannot do what the managed algorithm may."""


def hyperparameter(
    default: Any = dataclasses.MISSING,
    *,
    low: int | None = None,
    choices: tuple[str, ...] | None = None,
    auto: bool = False,
) -> Any:
    """A dataclass field that is one hyperparameter, required unless it has a default.

    `low` is the least allowed number; with `auto` that word stands for None.
    """
    about = {"low": low, "choices": choices, "auto": auto}
    return field(metadata=about) if default is dataclasses.MISSING else field(default=default, metadata=about)


def from_strings(cls: type[Settings], given: Mapping[str, Any]) -> Settings:
    """The hyperparameters `given` as a `cls`, a dataclass of `hyperparameter` fields.

    Its method `problems` yields what fits no single field. Raises ClientError with every problem.
    """
    fields = {each.name: each for each in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    problems, values = [], {}
    missing = [
        name for name, each in fields.items() if each.default is dataclasses.MISSING and name not in given
    ]
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        problems.append(f"No value(s) were specified for {names} which are required hyperparameter(s)")
    for name, text in given.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(fields)}"
            problems.append(f"Additional hyperparameters are not allowed ('{name}' was unexpected); {hint}")
            continue
        try:
            values[name] = _value(text, hints[name], **fields[name].metadata)
        except ValueError as error:
            problems.append(f"The value '{text}' is not valid for the '{name}' hyperparameter which {error}")
    if not problems:
        settings = cls(**values)
        problems = list(settings.problems())  # type: ignore[attr-defined]
    if problems:
        raise ClientError(join(problems))
    return settings


def _value(text: Any, hint: Any, *, low: int | None, choices: tuple[str, ...] | None, auto: bool) -> Any:
    """What `text` stands for; the ValueError it raises completes "The value ... which"."""
    kinds = typing.get_args(hint) or (hint,)
    if auto and text == "auto":
        return None
    if choices and text not in choices:
        raise ValueError("accepts one of the following: " + ", ".join(f"'{choice}'" for choice in choices))
    if str in kinds:
        return text
    whole = int in kinds
    pattern = r"[+-]?\d+" if whole else r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
    value = (int if whole else float)(text) if re.fullmatch(pattern, str(text), re.ASCII) else math.nan
    if not math.isfinite(value) or (low is not None and value < low):
        least = "" if low is None else f" of at least {low}"
        raise ValueError(f"expects {'an integer' if whole else 'a number'}{least}{' or auto' if auto else ''}")
    return value


@dataclass(frozen=True, slots=True)
class Job:
    """The folder of one job: `input/config`, `input/data`, `model` and `output`."""

    folder: Path

    @property
    def model(self) -> Path:
        """Where the members of model.tar.gz lie."""
        return self.folder / "model"

    @property
    def data(self) -> Path:
        """Where input lies: a folder for each channel of a training job, the objects of a transform job."""
        return self.folder / "input" / "data"

    def config(self, name: str) -> dict[str, Any]:
        """What `input/config/<name>.json` holds."""
        content: dict[str, Any] = json.loads(
            (self.folder / "input" / "config" / f"{name}.json").read_text("utf-8")
        )
        return content

    def channels(self) -> frozenset[str]:
        """The channels given, `train` and perhaps `test`; raises ClientError with every problem."""
        channels = self.config("inputdataconfig")
        problems = []
        if "train" not in channels:
            problems.append("No value(s) were specified for 'train' which is a required channel")
        for name, channel in channels.items():
            if name not in ("train", "test"):
                problems.append(
                    f"Additional channels are not allowed ('{name}' was unexpected); allowed: train, test"
                )
            content = (
                channel.get("ContentType") or RECORDIO
            )  # unset is what the SageMaker SDK sends for recordIO
            if content.partition(";")[0].strip() != RECORDIO:
                problems.append(
                    f"The content type '{content}' is not valid for the '{name}' channel; allowed: {RECORDIO}"
                )
        if problems:
            raise ClientError(join(problems))
        return frozenset(channels)

    def records(self, channel: str, feature_dim: int) -> Iterator[tuple[Any, Any]]:
        """(rows, labels) of successive parts of a channel, files by name; float32, a CSR array or an ndarray.

        Raises ClientError where there is none, and for broken files, other widths and missing labels.
        """
        count = 0
        for path in files(self.data / channel):
            for rows, labels in chunks(path):
                if rows.shape[1] != feature_dim:
                    raise ClientError(
                        f"The hyperparameter feature_dim is {feature_dim} but rows of {channel}/{path.name} "
                        f"have {rows.shape[1]} features; set it to {rows.shape[1]} or encode the data anew"
                    )
                if labels is None:
                    raise ClientError(
                        f"The records of {channel}/{path.name} have no label; write one with each"
                    )
                count += rows.shape[0]
                yield rows, labels
        if not count:
            raise ClientError(
                f"The '{channel}' channel has no records; give at least one recordIO file with records"
            )


def files(folder: Path) -> list[Path]:
    """All files below a folder, by name."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def chunks(path: Path) -> Iterator[tuple[Any, Any]]:
    """(rows, labels or None) of successive parts of a recordIO file; raises ClientError where it is broken."""
    try:
        with path.open("rb") as file:
            yield from read_chunks(file)
    except RecordsRejected as error:
        raise ClientError(f"Unable to read {path.name}: {error}") from error


def publish(data: str, measures: Mapping[str, float], when: str = "") -> None:
    """Logs metrics by name and kind, such as `rmse <loss>`, in the managed form."""
    for name, value in measures.items():
        log.info("#quality_metric: host=algo-1, %s%s %s=%s", when, data, name, value)


def publish_test(measures: Mapping[str, float]) -> None:
    """Logs the metrics of the test channel, all scores first."""
    for name, value in measures.items():
        log.info("#test_score (algo-1) : %s", (name.partition(" ")[0], value))
    publish("test", measures)


@contextmanager
def running(folder: Path) -> Iterator[Job]:
    """The job in `folder`, logging to stdout as managed containers do; whatever fails is written down."""
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format="[%(asctime)s %(levelname)s %(thread)d] %(message)s",
        datefmt="%m/%d/%Y %H:%M:%S",
        force=True,
    )
    failure = folder / "output" / "failure"
    failure.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield Job(folder)
    except JobFailed as error:
        reason = f"{type(error).__name__}: {error}"
        log.error("%s", reason)  # noqa: TRY400, RUF100  no traceback: the text is the message
        failure.write_text(reason[:_LONGEST], "utf-8")
        raise SystemExit(1) from error
    except Exception as error:
        failure.write_text(f"{AlgorithmError.__name__}: {type(error).__name__}: {error}"[:_LONGEST], "utf-8")
        raise
