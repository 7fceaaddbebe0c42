"""One oracle for all tests of a worker. Without one the session fails: nothing is skipped in silence."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import NotRun, Oracle, Refused


def pytest_sessionstart(session: pytest.Session) -> None:
    """Ends a session on this folder that could compare nothing, before its workers start."""
    if hasattr(session.config, "workerinput"):
        return
    try:
        with Oracle(Path(os.devnull)) as oracle:
            oracle.ask("versions")
    except (NotRun, Refused) as reason:
        pytest.exit(f"not run: {reason}", returncode=1)


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    """The SageMaker SDK v2 and MXNet 1.9.1."""
    try:
        with Oracle(tmp_path_factory.mktemp("oracle") / "peer.log") as oracle:
            oracle.ask("versions")
            yield oracle
    except NotRun as reason:
        pytest.fail(f"not run: {reason}", pytrace=False)
