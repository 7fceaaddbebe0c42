"""`python -m benchmarks NAME [--json]`: a table, or a list of {what, ours, peer, unit, ratio}."""

import argparse
import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks import machine, quality
from benchmarks.measure import Measure, Unmeasured

NAMES = {"machine": machine.measure, "quality": quality.measure}


def main(arguments: list[str]) -> int:
    """0, or 1 where nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        measures = list(NAMES[given.name]())
    except Unmeasured as error:
        print(f"not run: {error}", file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps([{**asdict(one), "ratio": one.ratio} for one in measures], indent=1))
    else:
        Console(highlight=False).print(_table(measures))
    return 0


def _table(measures: list[Measure]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("what", "ours", "peer", "unit", "ratio"):
        table.add_column(name, justify="left" if name in {"what", "unit"} else "right")
    for one in measures:
        shown = [f"{value:.4g}" if value is not None else "" for value in (one.ours, one.peer, one.ratio)]
        table.add_row(one.what, shown[0], shown[1], one.unit, shown[2])
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
