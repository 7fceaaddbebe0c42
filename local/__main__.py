"""The command line: `python -m local run FILE...`, `check FILE...`, `up`, `demo`."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from local import run as one_run
from local.screen import Screen
from local.up import up
from topx.errors import InputRejected, SettingsRejected, TopxError

ENDED_BY = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ended(KeyboardInterrupt):
    """When a signal ends the program; everything that was started is ended on the way out."""


def main(arguments: list[str]) -> int:
    """The exit code: 0, 1 failed, 2 rejected, 3 refused by the gate, 128 + n ended by signal n."""
    for number in ENDED_BY:
        signal.signal(number, _end)
    screen = Screen()
    given = _parser().parse_args(arguments)
    try:
        return int(given.do(given, screen))
    except Ended as ended:
        screen.done()
        screen.fail("Ended: nothing is left running")
        return 128 + int(ended.args[0])
    except TopxError as error:
        screen.done()
        screen.fail(f"{type(error).__name__}: {error}")
        return 2 if isinstance(error, (InputRejected, SettingsRejected)) else 1


def _end(number: int, frame: FrameType | None) -> None:
    for other in ENDED_BY:  # a second Ctrl-C must not cut short what ends the processes
        signal.signal(other, signal.SIG_IGN)
    raise Ended(number)


def _run(given: argparse.Namespace, screen: Screen) -> int:
    asked = one_run.request(given.files, test=given.test, given=given.set, out=given.out, quotas=given.quotas)
    return one_run.run(asked, screen)


def _check(given: argparse.Namespace, screen: Screen) -> int:
    from local.check import check

    return check(given.files, given.test, given.set, screen, as_json=given.json)


def _up(given: argparse.Namespace, screen: Screen) -> int:
    up(given.quotas, given.out / "logs", screen)
    return 0


def _demo(given: argparse.Namespace, screen: Screen) -> int:
    from local.demo import demo

    return demo(given.out, given.seed, screen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="topx on one machine, without AWS.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Any, about: str, out: str = "") -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.set_defaults(do=do)
        if out:
            made.add_argument(
                "--out", type=Path, default=Path(out), metavar="DIR", help="results and logs (%(default)s)"
            )
        return made

    run = command("run", _run, "train on FILEs and publish every user's list", "topx-run")
    checked = command("check", _check, "say what a run would make of FILEs, in seconds")
    checked.add_argument("--json", action="store_true", help="the summary as JSON")
    for one in (run, checked):
        one.add_argument("files", nargs="+", type=Path, metavar="FILE", help="ratings or events")
        one.add_argument("--test", type=Path, metavar="FILE", help="a given test set")
        one.add_argument(
            "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="such as rank.x=20"
        )
    kept = command("up", _up, "keep embedded AWS running; uploads start runs", "topx-up")
    for one in (run, kept):
        one.add_argument("--quotas", type=Path, metavar="FILE", help="Service Quotas of the account, as JSON")
    demo = command("demo", _demo, "a made-up shop: uploaded, trained on, looked at", "topx-demo")
    demo.add_argument("--seed", type=int, default=7, help="of the shop (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
