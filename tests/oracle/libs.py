"""Makes MXNet 1.9.1 loadable without a system package: `python tests/oracle/libs.py FOLDER`, the mxnet package.

libmxnet.so needs libgomp and libquadmath, its wheel lacks both, and it looks in its own folder first (its RPATH
is $ORIGIN). The wheel of faiss-cpu, which runs this, brings both: they are copied there under the names that
libmxnet.so asks for. Without FOLDER it only says whether the oracle can run on this machine.
"""

import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path

LIBRARIES = {"libgomp.so.1": "libgomp-*.so.1.*", "libquadmath.so.0": "libquadmath-*.so.0.*"}


def obstacle() -> str | None:
    """Why the oracle cannot run on this kind of machine, or None where it can."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) == ("Linux", "x86_64"):
        return None
    if (system, machine) == ("Linux", "aarch64"):
        return "MXNet 1.9.1 for Linux on aarch64 needs Arm Performance Libraries, which no wheel brings"
    return f"MXNet 1.9.1 is loaded from its wheel for Linux on x86_64; this is {system} on {machine}"


def place(folder: Path) -> None:
    """Copies both libraries into the mxnet package in `folder`; doing so again changes nothing.

    Raises FileNotFoundError where the folder is no mxnet package or faiss-cpu brings no such library.
    """
    if not (folder / "libmxnet.so").is_file():
        raise FileNotFoundError(f"{folder} holds no libmxnet.so; give the mxnet folder of the oracle's venv")
    brought = metadata.files("faiss-cpu") or []
    for name, pattern in LIBRARIES.items():
        found = [Path(str(file.locate())) for file in brought if file.match(f"faiss_cpu.libs/{pattern}")]
        if len(found) != 1:
            raise FileNotFoundError(
                f"faiss-cpu brings {len(found)} files {pattern}; MXNet needs one, as {name}: see the pin of "
                "faiss-cpu in pyproject.toml"
            )
        # Never written in place: what stands there may share its bytes with an installer's cache.
        copy = folder / f"{name}.new"
        shutil.copyfile(found[0], copy)
        copy.replace(folder / name)


def main() -> None:
    """Exits 1 with the reason where the oracle cannot run."""
    if reason := obstacle():
        sys.exit(f"not run: {reason}")
    try:
        for folder in sys.argv[1:]:
            place(Path(folder))
    except (OSError, metadata.PackageNotFoundError) as error:
        sys.exit(f"not run: {error}")


if __name__ == "__main__":
    main()
