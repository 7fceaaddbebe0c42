"""`make image`: the container image, built from the staged asset and run as AWS runs it.

Only fetching (fetch.py) has a network. Everything else (prove.py) happens in namespaces of its own, where there
is none: its mounts, processes and containers end with it, however it ends.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tests.image.fetch import base, packages, wheels
from tests.image.processes import PRIVATE, NotProven

WORK = Path(__file__).parents[2] / ".image"
PATIENCE = 1800  # seconds; twenty times what the slowest first run took


def elsewhere() -> str:
    """Why the image cannot be built here; empty where it can."""
    try:
        system = platform.freedesktop_os_release()["ID"]
    except OSError:
        system = platform.system()
    if system != "debian":
        return f"this is {system}; podman and runc are known to work so on Debian only"
    if platform.machine() != "x86_64":
        return f"this machine is {platform.machine()}; the image is for x86_64"
    if os.geteuid():
        return f"this is user {os.geteuid()}; mounts and users of containers need root"
    return ""


def main() -> int:
    """0 proven or not run, 1 failed."""
    reason = elsewhere()
    if reason:
        print(f"not run: {reason}")
        return 0
    WORK.mkdir(exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another `make image` in this folder", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return _run()
        except NotProven as problem:
            print(f"failed: {problem}", file=sys.stderr)
            return 1


def _run() -> int:
    """The exit code of prove.py, with everything at hand that it needs."""
    for name in ("tmp", "logs"):
        shutil.rmtree(WORK / name, ignore_errors=True)
        (WORK / name).mkdir()
    unfinished = WORK / "unfinished"
    if unfinished.exists():  # killed, or failed: what podman keeps may be half of something
        shutil.rmtree(WORK / "store", ignore_errors=True)
    unfinished.touch()
    packages(WORK)
    given = [str(one) for one in (WORK, base(WORK), wheels(WORK))]
    command = [*PRIVATE, "--net", sys.executable, "-m", "tests.image.prove", *given]
    try:
        code = subprocess.run(
            command, env={**os.environ, "TMPDIR": str(WORK / "tmp")}, timeout=PATIENCE, check=False
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise NotProven(f"not done after {PATIENCE} seconds; logs: {WORK / 'logs'}") from error
    if code == 0:
        unfinished.unlink()
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
