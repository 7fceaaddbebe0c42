"""State Preflight: what an execution asks for and what lies in the bucket -> one resolved plan.

Everything that can be refused is refused here, before a job is created and before the dataset is taken;
problems of one kind are listed together.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from lambdas import _cloud as cloud
from lambdas import _ledger as ledgers
from topx import paths
from topx.errors import DatasetBusy, InputRejected, QuotasRejected, SettingsRejected, join
from topx.fields import as_json, examined, merged, unknown_key
from topx.plan import File, Plan
from topx.settings import JOBS, Deploy, Run, instance_type_problems, load_deploy

log = logging.getLogger(__name__)

KEYS = ["dataset", "run", "rollback_to", "accept", "erase", "nonce"]
NOT_YET = ("rollback_to", "erase")
DISK_BYTES = 10_240 * 2**20  # /tmp of a function, the most there is
RECORD_BYTES = 72  # of one training record: two keys of up to eight digits, framed
NAME_BYTES = 255  # of a file name on Linux


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """State Preflight. Writes `plan.json`, takes the dataset and returns `$.plan`.

    Raises SettingsRejected, QuotasRejected, InputRejected or DatasetBusy. A retry or redrive of the same
    execution keeps run id and sequence.
    """
    deploy = load_deploy(event["settings"])
    dataset, run, accept = asked(event["input"], deploy)
    execution = event["execution"]
    quotas, warnings = checked_quotas(run, execution)
    run_id = paths.run_id(event["started_at"], execution)
    while True:
        before = cloud.ledger(dataset)
        files, tests = (cloud.current(prefix(dataset)) for prefix in (paths.uploads, paths.tests))
        check_files(dataset, files, tests, run)
        content = ledgers.content([*files, *tests])
        until = ledgers.lease_until(run, int(time.time()))
        busy = ledgers.busy(before, execution)
        mine = {"execution": execution, "run_id": run_id, "content": content, "lease_until": until}
        after = ledgers.requeued(before, execution) if busy else ledgers.taken(before, **mine)
        if cloud.swap(before, after):
            break
    if busy:
        raise DatasetBusy(busy)
    plan = Plan(
        stage=deploy.stage,
        dataset=dataset,
        run_id=run_id,
        execution=execution,
        started_at=event["started_at"],
        sequence=after.sequence,
        content=content,
        uri=f"s3://{cloud.env('RUNS')}/{paths.Paths(dataset, run_id).prefix.rstrip('/')}",
        run=run,
        accept=accept,
        files=tuple(files),
        tests=tuple(tests),
        quotas=tuple(quotas),
        warnings=tuple(warnings),
        versions=dict(event.get("versions", {})),
    )
    cloud.write_json(plan.paths.plan, plan.to_json())
    log.info("planned", extra={"run_id": run_id, "dataset": dataset, "sequence": plan.sequence})
    return plan.for_states()


def asked(given: Any, deploy: Deploy) -> tuple[str, Run, str | None]:
    """(dataset, resolved run, accept) of an execution's input; raises SettingsRejected with every problem."""
    if not isinstance(given, Mapping):
        raise SettingsRejected(
            f"the execution's input is {given!r}; give an object: {{}} runs {deploy.datasets[0]}"
        )
    problems = [unknown_key(f"input.{key}", key, KEYS) for key in given if key not in KEYS]
    problems += [f"input.{key} is not available yet; leave it out" for key in NOT_YET if key in given]
    dataset = given.get("dataset", deploy.datasets[0])
    if dataset not in deploy.datasets:
        problems.append(f"input.dataset is {dataset!r}; this stage has {', '.join(deploy.datasets)}")
    accept = given.get("accept")
    if not isinstance(accept, str | None):
        problems.append(f"input.accept is {accept!r}; give a text")
    over = given.get("run", {})
    if not isinstance(over, Mapping):
        problems.append(f"input.run is {over!r}; give an object of settings, such as {{'rank': {{'x': 20}}}}")
        over = {}
    run, wrong = examined(Run, merged(as_json(deploy.run), over))
    problems += [f"input.run.{problem}" for problem in [*wrong, *deploy.run_problems(run)]]
    for job, kind in JOBS.items():
        chosen = getattr(run, job).instance_type
        if chosen is not None:
            problems += instance_type_problems(f"input.run.{job}.instance_type", chosen, kind)
    if problems:
        raise SettingsRejected(join(problems))
    return dataset, deploy.resolved(run), accept


def quotas_needed(run: Run) -> dict[str, int]:
    """Quota name -> instances in use at the same time. The jobs of a run never overlap, so: the largest."""
    need: dict[str, int] = {}
    for job, kind in JOBS.items():
        section = getattr(run, job)
        count = getattr(section, "instance_count", 1)
        for name in (f"{section.instance_type} for {kind} usage", f"Number of instances across all {kind}s"):
            need[name] = max(need.get(name, 0), count)
    return need


def checked_quotas(run: Run, execution: str) -> tuple[list[dict[str, Any]], list[str]]:
    """(what plan.json keeps of each quota, warnings); raises QuotasRejected with every gap.

    A quota that AWS lists neither as applied nor as default is a warning: it is not assumed to be anything.
    """
    need = quotas_needed(run)
    known = cloud.quotas(need)
    gaps, warnings = [], []
    for name, count in need.items():
        if name not in known:
            warnings.append(f"quota {name!r} is not listed in this Region: not checked, {count} needed")
        elif known[name][0] < count:
            value, code = known[name]
            link = cloud.console(execution, f"servicequotas/home/services/sagemaker/quotas/{code}")
            gaps.append(f"quota {name!r} is {value:g}, the plan needs {count}; request an increase: {link}")
    if gaps:
        raise QuotasRejected(join(gaps))
    for warning in warnings:
        log.warning(warning)
    kept = [{"name": name, "need": count, "value": known.get(name, (None,))[0]} for name, count in need.items()]
    return kept, warnings


def check_files(dataset: str, files: list[File], tests: list[File], run: Run) -> None:
    """Raises InputRejected, with every problem, for files that a run cannot even begin with."""
    if not files:
        raise InputRejected(
            f"there is no rating file below s3://{cloud.env('UPLOADS')}/{paths.uploads(dataset)}; upload at "
            "least one (CSV or TSV; plain, gzip or zstd), for instance by `aws s3 cp ratings.csv` to there"
        )
    problems = [*name_problems(file.key for file in files), *name_problems(file.key for file in tests)]
    size = sum(file.bytes for file in [*files, *tests])
    # Each byte is less than a row; a row becomes at most a strength of 2 and its negatives, in each draw.
    rows = min(run.encode.max_rows, size * run.encode.draws * (run.encode.negatives + 2))
    if size + rows * RECORD_BYTES > DISK_BYTES:
        problems.append(
            f"{dataset} has {size:,} bytes of rating files and up to {rows:,} training rows of {RECORD_BYTES} "
            f"bytes; the disk of Encode holds {DISK_BYTES:,}; remove files or lower encode.max_rows"
        )
    if problems:
        raise InputRejected(join(problems))


def name_problems(keys: Iterable[str]) -> list[str]:
    """Keys that cannot be file names below one folder."""
    every = list(keys)
    folders = {key.rsplit("/", depth)[0] for key in every for depth in range(1, key.count("/") + 1)}
    problems = []
    for key in every:
        parts = key.split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or any(len(part.encode()) > NAME_BYTES for part in parts):
            problems.append(
                f"{key!r} cannot be a file name; rename it, without `//`, `..` and names over 255 bytes"
            )
        elif key in folders:
            problems.append(f"{key!r} is a file and a folder of other files; rename one")
    return problems
