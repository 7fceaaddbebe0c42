"""Pairs in columns -> training records: which rows there are, how often, in what order, in which file.

A record is one number, (user x items + item) x labels + place of its label: 8 bytes for a row, so that a
file of the whole row budget is put together and shuffled within a function's memory.
"""

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from topx.negatives import Untouched
from topx.recordio import write_sparse
from topx.settings import Encode

Longs = NDArray[np.int64]
_ROWS = 1_000_000  # rows taken apart at a time: bounds memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How records are numbered: `users` and `items` of the vocabulary, `labels` (labels,) float32."""

    users: int
    items: int
    labels: NDArray[np.float32]

    def codes(self, keys: Longs, label: Longs) -> Longs:
        """The records of these pairs, user x items + item, with these places of labels."""
        return keys * len(self.labels) + label

    def parts(self, codes: Longs) -> tuple[Longs, Longs, Longs]:
        """(user, item from 0, place of the label) of each record."""
        pair, label = np.divmod(codes, len(self.labels))
        user, item = np.divmod(pair, self.items)
        return user, item, label


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many draws and negatives fit the row budget; `rows` that makes."""

    draws: int
    negatives: int
    rows: int


def budget(encode: Encode, repeats: int, positives: Longs, free: Longs) -> Budget:
    """Lowers draws to 1, then negatives to 1, until the rows fit `encode.max_rows`.

    `repeats` is the sum of strengths, `positives` and `free` (users,) count a user's distinct positives
    and untouched items. What does not fit even then is returned all the same.
    """
    tries = [(draws, encode.negatives) for draws in range(encode.draws, 0, -1)]
    tries += [(1, negatives) for negatives in range(encode.negatives - 1, 0, -1)]
    for draws, negatives in tries:
        rows = draws * (repeats + int(np.minimum(negatives * positives, free).sum()))
        found = Budget(draws=draws, negatives=negatives, rows=rows)
        if rows <= encode.max_rows:
            break
    return found


def with_negatives(
    shape: Shape,
    keys: Longs,
    strength: Longs,
    untouched: Untouched,
    plan: Budget,
    rows: int,
    random: np.random.Generator,
) -> Longs:
    """Each pair as often as its strength with label 1, and negatives with label 0, in each draw.

    `keys` (positives,) are user x items + item. The array has room for `rows`, of which plan.rows are set.
    """
    want = np.minimum(plan.negatives * np.bincount(keys // shape.items, minlength=shape.users), untouched.free)
    likes = np.repeat(shape.codes(keys, np.ones_like(keys)), strength)
    codes = np.empty(rows, np.int64)
    for draw in np.split(codes[: plan.rows], plan.draws):
        draw[: len(likes)] = likes
        draw[len(likes) :] = untouched.draw(want, random) * len(shape.labels)
    return codes


def shard_sizes(shape: Shape, rows: int, batch: int, shard_bytes: int, instances: int) -> list[int]:
    """Rows of each shard, whole batches: about `shard_bytes` each, their number a multiple of `instances`.

    Their sum is the next multiple of `batch` that is not below `rows`; with several instances each gets
    equally many batches.
    """
    one, last = io.BytesIO(), np.array([shape.users * shape.items * len(shape.labels) - 1])
    _append(one, shape, last)
    batches = -(-rows // batch)
    shards = min(max(1, -(-rows * one.tell() // shard_bytes)), batches)
    shards = -(-shards // instances) * instances
    if instances > 1:
        batches = -(-batches // shards) * shards
    return [batch * (batches * (n + 1) // shards - batches * n // shards) for n in range(shards)]


def shuffle(codes: Longs, rows: int, random: np.random.Generator) -> None:
    """Fills the room behind the first `rows` records with seeded repeats of them, and shuffles all."""
    missing = len(codes) - rows
    codes[rows:] = codes[random.choice(rows, missing, replace=missing > rows)]
    random.shuffle(codes)


def write_shards(folder: Path, shape: Shape, codes: Longs, sizes: list[int]) -> tuple[Longs, Longs]:
    """Writes part-NNNNN.rec files; returns how many records name each user and each item."""
    folder.mkdir(parents=True)
    users, items = np.zeros(shape.users, np.int64), np.zeros(shape.items, np.int64)
    edges = np.cumsum([0, *sizes]).tolist()
    for number, (first, stop) in enumerate(pairwise(edges)):
        with (folder / f"part-{number:05d}.rec").open("wb") as file:
            for start in range(first, stop, _ROWS):
                user, item = _append(file, shape, codes[start : min(start + _ROWS, stop)])
                users += np.bincount(user, minlength=shape.users)
                items += np.bincount(item, minlength=shape.items)
    return users, items


def _append(file: BinaryIO, shape: Shape, codes: Longs) -> tuple[Longs, Longs]:
    """Writes records as two ones, at the user's and at the item's column; returns users and items."""
    user, item, label = shape.parts(codes)
    columns = np.stack((user, item + shape.users), axis=1).ravel()
    ends = np.arange(0, len(columns) + 1, 2)
    width = shape.users + shape.items
    matrix = sparse.csr_array((np.ones(len(columns), np.float32), columns, ends), shape=(len(codes), width))
    write_sparse(file, matrix, shape.labels[label])
    return user, item
