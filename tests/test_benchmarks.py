"""The benchmarks' command line, and what each does apart from its figures."""

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import machine
from benchmarks.__main__ import NAMES, as_json, main, table
from benchmarks.match import Sizes
from benchmarks.match import measure as match
from benchmarks.measure import Measure, Unmeasured, program

ROOT = Path(__file__).parents[1]
COSTS = [
    Measure(what=what, ours=ours, peer=6.0 if what == machine.ALL else None, unit="s")
    for what, ours in {
        machine.ALL: 1.5,
        machine.ENGINES: 4.25,
        "state Encode": 1.0,
        "state TrainFactors": 0.5,
        "engine of TrainFactors": 4.25,
        "before: synthesizing the template": 2.0,
        "of the jobs' states: files, Repackage": 0.25,
    }.items()
]


def printed(shown) -> list[str]:
    console = Console(width=80, record=True, highlight=False)
    console.print(shown)
    return console.export_text().splitlines()


def test_each_name_is_a_module_that_measures() -> None:
    assert list(NAMES) == ["formats", "match", "machine", "quality"]
    for name in NAMES:
        assert callable(import_module(f"benchmarks.{name}").measure), name


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["speed"], "invalid choice: 'speed' (choose from formats, match, machine, quality)"),
        ([], "the following arguments are required: name"),
        (["match", "--picture", "x.svg"], "--picture draws machine, not match"),
        (["machine", "--picture", "x.jpg"], "--picture x.jpg is no .svg or .png in a folder that is there"),
        (
            ["machine", "--picture", "nowhere/x.svg"],
            "nowhere/x.svg is no .svg or .png in a folder that is there",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, told, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    said = capsys.readouterr()
    assert (caught.value.code, said.out) == (2, "")
    assert told in said.err.replace("'formats', 'match', 'machine', 'quality'", ", ".join(NAMES))


def test_what_is_missing_is_named_and_nothing_is_printed() -> None:
    command = [sys.executable, "-m", "benchmarks", "quality", "--json"]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("not run: TOPX_DATA is not set")


def test_a_program_that_fails_is_not_measured() -> None:
    with pytest.raises(
        Unmeasured, match=r"`python -m local.engines.knn train /nowhere` ended with 1: .*nowhere"
    ):
        program("local.engines.knn", "train", "/nowhere")


def test_match_compares_the_same_answers_at_any_size() -> None:
    measures = list(match(Sizes(users=1200, items=300, features=9, x=20, rounds=1)))
    assert [one.unit for one in measures] == ["s", "s", "MB"]
    for one, read in zip(measures, json.loads(as_json(measures)), strict=True):
        assert list(read) == ["what", "ours", "peer", "unit", "ratio"]
        assert read["ours"] > 0
        assert read["ratio"] == one.ours / one.peer
    lines = printed(table(measures))
    assert len(lines) == 1 + len(measures)
    assert all(one.what in line for one, line in zip(measures, lines[1:], strict=True))


def test_costs_stand_beside_bars_in_80_columns() -> None:
    lines = [line.rstrip() for line in printed(machine.chart(COSTS))]
    drawn = {line.split("  ")[1]: line for line in lines if line.startswith("  ")}
    bars = {name: line.count("█") for name, line in drawn.items() if "█" in line}
    longest = bars["synthesizing the template"]
    assert {name: bars[name] / longest for name in ("Encode", "TrainFactors")} == pytest.approx(
        {"Encode": 0.5, "TrainFactors": 0.25}, abs=1 / longest
    )
    assert re.search(r"0\.50 .* 4\.25$", drawn["TrainFactors"])
    assert re.search(r"1\.50 +limit 6, ratio 0\.25 +4\.25$", lines[-1])


def test_the_picture_is_the_same_each_time_and_its_text_is_text(tmp_path) -> None:
    for name in ("first.svg", "second.svg", "third.png"):
        machine.picture(COSTS, tmp_path / name)
    drawn = (tmp_path / "first.svg").read_text("utf-8")
    assert drawn == (tmp_path / "second.svg").read_text("utf-8")
    for text in ("TrainFactors", "0.50 s   + 4.2 s engine", "1.5 s (limit 6 s)"):
        assert text in drawn
    assert (tmp_path / "third.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_states_add_up_to_what_the_machine_costs() -> None:
    measures = {one.what: one for one in machine.measure()}
    total = measures[machine.ALL]
    assert total.peer == machine.LIMIT_SECONDS
    states = sum(one.ours for what, one in measures.items() if what.startswith(machine.STATE))
    engines = sum(one.ours for what, one in measures.items() if what.startswith(machine.ENGINE))
    assert (states, engines) == pytest.approx((total.ours, measures[machine.ENGINES].ours), abs=0.01)
