"""Lists as arrays, and the two forms they are written in: Parquet rows and DynamoDB's import lines."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from topx.seen import blocks

_BYTES = 256  # of one entry as text, about: bounds memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """One list of at most x items for each of n users, best first.

    users (n,) int64 columns; items (n, x) int64 rows of the catalogue, -1 behind the end of a list; scores
    (n, x) float64; popular (n,) bool: whether this is the popularity list, not the model's.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    scores: NDArray[np.float64]
    popular: NDArray[np.bool_]

    @classmethod
    def empty(cls, users: NDArray[np.int64], x: int, *, popular: NDArray[np.bool_]) -> Self:
        """Lists without an entry."""
        shape = (len(users), x)
        return cls(users=users, items=np.full(shape, -1, np.int64), scores=np.zeros(shape), popular=popular)

    def table(self, user_ids: pa.Array, item_ids: pa.Array) -> pa.Table:
        """A row per entry: user_id, rank (int32, from 1), item_id, score, reason (`factors`, `popular`)."""
        row, place = np.nonzero(self.items >= 0)
        return pa.table(
            {
                "user_id": user_ids.take(pa.array(self.users[row])),
                "rank": pa.array(place + 1, pa.int32()),
                "item_id": item_ids.take(pa.array(self.items[row, place])),
                "score": self.scores[row, place],
                "reason": _reasons(self.popular[row]),
            }
        )


def write_import(path: Path, keys: Sequence[str], lists: Lists, item_ids: Sequence[str]) -> None:
    """Writes lists as gzip DYNAMODB_JSON, a line per list: its `id`, from `keys`, and its `items`, best first.

    The gzip header holds no name and no time: the same lists give the same bytes.
    """
    names = pa.array([json.dumps(item, ensure_ascii=False) for item in item_ids], pa.string())
    heads = [f'{{"Item":{{"id":{{"S":{json.dumps(key, ensure_ascii=False)}}},"items":{{"L":[' for key in keys]
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as file:
        for block in blocks(len(keys), _BYTES * lists.items.shape[1]):
            bodies = _bodies(lists.items[block], lists.scores[block], lists.popular[block], names)
            lines = (f"{head}{body}]}}}}}}\n" for head, body in zip(heads[block], bodies, strict=True))
            file.write("".join(lines).encode())


def _bodies(
    items: NDArray[np.int64], scores: NDArray[np.float64], popular: NDArray[np.bool_], names: pa.Array
) -> list[str]:
    """The inside of each list's `L`; Arrow writes a float as the shortest text that reads back the same."""
    row, place = np.nonzero(items >= 0)
    entries = pc.binary_join_element_wise(
        '{"M":{"item_id":{"S":',
        names.take(pa.array(items[row, place])),
        '},"score":{"N":"',
        pa.array(scores[row, place]).cast(pa.string()),
        '"},"reason":{"S":"',
        _reasons(popular[row]),
        '"}}}',
        "",
    )
    starts = pa.array(np.searchsorted(row, np.arange(len(items) + 1)), pa.int32())
    joined: list[str] = pc.binary_join(pa.ListArray.from_arrays(starts, entries), ",").to_pylist()
    return joined


def _reasons(popular: NDArray[np.bool_]) -> Any:
    return pa.array(["factors", "popular"]).take(pa.array(popular.astype(np.int8)))
