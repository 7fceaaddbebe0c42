"""One synthesis for all tests of the drawing, whichever worker comes first."""

import fcntl
from pathlib import Path
from typing import Any

import pytest
from drawn import definition, plain, synthesize, template


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The folder that `python app.py` wrote for stage dev."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base
    out = shared / "drawn" / "cdk.out"
    out.parent.mkdir(exist_ok=True)
    with (shared / "drawn.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "manifest.json").exists():
            done = synthesize(out)
            assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def data(assembly: Path) -> dict[str, Any]:
    """The data stack, made plain."""
    made: dict[str, Any] = plain(template(assembly, "topx-dev-data"))
    return made


@pytest.fixture(scope="session")
def pipeline(assembly: Path) -> dict[str, Any]:
    """The pipeline stack, made plain."""
    made: dict[str, Any] = plain(template(assembly, "topx-dev-pipeline"))
    return made


@pytest.fixture
def machine(pipeline: dict[str, Any]) -> dict[str, Any]:
    """The state machine's definition."""
    return definition(pipeline)
