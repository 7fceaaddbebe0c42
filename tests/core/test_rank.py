"""Matches -> lists: whatever the index answers, a list is the brute-force ranking of the unseen items."""

import gzip
import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_run import SmallRun, small_run, write_artifact, write_lines

from topx.errors import RunRejected
from topx.rank import rank
from topx.repackage import repackage

Entry = tuple[str, float]


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    return ranked(small_run(tmp_path), nearest=14)


def ranked(run: SmallRun, nearest: int) -> SmallRun:
    repackage(run.folder, run.folder)
    run.answer(nearest)
    rank(run.folder, run.folder)
    return run


def lists(run: SmallRun, noun: str = "lists", model: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """Rows of each user's list, by rank."""
    found = defaultdict(list)
    for row in run.table(noun):
        if model in (None, row.get("model")):
            found[row["user_id"]].append(row)
    return {user: sorted(rows, key=lambda row: row["rank"]) for user, rows in found.items()}


def entries(rows: list[dict[str, Any]]) -> list[Entry]:
    return [(row["item_id"], pytest.approx(row["score"], abs=1e-9)) for row in rows]


def test_every_published_list_is_the_brute_force_ranking(run: SmallRun) -> None:
    made = lists(run)
    assert list(made) == run.user_ids
    for user, name in enumerate(run.user_ids):
        assert entries(made[name]) == run.best(user, run.seen_all, 5)
        assert [row["rank"] for row in made[name]] == [1, 2, 3, 4, 5]
        assert {row["reason"] for row in made[name]} == {"popular" if user == 4 else "factors"}


def test_judged_lists_may_hold_the_held_out_item_published_ones_never(run: SmallRun) -> None:
    held_out = {row["user_id"]: row["item_id"] for row in run.table("encoded/held_out.parquet")}
    judged = lists(run, "evaluated", "model")
    assert set(judged) == set(held_out)
    for user, name in enumerate(run.user_ids):
        if name in held_out:
            assert entries(judged[name]) == run.best(user, run.seen_train, 5)
    assert any(held_out[user] in {row["item_id"] for row in rows} for user, rows in judged.items())
    assert not any(held_out.get(user) in {row["item_id"] for row in rows} for user, rows in lists(run).items())


def test_popularity_and_random_are_judged_on_the_same_users_without_their_train_items(run: SmallRun) -> None:
    by_positives = sorted(np.flatnonzero(run.item_rows), key=lambda item: (-run.popularity[item], item))
    for model in ("popularity", "random"):
        judged = lists(run, "evaluated", model)
        assert set(judged) == set(lists(run, "evaluated", "model"))
        for user, name in enumerate(run.user_ids):
            items = [run.item_ids.index(row["item_id"]) for row in judged.get(name, [])]
            assert len(set(items)) == len(items)
            assert not any(run.seen_train[user, item] for item in items)
            if items and model == "popularity":
                assert items == [item for item in by_positives if not run.seen_train[user, item]][:5]
    rows = [row for row in run.table("evaluated") if row["model"] == "random"]
    assert len({row["item_id"] for row in rows}) == int((run.item_rows > 0).sum())
    assert {(row["reason"], row["score"]) for row in rows} == {("random", 0.0)}


@pytest.mark.parametrize("nearest", [1, 3, 5, 9, 23])
def test_lists_do_not_depend_on_how_many_items_the_index_names(tmp_path: Path, nearest: int) -> None:
    few = ranked(small_run(tmp_path / "few"), nearest=nearest)
    all_ = ranked(small_run(tmp_path / "all"), nearest=23)
    for noun in ("lists", "import", "evaluated"):
        for path in (all_.folder / noun).iterdir():
            assert (few.folder / noun / path.name).read_bytes() == path.read_bytes()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    users=st.integers(1, 12),
    items=st.integers(2, 15),
    nearest=st.integers(1, 15),
    x=st.integers(1, 17),
    seen_share=st.floats(0, 1),
    seed=st.integers(0, 2**16),
    equal=st.booleans(),
)
def test_any_shape_gives_the_brute_force_ranking(
    tmp_path: Path, users: int, items: int, nearest: int, x: int, seen_share: float, seed: int, equal: bool
) -> None:
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    run = small_run(
        folder,
        users=users,
        items=items,
        seed=seed,
        seen_share=seen_share,
        cold_users=(0,) if users > 3 else (),
        cold_items=(1,),
        v=np.zeros((users + items, 2)) if equal else None,
        run={"rank": {"x": x}, "repackage": {"users_per_shard": 5}},
    )
    ranked(run, nearest=min(nearest, items - 1))
    made = lists(run)
    for user, name in enumerate(run.user_ids):
        assert entries(made.get(name, [])) == run.best(user, run.seen_all, x)


def test_equal_scores_go_to_the_lower_column(tmp_path: Path) -> None:
    run = small_run(tmp_path, v=np.zeros((54, 3)))
    run.w[:] = 0
    write_artifact(run.folder / "factors" / "model.tar.gz", run.w0, run.w, run.v)
    for nearest in (5, 23):
        made = lists(ranked(run, nearest))
        for user in np.flatnonzero(run.user_rows):
            free = np.flatnonzero(run.item_rows * ~run.seen_all[user])
            assert [row["item_id"] for row in made[run.user_ids[user]]] == [run.item_ids[i] for i in free[:5]]


def test_a_user_who_has_seen_almost_everything_gets_what_is_left(tmp_path: Path) -> None:
    run = small_run(tmp_path, seen_share=0.9)
    ranked(run, nearest=14)
    left = (~run.seen_all & (run.item_rows > 0)).sum(axis=1)
    assert (left < 5).any()
    made = lists(run)
    assert [len(made.get(name, [])) for name in run.user_ids] == np.minimum(left, 5).tolist()


def test_a_users_import_line_is_their_list(run: SmallRun) -> None:
    lines = import_lines(run.folder)
    assert set(lines) == {f"user:{name}" for name in run.user_ids} | {"popular"}
    for name, rows in lists(run).items():
        assert lines[f"user:{name}"] == [(row["item_id"], row["score"], row["reason"]) for row in rows]
    popular = sorted(np.flatnonzero(run.item_rows), key=lambda item: (-run.popularity[item], item))[:5]
    assert lines["popular"] == [(run.item_ids[i], float(run.popularity[i]), "popular") for i in popular]


def import_lines(folder: Path) -> dict[str, list[tuple[str, float, str]]]:
    found: dict[str, list[tuple[str, float, str]]] = {}
    for path in sorted((folder / "import").glob("part-*.json.gz")):
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            item = json.loads(line)["Item"]
            assert set(item) == {"id", "items"}
            assert item["id"]["S"] not in found
            found[item["id"]["S"]] = [
                (one["M"]["item_id"]["S"], float(one["M"]["score"]["N"]), one["M"]["reason"]["S"])
                for one in item["items"]["L"]
            ]
    return found


def test_the_columns_are_those_of_the_contract(run: SmallRun) -> None:
    schema = pq.read_schema(run.folder / "lists" / "part-00000.parquet")
    columns = {"user_id": pa.string(), "rank": pa.int32(), "item_id": pa.string(), "score": pa.float64()}
    assert dict(zip(schema.names, schema.types, strict=True)) == {**columns, "reason": pa.string()}
    evaluated = pq.read_schema(run.folder / "evaluated" / "part-00000.parquet")
    assert evaluated.names == [*schema.names, "model"]


def test_the_same_input_gives_the_same_bytes(run: SmallRun, tmp_path: Path) -> None:
    rank(run.folder, tmp_path / "again")
    files = [path for noun in ("lists", "import", "evaluated") for path in (run.folder / noun).iterdir()]
    assert len(files) == 4
    for path in files:
        assert (tmp_path / "again" / path.relative_to(run.folder)).read_bytes() == path.read_bytes()


def test_the_summary_counts_what_was_written(tmp_path: Path) -> None:
    run = small_run(tmp_path, run={"rank": {"x": 5}, "repackage": {"users_per_shard": 20}})
    repackage(run.folder, run.folder)
    run.answer(5)
    summary = rank(run.folder, run.folder)
    refilled = summary.pop("refilled")
    assert 0 < refilled < 30
    expected = {"users": 30, "judged_users": 29, "x": 5, "entries": 150, "popular": 1, "short": 0, "parts": 2}
    assert summary == expected


def test_no_held_out_user_is_no_judged_list(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    path = run.folder / "encoded" / "held_out.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert rank_after(run)["judged_users"] == 0
    assert run.table("evaluated") == []


def rank_after(run: SmallRun) -> dict[str, int]:
    repackage(run.folder, run.folder)
    run.answer(10)
    return rank(run.folder, run.folder)


def answers(change: Callable[[list[Any]], Any]) -> Callable[[SmallRun], None]:
    def spoil(run: SmallRun) -> None:
        path = run.folder / "matches" / "part-00000.rec.out"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        change(lines)
        write_lines(path, lines)

    return spoil


def label(value: float) -> Callable[[SmallRun], None]:
    return answers(lambda lines: lines[7]["labels"].__setitem__(2, value))


def text(content: str) -> Callable[[SmallRun], None]:
    return lambda run: (run.folder / "matches" / "part-00000.rec.out").write_text(content) and None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (answers(lambda lines: lines.pop()), r"part-00000.rec.out holds 29 answers for 30 user rows"),
        (
            answers(lambda lines: lines.append(lines[0])),
            r"part-00000.rec.out holds 31 answers for 30 user rows",
        ),
        (text(""), r"holds 0 answers for 30 user rows"),
        (text("upstream error\n"), r"part-00000.rec.out is not JSON lines after line 0"),
        (answers(lambda lines: lines[7]["labels"].pop()), r"line 8 names 9 items; 10 are expected"),
        (answers(lambda lines: lines[7].pop("labels")), r"line 8 names 0 items; 10 are expected.*verbose=true"),
        (label(0.5), r"line 8 names item 0.5"),
        (label(24), r"line 8 names item 24; allowed.*below 24"),
        (label(-1), r"line 8 names item -1"),
        (label(float("nan")), r"line 8 names item nan"),
        (label(2), r"line 8 names item 2;"),  # not indexed: it has no training row
        (answers(lambda lines: lines[7].update(labels=lines[7]["labels"][:9] * 2)), r"line 8 names 18 items"),
        (answers(lambda lines: lines[7]["labels"].__setitem__(0, lines[7]["labels"][9])), r"line 8.*twice"),
        (
            lambda run: (run.folder / "matches" / "part-00000.rec.out").unlink(),
            r"part-00000.rec.out is missing",
        ),
        (lambda run: write_lines(run.folder / "matches" / "old.rec.out", []), r"old.rec.out answers no file"),
    ],
)
def test_answers_that_do_not_fit_the_users_are_refused(
    tmp_path: Path, spoil: Callable[[SmallRun], None], message: str
) -> None:
    run = small_run(tmp_path)
    repackage(run.folder, run.folder)
    run.answer(10)
    spoil(run)
    with pytest.raises(RunRejected, match=message):
        rank(run.folder, run.folder)


def test_an_index_that_misses_items_is_noticed(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    repackage(run.folder, run.folder)
    run.answer(23)  # ascending: its first ten are the worst, as L2 or a sampled index would answer
    answers(lambda lines: [line.update(labels=line["labels"][:10]) for line in lines])(run)
    summary = json.loads((run.folder / "encoded" / "summary.json").read_text())
    summary["encoded"]["k"] = 10
    (run.folder / "encoded" / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(RunRejected, match=r"line 1 leaves out item .* faiss.Flat, INNER_PRODUCT"):
        rank(run.folder, run.folder)


def test_seen_pairs_out_of_order_are_refused(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    path = run.folder / "encoded" / "seen_all.parquet"
    pq.write_table(pq.read_table(path).take(pa.array([1, 0])), path)
    with pytest.raises(RunRejected, match=r"seen_all.parquet .* out of order or repeated; allowed are sorted"):
        rank_after(run)


def test_matrices_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    run, other = small_run(tmp_path / "one"), small_run(tmp_path / "two", users=31, cold_items=(3,))
    for each in (run, other):
        repackage(each.folder, each.folder)
        each.answer(10)
    shutil.copytree(other.folder / "matrices" / "users", run.folder / "matrices" / "users", dirs_exist_ok=True)
    with pytest.raises(RunRejected, match=r"matrices/users holds 31 rows .* 30 users"):
        rank(run.folder, run.folder)
    shutil.copytree(other.folder / "matrices" / "items", run.folder / "matrices" / "items", dirs_exist_ok=True)
    with pytest.raises(RunRejected, match=r"matrices/items holds 23 labelled items"):
        rank(run.folder, run.folder)
