"""What `make image` decides and compares, without podman: where it runs, what it fetches, what it tells."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.image.__main__ import main
from tests.image.fetch import mirror, release
from tests.image.processes import NotProven, do
from tests.image.prove import compared
from tests.image.reference import tasks


def test_where_it_cannot_run_it_says_so_and_succeeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main() == 0
    said = capsys.readouterr().out
    assert said.startswith("not run: this ")
    assert len(said.splitlines()) == 1


def test_the_stand_in_follows_the_dockerfile() -> None:
    assert release() == ("3.13", "trixie")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "sources.list",
            "# deb http://old.example/debian x main\ndeb [arch=amd64] http://a.example/debian x main\n",
        ),
        ("sources.list.d/one.list", "deb http://a.example/debian x main\n"),
        (
            "sources.list.d/debian.sources",
            "Types: deb\n# URIs: http://b.example\nURIs: http://a.example/debian\n",
        ),
    ],
)
def test_the_base_comes_from_where_apt_reads(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    assert mirror(tmp_path) == "http://a.example/debian"


def test_no_source_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(NotProven, match="names no archive"):
        mirror(tmp_path)


def test_a_failed_command_shows_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    with pytest.raises(NotProven, match=r"(?s)^sh ended with 3; the end of .*one.log:.*\n50$") as failure:
        do(["sh", "-c", "seq 50; exit 3"], log)
    assert "\n5\n" not in str(failure.value)
    with pytest.raises(NotProven, match="nowhere is not installed"):
        do(["nowhere"], log)


def test_every_difference_is_listed_by_file() -> None:
    expected = {"a": b"same", "b": b"one", "c": b"longer", "d": b""}
    found = {"a": b"same", "b": b"ore", "c": b"long", "e": b""}
    assert compared(expected, found) == [
        "d is missing",
        "e is one too many",
        "b: 3 bytes, 3 without the image, unlike from byte 1",
        "c: 4 bytes, 6 without the image, unlike from byte 4",
    ]


def test_a_state_is_known_by_the_task_that_succeeded_in_it() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    tried = {
        "type": "LambdaFunctionScheduled",
        "lambdaFunctionScheduledEventDetails": {"resource": "f", "input": "{}"},
    }
    history: list[dict[str, Any]] = [
        {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": "Rank"}},
        {**tried, "timestamp": begin},
        {"type": "LambdaFunctionFailed", "timestamp": begin},
        {**tried, "timestamp": begin + timedelta(seconds=5)},
        {
            "type": "LambdaFunctionSucceeded",
            "timestamp": begin + timedelta(seconds=7),
            "lambdaFunctionSucceededEventDetails": {"output": '{"x": 1}'},
        },
    ]
    (task,) = tasks(history).values()
    assert (task.resource, task.request, task.answer, task.seconds) == ("f", {}, {"x": 1}, 2.0)
