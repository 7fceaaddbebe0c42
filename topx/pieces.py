"""Pieces of bytes, many at a time: gathered, scattered, and copied from place to place."""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]


def groups(lengths: Places) -> list[Places]:
    """The places of equal lengths, ascending in each group."""
    if not lengths.size:
        return []
    low, high = int(lengths.min()), int(lengths.max())
    if low == high:
        return [np.arange(lengths.size)]
    narrow = (lengths - low).astype(np.uint16) if high - low < 1 << 16 else lengths  # 16 bits: by radix
    order = np.argsort(narrow, kind="stable")
    ordered = narrow[order]
    return np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)


def windows(array: Bytes, length: int) -> NDArray[np.void]:
    """A view of every `length` neighbours as one item, which NumPy copies at once."""
    return np.ndarray((array.size - length + 1,), f"V{length}", array, strides=(1,))


def copy(target: Bytes, to: Places | None, source: Bytes, begins: Places | None, lengths: Places) -> None:
    """Copies pieces of these lengths, all of one length at once; without places they stand back to back."""
    alike = groups(lengths)
    if len(alike) == 1 and (length := int(lengths[0])):
        pieces = source.view(f"V{length}") if begins is None else windows(source, length)[begins]
        if to is None:
            target.view(f"V{length}")[:] = pieces
        else:
            windows(target, length)[to] = pieces
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
