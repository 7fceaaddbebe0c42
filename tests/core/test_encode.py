import gzip
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topx.encode import check, encode
from topx.errors import InputRejected, SettingsRejected
from topx.plan import Plan
from topx.ratings import Source
from topx.recordio import read_matrix
from topx.settings import load_run

Files = dict[str, str | bytes]


def lay_out(folder: Path, uploads: Files, tests: Files | None = None, **run: dict[str, Any]) -> Path:
    for noun, files in (("uploads", uploads), ("tests", tests or {})):
        for name, content in files.items():
            path = folder / noun / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    plan = Plan(
        stage="dev",
        dataset="ratings",
        run_id="20260102-030405-00000000",
        execution="arn",
        started_at="2026-01-02T03:04:05Z",
        sequence=1,
        content="0",
        uri="s3://runs/runs/ratings/20260102-030405-00000000",
        run=load_run({"rank": {"x": 1}, "train_factors": {"mini_batch_size": 100}} | run),
    )
    (folder / "plan").mkdir(parents=True)
    (folder / "plan" / "plan.json").write_text(json.dumps(plan.to_json()), "utf-8")
    return folder


def table(rows: list[tuple[Any, ...]], head: str = "user,item,event") -> str:
    return "\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n"


def ids(output: Path) -> list[str]:
    parts = [pq.read_table(output / "encoded" / f"{kind}.parquet").to_pydict() for kind in ("users", "items")]
    assert [column for part in parts for column in part["column"]] == list(
        range(len(parts[0]["id"]) + len(parts[1]["id"]))
    )
    return [one for part in parts for one in part["id"]]


def records(output: Path, channel: str = "train") -> list[tuple[str, str, float]]:
    names, found = ids(output), []
    for path in sorted((output / "encoded" / channel).iterdir()):
        with path.open("rb") as file:
            matrix, labels = read_matrix(file)
        rows = matrix.tocsr()
        assert (rows.data == 1).all()
        assert (np.diff(rows.indptr) == 2).all()
        pairs = rows.indices.reshape(-1, 2)
        found += [(names[u], names[i], float(y)) for (u, i), y in zip(pairs.tolist(), labels, strict=True)]
    return found


def pairs(output: Path, name: str) -> list[tuple[str, str]]:
    names, found = ids(output), pq.read_table(output / "encoded" / f"{name}.parquet").to_pydict()
    keys = list(zip(found["user"], found["item"], strict=True))
    assert keys == sorted(set(keys))
    return [(names[user], names[item]) for user, item in keys]


def held_out(output: Path) -> list[tuple[str, str, int, bool]]:
    found = pq.read_table(output / "encoded" / "held_out.parquet").to_pydict()
    return list(zip(found["user_id"], found["item_id"], found["strength"], found["relevant"], strict=True))


def summary(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "encoded" / "summary.json").read_text("utf-8"))
    for one in [found, *found["files"]]:
        assert one["rows_in"] == one["kept"] + one["merged"] + one["quarantined"]
    return found


def everything(output: Path) -> dict[str, bytes]:
    return {
        path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()
    }


RATED = "user,item,rating,time"


def crowd(users: int = 40, items: int = 30, each: int = 6) -> list[tuple[Any, ...]]:
    dice = np.random.default_rng(2)
    return [
        (f"u{user}", f"i{item}", int(dice.integers(1, 6)), int(dice.integers(10**9, 2 * 10**9)))
        for user in range(users)
        for item in dice.choice(items, each, replace=False)
    ]


def test_positives_stand_as_often_as_their_strength_beside_untouched_items(tmp_path: Path) -> None:
    events = ["bought", "bought", "wished", "wished", "seen", "not-chosen"]
    rows = [
        (f"u{user}", f"i{(user + place) % 60}", event)
        for user in range(50)
        for place, event in enumerate(events)
    ]
    folder = lay_out(
        tmp_path / "in",
        {"a.csv": table(rows)},
        {"t.csv": table([("u0", "i30", "bought"), ("u1", "i31", "seen")])},
        encode={"negatives": 2, "draws": 3},
    )
    found = encode(folder, tmp_path / "out")
    told = records(tmp_path / "out")
    # 50 users x 4 positives x (6 / 4 repeats + 2 negatives) x 3 draws: whole batches, so nothing is filled in
    assert len(told) == found["rows"] == 50 * (6 + 8) * 3
    strength = {"bought": 2, "wished": 1, "seen": 0, "not-chosen": 0}
    assert Counter((u, i) for u, i, label in told if label == 1) == Counter(
        {(u, i): 3 * strength[event] for u, i, event in rows if strength[event]}
    )
    negatives = [(u, i) for u, i, label in told if label == 0]
    assert Counter(u for u, _ in negatives) == Counter({f"u{user}": 3 * 8 for user in range(50)})
    assert not set(negatives) & {(u, i) for u, i, _ in rows}
    assert max(Counter(negatives).values()) <= 3  # distinct within a draw
    assert found["positives"] == 200


@pytest.mark.parametrize("how", ["given", "last", "time"])
def test_training_knows_nothing_of_held_out_pairs_and_all_stand_in_seen_all(tmp_path: Path, how: str) -> None:
    rows = crowd()
    test = rows[::7] if how == "given" else []
    train = [row for row in rows if row not in test]
    cut = {"split": "time", "time_cut": 1.8e9} if how == "time" else {}
    folder = lay_out(
        tmp_path / "in",
        {"a.csv": table(train, RATED)},
        {"t.csv": table(test, RATED)} if test else None,
        encode={"negatives": 100, **cut},
    )
    found = encode(folder, tmp_path / "out")
    held = {(user, item) for user, item, _, _ in held_out(tmp_path / "out")}
    assert len(held) > 30
    told = records(tmp_path / "out")
    assert not held & {(user, item) for user, item, label in told if label == 1}
    assert not held & set(pairs(tmp_path / "out", "seen_train"))
    assert held <= set(pairs(tmp_path / "out", "seen_all"))
    assert set(pairs(tmp_path / "out", "seen_all")) == held | set(pairs(tmp_path / "out", "seen_train"))
    fans: Counter[str] = Counter()
    for user, item, rating, _ in rows:
        fans[item] += (0 if rating < 3 else 1 if rating == 3 else 2) * ((user, item) not in held)
    items = pq.read_table(tmp_path / "out/encoded/items.parquet").to_pydict()
    assert dict(zip(items["id"], items["popularity"], strict=True)) == {one: fans[one] for one in items["id"]}
    # 100 negatives a positive are more than there are: a user with a positive gets every item that train does
    # not have, the held-out ones like any other (were they spared, their absence would give them away)
    known = {(user, item) for user, item, _ in told} | set(pairs(tmp_path / "out", "seen_train"))
    learned = {user for user, _, _ in told}
    assert sum(user in learned for user, _ in known) == len(learned) * found["items"]


def test_users_and_items_without_a_training_row_are_marked_and_not_indexed(tmp_path: Path) -> None:
    rows = [("a", "i", 5), ("a", "j", 4), ("b", "i", 5), ("b", "j", 1), ("cold", "k", 1), ("cold", "i", 2)]
    test = [("a", "k", 5)]
    folder = lay_out(
        tmp_path / "in", {"a.csv": table(rows, "user,item,rating")}, {"t.csv": table(test, "user,item,rating")}
    )
    found = encode(folder, tmp_path / "out")
    users = pq.read_table(tmp_path / "out/encoded/users.parquet").to_pydict()
    items = pq.read_table(tmp_path / "out/encoded/items.parquet").to_pydict()
    named = records(tmp_path / "out")
    assert users["rows"] == [sum(u == user for u, _, _ in named) for user in users["id"]]
    assert items["rows"] == [sum(i == item for _, i, _ in named) for item in items["id"]]
    assert dict(zip(users["id"], users["rows"], strict=True))["cold"] == 0
    assert (found["items"], found["indexed_items"], found["sample_size"]) == (
        3,
        sum(n > 0 for n in items["rows"]),
        256,
    )


def test_the_same_input_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "1", {"a.csv": table(crowd(), RATED) + "u1,,5,1\n"})
    encode(folder, tmp_path / "out")
    encode(folder, tmp_path / "again")
    assert everything(tmp_path / "out") == everything(tmp_path / "again")
    encode(folder, tmp_path / "out")  # over what is there
    assert everything(tmp_path / "out") == everything(tmp_path / "again")
    encode(lay_out(tmp_path / "2", {"a.csv": table(crowd(), RATED)}, encode={"seed": 7}), tmp_path / "other")
    mine, other = everything(tmp_path / "out"), everything(tmp_path / "other")
    assert mine["encoded/train/part-00000.rec"] != other["encoded/train/part-00000.rec"]
    assert mine["encoded/users.parquet"] != other["encoded/users.parquet"]


@settings(deadline=None, max_examples=15)
@given(
    cells=st.lists(
        st.tuples(
            st.sampled_from("abcd"), st.sampled_from("wxyz"), st.integers(1, 5), st.integers(10**9, 10**9 + 3)
        ),
        min_size=1,
        max_size=30,
    ),
    dice=st.randoms(use_true_random=False),
    timed=st.booleans(),
)
def test_order_cut_compression_and_delimiter_of_rows_do_not_change_a_byte(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[Any, ...]], dice: random.Random, timed: bool
) -> None:
    rows = [*cells, ("e", "v", 5, 10**9), ("f", "v", 5, 10**9), ("f", "w", 4, 10**9), ("e", "x", 3, 10**9)]
    head, width = (RATED, 4) if timed else ("user,item,rating", 3)
    rows = [row[:width] for row in rows]
    mixed = list(rows)
    dice.shuffle(mixed)
    half = dice.randrange(1, len(mixed))
    tabs = table(mixed[half:], head).replace(",", "\t").encode()
    found = []
    for files in [
        {"a.csv": table(rows, head)},
        {"b.csv": table(mixed[:half], head), "c.tsv.gz": gzip.compress(tabs)},
    ]:
        folder = tmp_path_factory.mktemp("run")
        encoded = encode(lay_out(folder / "in", files), folder / "out")
        told = summary(folder / "out")
        for key in ("files", "merged", "kept", "quarantined"):
            told.pop(key)
        found.append(
            (encoded, told, {k: v for k, v in everything(folder / "out").items() if "summary" not in k})
        )
    assert found[0] == found[1]


def test_rows_are_filled_with_repeats_to_whole_batches_cut_into_shards_for_all_machines(tmp_path: Path) -> None:
    train = {"mini_batch_size": 100, "instance_count": 3}
    folder = lay_out(
        tmp_path / "in",
        {"a.csv": table(crowd(200, 60), RATED)},
        encode={"shard_bytes": 2**16, "held_out_min": 1},
        train_factors=train,
    )
    found = encode(folder, tmp_path / "out")
    counts = []
    for path in sorted((tmp_path / "out/encoded/train").iterdir()):
        with path.open("rb") as file:
            counts.append(len(read_matrix(file)[1]))
    assert len(counts) % 3 == 0
    assert len(set(counts)) == 1
    assert counts[0] % 100 == 0
    assert sum(counts) == found["rows"]
    assert max(path.stat().st_size for path in (tmp_path / "out/encoded/train").iterdir()) < 1.2 * 2**16
    source = found["factors"]["input_data_config"][0]["DataSource"]["S3DataSource"]
    assert source["S3DataDistributionType"] == "ShardedByS3Key"


def test_the_row_budget_lowers_draws_then_negatives_then_says_so(tmp_path: Path) -> None:
    text = table([(f"u{n % 40}", f"i{n}", "wished") for n in range(400)])
    tests = {"t.csv": table([("u0", "i1", "bought")])}

    def run(name: str, rows: int) -> tuple[dict[str, Any], str, list[str]]:
        folder = lay_out(tmp_path / name, {"a.csv": text}, tests, encode={"max_rows": rows, "negatives": 4})
        found = encode(folder, tmp_path / f"{name} out")
        told = summary(tmp_path / f"{name} out")
        return told["records"], found["factors"]["hyperparameters"]["epochs"], told["warnings"][1:]

    assert run("1", 10_000) == ({"rows": 10_000, "draws": 5, "negatives": 4}, "8", [])
    lowered = "encode.max_rows, 6,000, lowered draws from 5 to 3 and negatives from 4 to 4"
    assert run("2", 6_000) == ({"rows": 6_000, "draws": 3, "negatives": 4}, "13", [lowered])
    lowered = "encode.max_rows, 1,300, lowered draws from 5 to 1 and negatives from 4 to 2"
    assert run("3", 1_300) == ({"rows": 1_200, "draws": 1, "negatives": 2}, "40", [lowered])
    text = table([(f"u{n % 40}", f"i{n}", "wished") for n in range(600)])
    records, epochs, warnings = run("4", 1_000)
    assert (records, epochs) == ({"rows": 1_200, "draws": 1, "negatives": 1}, "40")
    assert warnings == [
        "1,200 training rows with one draw and one negative are more than encode.max_rows, 1,000; "
        "raise it, or upload less"
    ]


def test_the_jobs_get_complete_hyperparameters_and_channels_as_text(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "in", {"a.csv": table(crowd(), RATED)}, train_factors={"factors_lr": 0.005})
    found = encode(folder, tmp_path / "out")
    assert found["factors"]["hyperparameters"] == {
        "feature_dim": "70",
        "num_factors": "64",
        "predictor_type": "binary_classifier",
        "epochs": "8",
        "mini_batch_size": "1000",
        "bias_lr": "0.1",
        "bias_wd": "0.01",
        "bias_init_method": "normal",
        "bias_init_sigma": "0.01",
        "linear_lr": "0.001",
        "linear_wd": "1e-05",
        "linear_init_method": "normal",
        "linear_init_sigma": "0.01",
        "factors_lr": "0.005",
        "factors_wd": "3e-05",
        "factors_init_method": "normal",
        "factors_init_sigma": "0.01",
    }
    assert found["factors"]["input_data_config"] == [
        {
            "ChannelName": "train",
            "ContentType": "application/x-recordio-protobuf",
            "CompressionType": "None",
            "RecordWrapperType": "None",
            "InputMode": "File",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": "s3://runs/runs/ratings/20260102-030405-00000000/encoded/train/",
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
        }
    ]
    assert found["neighbors"]["hyperparameters"] == {
        "feature_dim": "65",
        "k": "7",
        "sample_size": "256",
        "predictor_type": "classifier",
        "index_type": "faiss.Flat",
        "index_metric": "INNER_PRODUCT",
        "mini_batch_size": "5000",
    }
    uri = found["neighbors"]["input_data_config"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    assert uri == "s3://runs/runs/ratings/20260102-030405-00000000/matrices/items/"
    assert (found["k"], found["users"], found["items"], found["held_out_users"]) == (7, 40, 30, 38)


def test_labels_and_rows_stay_in_step_where_the_articles_counter_did_not(tmp_path: Path) -> None:
    """The original article advanced its row counter for low ratings only, so labels slid away from rows."""
    rows = [(user, item, [5, 1, 4, 3, 2][int(item[1:]) % 5]) for user, item, _, _ in crowd(50, 40, 20)]
    test = [row for row in rows if row[1] in ("i7", "i8")]
    train = [row for row in rows if row not in test] + [("u0", "i7", 4), ("u0", "i8", 2)]
    head = "user,item,rating"
    test = [row for row in test if row[0] != "u0"]
    folder = lay_out(
        tmp_path / "in",
        {"a.csv": table(train, head)},
        {"t.csv": table(test, head)},
        encode={"recipe": "classic"},
    )
    found = encode(folder, tmp_path / "out")
    told = records(tmp_path / "out")
    assert {(u, i): label for u, i, label in told} == {(u, i): float(r >= 4) for u, i, r in train}
    assert set(told) == {(u, i, float(r >= 4)) for u, i, r in train}
    assert (
        len(told) - len(train) == -len(train) % 1000
    )  # each pair once, but for the repeats that fill the batch
    assert Counter(records(tmp_path / "out", "test")) == Counter((u, i, float(r >= 4)) for u, i, r in test)
    parameters = found["factors"]["hyperparameters"]
    assert {
        name: parameters[name]
        for name in ("epochs", "factors_lr", "factors_wd", "linear_wd", "factors_init_sigma")
    } == {
        "epochs": "100",
        "factors_lr": "0.0001",
        "factors_wd": "1e-05",
        "linear_wd": "0.001",
        "factors_init_sigma": "0.001",
    }
    assert [one["ChannelName"] for one in found["factors"]["input_data_config"]] == ["train", "test"]


def test_regression_keeps_values_and_needs_them(tmp_path: Path) -> None:
    rows = [(user, item, rating / 2) for user, item, rating, _ in crowd()]
    folder = lay_out(
        tmp_path / "in", {"a.csv": table(rows, "user,item,rating")}, encode={"recipe": "regression"}
    )
    found = encode(folder, tmp_path / "out")
    told = set(records(tmp_path / "out")) | set(records(tmp_path / "out", "test"))
    assert told == set(rows)
    assert found["factors"]["hyperparameters"]["predictor_type"] == "regressor"
    assert found["factors"]["hyperparameters"]["epochs"] == "100"
    bare = lay_out(tmp_path / "bare", {"a.csv": "user,item\na,i\nb,j\n"}, encode={"recipe": "regression"})
    with pytest.raises(SettingsRejected, match=r"encode.recipe is `regression`, which learns numbers"):
        encode(bare, tmp_path / "no")


def test_nothing_is_lost_and_unknown_test_rows_are_kept_aside(tmp_path: Path) -> None:
    train = table(crowd(), RATED) + "u1,,5,1\n" + "u0,i0,5,1\nu0,i0,4,1\n" * 3
    test = f"{RATED}\nu1,i999,5,1\nnew,i1,5,1\n" + "".join(f"u{n},i{n % 30},5,1\n" for n in range(40))
    folder = lay_out(tmp_path / "in", {"sub/a.csv": train, "_SUCCESS": ""}, {"t.csv": test})
    encode(folder, tmp_path / "out")
    told = summary(tmp_path / "out")
    assert told["reasons"] == {"item": 1, "unknown": 2}
    assert told["rows_in"] == 40 * 6 + 7 + 42
    assert told["ignored"] == ["_SUCCESS"]
    seen = {(user, item) for user, item, _, _ in crowd()} | {("u0", "i0")}
    first, second = told["files"]
    assert (first["name"], first["role"], first["kept"]) == ("sub/a.csv", "training", len(seen))
    assert (second["name"], second["role"]) == ("t.csv", "test")
    assert second["merged"] == sum((f"u{n}", f"i{n % 30}") in seen for n in range(40))
    assert told["warnings"][0].startswith("2 test rows name a user or an item that stands in no training row")
    folder = tmp_path / "out/encoded/quarantine"
    assert sorted(os.listdir(folder)) == ["sub%2Fa.csv.jsonl", "tests+t.csv.jsonl"]  # noqa: PTH208
    assert (folder / "tests+t.csv.jsonl").read_text() == (
        '{"file": "t.csv", "line": 2, "reason": "unknown", "text": "u1,i999,5,1"}\n'
        '{"file": "t.csv", "line": 3, "reason": "unknown", "text": "new,i1,5,1"}\n'
    )


def test_a_check_says_what_a_run_would_do_and_writes_nothing(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "in", {"a.csv": table(crowd(), RATED) + "u1,,5,1\n"})
    before = everything(tmp_path)
    plan = Plan.read(folder)
    told = check([Source("a.csv", folder / "uploads" / "a.csv")], plan.run)
    assert everything(tmp_path) == before
    encode(folder, tmp_path / "out")
    full = summary(tmp_path / "out")
    assert {name: full[name] for name in told} == told
    assert set(full) - set(told) == {"records", "encoded"}
    assert told["values"] == [
        {"value": float(level), "rows": sum(rating == level for _, _, rating, _ in crowd())}
        for level in range(1, 6)
    ]


@pytest.mark.parametrize(
    ("uploads", "run", "error", "message"),
    [
        ({}, {}, InputRejected, "uploads/ratings/ holds no rating file; upload CSV or TSV"),
        ({"_SUCCESS": ""}, {}, InputRejected, r"holds no rating file \(ignored: _SUCCESS\)"),
        ({"a.csv": ""}, {}, InputRejected, "a.csv: it is empty"),
        ({"a.csv": "user,item\nu,i\nu,j\n"}, {}, InputRejected, "hold one user only, `u`"),
        (
            {"a.csv": "user,item\nu,i\nv,j\n"},
            {"rank": {"x": 3}},
            SettingsRejected,
            "rank.x is 3, but the training rows hold 2 items; choose 1 to 2",
        ),
        (
            {"a.csv": table(crowd(), RATED)},
            {"data": {"threshold": 6}},
            SettingsRejected,
            "data.threshold is 6, but the highest value is 5",
        ),
        (
            {"a.csv": table([("u", "i", "seen"), ("v", "j", "seen")])},
            {},
            InputRejected,
            "no row is a positive: the events and their strengths are `seen` 0",
        ),
    ],
)
def test_impossible_input_is_refused_with_what_to_do(
    tmp_path: Path, uploads: Files, run: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        encode(lay_out(tmp_path / "in", uploads, **run), tmp_path / "out")


def test_a_test_file_of_unknown_users_is_refused(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "in", {"a.csv": "user,item\nu,i\nv,j\n"}, {"t.csv": "user,item\nw,i\n"})
    with pytest.raises(InputRejected, match="none of its 1 pairs can be judged: 1 have a user or an item"):
        encode(folder, tmp_path / "out")


def test_movielens_gives_the_known_users_and_relevant_rows(tmp_path: Path) -> None:
    if "TOPX_DATA" not in os.environ:
        pytest.skip("TOPX_DATA is unset; it names the folder that holds ml-100k")
    data = Path(os.environ["TOPX_DATA"]) / "ml-100k"
    files = {noun: {f"ua.{noun}": (data / f"ua.{noun}").read_bytes()} for noun in ("base", "test")}
    folder = lay_out(tmp_path / "in", files["base"], files["test"], encode={"draws": 1, "negatives": 1})
    encode(folder, tmp_path / "out")
    told = summary(tmp_path / "out")
    assert (told["rows_in"], told["kept"], told["merged"], told["quarantined"]) == (100_000, 99_998, 0, 2)
    assert (told["users"], told["items"], told["positives"]) == (943, 1680, 74_627)
    # 5,469 relevant rows in ua.test, one of them of an item that ua.base does not know
    assert told["held_out"] == {"pairs": 9428, "users": 943, "relevant": 5468, "judged_users": 934}
