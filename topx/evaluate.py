"""Judged lists and held-out events -> metrics, the gate's decision and the report.

Metrics are means over the judged users, those with a relevant held-out event, of lists cut at x. With
h_r = 1 where the item at rank r is relevant, and R the count of the user's relevant items:
  nDCG       sum of h_r / log2(r + 1), over that sum of a perfect list
  precision  sum of h_r, over x
  recall     sum of h_r, over R
  MAP        sum of h_r (h_1 + ... + h_r) / r, over R
  MRR        1 / rank of the first hit, 0 without one
Coverage is the share of the catalogue that stands in at least one of the lists.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from topx.certificate import Exactness, certify
from topx.errors import RunRejected
from topx.fields import as_json
from topx.plan import Plan
from topx.report import page

Metrics = dict[str, float]

MODELS = ("model", "popularity", "random")
_EXAMPLES = 3  # users that the page shows
_HISTORY = 12  # items of their history


def evaluate(input: Path, output: Path) -> dict[str, Any]:
    """The gate's decision `{open, reasons, path}`; writes `report.json` and `report.html` at `output`.

    Reads plan, encoded, evaluated, lists and factors below `input`, and `live/report.json` if there is one.
    Raises RunRejected where files contradict each other, ArtifactRejected for weights that are not finite.
    """
    plan = Plan.read(input)
    x = plan.run.rank.x
    summary = json.loads((input / "encoded" / "summary.json").read_text("utf-8"))
    users = pq.read_table(input / "encoded" / "users.parquet", columns=["id", "column", "rows"])
    items = pq.read_table(input / "encoded" / "items.parquet", columns=["id", "rows"])
    held_out = pq.read_table(input / "encoded" / "held_out.parquet", columns=["user_id", "item_id", "relevant"])
    relevant = held_out.filter(held_out["relevant"])
    catalogue = int(np.count_nonzero(items["rows"].to_numpy() > 0))
    lists = pq.read_table(input / "evaluated")
    metrics = judge(lists, relevant, items["id"].combine_chunks(), x=x, catalogue=catalogue)
    judged = len(pc.unique(relevant["user_id"]))
    exactness = certify(input, plan)
    counts = _published(input / "lists")
    checks = gate(plan, judged=judged, metrics=metrics, exactness=exactness, infinite=counts["infinite"])
    live_run, live = _live(input / "live" / "report.json")
    is_open = all(check["passed"] for check in checks)
    reasons = [check["says"] for check in checks if check["passed"] == is_open]
    report = {
        "run_id": plan.run_id,
        "dataset": plan.dataset,
        "stage": plan.stage,
        "started_at": plan.started_at,
        "x": x,
        "accept": plan.accept,
        "gate": {"open": is_open, "reasons": reasons, "checks": checks},
        "metrics": {**(metrics or dict.fromkeys(MODELS)), "live": live},
        "live_run": live_run,
        "judged": {"users": judged, "relevant": relevant.num_rows},
        "exactness": {**asdict(exactness), "passed": exactness.passed},
        "data": {key: value for key, value in summary.items() if key != "encoded"},
        "encoded": {key: value for key, value in summary["encoded"].items() if isinstance(value, int)},
        "lists": counts,
        "examples": _examples(input, users, items, plan.run.encode.seed),
        "settings": as_json(plan.run),
        "warnings": [*plan.warnings, *summary.get("warnings", [])],
        "versions": plan.versions,
    }
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    (output / "report.json").write_text(text + "\n", "utf-8")
    (output / "report.html").write_text(page(report), "utf-8")
    return {"open": is_open, "reasons": reasons, "path": plan.paths.report}


def judge(
    lists: pa.Table, relevant: pa.Table, item_ids: pa.Array, *, x: int, catalogue: int
) -> dict[str, Metrics] | None:
    """Metrics of each model on the same judged users; None where there are no relevant events.

    `lists` are rows of evaluated/*.parquet, `relevant` rows of held_out.parquet; `catalogue` counts the
    items that could be listed. Raises RunRejected for users or items that are in none of them.
    """
    users = pc.unique(relevant["user_id"])
    if not len(users):
        return None
    wanted = np.unique(_keys(relevant, users, item_ids))
    owned = np.bincount(wanted // len(item_ids), minlength=len(users))
    metrics = {}
    for model in MODELS:
        mine = lists.filter(pc.equal(lists["model"], model))
        keys, rank = _keys(mine, users, item_ids), mine["rank"].to_numpy()
        hits = np.zeros((len(users), x), np.bool_)
        hits[keys // len(item_ids), rank - 1] = np.isin(keys, wanted)
        listed = len(np.unique(keys % len(item_ids)))
        metrics[model] = {**_means(hits, owned), "coverage": listed / max(catalogue, 1)}
    return metrics


def gate(
    plan: Plan, *, judged: int, metrics: dict[str, Metrics] | None, exactness: Exactness, infinite: int
) -> list[dict[str, Any]]:
    """Every condition of publication as {name, passed, says}; the gate is open when all have passed.

    Fails closed: what could not be measured has not passed.
    """
    needed, x = plan.run.evaluate.min_users, plan.run.rank.x
    enough = f"{judged:,} users were judged; at least {needed:,} are needed"
    if judged < needed and plan.accept is not None:
        enough += f', which this execution waives: accept is "{plan.accept}"'
    model, popular = (metrics[name]["ndcg"] if metrics else math.nan for name in ("model", "popularity"))
    better = f"nDCG@{x} is {model:.4f} against {popular:.4f} of popularity; it must be above"
    numbers = [value for one in (metrics or {}).values() for value in one.values()]
    wrong = infinite + sum(not math.isfinite(number) for number in numbers)
    exact = (
        f"{exactness.exact:,} of {exactness.users:,} sampled lists equal a ranking of all items by the weights"
    )
    return [
        {"name": "users", "passed": judged >= needed or plan.accept is not None, "says": f"{enough}."},
        {
            "name": "popularity",
            "passed": bool(model > popular),
            "says": f"{better}." if metrics else "Nothing could be judged: no held-out event is relevant.",
        },
        {
            "name": "finite",
            "passed": bool(numbers) and not wrong,
            "says": f"{wrong:,} of the metrics, scores and weights are not finite numbers; none may be.",
        },
        {"name": "exactness", "passed": exactness.passed, "says": f"{exact}; all must."},
    ]


def _means(hits: NDArray[np.bool_], owned: NDArray[np.int64]) -> Metrics:
    """The metrics but coverage: hits (users, x) in rank order, owned (users,) relevant items, 1 or more."""
    x = hits.shape[1]
    discount = 1 / np.log2(np.arange(2, x + 2))
    ideal = np.cumsum(discount)[np.minimum(owned, x) - 1]
    found = np.cumsum(hits, axis=1)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    each = {
        "ndcg": hits @ discount / ideal,
        "precision": found[:, -1] / x,
        "recall": found[:, -1] / owned,
        "map": (hits * found / np.arange(1, x + 1)).sum(axis=1) / owned,
        "mrr": 1 / first,
    }
    return {name: float(values.mean()) for name, values in each.items()}


def _keys(table: pa.Table, users: pa.Array, items: pa.Array) -> NDArray[np.int64]:
    """(rows,) int64, user x items + item, of a table's user_id and item_id; raises RunRejected."""
    user, item = pc.index_in(table["user_id"], users), pc.index_in(table["item_id"], items)
    unknown = [*table["user_id"].filter(pc.is_null(user))[:1], *table["item_id"].filter(pc.is_null(item))[:1]]
    if unknown:
        raise RunRejected(
            f"a judged list or held-out event names {unknown[0]}, which is no judged user or no item of "
            "encoded/items.parquet; evaluated and encoded must be of one run: start a new run"
        )
    return np.asarray(user.to_numpy().astype(np.int64) * len(items) + item.to_numpy())


def _published(folder: Path) -> dict[str, int]:
    """What the published lists hold: entries, and among them popular ones and scores that are not finite."""
    counts = {"entries": 0, "popular": 0, "infinite": 0}
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path, columns=["score", "reason"])
        counts["entries"] += table.num_rows
        counts["popular"] += pc.sum(pc.equal(table["reason"], "popular")).as_py() or 0
        counts["infinite"] += int(np.count_nonzero(~np.isfinite(table["score"].to_numpy())))
    return counts


def _live(path: Path) -> tuple[str | None, Metrics | None]:
    """Run id and the model's metrics of the report of the run that is live; None, None without one."""
    if not path.exists():
        return None, None
    try:
        live = json.loads(path.read_text("utf-8"))
        return live["run_id"], live["metrics"]["model"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunRejected(
            f"live/{path.name} is not a report ({type(error).__name__}: {error}); it must hold run_id and "
            "metrics.model, as Evaluate wrote it: restore that version of the object"
        ) from error


def _examples(input: Path, users: pa.Table, items: pa.Table, seed: int) -> list[dict[str, Any]]:
    """A few seeded users of the model: id, items of their history, how many it holds, their list."""
    known = np.flatnonzero(users["rows"].to_numpy() > 0)
    some = np.random.default_rng(seed).permutation(known)[:_EXAMPLES]
    seen = pq.read_table(input / "encoded" / "seen_all.parquet", filters=pc.field("user").isin(some))
    ids = users["id"].take(pa.array(some)).to_pylist()
    lists = pq.read_table(input / "lists", filters=pc.field("user_id").isin(ids)).sort_by("rank")
    examples = []
    for column, user in zip(some, ids, strict=True):
        history = seen.filter(pc.equal(seen["user"], column))["item"].to_numpy() - len(users)
        mine = lists.filter(pc.equal(lists["user_id"], user)).select(["rank", "item_id", "score", "reason"])
        examples.append(
            {
                "user": user,
                "history": items["id"].take(pa.array(history[:_HISTORY])).to_pylist(),
                "known": len(history),
                "list": mine.to_pylist(),
            }
        )
    return examples
