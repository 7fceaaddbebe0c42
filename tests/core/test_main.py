"""The program of the image: one word per step, folders in and out, reasons where people look for them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import small_run, write_artifact

from containers.repackage.main import main

ROOT = Path(__file__).parents[2]


def step(name: str, folder: Path, *more: str) -> int:
    return main([name, "--input", str(folder), "--output", str(folder), *more])


def test_steps_run_one_after_another_over_one_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_run(tmp_path)
    assert step("repackage", tmp_path) == 0
    run.answer(10)
    assert step("rank", tmp_path) == 0
    assert step("evaluate", tmp_path) == 0
    summaries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [summary["step"] for summary in summaries] == ["repackage", "rank", "evaluate"]
    assert summaries[1]["entries"] == 150
    assert (tmp_path / "report.html").exists()


def test_a_refusal_is_told_on_stderr_and_in_the_exit_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_run(tmp_path)
    write_artifact(tmp_path / "factors" / "model.tar.gz", run.w0, run.w[:-1], run.v[:-1])
    message = tmp_path / "opt" / "message"
    assert step("repackage", tmp_path, "--message", str(message)) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("ArtifactRejected: factors/model.tar.gz has feature_dim 53")
    assert message.read_text() == told.err.strip()


def test_an_exit_message_is_cut_to_a_kilobyte_of_whole_characters(tmp_path: Path) -> None:
    message = tmp_path / "message"
    folder = tmp_path / "/".join(["책" * 60] * 8)
    assert step("repackage", folder, "--message", str(message)) == 1
    assert 1021 <= len(message.read_bytes()) <= 1024
    assert message.read_text("utf-8").startswith("FileNotFoundError: ")


def test_an_unknown_step_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        step("train", tmp_path)
    assert "invalid choice: 'train'" in capsys.readouterr().err


def test_it_runs_as_the_job_calls_it(tmp_path: Path) -> None:
    small_run(tmp_path / "input")
    command = [
        sys.executable,
        "-m",
        "containers.repackage.main",
        "repackage",
        "--input",
        str(tmp_path / "input"),
    ]
    command += ["--output", str(tmp_path / "output"), "--message", str(tmp_path / "message")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["users"] == 30
    assert (tmp_path / "output" / "matrices" / "offsets.parquet").exists()
    assert not (tmp_path / "message").exists()
