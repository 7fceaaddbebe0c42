"""State Rank: matches, matrices and seen lists -> every user's list."""

import logging
from typing import Any

from lambdas import _files as files
from topx.plan import Plan
from topx.rank import rank

log = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """State Rank. Returns `$.lists`."""
    plan = Plan.from_json(event["plan"])
    with files.workspace() as (given, made):
        files.fetch_run(plan, given, [*files.ENCODED, "matrices/", "matches/"])
        summary = rank(given, made)
        files.send(made, plan.paths.prefix)
    log.info("ranked", extra={"run_id": plan.run_id, "summary": summary})
    return summary
