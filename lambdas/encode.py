"""State Encode: rating files -> training records."""

import logging
from typing import Any

from lambdas import _cloud as cloud
from lambdas import _files as files
from topx import paths
from topx.encode import encode
from topx.plan import Plan

log = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """State Encode. Reads each file in the version that plan.json names; returns `$.encoded`."""
    slim = Plan.from_json(event["plan"])
    with files.workspace() as (given, made):
        files.fetch_run(slim, given, [])
        plan = Plan.read(given)
        below = {"uploads": (plan.files, paths.uploads), "tests": (plan.tests, paths.tests)}
        files.fetch(
            cloud.env("UPLOADS"),
            [
                (given / noun / one.key.removeprefix(prefix(plan.dataset)), one.key, one.version)
                for noun, (pinned, prefix) in below.items()
                for one in pinned
            ],
        )
        summary = encode(given, made)
        files.send(made, plan.paths.prefix)
    log.info("encoded", extra={"run_id": plan.run_id, "summary": summary})
    return summary
