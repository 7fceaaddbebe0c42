"""Pieces of bytes, many at a time: gathered, scattered, and copied from place to place."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

_FEW = 8  # lengths next to each other that are looked for one by one
_SHORT = 96  # bytes of pieces, on average, that are gathered number by number
_TILE = 64  # rows that are compared at once
_NEAR = 1 << 16  # the range of codes that is worth a table


def keep_at_hand() -> None:
    """Has the C library keep pieces of up to 32 MB that are freed, for the next that are asked for.

    The GNU library gives larger ones than any that was freed before back to the system, which clears the pages
    anew each time: with pieces of megabytes that takes as long as what is done with them. 32 MB is its limit.
    """
    np.empty((1 << 25) - (1 << 13), np.uint8)


def groups(lengths: Places) -> list[Places]:
    """The places of equal lengths, ascending in each group."""
    if not lengths.size:
        return []
    low, high = int(lengths.min()), int(lengths.max())
    if low == high:
        return [np.arange(lengths.size)]
    if high - low < _FEW:
        each = (np.flatnonzero(lengths == length) for length in range(low, high + 1))
        return [places for places in each if places.size]
    narrow = (lengths - low).astype(np.uint16) if high - low < 1 << 16 else lengths  # 16 bits: by radix
    order = np.argsort(narrow, kind="stable")
    ordered = narrow[order]
    return np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)


def windows(array: Bytes, length: int) -> NDArray[np.void]:
    """A view of every `length` neighbours as one item, which NumPy copies at once."""
    return np.ndarray((array.size - length + 1,), f"V{length}", array, strides=(1,))


def items(array: Bytes, length: int) -> NDArray[Any]:
    """A view of pieces of this length that fill the array, each one item."""
    return array.view(f"u{length}" if length in {1, 2, 4, 8} else f"V{length}")


def flat(table: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """The rows of a table, each of which stands together, back to back; copied, into out if given."""
    target = np.empty(table.size, table.dtype) if out is None else out
    if table.ndim < 2 or not table.size:
        target[:] = table.reshape(-1)
    else:
        row = f"V{table.shape[1] * table.itemsize}"
        target.view(row)[:] = table.view(row)[:, 0]
    return target


def copy(target: Bytes, to: Places | None, source: Bytes, begins: Places | None, lengths: Places) -> None:
    """Copies pieces of these lengths, all of one length at once; without places they stand back to back."""
    alike = groups(lengths)
    if len(alike) == 1 and (length := int(lengths[0])):
        pieces = items(source, length) if begins is None else windows(source, length)[begins]
        if to is None:
            target.view(pieces.dtype)[:] = pieces
        else:
            windows(target, length)[to] = pieces.view(f"V{length}")
        return
    offsets = np.cumsum(lengths) - lengths
    to, begins = offsets if to is None else to, offsets if begins is None else begins
    if 50 * len(alike) > lengths.size:  # so many lengths that piece by piece takes less time
        into, out_of = target.data, source.data
        for start, begin, length in zip(to.tolist(), begins.tolist(), lengths.tolist(), strict=True):
            into[start : start + length] = out_of[begin : begin + length]
        return
    for rows in alike:
        if length := int(lengths[rows[0]]):
            windows(target, length)[to[rows]] = windows(source, length)[begins[rows]]


def stray(table: Bytes, own: Bytes, fixed: Bytes) -> int | None:
    """The first place where not all rows, (rows, bytes), have the own byte under the mask fixed."""
    if len(table) < _TILE:
        differ = np.bitwise_or.reduce(table ^ own, axis=0)
    else:
        tile = np.tile(own, _TILE)
        tiles = table[: len(table) // _TILE * _TILE].reshape(-1, tile.size)
        of_tiles = np.bitwise_or.reduce(tiles.view(np.uint64) ^ tile.view(np.uint64), axis=0).view(np.uint8)
        of_tiles |= table[-_TILE:].reshape(-1) ^ tile
        differ = np.bitwise_or.reduce(of_tiles.reshape(_TILE, -1), axis=0)
    wrong = np.flatnonzero(differ & fixed)
    return int(wrong[0]) if wrong.size else None


def gathered(source: Bytes, begins: Places, lengths: Places) -> Bytes:
    """These pieces, back to back."""
    total = int(lengths.sum())
    if total >= _SHORT * lengths.size or (lengths == lengths[0]).all():
        stream = np.empty(total, np.uint8)
        copy(stream, None, source, begins, lengths)
        return stream
    shift = int(begins[0]) & 3
    if not (np.bitwise_or.reduce(begins ^ shift) | np.bitwise_or.reduce(lengths)) & 3:  # whole words
        source = source[shift : shift + (source.size - shift) // 4 * 4].view("<u4")
        begins, lengths = begins >> 2, lengths >> 2
    places = np.repeat(begins - np.cumsum(lengths) + lengths, lengths)
    places += np.arange(places.size)
    return source.take(places).view(np.uint8)


def distinct(codes: Places) -> tuple[Places, Places]:
    """(values, which): the distinct codes (at least one), ascending, and for each code its place there."""
    values, _ = tally(codes)
    if values[-1] - values[0] >= _NEAR:
        return values, np.searchsorted(values, codes)
    places = np.empty(values[-1] - values[0] + 1, np.int64)
    places[values - values[0]] = np.arange(values.size)
    return values, places[codes - values[0]]


def tally(codes: Places) -> tuple[Places, Places]:
    """(values, counts): the distinct codes (at least one), ascending, and how often each is there."""
    low = codes.min()
    if codes.max() - low >= _NEAR:
        values, counts = np.unique(codes, return_counts=True)
        return values, counts
    counts = np.bincount(codes - low)
    present = np.flatnonzero(counts)
    return present + low, counts[present]
