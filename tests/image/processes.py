"""Commands whose failure explains itself, and the namespaces that end with whoever made them."""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# Mounts and processes are private. Killing the caller, even with SIGKILL, kills `unshare`, and that its child,
# which is process 1 in there: with it goes every other process, and with the last one every mount.
PRIVATE = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"),
)
_TAIL = 30  # lines of a log that a failure shows


class NotProven(Exception):
    """When something failed; the message holds what, and the end of its log."""


def do(command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None) -> None:
    """Runs a command whose output goes to the end of `log`; raises NotProven where it fails."""
    with log.open("ab") as file:
        file.write(f"$ {shlex.join(command)}\n".encode())
        file.flush()
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=env, check=False
            ).returncode
        except FileNotFoundError as error:
            raise NotProven(f"{command[0]} is not installed") from error
    if code:
        raise NotProven(f"{command[0]} ended with {code}; {_end(log)}")


def last(logs: Path, state: str) -> str:
    """The end of a state's log, or of the function's or job's that was written to last."""
    return _end(max(logs.glob("*/*.log"), key=lambda log: (state in log.name, log.stat().st_mtime)))


def _end(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()
    return "\n".join([f"the end of {log}:", *lines[-_TAIL:]])
