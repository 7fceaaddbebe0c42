"""What the k-NN batch transform answers: for each row of a user matrix, its nearest items.

One JSON line per row, `{"predicted_label": ..., "distances": [...], "labels": [...]}`. Only the labels are
read, and of these only which they are: neither their order nor the float32 distances are trusted.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json as pj
from numpy.typing import NDArray

from topx.errors import RunRejected

_SCHEMA = pa.schema([("labels", pa.list_(pa.float32()))])
_BLOCK = 4 * 2**20  # bytes parsed at once


def match_files(matches: Path, shards: list[Path]) -> list[Path]:
    """The answer of each user matrix file, in its order; raises RunRejected where one misses or is extra."""
    expected = {f"{shard.name}.out" for shard in shards}
    found = {path.name for path in matches.glob("*.out")}
    wrong = [f"matches/{name} is missing" for name in sorted(expected - found)]
    wrong += [f"matches/{name} answers no file of matrices/users" for name in sorted(found - expected)]
    if wrong or not shards:
        told = "; ".join(wrong[:5]) or "matrices/users holds no file"
        raise RunRejected(f"{told}; {len(shards)} answers are expected, {len(found)} found: start a new run")
    return [matches / f"{shard.name}.out" for shard in shards]


def read_matches(
    path: Path, *, rows: int, nearest: int, position: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Blocks of (some rows, nearest) int64: item matrix rows, ascending in each row; all blocks cover `rows`.

    `nearest` is how many items each line must name. `position` (items,) gives the item matrix row of a
    label, -1 where the item is not indexed. Raises RunRejected for another count of lines or items and for
    labels that are no whole numbers, unknown or repeated; the message names file and line.
    """
    done = 0
    for labels in _labels(path, nearest):
        if done + len(labels) > rows:
            break
        yield _rows_of(labels, position, path, done)
        done += len(labels)
    else:
        if done == rows:
            return
    with path.open("rb") as file:
        count = sum(1 for line in file if line.strip())
    raise RunRejected(
        f"matches/{path.name} holds {count:,} answers for {rows:,} user rows; "
        "each row must have one: MatchUsers did not finish or read another run's file: start a new run"
    )


def _labels(path: Path, nearest: int) -> Iterator[NDArray[np.float32]]:
    """Blocks of (some rows, nearest) float32 labels as written."""
    if not path.stat().st_size:
        return
    done = 0
    try:
        blocks = pj.open_json(
            path,
            read_options=pj.ReadOptions(block_size=_BLOCK),
            parse_options=pj.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="ignore"),
        )
        for block in blocks:
            column = block.column("labels")
            lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
            if (wrong := np.flatnonzero(lengths != nearest)).size:
                raise RunRejected(
                    f"matches/{path.name} line {done + wrong[0] + 1:,} names {lengths[wrong[0]]:,} items; "
                    f"{nearest:,} are expected: the transform must answer `verbose=true`, with this run's k"
                )
            yield column.flatten().to_numpy(zero_copy_only=False).reshape(-1, nearest)
            done += len(block)
    except pa.ArrowInvalid as error:
        raise RunRejected(
            f"matches/{path.name} is not JSON lines after line {done:,} ({error}); "
            "MatchUsers must accept `application/jsonlines; verbose=true`: start a new run"
        ) from error


def _rows_of(
    labels: NDArray[np.float32], position: NDArray[np.int64], path: Path, done: int
) -> NDArray[np.int64]:
    """The labels as ascending item matrix rows, each checked."""
    known = (labels >= 0) & (labels < len(position))  # False for NaN
    whole = np.where(known, labels, 0).astype(np.int64)
    items = np.where(known & (whole == labels), position[whole], -1)
    if (wrong := np.argwhere(items < 0)).size:
        row, place = wrong[0]
        raise RunRejected(
            f"matches/{path.name} line {done + row + 1:,} names item {labels[row, place]:g}; allowed are the "
            f"labels of matrices/items, whole numbers below {len(position):,}: the index is of another run"
        )
    items.sort(axis=1)
    if (wrong := np.argwhere(items[:, 1:] == items[:, :-1])).size:
        row, place = wrong[0]
        raise RunRejected(
            f"matches/{path.name} line {done + row + 1:,} names item "
            f"{np.flatnonzero(position == items[row, place])[0]} twice; "
            "each item may stand in the index once: the index was built from repeated files"
        )
    return items
