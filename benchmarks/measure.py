"""What a benchmark gives back, and the programs that it measures."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in which the system counts memory


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A program that has ended well: seconds from start to end, most megabytes it held at once, its stdout."""

    seconds: float
    megabytes: float
    said: str


class Unmeasured(Exception):
    """When a benchmark cannot be run here; the message says what is missing."""


def program(*words: str) -> Ran:
    """One run of `python -m WORDS`; raises Unmeasured where it fails.

    Linux counts this process's memory at the start into the program's, so keep large data out of it.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as trouble:
        began = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, stdout=said, stderr=trouble)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            raise
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        trouble.seek(0)
        if child.returncode:
            reason = trouble.read().strip().rpartition("\n")[2] or said.read().strip().rpartition("\n")[2]
            raise Unmeasured(f"`python -m {' '.join(words)}` ended with {child.returncode}: {reason}")
        return Ran(seconds=seconds, megabytes=usage.ru_maxrss * _UNIT / 1e6, said=said.read())


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
