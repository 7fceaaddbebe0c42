"""What comes from the network: Debian packages, a base like the Dockerfile's, and the wheels of the image.

The base and the wheels are kept, under a hash of what they were made from.
"""

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from tests.image.processes import PRIVATE, NotProven, do

IMAGE = Path(__file__).parents[2] / "containers" / "repackage"
PROGRAMS = {"podman": "podman", "runc": "runc", "mmdebstrap": "mmdebstrap", "ip": "iproute2"}
OLDEST_GLIBC, NEWEST_GLIBC = 5, 41  # 2.x: what manylinux wheels can ask for, and what trixie has


def packages(work: Path) -> None:
    """Installs the Debian packages of programs that are missing."""
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if not missing:
        return
    print(f"installing {', '.join(missing)}", flush=True)
    log = work / "logs" / "apt.log"
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    do([*apt, "update"], log, env=env)
    do([*apt, "install", "-y", "--no-install-recommends", *missing], log, env=env)


def release() -> tuple[str, str]:
    """Python version and Debian suite of the Dockerfile's base, such as ("3.13", "trixie")."""
    dockerfile = (IMAGE / "Dockerfile").read_text("utf-8")
    found = re.search(r"^ARG BASE=\S+/python:(\d+\.\d+)-slim-(\w+)$", dockerfile, re.MULTILINE)
    if not found:
        raise NotProven("the Dockerfile's ARG BASE is no python:<version>-slim-<suite>; there is no stand-in")
    return found[1], found[2]


def base(work: Path) -> Path:
    """A tar file of Debian with its own Python in /usr/local/bin, where the official image has another."""
    recipe = [
        *("mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,python3-venv,ca-certificates"),
        '--customize-hook=chroot "$1" python3 -m venv /usr/local',
        '--customize-hook=rm -f "$1/etc/resolv.conf"',
        # The official image has no bytecode of the standard library either.
        '--customize-hook=find "$1/usr/lib" -name "*.pyc" -delete',
        release()[1],
    ]
    made = work / f"base-{_hash(*recipe)}.tar"
    if not made.exists():
        print(f"making a base of Debian {release()[1]} in place of the official image", flush=True)
        _remove(work, "base-*")
        part = work / "tmp" / "base.tar"
        env = {**os.environ, "TMPDIR": str(work / "tmp")}
        do([*PRIVATE, *recipe, str(part), mirror()], work / "logs" / "base.log", env=env)
        part.replace(made)
    return made


def mirror(sources: Path = Path("/etc/apt")) -> str:
    """The address of the first archive that this machine's apt reads."""
    for file in (sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))):
        if file.suffix in {".list", ".sources"} and file.is_file():
            found = re.search(
                r"^(?:URIs:\s*|deb\s+(?:\[.*?\]\s+)?)(\w+:\S+)", file.read_text("utf-8"), re.MULTILINE
            )
            if found:
                return found[1]
    raise NotProven(f"{sources} names no archive for mmdebstrap to read from")


def wheels(work: Path) -> Path:
    """A folder of the locked wheels, fetched by pip as this machine has it configured.

    So the build needs no network, index, proxy or certificate, and still checks every hash.
    """
    requirements = IMAGE / "requirements.txt"
    version = release()[0]
    made = work / f"wheels-{_hash(version, requirements.read_text('utf-8'))}"
    if not made.exists():
        print(f"fetching the wheels for Python {version}", flush=True)
        _remove(work, "wheels-*")
        part = work / "tmp" / "wheels"
        tags = [f"manylinux_2_{minor}_x86_64" for minor in range(OLDEST_GLIBC, NEWEST_GLIBC + 1)]
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"),
            *("--only-binary", ":all:", "--implementation", "cp", "--python-version", version),
            *(f"--platform={tag}" for tag in tags),
            *("--dest", str(part), "--requirement", str(requirements)),
        ]
        do(command, work / "logs" / "wheels.log")
        part.replace(made)
    return made


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _remove(work: Path, pattern: str) -> None:
    for old in work.glob(pattern):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()
