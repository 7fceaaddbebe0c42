"""A run small enough to check by brute force: one folder with what Preflight, Encode and the jobs leave."""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from topx.plan import Plan
from topx.recordio import read_matrix
from topx.settings import load_run


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallRun:
    folder: Path
    user_ids: list[str]
    item_ids: list[str]
    w0: np.float32
    w: np.ndarray
    v: np.ndarray
    seen_train: np.ndarray  # (users, items) bool
    seen_all: np.ndarray
    user_rows: np.ndarray
    item_rows: np.ndarray
    popularity: np.ndarray

    def scores(self) -> np.ndarray:
        """(users, items) float64 by the FM formula."""
        users = len(self.user_ids)
        v, w = self.v.astype(np.float64), self.w.astype(np.float64)
        return float(self.w0) + w[:users, None] + w[None, users:] + v[:users] @ v[users:].T

    def best(self, user: int, seen: np.ndarray, x: int) -> list[tuple[str, float]]:
        """The list of one user by sorting everything: by score, then column; popularity for a cold one."""
        cold = self.user_rows[user] == 0
        scores = self.popularity.astype(float) if cold else self.scores()[user]
        free = [i for i in range(len(self.item_ids)) if self.item_rows[i] > 0 and not seen[user, i]]
        return [(self.item_ids[i], scores[i]) for i in sorted(free, key=lambda i: (-scores[i], i))[:x]]

    def answer(self, nearest: int) -> None:
        """What the transform answers: float32, the `nearest` items ascending, best last."""
        summary = json.loads((self.folder / "encoded" / "summary.json").read_text())
        summary["encoded"]["k"] = nearest
        (self.folder / "encoded" / "summary.json").write_text(json.dumps(summary))
        parts = [read_matrix(path.read_bytes()) for path in sorted(self.folder.glob("matrices/items/*.rec"))]
        items = np.concatenate([matrix for matrix, _ in parts])
        labels = np.concatenate([column for _, column in parts])
        (self.folder / "matches").mkdir(exist_ok=True)
        for path in sorted(self.folder.glob("matrices/users/*.rec")):
            distances = read_matrix(path.read_bytes())[0] @ items.T
            order = np.argsort(distances, axis=1)[:, -nearest:]
            lines = [
                {
                    "predicted_label": float(labels[row[-1]]),
                    "distances": distance[row].tolist(),
                    "labels": labels[row].tolist(),
                }
                for row, distance in zip(order, distances, strict=True)
            ]
            write_lines(self.folder / "matches" / f"{path.name}.out", lines)

    def table(self, noun: str) -> list[dict[str, Any]]:
        """All rows of a folder of Parquet files."""
        rows: list[dict[str, Any]] = pq.read_table(self.folder / noun).to_pylist()
        return rows


def write_lines(path: Path, lines: list[Any]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def small_run(
    folder: Path,
    *,
    users: int = 30,
    items: int = 24,
    num_factors: int = 3,
    seed: int = 7,
    cold_users: tuple[int, ...] = (4,),
    cold_items: tuple[int, ...] = (2,),
    seen_share: float = 0.25,
    v: np.ndarray | None = None,
    run: Mapping[str, Any] | None = None,
    accept: str | None = None,
) -> SmallRun:
    """Writes plan, encoded and factors; every warm user has one relevant held-out item."""
    rng = np.random.default_rng(seed)
    seen_train = rng.random((users, items)) < seen_share
    seen_train[:, list(cold_items)] = False
    item_rows = np.where(np.isin(np.arange(items), cold_items), 0, 5)
    user_rows = np.where(np.isin(np.arange(users), cold_users), 0, 5)
    popularity = np.where(item_rows > 0, (seen_train & (user_rows > 0)[:, None]).sum(axis=0), 0)
    held_out = {
        int(user): int(rng.choice(free))
        for user in np.flatnonzero(user_rows)
        if len(free := np.flatnonzero(~seen_train[user] & (item_rows > 0)))
    }
    seen_all = seen_train.copy()
    for user, item in held_out.items():
        seen_all[user, item] = True
    made = SmallRun(
        folder=folder,
        user_ids=[f'u"{user:03d}' for user in range(users)],
        item_ids=[f"책 <b>{item:03d}" for item in range(items)],
        w0=np.float32(rng.normal()),
        w=rng.normal(size=users + items).astype(np.float32),
        v=rng.normal(size=(users + items, num_factors)).astype(np.float32)
        if v is None
        else v.astype(np.float32),
        seen_train=seen_train,
        seen_all=seen_all,
        user_rows=user_rows,
        item_rows=item_rows,
        popularity=popularity,
    )
    for noun in ("plan", "encoded", "factors"):
        (folder / noun).mkdir(parents=True)
    plan = Plan(
        stage="dev",
        dataset="ratings",
        run_id="20260301-120000-0123abcd",
        execution="arn:aws:states:eu-central-1:123456789012:execution:topx:one",
        started_at="2026-03-01T12:00:00Z",
        sequence=1,
        content="0" * 64,
        uri="s3://runs/runs/ratings/20260301-120000-0123abcd",
        run=load_run(run or {"rank": {"x": 5}, "evaluate": {"min_users": 10}}),
        accept=accept,
    )
    (folder / "plan" / "plan.json").write_text(json.dumps(plan.to_json()))
    _write_encoded(made, held_out)
    write_artifact(folder / "factors" / "model.tar.gz", made.w0, made.w, made.v)
    return made


def _write_encoded(run: SmallRun, held_out: dict[int, int]) -> None:
    encoded, users, items = run.folder / "encoded", len(run.user_ids), len(run.item_ids)
    tables = {
        "users": {"id": run.user_ids, "column": np.arange(users), "rows": run.user_rows},
        "items": {
            "id": run.item_ids,
            "column": users + np.arange(items),
            "rows": run.item_rows,
            "popularity": run.popularity,
        },
        "held_out": {
            "user_id": pa.array([run.user_ids[user] for user in held_out], pa.string()),
            "item_id": pa.array([run.item_ids[item] for item in held_out.values()], pa.string()),
            "strength": np.ones(len(held_out), np.int64),
            "relevant": np.ones(len(held_out), np.bool_),
        },
    }
    for name, seen in (("seen_train", run.seen_train), ("seen_all", run.seen_all)):
        user, item = np.nonzero(seen)
        tables[name] = {"user": user.astype(np.int32), "item": (users + item).astype(np.int32)}
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), encoded / f"{name}.parquet")
    summary = {
        "rows_in": 120,
        "kept": 100,
        "merged": 13,
        "quarantined": 7,
        "reasons": {"no item": 4, "value is not a number": 3},
        "users": users,
        "items": items,
        "density": 0.25,
        "scale": "ratings from 1 to 5",
        "split": "the last positive of 29 sampled users",
        "time_span": {"first": "2026-01-01T00:00:00+00:00", "last": "2026-02-28T12:00:00+00:00"},
        "files": [{"name": "ratings.csv", "rows_in": 120, "kept": 100, "merged": 13, "quarantined": 7}],
        "warnings": ["2 test users are unknown"],
        "encoded": {
            "users": users,
            "items": items,
            "indexed_items": int((run.item_rows > 0).sum()),
            "feature_dim": users + items,
            "rows": 4000,
            "positives": int(run.popularity.sum()),
            "held_out_users": len(held_out),
            "k": 10,
            "sample_size": 256,
        },
    }
    (encoded / "summary.json").write_text(json.dumps(summary))


def write_artifact(path: Path, w0: np.float32, w: np.ndarray, v: np.ndarray) -> None:
    """A model.tar.gz laid out as the managed FM writes it, its arrays dense."""
    arrays = {"arg:w1_weight": w[:, None], "arg:w0_weight": np.array([w0]), "arg:v": v}
    params = struct.pack("<3Q", 0x112, 0, len(arrays))
    for array in arrays.values():
        params += struct.pack("<Iii", 0xF993FAC9, 0, array.ndim) + struct.pack(f"<{array.ndim}q", *array.shape)
        params += struct.pack("<3i", 1, 0, 0) + array.astype("<f4").tobytes()
    params += struct.pack("<Q", len(arrays))
    for name in arrays:
        params += struct.pack("<Q", len(name)) + name.encode()
    training = {
        "feature_dim": str(len(w)),
        "num_factors": str(v.shape[1]),
        "predictor_type": "binary_classifier",
    }
    meta = {"version": "1.0", "epoch_number": 1, "training_parameters": training, "label_names": ["out_label"]}
    symbol = {
        "nodes": [
            {"op": "null", "name": name} for name in ("data", "w1_weight", "w0_weight", "v", "out_label")
        ],
        "arg_nodes": [0, 1, 2, 3, 4],
        "attrs": {"mxnet_version": ["int", 10301]},
    }
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("meta.json", json.dumps(meta))
        archive.writestr("symbol.json", json.dumps(symbol))
        archive.writestr("params", params)
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("model_algo-1")
        member.size = len(inner.getvalue())
        tar.addfile(member, io.BytesIO(inner.getvalue()))
