"""What a person sees: colours and a moving line on a terminal, plain lines elsewhere."""

import json
import time
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from local.story import Outcome, Step, Story
from topx.quarantine import REASONS

LOOK_SECONDS = 0.4
MOST_VALUES, BAR = 12, 30  # values shown, characters of the longest bar


class Screen:
    """Writes to stdout; failures to stderr."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._errors = Console(highlight=False, soft_wrap=True, stderr=True)
        self._status: Status | None = None

    def say(self, text: str = "") -> None:
        """One line, or several."""
        self._console.print(escape(text))

    def fail(self, text: str) -> None:
        """Class and message of what went wrong, to stderr."""
        self._errors.print(f"[red]{escape(text)}[/]")

    def doing(self, text: str) -> None:
        """What happens now; on a terminal the line moves until the next call, or until `done`."""
        if not self._console.is_terminal:
            return
        if self._status is None:
            self._status = self._console.status(escape(text))
            self._status.start()
        self._status.update(escape(text))

    def done(self) -> None:
        """Ends the moving line."""
        if self._status:
            self._status.stop()
            self._status = None

    def step(self, step: Step, name: str = "") -> None:
        """A state that has ended. States that only ask a question are no news."""
        if step.state.endswith("?"):
            return
        before = f"{name}  " if name else ""
        took = f"{step.state:<17} {step.seconds or 0:6.2f} s"
        self._console.print(f"{escape(before)}[green]✓[/] {took}  [dim]{escape(step.made)}[/]")

    def trouble(self, text: str, name: str = "") -> None:
        """A failed attempt, as a line among the states."""
        self._console.print(f"{escape(f'{name}  ' if name else '')}[red]✗[/] {escape(text)}")

    def follow(self, story: Story) -> Outcome:
        """Shows an execution until it ends."""
        while True:
            for news in story.advance():
                if isinstance(news, Step):
                    self.step(news)
                else:
                    self.trouble(news)
            outcome = story.outcome()
            if outcome:
                self.done()
                return outcome
            if story.current:
                ran = time.time() - story.current.started.timestamp()
                self.doing(f"{story.current.state} {ran:.0f} s")
            time.sleep(LOOK_SECONDS)

    def cost(self, story: Story, outcome: Outcome, engines: dict[str, float]) -> None:
        """The table of states, and what the machine costs beside its engines (job name -> seconds)."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("state")
        table.add_column("seconds", justify="right")
        table.add_column("of these engine", justify="right")
        for step in story.steps:
            if step.seconds is not None and not step.state.endswith("?"):
                engine = f"{engines[step.job]:.2f}" if step.job in engines else ""
                table.add_row(step.state, f"{step.seconds:.2f}", engine)
        spent = sum(engines.values())
        table.add_row("in all", f"{outcome.seconds:.2f}", f"{spent:.2f}", style="bold")
        self._console.print(table)
        self.say(f"The machine itself (all states, engines aside) cost {outcome.seconds - spent:.2f} s.")

    def metrics(self, report: Path) -> None:
        """The measured ranking beside popularity and chance, where the run came as far as a report."""
        if not report.is_file():
            return
        found: dict[str, Any] = json.loads(report.read_text("utf-8"))
        models = {name: values for name, values in found.get("metrics", {}).items() if values}
        if not models:
            return
        names = list(next(iter(models.values())))
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("")
        for name in names:
            table.add_column(name, justify="right")
        for model, values in models.items():
            table.add_row(
                model, *(f"{values[name]:.4f}" if values[name] is not None else "-" for name in names)
            )
        self._console.print(table)

    def data(self, summary: dict[str, Any]) -> None:
        """What became of the rows: per file, and why some were set aside."""
        self.say()
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("file")
        counts = ("rows_in", "kept", "merged", "quarantined")
        for name in counts:
            table.add_column(name, justify="right")
        for file in (*summary["files"], {"name": "in all", **summary}):
            table.add_row(escape(file["name"]), *(f"{file[name]:,}" for name in counts))
        self._console.print(table)
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in summary["reasons"].items())
        self.say(f"Set aside: {reasons or 'nothing'}. {summary['users']:,} users, {summary['items']:,} items.")

    def summary(self, summary: dict[str, Any]) -> None:
        """What a run would make of files: formats, rows, values, times, what is held out, and warnings."""
        for file in summary["files"]:
            self.say(f"{file['name']}: {file['format']}")
        self.data(summary)
        for file in summary["files"]:
            for reason, rows in file["examples"].items():
                self.say(f"  {file['name']}, {reason}: {REASONS[reason]}")
                for row in rows:
                    self.say(f"    {row}")
        held, span = summary["held_out"], summary["time_span"]
        facts = {
            "density": f"{summary['density']:.4%} of all pairs",
            "positives": f"{summary['positives']:,}",
            "scale": summary["scale"],
            "held out": f"{held['pairs']:,} events of {held['users']:,} users, of whom "
            f"{held['judged_users']:,} can be judged",
            "split": summary["split"],
            "times": f"{span['first']} to {span['last']}" if span else "none",
        }
        self.say()
        for name, text in facts.items():
            self.say(f"{name:<11}{text}")
        self._values(summary["values"])
        for text in summary["warnings"]:
            self.trouble(text)
        self.say("\nIf a guess is wrong, set it: --set data.delimiter=';' --set data.header=false")
        self.say(
            "--set data.columns.user=NAME (or its position from 0; so item, value, time, `none` for no such)"
        )

    def _values(self, values: list[dict[str, Any]]) -> None:
        """A bar for each of the commonest values."""
        common = sorted(values, key=lambda one: -one["rows"])[:MOST_VALUES]
        if not common:
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, side in (("value", "left"), ("rows", "right"), ("", "left")):
            table.add_column(name, justify=side)  # type: ignore[arg-type]
        for one in values:
            if one in common:
                bar = "█" * max(1, round(BAR * one["rows"] / common[0]["rows"]))
                table.add_row(escape(f"{one['value']}"), f"{one['rows']:,}", f"[blue]{bar}[/]")
        self._console.print(table)
        if len(values) > len(common):
            self.say(f"and {len(values) - len(common)} less common values")

    def list_of(self, user: str, history: list[str], items: list[str]) -> None:
        """One user's history beside the list made for them."""
        self.say()
        table = Table(box=None, pad_edge=False, header_style="bold", title=escape(user), title_justify="left")
        for name in ("liked lately", "", "recommended"):
            table.add_column(name)
        for rank, (past, item) in enumerate(zip_longest(history, items, fillvalue=""), 1):
            table.add_row(escape(past), f"{rank:>3}" if item else "", escape(item))
        self._console.print(table)
