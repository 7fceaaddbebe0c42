"""State Publish: a run's lists -> one immutable table, checked, then live by one conditional write."""

import logging
import re
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from lambdas import _cloud as cloud
from lambdas import _ledger as ledgers
from lambdas import _tables as lists
from topx import paths
from topx.errors import ListsNotReady, ListsRejected, join
from topx.plan import Plan

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 60  # then ListsNotReady: waiting is the state machine's, not a function's
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 5.0
IMPORTS = 3  # of one run's lists: the first, and after failures two more
SAMPLE = 5  # items compared in the first, the middle and the last file
RUN_ID = r"(\d{8}-\d{6}-[0-9a-f]{8})"


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """State Publish. Returns the execution's output: run_id, dataset, published, reasons, report.

    `$.lists.users` says how many lists there are; the table holds one item more, `popular`. Raises
    ListsNotReady while the import runs, ListsRejected when the table does not hold what Rank wrote.
    """
    plan, report = Plan.from_json(event["plan"]), event["report"]
    live = cloud.live(plan.dataset)
    done = live is not None and live.run_id == plan.run_id
    reason = None if done else published(plan, event["lists"]["users"])
    if reason is None:
        record(plan)
        prune(plan)
    log.info("publication", extra={"run_id": plan.run_id, "dataset": plan.dataset, "refused": reason})
    return {
        "run_id": plan.run_id,
        "dataset": plan.dataset,
        "published": reason is None,
        "reasons": [*report["reasons"], *([reason] if reason else [])],
        "report": report["path"],
    }


def published(plan: Plan, users: int) -> str | None:
    """None once the run is live, or why it must not be: a newer run is, or is on its way.

    The dataset is taken again first: a redriven run has lost it when it failed.
    """
    reason = changed(
        plan,
        running=ledgers.Running(
            execution=plan.execution,
            run_id=plan.run_id,
            sequence=plan.sequence,
            lease_until=ledgers.lease_until(plan.run, int(time.time())),
        ),
    )
    if reason:
        return reason
    table = paths.lists_table(plan.stage, plan.dataset, plan.run_id)
    check(plan, table, imported(plan, table)["ImportedItemCount"], users + 1)
    return changed(
        plan,
        live=ledgers.Live(
            run_id=plan.run_id,
            table=table,
            content=plan.content,
            sequence=plan.sequence,
            published_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )


def changed(plan: Plan, **parts: Any) -> str | None:
    """Writes parts of the ledger, as long as nothing newer stands there; else says what does."""
    while True:
        before = cloud.ledger(plan.dataset)
        reason = ledgers.superseded(before, run_id=plan.run_id, sequence=plan.sequence)
        if reason or cloud.swap(before, replace(before, **parts)):
            return reason


def imported(plan: Plan, table: str) -> dict[str, Any]:
    """The result of the completed import of the run's lists, started here unless it was before.

    An import cannot be repeated under the same name: a failed one leaves a table, which goes first. It
    cannot be the live one, since the live run does not come here.
    """
    _, partition, _, region, account, *_ = plan.execution.split(":")
    arn = f"arn:{partition}:dynamodb:{region}:{account}:table/{table}"
    prefix = plan.paths.folder("import")
    until, wait = time.monotonic() + PATIENCE_SECONDS, FIRST_WAIT_SECONDS
    while True:
        imports = lists.imports(arn)
        newest = imports[0] if imports else {"ImportStatus": "NONE"}
        if newest["ImportStatus"] == "COMPLETED":
            return lists.import_result(newest["ImportArn"])
        if newest["ImportStatus"] in {"FAILED", "CANCELLED"}:
            if len(imports) >= IMPORTS:
                result = lists.import_result(newest["ImportArn"])
                raise ListsRejected(
                    f"{len(imports)} imports of {prefix} into {table} failed, the last with "
                    f"{result.get('FailureCode')}: {result.get('FailureMessage')}; the log group "
                    "/aws-dynamodb/imports names the items; the live lists stay, start anew"
                )
            lists.delete_table(table)
        if newest["ImportStatus"] not in {"IN_PROGRESS", "CANCELLING"}:
            lists.import_table(table, prefix, token=f"{plan.run_id}-{len(imports)}")
        if time.monotonic() + wait > until:
            raise ListsNotReady(
                f"the import into {table} is not complete after {PATIENCE_SECONDS} s of waiting "
                f"(status {newest['ImportStatus']}); it goes on, ask again in a few minutes"
            )
        time.sleep(wait)
        wait = min(wait * 1.25, LONGEST_WAIT_SECONDS)


def check(plan: Plan, table: str, count: int, expected: int) -> None:
    """Raises ListsRejected unless the table has as many items as Rank wrote and the sampled ones are equal."""
    keys = cloud.keys(plan.paths.folder("import"))
    wanted = [
        cloud.unpacked(line["Item"])
        for key in dict.fromkeys([*keys[:1], *keys[len(keys) // 2 :][:1], *keys[-1:]])
        for line in lists.first_lines(key, SAMPLE)
    ]
    problems = [f"{count:,} items were imported, Rank wrote {expected:,}"] if count != expected else []
    problems += [
        f"item {one['id']} is not what Rank wrote"
        for one in wanted
        if cloud.item(table, {"id": one["id"]}) != one
    ]
    if cloud.item(table, {"id": "popular"}) is None:
        problems.append("item popular is missing")
    if problems:
        raise ListsRejected(f"table {table} must not go live, start anew: {join(problems)}")


def record(plan: Plan) -> None:
    """Writes published.json from what stands in the ledger, the same however often."""
    live = cloud.live(plan.dataset)
    if live is not None:
        cloud.write_json(plan.paths.published, {"dataset": plan.dataset, **asdict(live)})


def prune(plan: Plan) -> None:
    """Deletes tables and models of this dataset's runs older than the last few published ones.

    A run's model goes before its table: a table that is left is found again after a crash.
    """
    stem = paths.lists_table(plan.stage, plan.dataset, "")
    tables = {
        found[1]: found[0] for name in lists.tables() if (found := re.fullmatch(re.escape(stem) + RUN_ID, name))
    }
    folders = cloud.folders(plan.paths.prefix.removesuffix(f"{plan.run_id}/"))
    runs = {*tables, *(run for run in folders if re.fullmatch(RUN_ID, run))}
    on_record = {run for run in tables if cloud.keys(paths.Paths(plan.dataset, run).published)}
    gone = ledgers.outdated(runs, on_record, plan.run_id, plan.run.publish.keep_runs)
    models = f"topx-{plan.stage}-neighbors-"
    for name in lists.models(models):
        found = re.fullmatch(rf"{models}{RUN_ID}-\d+-\d+", name)
        if found and found[1] in gone:
            lists.delete_model(name)
    for run in sorted(gone & tables.keys()):
        lists.delete_table(tables[run])
    if gone:
        log.info("pruned", extra={"dataset": plan.dataset, "runs": sorted(gone)})
