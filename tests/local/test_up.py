"""`python -m local up`: uploads and deletions start runs, and functions answer, until it is interrupted."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.assembly import ROOT
from tests.local.test_run import left_behind, ratings


@dataclass(frozen=True, slots=True)
class Up:
    """A running `up`: clients by its printed addresses, and its lines."""

    client: Callable[[str], Any]
    bucket: str
    recommend: str
    process: "subprocess.Popen[str]"

    def until(self, text: str) -> list[str]:
        """Its next lines, to the first with `text`."""
        assert self.process.stdout is not None
        lines: list[str] = []
        while not lines or text not in lines[-1]:
            lines.append(self.process.stdout.readline())
            assert lines[-1], lines
            assert "refused: " not in lines[-1], lines
        return lines

    def list_of(self, user: str) -> Any:
        answer = self.client("lambda").invoke(FunctionName=self.recommend, Payload=json.dumps({"user": user}))
        return json.load(answer["Payload"])


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "local", "up", "--out", str(tmp_path / "out")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    while "Ctrl-C ends it" not in said:
        said += process.stdout.readline()
        assert process.poll() is None, said
    keys = dict(word.split("=", 1) for word in re.findall(r"AWS_\w+=\S+", said))

    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=keys["AWS_ENDPOINT_URL"],
            region_name=keys["AWS_DEFAULT_REGION"],
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )

    bucket, function = re.search(r"s3://([^/]+)/uploads", said), re.search(r"--function-name (\S+)", said)
    assert bucket
    assert function
    try:
        yield Up(client, bucket[1], function[1], process)
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=20)[0]
    assert process.returncode == 128 + signal.SIGINT, rest
    assert left_behind(tmp_path) == []


def test_uploads_and_deletions_start_runs(up: Up, tmp_path: Path) -> None:
    s3, file = up.client("s3"), ratings(tmp_path / "ratings.csv")
    for key in ("first.csv", "second.csv"):
        s3.put_object(Bucket=up.bucket, Key=f"uploads/ratings/{key}", Body=file.read_bytes())
    first = up.until("the topic is told")
    assert sum("started" in line for line in first) == 1  # both files in one run
    assert "Published: run " in first[-2]
    assert first[-1].strip() == "the topic is told: topx local: ratings published"

    known, unknown = up.list_of("u7"), up.list_of("nobody")
    assert [one["reason"] for one in known["items"]] == ["factors"] * 10
    assert [one["reason"] for one in unknown["items"]] == ["popular"] * 10
    assert known["run_id"] in first[-2]

    s3.delete_object(Bucket=up.bucket, Key="uploads/ratings/second.csv")
    second = up.until("the topic is told")
    assert "Published: run " in second[-2]
    assert up.list_of("u7")["run_id"] != known["run_id"]
