"""Builds the image and repeats a small run's steps in it: `python -m tests.image.prove WORK BASE WHEELS`.

Started by __main__.py in namespaces without a network. The run without the image, embedded AWS and all
containers share one loopback.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from local.quotas import load
from local.session import Session, session
from local.staging import Staging
from tests.image import reference
from tests.image.podman import FUNCTION, JOB, Containers, Podman, probe
from tests.image.processes import NotProven, do, last
from tests.image.reference import Reference
from topx import paths
from topx.errors import ArtifactRejected, SettingsRejected, TopxError

MADE = {"Encode": ("encoded/",), "Rank": ("lists/", "import/", "evaluated/"), "Evaluate": ("report.",)}
HADOLINT = Path(sys.executable).with_name("hadolint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One step in the image beside the same step without it."""

    step: str
    user: str
    files: int
    size: int  # bytes
    seconds: float
    without: float
    differences: list[str]


def main(work: Path, base: Path, wheels: Path) -> int:
    """0 where every step gives the same bytes, else 1."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        podman = Podman(work)
        podman.enter()
        do(["ip", "link", "set", "lo", "up"], work / "logs" / "podman.log")
        uploads = {f"{paths.uploads('ratings')}ratings.csv": reference.ratings(work / "tmp" / "ratings.csv")}
        with session(work / "logs", quotas=load(None), first=uploads, tell=print) as ready:
            began = time.monotonic()
            staged, tag = build(ready, podman, base, wheels)
            took = time.monotonic() - began
            proofs, notes = repeat(reference.run(ready), podman, staged, tag, work)
        size = int(podman.read("image", "inspect", "--format", "{{.Size}}", tag))
    except (NotProven, TopxError) as problem:
        print(f"failed: {problem}", file=sys.stderr)
        return 1
    console.print(f"image {tag.rpartition(':')[2][:12]}  {size / 1e6:.0f} MB, built in {took:.1f} s")
    for note in notes:
        console.print(note)
    return show(proofs, console)


def build(ready: Session, podman: Podman, base: Path, wheels: Path) -> tuple[Path, str]:
    """The staged folder of the session's own template and the tag of the image made of it."""
    assembly = ready.cloud.assembly
    assert assembly is not None
    listed = [json.loads(path.read_text("utf-8")) for path in assembly.folder.glob("*.assets.json")]
    images = [image for one in listed for image in one.get("dockerImages", {}).items()]
    if len(images) != 1:
        raise NotProven(f"the template has {len(images)} images; it must have one")
    (name, image) = images[0]
    source = image["source"]
    staged = assembly.folder / source["directory"]
    print("linting the Dockerfile", flush=True)
    do([str(HADOLINT), str(staged / source["dockerFile"])], ready.cloud.logs / "hadolint.log")
    print("building the image", flush=True)
    tag = f"localhost/topx:{name}"
    podman.build(staged, source["dockerFile"], source["platform"], base=base, wheels=wheels, tag=tag)
    return staged, tag


def repeat(run: Reference, podman: Podman, staged: Path, tag: str, work: Path) -> tuple[list[Proof], list[str]]:
    """Every step of the image, done again in containers; and what else was seen."""
    version = probe(podman, tag, JOB, "0:0")
    probe(podman, tag, FUNCTION, "993:990")
    notes = [f"Python {version} in the image, {sys.version.split()[0]} without it"]
    cloud = run.ready.cloud
    memory = cloud.client("lambda").get_function(FunctionName=run.tasks["Encode"].resource)["Configuration"]
    before = cloud.children
    cloud.children = containers = Containers(podman, staged, tag, memory["MemorySize"])
    before.end_all()  # warm processes of functions, which would answer otherwise
    proofs = [function(run, state) for state in MADE]
    if len(containers.handlers) != len(MADE):
        raise NotProven(f"only {containers.handlers} ran in containers, of {', '.join(MADE)}")
    proofs.insert(1, job(run, podman, tag, work / "tmp" / "job"))
    notes += [refused_job(run, podman, tag, work / "tmp" / "refused"), refused_function(run)]
    return proofs, notes


def function(run: Reference, state: str) -> Proof:
    """A heavy function under the runtime client in the image, called through embedded Lambda."""
    task, expected = run.tasks[state], run.files()
    made = {name: content for name, content in expected.items() if name.startswith(MADE[state])}
    run.remove(made)
    began = time.monotonic()
    answer = call(run, task.resource, task.request)
    seconds = time.monotonic() - began
    if "errorType" in answer:
        raise NotProven(
            f"{state} in the image failed: {json.dumps(answer)}\n{last(run.ready.cloud.logs, state)}"
        )
    differences = compared(expected, run.files())
    if answer != task.answer:
        differences.append(f"the answer is {json.dumps(answer)}; without the image {json.dumps(task.answer)}")
    return _proof(state, "993:990", made, seconds, task.seconds, differences)


def call(run: Reference, name: str, payload: dict[str, Any]) -> Any:
    """A function's answer, or its error where it fails."""
    answer = run.ready.cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(payload).encode())
    return json.load(answer["Payload"])


def job(run: Reference, podman: Podman, tag: str, folder: Path) -> Proof:
    """The Repackage job by its own request: root without capabilities, no network."""
    task = run.tasks["Repackage"]
    began = time.monotonic()
    done = _process(run, podman, tag, folder)
    seconds = time.monotonic() - began
    if done.returncode:
        raise NotProven(f"Repackage in the image ended with {done.returncode}:\n{done.stderr}")
    expected: dict[str, bytes] = {}
    found: dict[str, bytes] = {}
    for output in task.request["ProcessingOutputConfig"]["Outputs"]:
        below = f"{output['S3Output']['S3Uri'].partition(run.prefix)[2]}/"
        local = folder / output["S3Output"]["LocalPath"].removeprefix("/opt/ml/")
        expected |= {name: content for name, content in run.files().items() if name.startswith(below)}
        made = (path for path in local.rglob("*") if path.is_file())
        found |= {below + path.relative_to(local).as_posix(): path.read_bytes() for path in made}
    return _proof("Repackage", "0:0", expected, seconds, task.seconds, compared(expected, found))


def _process(
    run: Reference, podman: Podman, tag: str, folder: Path, *, damage: bool = False
) -> "subprocess.CompletedProcess[str]":
    """The processing container of the machine's own request, over its inputs in `folder` as /opt/ml."""
    request = run.tasks["Repackage"].request
    application = request["AppSpecification"]
    if application["ImageUri"].rpartition(":")[2] != tag.rpartition(":")[2]:
        raise NotProven(f"the job asks for {application['ImageUri']}; what was built is {tag}")
    for one in request["ProcessingInputs"]:
        target = folder / one["S3Input"]["LocalPath"].removeprefix("/opt/ml/")
        Staging(run.ready.cloud.client("s3")).fetch(one["S3Input"], target)
    if damage:
        (artifact,) = (folder / "processing/input/factors").iterdir()
        artifact.write_bytes(artifact.read_bytes()[:-100])
    for one in request["ProcessingOutputConfig"]["Outputs"]:
        (folder / one["S3Output"]["LocalPath"].removeprefix("/opt/ml/")).mkdir(parents=True)
    name = f"topx-job-{folder.name}"
    command = podman.command(
        *("run", "--name", name, *JOB, "--volume", f"{folder}:/opt/ml"),
        *("--volume", f"{folder}/processing/input:/opt/ml/processing/input:ro"),
        *("--entrypoint", json.dumps(application["ContainerEntrypoint"])),
        *(tag, *application["ContainerArguments"]),
    )
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def refused_job(run: Reference, podman: Podman, tag: str, folder: Path) -> str:
    """A note that a damaged artifact ends the job with the exit message that SageMaker shows."""
    done = _process(run, podman, tag, folder, damage=True)
    message = folder / "output" / "message"
    told = message.read_text("utf-8") if message.is_file() else "(no message)"
    if done.returncode != 1 or not told.startswith(f"{ArtifactRejected.__name__}: "):
        raise NotProven(f"Repackage of a damaged artifact ended with {done.returncode}, {told}\n{done.stderr}")
    return f"Repackage of a damaged artifact ended with 1 and told {told}"


def refused_function(run: Reference) -> str:
    """A note that a function's refusal carries the class name that the state machine looks for."""
    task = run.tasks["Rank"]
    plan = task.request["plan"]
    wrong = {**plan, "run": {**plan["run"], "rank": {**plan["run"]["rank"], "x": 0}}}
    answer = call(run, task.resource, {**task.request, "plan": wrong})
    if answer.get("errorType") != SettingsRejected.__name__:
        raise NotProven(f"Rank of no items answered {json.dumps(answer)}\n{last(run.ready.cloud.logs, 'Rank')}")
    return f"Rank of no items failed with {answer['errorType']}: {answer['errorMessage']}"


def compared(expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    """Each file that is missing, too many or different."""
    lines = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    lines += [f"{name} is one too many" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        without, made = expected[name], found[name]
        if without != made:
            pairs = enumerate(zip(without, made, strict=False))
            first = next((at for at, (one, other) in pairs if one != other), min(len(without), len(made)))
            lines.append(
                f"{name}: {len(made)} bytes, {len(without)} without the image, unlike from byte {first}"
            )
    return lines


def show(proofs: list[Proof], console: Console) -> int:
    """Prints the table and every difference; 1 where there is one."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("step", "as user"):
        table.add_column(title)
    for title in ("files", "bytes", "equal", "seconds in the image", "without it"):
        table.add_column(title, justify="right")
    for one in proofs:
        equal = "no" if one.differences else "yes"
        cells = (str(one.files), f"{one.size:,}", equal, f"{one.seconds:.2f}", f"{one.without:.2f}")
        table.add_row(one.step, one.user, *cells)
    console.print(table)
    differences = [f"{one.step}: {line}" for one in proofs for line in one.differences]
    for line in differences:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if differences else 0


def _proof(
    step: str, user: str, made: dict[str, bytes], seconds: float, without: float, differences: list[str]
) -> Proof:
    if not made:
        differences = [*differences, "there is nothing to compare"]
    size = sum(map(len, made.values()))
    return Proof(
        step=step,
        user=user,
        files=len(made),
        size=size,
        seconds=seconds,
        without=without,
        differences=differences,
    )


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
