"""Protobuf's variable-length integers, many at a time: seven bits a byte, the low ones first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def widths(numbers: NDArray[Any]) -> NDArray[np.int64]:
    """The bytes that each number (>= 0) takes, (numbers,)."""
    taken = np.ones(numbers.size, np.int64)
    for shift in range(7, int(numbers.max(initial=0)).bit_length(), 7):
        taken += numbers >> shift > 0
    return taken


def encoded(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of all numbers (>= 0), one after the other."""
    width = max(1, -(-int(numbers.max(initial=0)).bit_length() // 7))
    digits = np.empty((numbers.size, width), np.uint8)
    used = np.ones((numbers.size, width), bool)
    for place in range(width):
        rest = numbers >> 7 * place
        digits[:, place] = (rest & 127) | (rest > 127) * np.uint8(128)
        if place:
            used[:, place] = rest > 0
    return digits[used]


def decoded(stream: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.unsignedinteger[Any]]:
    """The numbers whose last bytes stand at `ends`, one after the other, in 32 or 64 bits.

    The largest number of 64 bits stands for any of more than 63.
    """
    taken = np.diff(ends, prepend=-1)
    most = int(taken.max(initial=0))
    dtype: type[np.unsignedinteger[Any]] = np.uint32 if most < 5 else np.uint64
    numbers = stream[ends].astype(dtype)
    for place in range(1, min(9, most)):
        before = stream[ends - place] & 127  # of shorter numbers it is another's, or from the end: not taken
        np.copyto(numbers, numbers << dtype(7) | before, where=taken > place)
    if most > 9:
        numbers[taken > 9] = np.iinfo(np.uint64).max
    return numbers
