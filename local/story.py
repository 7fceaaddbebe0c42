"""One execution told as it happens: which state ran, for how long, and what it made."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from topx import errors

if TYPE_CHECKING:
    from local.cloud import Cloud

MOST_FACTS = 6
ENDS = {f"Execution{how}" for how in ("Succeeded", "Failed", "Aborted", "TimedOut")}


@dataclass(slots=True, kw_only=True)
class Step:
    """One visit of a state. `seconds` is None while it runs."""

    state: str
    started: datetime
    given: dict[str, Any]
    seconds: float | None = None
    made: str = ""
    job: str = ""  # name of the SageMaker job that it ran
    failures: list[str] = field(default_factory=list)  # errors of its attempts, in order


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an execution ended. `error` is the class name of what failed, `message` its text."""

    status: str
    seconds: float
    output: dict[str, Any]
    error: str = ""
    message: str = ""
    state: str = ""
    refused: tuple[str, ...] = ()  # what policies did not allow: calls whose failure our code may have survived

    @property
    def code(self) -> int:
        """Exit code: 0 published, 3 refused by the gate, 2 the caller must change something, 1 else."""
        if self.status == "SUCCEEDED" and self.refused:
            return 1
        if self.status == "SUCCEEDED":
            return 0 if self.output.get("published") else 3
        kind = getattr(errors, self.error, None)
        rejected = isinstance(kind, type) and issubclass(kind, (errors.InputRejected, errors.SettingsRejected))
        return 2 if rejected else 1

    @property
    def told(self) -> str:
        """The end in a line."""
        if self.status == "SUCCEEDED" and self.refused:
            return f"Failed: calls were refused ({len(self.refused)}), see above; the lists may be incomplete."
        if self.code == 0:
            return f"Published: run {self.output['run_id']}."
        if self.code == 3:
            return f"Not published: {' '.join(map(str, self.output.get('reasons', [])))}"
        return f"{': '.join(filter(None, (self.error, self.message)))} (state {self.state})"


class Story:
    """Reads one execution's history again and again; each `advance` tells only what is new."""

    def __init__(self, cloud: "Cloud", execution: str) -> None:
        self._cloud, self.execution = cloud, execution
        self.steps: list[Step] = []
        self.ended = False  # for who tells several stories: nothing is left to tell
        self._read = 0
        self._over = False

    @property
    def current(self) -> Step | None:
        """The state that is running."""
        return self.steps[-1] if self.steps and self.steps[-1].seconds is None else None

    def advance(self) -> Iterator[str | Step]:
        """Steps that have ended since the last call, and a text for each further attempt of one."""
        events = self._cloud.history(self.execution)
        for event in events[self._read :]:
            yield from self._told(event)
        self._read = len(events)

    def _told(self, event: dict[str, Any]) -> Iterator[str | Step]:
        kind = event["type"]
        self._over |= kind in ENDS
        if kind == "ExecutionRedriven":
            self._over = False
        elif kind.endswith("StateEntered"):
            about = event["stateEnteredEventDetails"]
            given = json.loads(about.get("input", "{}"))
            self.steps.append(Step(state=about["name"], started=event["timestamp"], given=given))
        elif kind.endswith("StateExited") and self.current:
            step, about = self.steps[-1], event["stateExitedEventDetails"]
            step.seconds = (event["timestamp"] - step.started).total_seconds()
            added = _added(step.given, json.loads(about.get("output", "{}")))
            step.made, step.job = facts(added), str(added["name"]) if "status" in added else ""
            yield step
        elif kind.endswith(("Failed", "TimedOut")) and not kind.startswith("Execution") and self.current:
            details: dict[str, str] = next(
                (value for key, value in event.items() if key.endswith("EventDetails")), {}
            )
            error, message = reason(details.get("error", kind), details.get("cause", ""))
            self.current.failures.append(f"{error}: {message}")
        elif kind.endswith("Scheduled") and self.current and self.current.failures:
            yield f"{self.current.state} is tried again after {self.current.failures[-1]}"

    def outcome(self) -> Outcome | None:
        """How the execution ended, or None before `advance` has seen its end."""
        if not self._over:
            return None
        described = self._cloud.client("stepfunctions").describe_execution(executionArn=self.execution)
        if described["status"] == "RUNNING":
            return None
        error, message = reason(described.get("error", described["status"]), described.get("cause", ""))
        succeeded = described["status"] == "SUCCEEDED"
        return Outcome(
            status=described["status"],
            seconds=(described.get("stopDate", datetime.now(UTC)) - described["startDate"]).total_seconds(),
            output=json.loads(described.get("output") or "{}"),
            error="" if succeeded else error,
            message="" if succeeded else message,
            state=self.steps[-1].state if self.steps else "",
        )


def reason(error: str, cause: str) -> tuple[str, str]:
    """Class name and message of a failure, out of what a function or a job left as its cause."""
    try:
        about = json.loads(cause)
    except ValueError:
        return error, cause
    if not isinstance(about, dict):
        return error, cause
    if "errorMessage" in about:
        return error, about["errorMessage"]
    message = about.get("ExitMessage") or about.get("FailureReason") or cause
    name, colon, rest = message.partition(": ")
    return (name, rest) if colon and hasattr(errors, name) else (error, message)


def _added(before: dict[str, Any], after: Any) -> dict[str, Any]:
    """What a state added to its input: the one new object, or else its whole output where that is another."""
    if not isinstance(after, dict) or after == before:
        return {}
    new = [value for key, value in after.items() if before.get(key) != value]
    return new[0] if len(new) == 1 and isinstance(new[0], dict) else after


def facts(added: dict[str, Any]) -> str:
    """What a state added, in a line: numbers where there are any, else what is known by name."""
    numbers = [f"{key} {value:,}" for key, value in added.items() if type(value) in (int, float)]
    words = [
        f"{key} {str(added[key]).lower() if type(added[key]) is bool else added[key]}"
        for key in ("dataset", "run_id", "status", "open", "published")
        if key in added
    ]
    return " · ".join((numbers or words)[:MOST_FACTS])
