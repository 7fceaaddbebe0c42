"""`python -m local run`: ratings in, lists out, and nothing left behind."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from local.__main__ import ENDED_BY, main
from local.assembly import ROOT
from local.run import request
from topx.errors import SettingsRejected

USERS, ITEMS = 160, 60


def ratings(path: Path) -> Path:
    """A file of two tastes: users like the items of their own half."""
    dice = random.Random(7)
    lines = []
    for user in range(USERS):
        for item in dice.sample(range(ITEMS), 20):
            rating = dice.choice([4, 5] if (user + item) % 2 == 0 else [1, 2])
            lines.append(f"u{user},i{item},{rating},{len(lines)}")
    path.write_text("\n".join(["user,item,rating,time", *lines]) + "\n")
    return path


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """A run of its own process, whose temporary files lie in `folder`."""
    (folder / "tmp").mkdir(parents=True)
    return subprocess.Popen(
        [sys.executable, "-m", "local", "run", *words, "--out", str(folder / "out")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes(folder: Path) -> list[str]:
    """Processes that know the folder's temporary files."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            about = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder / "tmp").encode() in about:
            found.append(about.decode(errors="replace"))
    return found


def left_behind(folder: Path) -> list[str]:
    """Processes that know the folder, and temporary files."""
    return [str(path) for path in (folder / "tmp").iterdir()] + processes(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, Path]]:
    """Two runs at once: exit code, output and folder of each."""
    folder = tmp_path_factory.mktemp("runs")
    file = str(ratings(folder / "ratings.csv"))
    started = {
        "default": start(folder / "default", file),
        "short": start(folder / "short", file, "--set", "rank.x=3", "--set", "train_factors.num_factors=8"),
    }
    return {
        name: (process.wait(), process.communicate()[0], folder / name) for name, process in started.items()
    }


def test_every_user_gets_a_list(runs: dict[str, tuple[int, str, Path]]) -> None:
    for name, x in (("default", 10), ("short", 3)):
        code, said, folder = runs[name]
        assert code in (0, 3), said
        lists = pq.read_table(folder / "out/lists").to_pylist()
        assert len(lists) == USERS * x
        assert {row["rank"] for row in lists} == set(range(1, x + 1))


def test_good_lists_are_published(runs: dict[str, tuple[int, str, Path]]) -> None:
    code, said, folder = runs["default"]
    assert code == 0, said
    record = json.loads((folder / "out/run.json").read_text())
    assert record["output"]["published"] is True
    assert (folder / "out/published.json").is_file()
    assert f"Published: run {record['output']['run_id']}." in said


def test_the_states_are_shown_with_what_they_cost(runs: dict[str, tuple[int, str, Path]]) -> None:
    _, said, folder = runs["default"]
    for state in ("Preflight", "Encode", "TrainFactors", "Repackage", "MatchUsers", "Rank", "Publish"):
        assert f"✓ {state}" in said
    assert "The machine itself (all states, engines aside) cost" in said
    assert str(folder / "out/report.html") in said
    assert "Traceback" not in said
    assert (folder / "out/logs/functions").is_dir()
    assert list((folder / "out/logs/jobs").glob("*factors*.log"))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up on Linux only")
def test_nothing_is_left_behind(runs: dict[str, tuple[int, str, Path]]) -> None:
    for _, _, folder in runs.values():
        assert left_behind(folder) == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up on Linux only")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(tmp_path: Path, number: int) -> None:
    run = start(tmp_path, str(ratings(tmp_path / "ratings.csv")))
    assert run.stdout is not None
    assert "Preflight" in run.stdout.readline()
    run.send_signal(number)
    said = run.communicate(timeout=20)[0]
    assert run.returncode == 128 + number, said
    assert said.splitlines()[-1] == "Ended: nothing is left running"
    assert left_behind(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up on Linux only")
def test_even_a_kill_leaves_no_process(tmp_path: Path) -> None:
    run = start(tmp_path, str(ratings(tmp_path / "ratings.csv")))
    assert run.stdout is not None
    while "Encode" not in run.stdout.readline():
        pass
    assert processes(tmp_path) != []
    run.kill()
    run.communicate(timeout=20)
    deadline = time.monotonic() + 5
    while processes(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes(tmp_path) == []


@pytest.fixture
def signals() -> Iterator[None]:
    """The signal handlers that `main` replaces, put back."""
    before = {number: signal.getsignal(number) for number in ENDED_BY}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_all_problems_of_a_command_line_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings(tmp_path / "ratings.csv")
    begin = time.monotonic()
    wrong = ["--set", "rank.y=3", "--set", "x", "--out", str(tmp_path)]
    code = main(["run", str(tmp_path / "rating.csv"), *wrong])
    said = capsys.readouterr().err
    assert code == 2
    assert time.monotonic() - begin < 1  # nothing was started
    assert said.startswith("SettingsRejected: 4 problems:")
    for text in ("did you mean", "rank.y does not exist", "--set x is no SECTION.KEY=VALUE", "not of a run"):
        assert text in said


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("content", [b"only\none\ncolumn\n", b"", bytes(range(256)) * 40])
def test_a_file_that_cannot_be_used_is_rejected_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "ratings.csv").write_bytes(content)
    assert main(["run", str(tmp_path / "ratings.csv"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("InputRejected: ")
    assert "Traceback" not in said.out + said.err
    assert "InputRejected" not in said.out  # told once


@pytest.mark.usefixtures("signals")
def test_a_quota_of_zero_is_refused_before_any_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quota = "ml.m5.xlarge for training job usage"
    (tmp_path / "quotas.json").write_text(json.dumps({"applied": {quota: 0}}))
    file = ratings(tmp_path / "ratings.csv")
    words = ["run", str(file), "--quotas", str(tmp_path / "quotas.json"), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("QuotasRejected: ")
    assert quota in said
    assert not (tmp_path / "out/logs/jobs").exists()


def test_files_of_one_name_in_two_folders_are_both_uploaded(tmp_path: Path) -> None:
    for year in ("2025", "2026"):
        (tmp_path / year).mkdir()
        (tmp_path / year / "r.csv").write_text("u,i,5\n")
    files = [tmp_path / "2025/r.csv", tmp_path / "2026/r.csv"]
    asked = request(files, test=None, given=["rank.x=5"], out=tmp_path / "out", quotas=None)
    assert list(asked.uploads) == ["uploads/ratings/2025/r.csv", "uploads/ratings/2026/r.csv"]
    assert asked.overrides == {"rank": {"x": 5}}


def test_only_the_folder_of_a_run_is_emptied(tmp_path: Path) -> None:
    file = ratings(tmp_path / "ratings.csv")
    with pytest.raises(SettingsRejected, match="holds files that are not of a run"):
        request([file], test=None, given=[], out=tmp_path, quotas=None)
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "lists").mkdir()
    with pytest.raises(SettingsRejected, match="stands where --out"):
        request([ratings(tmp_path / "lists/r.csv")], test=None, given=[], out=tmp_path, quotas=None)
    assert request([file], test=None, given=[], out=tmp_path, quotas=None).out == tmp_path
