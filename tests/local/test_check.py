"""`python -m local check`: what a run would make of files, told or as JSON, without a run."""

import json
from pathlib import Path

import pytest

from local.__main__ import main
from tests.local.test_run import ratings
from topx.encode import check
from topx.ratings import Source
from topx.settings import Run


def test_the_summary_is_that_of_encode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ratings(tmp_path / "ratings.csv")
    with path.open("a") as file:
        file.write("u1,,5,1\nu2,i2,many,2\nu3,i3,4,yesterday\n")
    assert main(["check", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(json.dumps(check([Source("ratings.csv", path)], Run())))
    assert told["rows_in"] == told["kept"] + told["merged"] + told["quarantined"]
    assert told["reasons"] == {"item": 1, "time": 1, "value": 1}


def test_a_person_sees_formats_reasons_examples_values_and_what_to_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ratings(tmp_path / "ratings.csv")
    with path.open("a") as file:
        file.write("u1,,5,1\n")
    given, test = tmp_path / "test[1].csv", "user,item,rating,time\nu1,i2,5,1\nnobody,i3,5,1\n"
    given.write_text(test)
    assert main(["check", str(path), "--test", str(given)]) == 0
    told = capsys.readouterr().out
    for text in (
        "ratings.csv: `,` and a header, because",
        "ratings.csv, item: no item",
        "line 3202: u1,,5,1",
        "test[1].csv, unknown: a test row whose user or item stands in no training row",
        "held out   1 events of 1 users, of whom 1 can be judged",
        "1 test rows name a user or an item",
        "set data.columns.user=NAME",
        "█" * 30,
    ):
        assert text in told


def test_settings_are_heeded_and_problems_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ratings(tmp_path / "ratings.csv")
    assert main(["check", str(path), "--json", "--set", "data.columns.value=none"]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == []
    assert main(["check", str(path), str(tmp_path / "rating.csv"), "--set", "rank.x=0", "--set", "x"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    for text in ("3 problems", f"did you mean {path}?", "--set x is no SECTION.KEY=VALUE", "rank.x is 0"):
        assert text in told.err
    empty = tmp_path / "empty.csv"
    empty.touch()
    assert main(["check", str(path), str(empty)]) == 2
    assert "empty.csv: it is empty" in capsys.readouterr().err
