"""What a benchmark gives back, and one run of the machine to measure."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure of ours beside a peer's or a limit's; `ratio` is ours / peer, None where there is no peer."""

    what: str
    ours: float
    peer: float | None
    unit: str

    @property
    def ratio(self) -> float | None:
        """Ours / peer."""
        return self.ours / self.peer if self.peer else None


class Unmeasured(Exception):
    """When a benchmark cannot be run here; the message says what is missing."""


def machine_run(*arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(run.json, report.json) of one `python -m local run` or `demo`, whose output goes to stderr.

    Raises Unmeasured where the run failed.
    """
    with tempfile.TemporaryDirectory(prefix="topx-benchmark-") as temporary:
        out = Path(temporary) / "out"
        command = [sys.executable, "-m", "local", *arguments, "--out", str(out)]
        code = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode
        if code not in {0, 3}:
            raise Unmeasured(f"`{' '.join(command[1:])}` ended with {code}; its reason stands above")
        ran, report = (json.loads((out / name).read_text("utf-8")) for name in ("run.json", "report.json"))
        return ran, report
