"""The one settings model: what a stage is deployed with, and what a run does.

`Deploy` is fixed at synthesis. `Run` is the deployed default that an execution's `run` may override,
section by section. Both are frozen; defaults, ranges and meanings stand here and nowhere else: the
README's table, the checks at synthesis and the checks in Preflight are all made from these fields.
Standard library only.
"""

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from topx.fields import checked, setting

JOBS = {  # state that runs a job -> the kind of SageMaker job, as in "ml.m5.large for <kind> usage"
    "train_factors": "training job",
    "repackage": "processing job",
    "train_neighbors": "training job",
    "match_users": "transform job",
}
LOG_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where the columns of a rating file stand: a name, or a position from 0."""

    user: str | int | None = setting(None, "name, or position from 0; unset: recognised")
    item: str | int | None = setting(None, "name, or position from 0; unset: recognised")
    value: str | int | None = setting(None, "rating or event; `none`: every row is one positive")
    time: str | int | None = setting(None, "name, or position from 0; `none`: no time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """How rating files are read."""

    delimiter: str | None = setting(
        None, "`,` `\\t` `;` `|` `::`; unset: recognised", choices=(",", "\t", ";", "|", "::")
    )
    encoding: str | None = setting(
        None, "of files without a byte order mark, such as latin-1 or cp949; unset: UTF-8"
    )
    header: bool | None = setting(None, "first line holds names; unset: recognised")
    columns: Columns = setting(Columns, "positions or names of the columns")
    threshold: float | None = setting(
        None, "rating that counts as relevant; unset: 4 on a scale to 5, its share of another scale", low=0
    )
    strengths: Mapping[str, int] = setting(
        {"bought": 2, "wished": 1, "seen": 0, "not-chosen": 0},
        "event name -> repetitions of its label-1 row (0: known, no row)",
    )
    max_quarantined_share: float = setting(0.2, "more bad rows than this share stop the run", low=0, high=1)

    def problems(self) -> Iterator[str]:
        """What fits no single field."""
        if self.encoding is None:
            return
        try:
            "a".encode(self.encoding)
        except (LookupError, UnicodeError, ValueError):
            yield f"encoding is {self.encoding!r}; choose one that Python knows, such as latin-1 or cp949"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encode:
    """How ratings become training records."""

    recipe: str = setting(
        "default",
        "`classic`: the original article's rows; `regression`: values as they are",
        choices=("default", "classic", "regression"),
    )
    negatives: int = setting(8, "unseen items drawn for each positive", low=1, high=100)
    draws: int = setting(
        5, "independent draws of negatives in the file; positives are repeated in each", low=1, high=100
    )
    max_rows: int = setting(50_000_000, "row budget: lowers draws, then negatives", low=1000, high=500_000_000)
    seed: int = setting(42, "of the split, the negatives and the order", low=0, high=2**32 - 1)
    split: str = setting(
        "last",
        "`last`: last positive of sampled users; `time`: everything from `time_cut` on",
        choices=("last", "time"),
    )
    time_cut: float | None = setting(None, "epoch seconds; with `split: time`")
    held_out_share: float = setting(
        0.2, "share of the users whose last positive is held out", low=0.001, high=1
    )
    held_out_min: int = setting(1000, "held-out users at least (or all there are)", low=1)
    held_out_max: int = setting(10_000, "held-out users at most", low=1)
    shard_bytes: int = setting(128 * 2**20, "size of a training shard", low=2**16, high=2**30)

    def problems(self) -> Iterator[str]:
        """What fits no single field."""
        if self.split == "time" and self.time_cut is None:
            yield "split is 'time' but time_cut is unset; set it to epoch seconds"
        if self.held_out_min > self.held_out_max:
            yield f"held_out_min is {self.held_out_min}; choose at most held_out_max, {self.held_out_max}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainFactors:
    """SageMaker Factorization Machines. Names and ranges follow its hyperparameter page."""

    num_factors: int = setting(64, "length of a vector", low=2, high=1000)
    epochs: int | None = setting(
        None, "passes over the file; unset: 40 / draws (classic, regression: 100)", low=1, high=1000
    )
    mini_batch_size: int = setting(1000, "rows of one update", low=100, high=10_000)
    factors_lr: float | None = setting(None, "unset: 1e-3 (classic: the managed 1e-4)", low=1e-8, high=512)
    factors_wd: float | None = setting(
        None, "unset: from negatives and positives (classic: the managed 1e-5)", low=1e-8, high=512
    )
    factors_init_sigma: float | None = setting(
        None, "unset: 0.01 (classic: the managed 0.001)", low=0, high=512
    )
    linear_lr: float | None = setting(None, "unset: 1e-3", low=1e-8, high=512)
    linear_wd: float | None = setting(None, "unset: 1e-5 (classic: the managed 1e-3)", low=1e-8, high=512)
    bias_lr: float | None = setting(None, "unset: the managed 0.1", low=1e-8, high=512)
    bias_wd: float | None = setting(None, "unset: the managed 0.01", low=1e-8, high=512)
    instance_type: str | None = setting(None, "unset: the stage's first type for this job")
    instance_count: int = setting(1, "machines", low=1, high=20)
    volume_size_gb: int = setting(30, "disk", low=1, high=16_384)
    max_runtime_seconds: int = setting(14_400, "the job is stopped after this", low=60, high=432_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repackage:
    """The container that turns the FM artifact into matrices."""

    users_per_shard: int = setting(50_000, "rows of one user matrix file", low=1, high=1_000_000)
    instance_type: str | None = setting(None, "unset: the stage's first type for this job")
    volume_size_gb: int = setting(30, "disk", low=1, high=16_384)
    max_runtime_seconds: int = setting(3600, "the job is stopped after this", low=60, high=432_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainNeighbors:
    """SageMaker k-NN over the item matrix: exact inner product."""

    instance_type: str | None = setting(None, "unset: the stage's first type for this job")
    volume_size_gb: int = setting(30, "disk", low=1, high=16_384)
    max_runtime_seconds: int = setting(3600, "the job is stopped after this", low=60, high=432_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchUsers:
    """Batch transform of the user matrix."""

    max_neighbors: int = setting(
        256, "nearest items asked for each user, at most; the rest is refilled exactly", low=1, high=1024
    )
    max_payload_mb: int = setting(1, "size of one request", low=1, high=6)
    instance_type: str | None = setting(None, "unset: the stage's first type for this job")
    instance_count: int = setting(1, "machines", low=1, high=20)
    max_runtime_seconds: int = setting(14_400, "the job is stopped after this", low=60, high=432_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """The lists."""

    x: int = setting(10, "length of each user's list", low=1, high=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """The gate's floors."""

    min_users: int = setting(100, "held-out users below this are too few to judge", low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """What stays after the switch."""

    keep_runs: int = setting(
        3, "published runs whose table and model are kept, the live one included", low=1, high=50
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything an execution may override."""

    data: Data = setting(Data, "reading")
    encode: Encode = setting(Encode, "training records")
    train_factors: TrainFactors = setting(TrainFactors, "factorization machine")
    repackage: Repackage = setting(Repackage, "matrices")
    train_neighbors: TrainNeighbors = setting(TrainNeighbors, "index")
    match_users: MatchUsers = setting(MatchUsers, "transform")
    rank: Rank = setting(Rank, "lists")
    evaluate: Evaluate = setting(Evaluate, "gate")
    publish: Publish = setting(Publish, "publication")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """What a stage is synthesized with: a block of `cdk.json`."""

    stage: str = setting("dev", "prefix of names", pattern=r"[a-z][a-z0-9]{0,11}")
    region: str | None = setting(
        None, "unset: the Region of the deploying credentials", pattern=r"[a-z]{2}(-[a-z]+)+-\d"
    )
    datasets: tuple[str, ...] = setting(
        ("ratings",), "the first is what `{}` means", pattern=r"[a-z0-9][a-z0-9-]{0,30}"
    )
    instance_types: Mapping[str, tuple[str, ...]] = setting(
        {
            "train_factors": ("ml.m5.xlarge", "ml.c5.2xlarge", "ml.m5.4xlarge"),
            "repackage": ("ml.m5.large", "ml.m5.xlarge", "ml.m5.4xlarge"),
            "train_neighbors": ("ml.m5.large", "ml.m5.xlarge", "ml.m5.4xlarge"),
            "match_users": ("ml.m5.large", "ml.m5.xlarge", "ml.c5.2xlarge"),
        },
        "job -> allowed types, the first is the default",
    )
    quiet_period_seconds: int = setting(60, "an upload waits this long for more files", low=0, high=900)
    sweep_minutes: int = setting(60, "how often lost events are looked for", low=5, high=1440)
    function_memory_mb: int = setting(
        3008, "of the heavy functions; a new account's cap is 3008", low=1024, high=10_240
    )
    log_retention_days: int = setting(
        90, "logs of functions and state machine; a number of days that CloudWatch has", low=1, high=3653
    )
    keep_intermediates_days: int = setting(
        30, "runs/ objects expire after this, published ones included", low=1, high=3650
    )
    termination_protection: bool = setting(False, "stacks cannot be deleted by mistake")
    run: Run = setting(Run, "default of each run")

    def problems(self) -> Iterator[str]:
        """What fits no single field: the table of instance types."""
        if not self.datasets:
            yield "datasets is empty; name at least one, such as ratings"
        if self.log_retention_days not in LOG_RETENTION_DAYS:
            known = ", ".join(map(str, LOG_RETENTION_DAYS))
            yield f"log_retention_days is {self.log_retention_days}; CloudWatch has {known}"
        for job in self.instance_types.keys() - JOBS.keys():
            yield f"instance_types.{job} is unknown; allowed: {', '.join(JOBS)}"
        for job, kind in JOBS.items():
            allowed = self.instance_types.get(job, ())
            if not allowed:
                yield f"instance_types.{job} is empty; name at least one type valid for a {kind}"
            for name in allowed:
                yield from instance_type_problems(f"instance_types.{job}", name, kind)
        yield from (f"run.{problem}" for problem in self.run_problems(self.run))

    def run_problems(self, run: Run) -> Iterator[str]:
        """Instance types of a run that this stage's roles would deny."""
        for job in JOBS:
            chosen = getattr(run, job).instance_type
            allowed = self.instance_types.get(job, ())
            if chosen is not None and chosen not in allowed:
                yield f"{job}.instance_type is {chosen}; this stage allows {', '.join(allowed)}"

    def resolved(self, run: Run) -> Run:
        """The run with every instance type filled from this stage's table."""
        for job in JOBS:
            section = getattr(run, job)
            if section.instance_type is None:
                section = dataclasses.replace(section, instance_type=self.instance_types[job][0])
                run = dataclasses.replace(run, **{job: section})
        return run


@cache
def instance_types(kind: str) -> frozenset[str]:
    """All types the SageMaker API takes for a kind of job ("training job", ...)."""
    table = json.loads((Path(__file__).parent / "instance_types.json").read_text("utf-8"))
    return frozenset(f"ml.{name}" for name in table[kind])


def instance_type_problems(where: str, name: str, kind: str) -> Iterator[str]:
    """Nothing, or why SageMaker does not take this type for this kind of job."""
    known = instance_types(kind)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        yield f"{where} names {name}, which is not valid for a {kind}; near it: {', '.join(near) or 'nothing'}"


def load_deploy(given: Mapping[str, Any]) -> Deploy:
    """A stage's settings from JSON; raises SettingsRejected with every problem."""
    return typing.cast(Deploy, checked(Deploy, given))


def load_run(given: Mapping[str, Any]) -> Run:
    """A run's settings from JSON; raises SettingsRejected with every problem."""
    return typing.cast(Run, checked(Run, given))
