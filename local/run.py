"""`run`: one execution over given files, and everything that it made in a folder."""

import difflib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from local.assembly import ROOT, STAGE
from local.quotas import Quotas, load
from local.screen import Screen
from local.session import Session, session
from local.story import Outcome, Story
from topx import paths
from topx.errors import SettingsRejected, join
from topx.fields import as_json, merged
from topx.settings import Deploy, Run, load_deploy, load_run

RECORD = "run.json"  # marks a folder as ours
RESULTS = (  # what a run leaves there, and the next one replaces
    *("encoded", "factors", "matrices", "neighbors", "matches", "lists", "import", "evaluated", "logs", "shop"),
    *("plan.json", "report.json", "report.html", "published.json", RECORD),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A checked command line: what is uploaded where, what is overridden, where results go."""

    dataset: str
    uploads: dict[str, Path]
    overrides: dict[str, Any]
    out: Path
    quotas: Quotas


def deployed() -> Deploy:
    """The settings of the stage that runs on a laptop, out of cdk.json."""
    stages = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]["stages"]
    return load_deploy({**stages[STAGE], "stage": STAGE})


def request(
    files: list[Path], *, test: Path | None, given: list[str], out: Path, quotas: Path | None
) -> Request:
    """The command line, checked before anything starts; raises SettingsRejected with every problem."""
    problems, overrides, _ = asked_for([*files, *([test] if test else [])], given)
    dataset = deployed().datasets[0]
    try:
        limits = load(quotas)
    except SettingsRejected as error:
        problems += split(error)
    problems += out_problems(out)
    problems += [
        f"{path} stands where --out {out} gets its results; name another folder"
        for path in (*files, *([test] if test else []))
        if any((out / name).absolute() in (path.absolute(), *path.absolute().parents) for name in RESULTS)
    ]
    if problems:
        raise SettingsRejected(join(list(dict.fromkeys(problems))))
    uploads = {f"{paths.uploads(dataset)}{name}": path for name, path in named(files).items()}
    if test:
        uploads[f"{paths.tests(dataset)}{test.name}"] = test
    return Request(dataset=dataset, uploads=uploads, overrides=overrides, out=out, quotas=limits)


def asked_for(files: list[Path], given: list[str]) -> tuple[list[str], dict[str, Any], Run]:
    """What files and `SECTION.KEY=VALUE` words ask for: (problems, overrides, settings if there are none)."""
    stage = deployed()
    problems = [problem for path in files for problem in _file_problems(path)]
    overrides = _overrides(given, problems)
    try:
        run = load_run(merged(as_json(stage.run), overrides))
        problems += stage.run_problems(run)
    except SettingsRejected as error:
        run = stage.run
        problems += split(error)
    return problems, overrides, run


def out_problems(out: Path) -> Iterator[str]:
    """Why a folder cannot take the results, which replace those of an earlier run and nothing else."""
    if out.exists() and not out.is_dir():
        yield f"--out {out} is a file; name a folder"
    elif out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        yield f"--out {out} holds files that are not of a run; name a new folder or an empty one"


def run(asked: Request, screen: Screen) -> int:
    """Runs one execution and returns its exit code."""
    logs = emptied(asked.out)
    files = [str(path) for path in asked.uploads.values()]
    _write(asked.out / RECORD, {"status": "STARTED", "files": files})
    with session(logs, quotas=asked.quotas, first=asked.uploads, tell=screen.doing) as ready:
        execution = ready.cloud.client("stepfunctions").start_execution(
            stateMachineArn=ready.machine,
            input=json.dumps({"run": asked.overrides} if asked.overrides else {}),
        )["executionArn"]
        outcome = followed(ready, execution, asked.out, screen)
    tell_end(asked.out, outcome, screen)
    return outcome.code


def emptied(out: Path) -> Path:
    """The folder for logs in a folder for results, from which those of an earlier run are gone."""
    for name in RESULTS:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    logs = out / "logs"
    logs.mkdir(parents=True)
    return logs


def followed(ready: Session, execution: str, out: Path, screen: Screen) -> Outcome:
    """Shows an execution until it ends and brings all that it made to `out`; returns how it ended."""
    story = Story(ready.cloud, execution)
    outcome = screen.follow(story)
    ready.cloud.quiet()  # who hears of the end has rights of its own, too
    once = dict.fromkeys(ready.cloud.iam.refused)  # however often it was tried
    outcome = replace(outcome, refused=tuple(once))
    engines = ready.cloud.jobs.engine_seconds()
    plan = next((step.given["plan"] for step in story.steps if "plan" in step.given), None)
    if plan:
        ready.download(paths.Paths(plan["dataset"], plan["run_id"]).prefix, out)
    record = {
        "status": outcome.status,
        "execution": execution,
        "output": outcome.output,
        "error": outcome.error,
        "message": outcome.message,
        "refused": list(outcome.refused),
        "seconds": outcome.seconds,
        "engine_seconds": sum(engines.values()),
        "states": [{"state": step.state, "seconds": step.seconds} for step in story.steps],
    }
    _write(out / RECORD, record)
    screen.say()
    screen.cost(story, outcome, engines)
    for line in ready.cloud.events.lost:
        screen.trouble(f"an event was lost: {line}")
    for text in outcome.refused:
        screen.trouble(f"refused: {text}")
    if outcome.refused:
        screen.trouble(
            "if the call is meant, grant it in infra/ or take the denial away; the logs say what made it"
        )
    return outcome


def tell_end(out: Path, outcome: Outcome, screen: Screen) -> None:
    """Says how the ranking did, where everything lies, and how it ended."""
    screen.say()
    screen.metrics(out / "report.json")
    for name, path in (
        ("report", out / "report.html"),
        ("lists", out / "lists"),
        ("quarantine", out / "encoded/quarantine"),
        ("logs", out / "logs"),
    ):
        if path.exists():
            screen.say(f"{name:<11}{path}")
    if outcome.code in (0, 3):
        screen.say(outcome.told)
    else:
        screen.fail(outcome.told)


def _file_problems(path: Path) -> Iterator[str]:
    if not path.exists():
        near = difflib.get_close_matches(path.name, [one.name for one in path.parent.glob("*")], n=1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else "; check the path"
        yield f"{path} does not exist{hint}"
    elif not path.is_file():
        yield f"{path} is no file; name the files in it one by one"
    elif not os.access(path, os.R_OK):
        yield f"{path} cannot be read by this user; change its permissions"


def split(error: SettingsRejected) -> list[str]:
    """The problems that a message lists."""
    return [line.removeprefix("- ") for line in str(error).splitlines() if not line.endswith("problems:")]


def _overrides(given: list[str], problems: list[str]) -> dict[str, Any]:
    """`SECTION.KEY=VALUE` words as the execution's `run`; VALUE is JSON, or else text."""
    made: dict[str, Any] = {}
    for word in given:
        name, equals, text = word.partition("=")
        parts = name.split(".")
        if not equals or len(parts) < 2 or not all(parts):
            problems.append(f"--set {word} is no SECTION.KEY=VALUE, such as rank.x=20")
            continue
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        for part in reversed(parts):
            value = {part: value}
        made = merged(made, value)
    return made


def named(files: list[Path]) -> dict[str, Path]:
    """Each file under its path below the folder that all of them share, so that no name is taken twice."""
    absolute = [path.absolute() for path in files]
    shared = Path(os.path.commonpath([path.parent for path in absolute]))
    return {path.relative_to(shared).as_posix(): path for path in absolute}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
