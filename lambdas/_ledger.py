"""The ledger's decisions: which content is wanted, which run holds the dataset, which lists are live.

Every writer reads the dataset's item, looks at the bucket if it must, decides here, and writes under the
condition that the item is still as it was read (`_cloud.swap`); if not, it starts over. Because the bucket
is read after the item, a decision never rests on older files than those the item already knows.
Pure; standard library only.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from topx.plan import File
from topx.settings import JOBS, Run

MARGIN_SECONDS = 6 * 3600  # a run beside its jobs: functions, retries, two hours of waiting for the import


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The newest content, and the execution that is expected to run it; `taken` once it does."""

    content: str
    sequence: int
    execution: str | None = None
    taken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The run that holds the dataset, until it ends or its lease (epoch seconds) does."""

    execution: str
    run_id: str
    sequence: int
    lease_until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The published lists."""

    run_id: str
    table: str
    content: str
    sequence: int
    published_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One dataset's item, with the time it was read and those of its executions that ran then."""

    dataset: str
    wanted: Wanted | None = None
    running: Running | None = None
    live: Live | None = None
    item: Mapping[str, Any] = field(default_factory=dict, compare=False)  # as it lies in DynamoDB
    read_at: int = field(default=0, compare=False)
    alive: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def sequence(self) -> int:
        """The highest sequence given so far, 0 at first."""
        return max((part.sequence for part in (self.wanted, self.running, self.live) if part), default=0)

    @property
    def holder(self) -> Running | None:
        """The run that holds the dataset: still running, and within its lease."""
        held = self.running
        return held if held and held.execution in self.alive and self.read_at < held.lease_until else None

    @property
    def waiting(self) -> Wanted | None:
        """The content that nobody runs or is about to run, while nobody holds the dataset."""
        wanted = self.wanted
        if wanted is None or wanted.taken or wanted.execution in self.alive or self.holder:
            return None
        return wanted


def content(files: Iterable[File]) -> str:
    """SHA-256, in hex, over the sorted (key, version) pairs."""
    pairs = sorted(f"{file.key}\0{file.version}\n" for file in files)
    return hashlib.sha256("".join(pairs).encode()).hexdigest()


def execution_name(dataset: str, wanted: Wanted) -> str:
    """`<dataset>-<sequence>-<content[:12]>`: names stay taken for 90 days, the sequence keeps them apart."""
    return f"{dataset}-{wanted.sequence}-{wanted.content[:12]}"


def execution_arn(machine: str, name: str) -> str:
    """The ARN of an execution of a state machine, which is known before it is started."""
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


def lease_until(run: Run, now: int) -> int:
    """Epoch seconds after which a run is no longer believed to be at work."""
    jobs: int = sum(getattr(run, job).max_runtime_seconds for job in JOBS)
    return now + MARGIN_SECONDS + jobs


def noted(ledger: Ledger, seen: str) -> Ledger:
    """The ledger with this content wanted; unchanged when it already is.

    An execution that was started but has not read the bucket yet will find the new content by itself, so
    it stays the one that is expected to run it.
    """
    wanted = ledger.wanted
    if wanted and wanted.content == seen:
        return ledger
    coming = wanted.execution if wanted and not wanted.taken and wanted.execution in ledger.alive else None
    fresh = Wanted(content=seen, sequence=ledger.sequence + 1, execution=coming)
    return replace(ledger, wanted=fresh)


def assigned(ledger: Ledger, machine: str) -> Ledger:
    """The ledger with what waits given to the execution of its own name, which is to be started next."""
    waiting = ledger.waiting
    if waiting is None:
        return ledger
    arn = execution_arn(machine, execution_name(ledger.dataset, waiting))
    return replace(ledger, wanted=replace(waiting, execution=arn))


def busy(ledger: Ledger, execution: str) -> str | None:
    """Who else holds the dataset and what to do about it; None when this execution may take it."""
    held = ledger.holder
    if held is None or held.execution == execution:
        return None
    return (
        f"{ledger.dataset} is held by run {held.run_id} ({held.execution}), which is still running; "
        "wait for its end: newer files then start a run by themselves, another run must be started anew"
    )


def requeued(ledger: Ledger, execution: str) -> Ledger:
    """The ledger after an execution found the dataset busy: what it was to run waits under a new sequence.

    Its own name is used up, so nothing could start under it again.
    """
    wanted = ledger.wanted
    if wanted is None or wanted.taken or wanted.execution != execution:
        return ledger
    return replace(ledger, wanted=Wanted(content=wanted.content, sequence=ledger.sequence + 1))


def taken(ledger: Ledger, *, execution: str, run_id: str, content: str, lease_until: int) -> Ledger:
    """The ledger with the dataset held by this run.

    The run takes the sequence of the wanted content if that is what it sees and nobody else has run it (or
    it did so itself before a retry), and the next sequence otherwise.
    """
    wanted = ledger.wanted
    own = wanted and wanted.content == content and (not wanted.taken or wanted.execution == execution)
    sequence = ledger.sequence if wanted and own and wanted.sequence == ledger.sequence else ledger.sequence + 1
    return replace(
        ledger,
        wanted=Wanted(content=content, sequence=sequence, execution=execution, taken=True),
        running=Running(execution=execution, run_id=run_id, sequence=sequence, lease_until=lease_until),
    )


def superseded(ledger: Ledger, *, run_id: str, sequence: int) -> str | None:
    """Why this run must not be published, None if it may."""
    newer = [
        ("is live", ledger.live if ledger.live and ledger.live.sequence >= sequence else None),
        ("holds the dataset", ledger.holder if ledger.holder and ledger.holder.sequence > sequence else None),
    ]
    for what, other in newer:
        if other and other.run_id != run_id:
            return (
                f"superseded: run {other.run_id} (sequence {other.sequence}, this one's is {sequence}) {what}"
            )
    return None


def freed(ledger: Ledger, execution: str) -> Ledger:
    """The ledger without this execution's hold; unchanged when another one has it."""
    mine = ledger.running and ledger.running.execution == execution
    return replace(ledger, running=None) if mine else ledger


def outdated(runs: Collection[str], published: Collection[str], live: str, keep: int) -> set[str]:
    """The runs older than the last `keep` published ones, the live one never among them.

    Run ids sort by the start of their execution. The record of a publication can have expired: where fewer
    than `keep` are on record, the newest older runs count as published.
    """
    known = sorted({live, *published}, reverse=True)
    older = sorted((run for run in runs if run < known[-1]), reverse=True)
    oldest = [*known, *older][:keep][-1]
    return {run for run in runs if run < oldest and run != live}
