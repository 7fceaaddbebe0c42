"""What the machine costs on one computer: each state of the demo without its engine, and what comes before.

The engines stand for SageMaker's managed algorithms; the rest is ours: functions, the Repackage job, files
to and from S3, embedded AWS. A function's cold start is part of the state that waits for it.
"""

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.measure import Measure, Unmeasured
from local.demo import LONGEST_WAIT_SECONDS
from local.quotas import load
from local.run import deployed
from local.screen import Screen
from local.session import Session, session
from local.shop import make_shop
from local.story import Story
from local.up import executions
from topx import paths
from topx.errors import TopxError

LIMIT_SECONDS = 6.0
ALL = "all states, engines aside"
ENGINES = "all engines"
STATE, ENGINE, BEFORE, WITHIN = "state ", "engine of ", "before: ", "of the jobs' states: "
GROUPS = {  # how the bars are titled, and which measures they are
    "before the first state": BEFORE,
    "states, engines aside": STATE,
    "of these, in the jobs' states": WITHIN,
}
SEED = 7
WIDTH = 30  # characters of the longest bar


def measure() -> Iterator[Measure]:
    """The whole beside its limit, then all engines, each state, each engine, and the parts of local mode."""
    try:
        with TemporaryDirectory(prefix="topx-benchmark-") as folder:
            yield from _measured(Path(folder))
    except TopxError as error:
        raise Unmeasured(f"{type(error).__name__}: {error}") from error


def _measured(folder: Path) -> Iterator[Measure]:
    marks: list[tuple[str, float]] = []

    def mark(text: str) -> None:
        marks.append((text, time.time()))

    shop, screen = make_shop(folder / "shop", SEED), Screen()
    with session(folder / "logs", quotas=load(None), tell=mark) as ready:
        mark("uploading")
        prefix = paths.uploads(deployed().datasets[0])
        ready.upload({f"{prefix}{path.name}": path for path in shop})
        mark("waiting for the event")
        story = Story(ready.cloud, _started(ready))
        outcome = screen.follow(story)
        engines = ready.cloud.jobs.engine_seconds()
        history = ready.cloud.history(story.execution)
    if outcome.code not in {0, 3}:
        raise Unmeasured(f"the run did not end well: {outcome.told}")
    spent = sum(engines.values())
    yield _seconds(ALL, outcome.seconds - spent, LIMIT_SECONDS)
    yield _seconds(ENGINES, spent)
    steps = [step for step in story.steps if not step.state.endswith("?")]
    for step in steps:
        yield _seconds(f"{STATE}{step.state}", (step.seconds or 0) - engines.get(step.job, 0))
    yield _seconds(f"{STATE}questions, transitions", outcome.seconds - sum(step.seconds or 0 for step in steps))
    for step in steps:
        if step.job in engines:
            yield _seconds(f"{ENGINE}{step.state}", engines[step.job])
    marks.append(("", steps[0].started.timestamp()))
    for (text, began), (_, ended) in pairwise(marks):
        yield _seconds(f"{BEFORE}{text}", ended - began)
    yield from _within(history, spent)


def _started(ready: Session) -> str:
    """The execution that the uploads' event starts; raises Unmeasured where none does."""
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while not (started := executions(ready)):
        if time.monotonic() > deadline:
            raise Unmeasured(f"the upload's event started no run in {LONGEST_WAIT_SECONDS} s")
        time.sleep(0.05)
    return started[0]


def _within(history: list[dict[str, Any]], engines: float) -> Iterator[Measure]:
    """What the states of jobs cost beside engines: the work of the job itself, and the hearing of its end."""
    worked = heard = 0.0
    for event in history:
        if event["type"] != "TaskSucceeded":
            continue
        answer = json.loads(event["taskSucceededEventDetails"]["output"])
        for kind in ("Training", "Transform", "Processing"):
            if f"{kind}EndTime" in answer:
                worked += (answer[f"{kind}EndTime"] - answer[f"{kind}StartTime"]) / 1000
                heard += event["timestamp"].timestamp() - answer[f"{kind}EndTime"] / 1000
    yield _seconds(f"{WITHIN}files, Repackage", worked - engines)
    yield _seconds(f"{WITHIN}their ends heard of", heard)


def _seconds(what: str, ours: float, peer: float | None = None) -> Measure:
    return Measure(what=what, ours=ours, peer=peer, unit="s")


def _named(measures: list[Measure], prefix: str) -> dict[str, float]:
    """Seconds by name, of the measures whose names begin so, in order."""
    return {one.what.removeprefix(prefix): one.ours for one in measures if one.what.startswith(prefix)}


def chart(measures: list[Measure]) -> Table:
    """All of it for a terminal of 80 columns: a bar for each state and each part of local mode."""
    engines = _named(measures, ENGINE)
    longest = max(one.ours for one in measures if one.what.startswith(tuple(GROUPS.values())))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column()
    table.add_column("seconds", justify="right")
    table.add_column(min_width=WIDTH)
    table.add_column("engine", justify="right", style="dim")
    for title, prefix in GROUPS.items():
        table.add_row(title, style="bold")
        for name, seconds in _named(measures, prefix).items():
            engine = f"{engines[name]:.2f}" if prefix == STATE and name in engines else ""
            table.add_row(f"  {name}", f"{seconds:.2f}", Text(_bar(seconds / longest), "blue"), engine)
    total = next(one for one in measures if one.what == ALL)
    within = f"limit {total.peer:g}, ratio {total.ratio:.2f}"
    table.add_row(ALL, f"{total.ours:.2f}", within, f"{_named(measures, ENGINES)['']:.2f}", style="bold")
    return table


def _bar(share: float) -> str:
    """A bar of WIDTH characters at most, in eighths."""
    whole, eighths = divmod(round(share * WIDTH * 8), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[eighths]


def picture(measures: list[Measure], path: Path) -> None:
    """Draws the bars into an SVG or PNG file; the same measures give the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    engines = _named(measures, ENGINE)
    groups = [_named(measures, prefix) for prefix in GROUPS.values()]
    total = next(one for one in measures if one.what == ALL)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "topx", "font.size": 10}):
        figure = Figure(figsize=(8, 0.32 * sum(map(len, groups)) + 2), layout="constrained")
        figure.suptitle(
            f"What the machine costs, engines aside: {total.ours:.1f} s (limit {total.peer:g} s)",
            fontweight="bold",
        )
        parts = figure.subplots(len(groups), 1, sharex=True, height_ratios=[len(bars) + 0.2 for bars in groups])
        for part, title, bars in zip(parts, GROUPS, groups, strict=True):
            states = GROUPS[title] == STATE
            labels = [
                f"{seconds:.2f} s"
                + (f"   + {engines[name]:.1f} s engine" if states and name in engines else "")
                for name, seconds in bars.items()
            ]
            drawn = part.barh(list(bars), list(bars.values()), color="#2b6cb0" if states else "#9aa5b1")
            part.bar_label(drawn, labels, padding=4)
            part.set_title(title, loc="left", fontsize=10)
            part.set_ylim(len(bars) - 0.4, -0.6)
            part.margins(x=0.2)
            part.spines[["top", "right", "bottom"]].set_visible(False)
            part.tick_params(left=False, bottom=False, labelbottom=False)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
