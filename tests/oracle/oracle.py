"""Our end of the connection to the SageMaker SDK v2 and MXNet 1.9.1, in an environment of their own."""

import os
import subprocess
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Self

from libs import obstacle

PEER = Path(__file__).with_name("peer.py")
PYTHON = "TOPX_ORACLE"  # names the Python of the environment
SECONDS = 120  # that an answer may take


class Refused(Exception):
    """When the SDK or MXNet refuses what it was asked for; the message is theirs, in one line."""


class NotRun(Exception):
    """When there is no oracle here, or it ended: nothing was compared."""


class Oracle:
    """The peer at work; `with Oracle(log) as oracle` ends it. Its own output goes to the file `log`.

    Raises NotRun where it cannot run.
    """

    def __init__(self, log: Path) -> None:
        python = os.environ.get(PYTHON, "")
        if reason := obstacle():
            raise NotRun(reason)
        if not python:
            raise NotRun(
                f"{PYTHON} is unset; `make oracle` builds the oracle's environment and names its Python"
            )
        self._log = log
        self._connection, theirs = Pipe()
        try:
            with theirs, log.open("wb") as output:
                self._process = subprocess.Popen(
                    [python, str(PEER), str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},  # the arrays are small
                )
        except OSError as error:
            self._connection.close()
            raise NotRun(f"{PYTHON} is {python}, which cannot be started: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, name: str, **given: Any) -> Any:
        """What the function `name` of peer.py gives; raises Refused, or NotRun where the peer has ended."""
        try:
            self._connection.send((name, given))
            if not self._connection.poll(SECONDS):
                self._process.kill()
                raise NotRun(f"no answer to {name} within {SECONDS} seconds: {self._last()}")
            kind, value = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            code = self._process.wait()
            raise NotRun(f"the peer ended with code {code} at {name}: {self._last()}") from error
        if kind == "refusal":
            raise Refused(value)
        return value

    def _last(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it printed nothing"
