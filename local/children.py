"""Subprocesses that never outlive us, however we end: each in a session of its own, which ends as one."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

KEPT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH"),
    *("NUMBA_CACHE_DIR", "JSII_RUNTIME_PACKAGE_CACHE", "JSII_RUNTIME_PACKAGE_CACHE_ROOT"),
)
PYTHON = sys.executable
REAPER = Path(__file__).with_name("reaper.py")


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """A child's environment: what any program needs, and `given`.

    PYTHONDONTWRITEBYTECODE is not passed on: without bytecode every start would compile the libraries anew.
    """
    return {name: os.environ[name] for name in KEPT if name in os.environ} | dict(given)


class Children:
    """All running subprocesses of one cloud."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = Lock()
        self._closed = False
        self._reaper: subprocess.Popen[str] | None = None

    def start(
        self, command: list[str], *, folder: Path, given: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """A process in `folder` that writes stdout and stderr to the end of `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, log.open("ab") as file:
            if self._closed:
                raise ChildrenEnded(f"{command[0]} is not started: local mode is ending")
            child = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(given),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(child)
            self._tell(f"+{child.pid}")
        return child

    def end(self, child: subprocess.Popen[bytes]) -> None:
        """Ends the process and everything in its session, at once, and waits for it."""
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS answers the second for a group of zombies
            child.kill()
        child.wait()
        with self._lock:
            if child in self._running:
                self._running.discard(child)
                self._tell(f"-{child.pid}")

    def end_all(self) -> None:
        """Ends every process; later starts are refused."""
        with self._lock:
            self._closed = True
            left = list(self._running)
        for child in left:
            self.end(child)
        if self._reaper and self._reaper.stdin:
            self._reaper.stdin.close()
            self._reaper.wait()

    def _tell(self, line: str) -> None:
        if self._reaper is None:
            self._reaper = subprocess.Popen(
                [PYTHON, "-I", "-S", str(REAPER)],
                env=environment({}),
                stdin=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for us
                text=True,
            )
        print(line, file=self._reaper.stdin, flush=True)


class ChildrenEnded(Exception):
    """When something asks for a process although local mode is ending."""
