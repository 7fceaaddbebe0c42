"""`python -m benchmarks NAME [--json]`: a table, or a list of {what, ours, peer, unit, ratio}."""

import argparse
import json
import signal
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Measure, Unmeasured

NAMES = {  # each is a module here with `measure()`, imported when asked for: its peers may be missing
    "formats": "files and artifacts beside the SageMaker SDK, MXNet and a plain copy",
    "match": "the local k-NN engine beside bare faiss",
    "machine": "what each state costs without its engine; --picture FILE draws it",
    "quality": "the lists beside popularity and chance",
}
PICTURES = (".svg", ".png")


def main(arguments: list[str]) -> int:
    """0, or 1 where something could not be measured; then nothing is on stdout."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.picture and given.name != "machine":
        parser.error(f"--picture draws machine, not {given.name}; leave it out")
    if given.picture and (given.picture.suffix not in PICTURES or not given.picture.parent.is_dir()):
        parser.error(f"--picture {given.picture} is no .svg or .png in a folder that is there")
    try:
        with redirect_stdout(sys.stderr):  # what is measured may print, too
            benchmark = import_module(f"benchmarks.{given.name}")
            measures = list(benchmark.measure())
            if given.picture:
                benchmark.picture(measures, given.picture)
    except Unmeasured as error:
        print(f"not run: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"not run: {error}; `pip install -r requirements.txt` brings it", file=sys.stderr)
        return 1
    if given.json:
        print(as_json(measures))
    else:
        shown = benchmark.chart(measures) if given.name == "machine" else table(measures)
        Console(highlight=False).print(shown)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Us beside the peers, in one run.",
        epilog="\n".join(f"{name:<9}{about}" for name, about in NAMES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="a list of {what, ours, peer, unit, ratio}")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="an .svg or .png (machine only)")
    return parser


def as_json(measures: list[Measure]) -> str:
    """A list of {what, ours, peer, unit, ratio}."""
    return json.dumps([{**asdict(one), "ratio": one.ratio} for one in measures], indent=1)


def table(measures: list[Measure]) -> Table:
    """A line for each measure."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("what", "ours", "peer", "unit", "ratio"):
        made.add_column(name, justify="left" if name in {"what", "unit"} else "right", no_wrap=True)
    for one in measures:
        shown = [f"{value:.4g}" if value is not None else "" for value in (one.ours, one.peer, one.ratio)]
        made.add_row(one.what, shown[0], shown[1], one.unit, shown[2])
    return made


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started on the way out
    sys.exit(main(sys.argv[1:]))
