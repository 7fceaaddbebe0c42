"""Factors -> the two matrices whose inner product is the FM score up to a term of the user.

With one-hot user u and item i the score is w0 + w_u + w_i + <v_u, v_i>. So the item row is [v_i, w_i], the
user row [v_u, 1], and w0 + w_u, which moves no item of a user's list, is kept aside as the user's offset.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from topx.errors import ArtifactRejected, RunRejected
from topx.factors import load_factors
from topx.plan import Plan
from topx.recordio import write_dense

_LABELS = 1 << 24  # k-NN labels are float32: whole numbers are exact below this


def repackage(input: Path, output: Path) -> dict[str, int]:
    """Counts of what it wrote: `items/`, `users/` and `offsets.parquet` below `output/matrices`.

    Item rows (num_factors + 1) float32, labelled column - U, of the items with a training row; user rows of
    all U users in column order. Raises ArtifactRejected where the artifact does not fit the vocabulary or
    holds numbers that are not finite.
    """
    plan = Plan.read(input)
    table = pq.read_table(input / "encoded" / "items.parquet", columns=["column", "rows"])
    columns, rows = table["column"].to_numpy(), table["rows"].to_numpy()
    factors = load_factors(input / "factors" / "model.tar.gz")
    factors.check()
    features, num_factors = factors.v.shape
    users = features - len(columns)
    if not np.array_equal(columns, np.arange(users, features)):
        raise ArtifactRejected(
            f"factors/model.tar.gz has feature_dim {features:,}; the vocabulary's {len(columns):,} items stand "
            f"in columns {columns[0]:,} to {columns[-1]:,}, so it must be {columns[-1] + 1:,}: this model is "
            "of another vocabulary; start a new run"
        )
    if len(columns) > _LABELS:
        raise RunRejected(
            f"the vocabulary holds {len(columns):,} items; k-NN labels are float32 and tell {_LABELS:,} apart: "
            "upload fewer items"
        )
    matrices = output / "matrices"
    (matrices / "items").mkdir(parents=True, exist_ok=True)
    (matrices / "users").mkdir(exist_ok=True)

    labels = np.flatnonzero(rows > 0)
    size = plan.run.repackage.users_per_shard
    item_shards = _shards(len(labels), -(-len(labels) // size))
    for name, block in item_shards:
        some = labels[block]
        matrix = np.column_stack([factors.v[users + some], factors.w[users + some]])
        with (matrices / "items" / name).open("wb") as file:
            write_dense(file, matrix, some)
    user_shards = _shards(users, max(-(-users // size), plan.run.match_users.instance_count))
    for name, block in user_shards:
        matrix = np.column_stack([factors.v[block], np.ones(block.stop - block.start, np.float32)])
        with (matrices / "users" / name).open("wb") as file:
            write_dense(file, matrix)
    offsets = float(factors.w0) + factors.w[:users].astype(np.float64)
    pq.write_table(pa.table({"offset": offsets}), matrices / "offsets.parquet")
    return {
        "users": users,
        "items": len(columns),
        "indexed_items": len(labels),
        "feature_dim": num_factors + 1,
        "user_shards": len(user_shards),
        "item_shards": len(item_shards),
    }


def _shards(rows: int, count: int) -> list[tuple[str, slice]]:
    """Names and rows of `count` files of nearly equal size; fewer where there are fewer rows."""
    count = min(count, rows)
    edges = [rows * number // max(count, 1) for number in range(count + 1)]
    return [(f"part-{number:05d}.rec", slice(*edges[number : number + 2])) for number in range(count)]
