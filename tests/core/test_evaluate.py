"""Metrics by hand, the gate's conditions, and the report that Evaluate leaves."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from small_run import SmallRun, small_run, write_artifact

from topx.certificate import Exactness, certify
from topx.errors import RunRejected
from topx.evaluate import evaluate, gate, judge
from topx.plan import Plan
from topx.rank import rank
from topx.repackage import repackage

BETTER = {name: {"ndcg": value} for name, value in (("model", 0.3), ("popularity", 0.1), ("random", 0.01))}
EXACT = Exactness(users=9, exact=9)


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    return prepared(small_run(tmp_path))


def prepared(run: SmallRun) -> SmallRun:
    repackage(run.folder, run.folder)
    run.answer(14)
    rank(run.folder, run.folder)
    return run


def report(run: SmallRun) -> dict[str, Any]:
    evaluate(run.folder, run.folder)
    made: dict[str, Any] = json.loads((run.folder / "report.json").read_text("utf-8"))
    return made


def relevant(*pairs: str) -> pa.Table:
    return pa.table({"user_id": [pair[0] for pair in pairs], "item_id": [pair[1] for pair in pairs]})


def listed(**lists: str) -> pa.Table:
    """One-letter items of one-letter users, the same lists for all three models."""
    rows = [
        {"user_id": user, "rank": place, "item_id": item, "model": model}
        for model in ("model", "popularity", "random")
        for user, items in lists.items()
        for place, item in enumerate(items, 1)
    ]
    return pa.Table.from_pylist(rows)


def test_metrics_equal_those_worked_out_by_hand() -> None:
    items = pa.array(list("abcdefgh"))
    metrics = judge(listed(u="abcd", v="eacd"), relevant("ua", "uc", "uh", "vc"), items, x=4, catalogue=8)
    assert metrics is not None
    ideal = 1 + 1 / math.log2(3) + 1 / 2  # u has three relevant items
    assert metrics["model"] == pytest.approx(
        {
            "ndcg": ((1 + 1 / 2) / ideal + (1 / 2) / 1) / 2,
            "precision": (2 / 4 + 1 / 4) / 2,
            "recall": (2 / 3 + 1) / 2,
            "map": ((1 + 2 / 3) / 3 + (1 / 3) / 1) / 2,
            "mrr": (1 + 1 / 3) / 2,
            "coverage": 5 / 8,
        }
    )


def test_a_perfect_list_scores_one_even_where_more_is_relevant_than_fits() -> None:
    metrics = judge(listed(u="ab"), relevant("ua", "ub", "uc"), pa.array(list("abc")), x=2, catalogue=3)
    assert metrics is not None
    assert metrics["model"] == pytest.approx(
        {"ndcg": 1, "precision": 1, "recall": 2 / 3, "map": 2 / 3, "mrr": 1, "coverage": 2 / 3}
    )


def test_a_judged_user_without_a_list_counts_as_a_miss() -> None:
    metrics = judge(listed(u="a"), relevant("ua", "va"), pa.array(list("ab")), x=2, catalogue=2)
    assert metrics is not None
    assert metrics["random"]["recall"] == 0.5


def test_lists_of_unknown_users_are_refused() -> None:
    with pytest.raises(RunRejected, match="names w, which is no judged user"):
        judge(listed(u="a", w="a"), relevant("ua"), pa.array(list("ab")), x=2, catalogue=2)


def test_popularity_on_movielens_100k_is_the_published_value() -> None:
    folder = os.environ.get("TOPX_DATA")
    if not folder:
        pytest.skip("TOPX_DATA is unset: it names the folder that holds ml-100k")
    base, test = (np.loadtxt(Path(folder) / "ml-100k" / f"ua.{name}", dtype=int) for name in ("base", "test"))
    liked = test[test[:, 2] >= 4]
    order = np.argsort(-np.bincount(base[base[:, 2] >= 4, 1], minlength=1683), kind="stable")
    lists = {}
    for user in np.unique(liked[:, 0]):
        lists[user] = order[~np.isin(order, base[base[:, 0] == user, 1])][:10]
    rows = [(str(u), place, str(i)) for u, items in lists.items() for place, i in enumerate(items, 1)]
    user, place, item = zip(*rows, strict=True)
    model = {"model": user, "popularity": user, "random": user}
    table = pa.concat_tables(
        pa.table({"user_id": user, "rank": place, "item_id": item, "model": [name] * len(user)})
        for name in model
    )
    events = pa.table({"user_id": liked[:, 0].astype(str), "item_id": liked[:, 1].astype(str)})
    metrics = judge(table, events, pa.array([str(i) for i in range(1683)]), x=10, catalogue=1682)
    assert metrics is not None
    assert len(lists) == 934
    assert metrics["popularity"]["ndcg"] == pytest.approx(0.127, abs=0.0005)


def plan_of(run: SmallRun) -> Plan:
    return Plan.read(run.folder)


def says(checks: list[dict[str, Any]], name: str) -> tuple[bool, str]:
    [check] = [check for check in checks if check["name"] == name]
    return check["passed"], check["says"]


def test_the_gate_opens_when_every_condition_holds(run: SmallRun) -> None:
    checks = gate(plan_of(run), judged=10, metrics=BETTER, exactness=EXACT, infinite=0)
    assert all(check["passed"] for check in checks)
    assert says(checks, "popularity") == (
        True,
        "nDCG@5 is 0.3000 against 0.1000 of popularity; it must be above.",
    )


@pytest.mark.parametrize(
    ("broken", "name", "told"),
    [
        ({"judged": 9}, "users", "9 users were judged; at least 10 are needed."),
        (
            {"metrics": {**BETTER, "model": {"ndcg": 0.1}}},
            "popularity",
            "nDCG@5 is 0.1000 against 0.1000 of popularity",
        ),
        ({"metrics": {**BETTER, "model": {"ndcg": math.nan}}}, "popularity", "nDCG@5 is nan"),
        ({"metrics": {**BETTER, "model": {"ndcg": math.inf}}}, "finite", "1 of the metrics"),
        ({"infinite": 3}, "finite", "3 of the metrics, scores and weights are not finite"),
        ({"metrics": None}, "popularity", "Nothing could be judged"),
        ({"metrics": None}, "finite", "0 of the metrics"),
        ({"exactness": Exactness(users=9, exact=8)}, "exactness", "8 of 9 sampled lists"),
        ({"exactness": Exactness(users=0, exact=0)}, "exactness", "0 of 0 sampled lists"),
    ],
)
def test_the_gate_stays_shut_when_one_does_not(
    run: SmallRun, broken: dict[str, Any], name: str, told: str
) -> None:
    given: dict[str, Any] = {"judged": 10, "metrics": BETTER, "exactness": EXACT, "infinite": 0, **broken}
    passed, text = says(gate(plan_of(run), **given), name)
    assert not passed
    assert text.startswith(told)


def test_too_few_users_can_be_accepted_by_the_executions_input(tmp_path: Path) -> None:
    run = small_run(tmp_path, accept="a pilot with 9 users")
    checks = gate(plan_of(run), judged=9, metrics=BETTER, exactness=EXACT, infinite=0)
    assert says(checks, "users") == (
        True,
        "9 users were judged; at least 10 are needed, which this execution waives: accept is "
        '"a pilot with 9 users".',
    )
    checks = gate(plan_of(run), judged=9, metrics=None, exactness=EXACT, infinite=0)
    assert not all(check["passed"] for check in checks)


def knows(folder: Path, sign: int) -> SmallRun:
    """A run whose factors put each user's held-out item first (1) or last (-1)."""
    run = small_run(folder, num_factors=24)
    run.w[:] = 0
    run.v[:30], run.v[30:] = 0, np.eye(24)
    for row in run.table("encoded/held_out.parquet"):
        run.v[run.user_ids.index(row["user_id"]), run.item_ids.index(row["item_id"])] = sign
    write_artifact(run.folder / "factors" / "model.tar.gz", run.w0, run.w, run.v)
    return prepared(run)


def test_a_model_that_finds_what_was_held_out_opens_the_gate(tmp_path: Path) -> None:
    run = knows(tmp_path, 1)
    answer, made = evaluate(run.folder, run.folder), report(run)
    assert answer == {
        "open": True,
        "reasons": made["gate"]["reasons"],
        "path": "runs/ratings/20260301-120000-0123abcd/report.json",
    }
    assert len(answer["reasons"]) == 4
    assert made["metrics"]["model"]["ndcg"] == made["metrics"]["model"]["mrr"] == 1


def test_a_model_below_popularity_is_refused_with_both_numbers(tmp_path: Path) -> None:
    run = knows(tmp_path, -1)
    answer, made = evaluate(run.folder, run.folder), report(run)
    popularity = made["metrics"]["popularity"]["ndcg"]
    assert answer["open"] is made["gate"]["open"] is False
    assert answer["reasons"] == [f"nDCG@5 is 0.0000 against {popularity:.4f} of popularity; it must be above."]


def test_the_report_holds_the_fields_of_the_contract(run: SmallRun) -> None:
    made = report(run)
    assert (made["run_id"], made["dataset"]) == ("20260301-120000-0123abcd", "ratings")
    for model in ("model", "popularity", "random"):
        assert list(made["metrics"][model]) == ["ndcg", "precision", "recall", "map", "mrr", "coverage"]
    assert made["metrics"]["live"] is None
    assert made["exactness"] == {"users": 29, "exact": 29, "passed": True}
    wanted = {"rows_in": 120, "kept": 100, "merged": 13, "quarantined": 7, "users": 30, "items": 24}
    assert {key: made["data"][key] for key in wanted} == wanted
    assert made["judged"] == {"users": 29, "relevant": 29}
    assert made["lists"] == {"entries": 150, "popular": 5, "infinite": 0}
    assert made["settings"]["rank"] == {"x": 5}
    assert made["warnings"] == ["2 test users are unknown"]


def test_examples_show_history_and_list_of_users_of_the_model(run: SmallRun) -> None:
    examples = report(run)["examples"]
    assert len(examples) == 3
    for example in examples:
        user = run.user_ids.index(example["user"])
        known = [run.item_ids[item] for item in np.flatnonzero(run.seen_all[user])]
        assert (example["history"], example["known"]) == (known[:12], len(known))
        assert [entry["item_id"] for entry in example["list"]] == [
            i for i, _ in run.best(user, run.seen_all, 5)
        ]


def test_the_live_run_stands_beside_it_as_it_was_judged(run: SmallRun) -> None:
    first = report(run)
    (run.folder / "live").mkdir()
    (run.folder / "live" / "report.json").write_text(
        json.dumps({**first, "run_id": "20260101-000000-aaaaaaaa"})
    )
    second = report(run)
    assert second["metrics"]["live"] == first["metrics"]["model"]
    assert second["live_run"] == "20260101-000000-aaaaaaaa"
    (run.folder / "live" / "report.json").write_text("{}")
    with pytest.raises(RunRejected, match=r"live/report.json is not a report \(KeyError"):
        evaluate(run.folder, run.folder)


def test_nothing_to_judge_leaves_a_report_that_refuses(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    path = run.folder / "encoded" / "held_out.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    made = report(prepared(run))
    assert not made["gate"]["open"]
    assert made["metrics"] == {"model": None, "popularity": None, "random": None, "live": None}
    assert "Nothing could be judged: no held-out event is relevant." in made["gate"]["reasons"]


@pytest.mark.parametrize(
    "change",
    [
        {"score": lambda score: pc.add(score, 1e-6)},
        {"score": lambda score: pc.multiply(score, 0)},
        {"item_id": lambda item: pa.array(item.to_pylist()[::-1])},
        {"user_id": lambda user: pa.array(["nobody"] * len(user))},
    ],
)
def test_the_certificate_notices_a_changed_list(run: SmallRun, change: dict[str, Any]) -> None:
    assert certify(run.folder, plan_of(run)) == Exactness(users=29, exact=29)
    path = run.folder / "lists" / "part-00000.parquet"
    table = pq.read_table(path)
    for name, spoil in change.items():
        column = table.schema.names.index(name)
        table = table.set_column(column, name, spoil(table[name]))
    pq.write_table(table, path)
    found = certify(run.folder, plan_of(run))
    assert found.users == 29
    assert found.exact < 29
    assert not found.passed


def test_the_same_input_gives_the_same_bytes(run: SmallRun, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        evaluate(run.folder, tmp_path / name)
    for file in ("report.json", "report.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
