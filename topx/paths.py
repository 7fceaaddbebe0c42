"""Every S3 key of a run, and the names made from a run id. Standard library only."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime


def run_id(started_at: str, execution: str) -> str:
    """`<yyyymmdd-hhmmss>-<8 hex>` of an execution's ISO start time, in UTC, and its ARN.

    A retry and a redrive of the same execution give the same id.
    """
    start = datetime.fromisoformat(started_at).astimezone(UTC)
    return f"{start:%Y%m%d-%H%M%S}-{hashlib.sha256(execution.encode()).hexdigest()[:8]}"


def uploads(dataset: str) -> str:
    """Prefix of a dataset's training files in the Uploads bucket."""
    return f"uploads/{dataset}/"


def tests(dataset: str) -> str:
    """Prefix of a dataset's given test set in the Uploads bucket."""
    return f"tests/{dataset}/"


def lists_table(stage: str, dataset: str, run: str) -> str:
    """Name of the DynamoDB table that holds one run's lists."""
    return f"topx-{stage}-{dataset}-{run}"


@dataclass(frozen=True, slots=True)
class Paths:
    """Keys in the Runs bucket; folders end in a slash."""

    dataset: str
    run: str

    @property
    def prefix(self) -> str:
        """The run's own prefix: nothing of a run lies elsewhere."""
        return f"runs/{self.dataset}/{self.run}/"

    @property
    def plan(self) -> str:
        """What Preflight resolved."""
        return f"{self.prefix}plan.json"

    def folder(self, noun: str) -> str:
        """`encoded`, `factors`, `matrices`, `neighbors`, `matches`, `lists`, `import` or `evaluated`."""
        return f"{self.prefix}{noun}/"

    @property
    def report(self) -> str:
        """The evidence, as JSON."""
        return f"{self.prefix}report.json"

    @property
    def page(self) -> str:
        """The evidence, as a page."""
        return f"{self.prefix}report.html"

    @property
    def published(self) -> str:
        """Written by Publish after the switch."""
        return f"{self.prefix}published.json"
