"""State Evaluate: judged lists and held-out events -> the report and the gate's decision."""

import logging
from typing import Any

from lambdas import _cloud as cloud
from lambdas import _files as files
from topx.evaluate import evaluate
from topx.paths import Paths
from topx.plan import Plan

log = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """State Evaluate. Returns `$.report`.

    The report of the live run, when there still is one, is laid beside as `live/report.json`.
    """
    plan = Plan.from_json(event["plan"])
    artifact = event["factors"]["artifact"].removeprefix(f"{plan.uri}/")
    live = cloud.live(plan.dataset)
    with files.workspace() as (given, made):
        files.fetch_run(plan, given, [*files.ENCODED, "evaluated/", "lists/"])
        beside = [(given / "factors" / "model.tar.gz", plan.paths.prefix + artifact, None)]
        if live:
            report = Paths(plan.dataset, live.run_id).report
            beside += [(given / "live" / "report.json", key, None) for key in cloud.keys(report)]
        files.fetch(cloud.env("RUNS"), beside)
        summary = evaluate(given, made)
        files.send(made, plan.paths.prefix)
    log.info("evaluated", extra={"run_id": plan.run_id, "summary": summary})
    return summary
