"""The functions' environment, and an AWS for each test."""

from collections.abc import Iterator

import pytest

from lambdas import publish

pytest.register_assert_rewrite("tests.doors.world")

from tests.doors.world import ACCOUNT, MACHINE, REGION, World  # noqa: E402  after the line above


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "TOPX_STAGE": "dev",
        "TOPX_UPLOADS": "uploads",
        "TOPX_RUNS": "runs",
        "TOPX_LEDGER": "ledger",
        "TOPX_TOPIC": f"arn:aws:sns:{REGION}:{ACCOUNT}:topic",
        "TOPX_MACHINE": MACHINE,
        "TOPX_DATASETS": "ratings,books",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(publish, "FIRST_WAIT_SECONDS", 0.01)


@pytest.fixture
def aws() -> Iterator[World]:
    with World() as world:
        yield world
