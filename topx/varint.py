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


def decoded(stream: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The numbers that end in the stream; 2**64 - 1 stands for any of more than 63 bits."""
    more = stream > 127
    digits = (stream & 127).astype(np.uint64)
    numbers = digits.copy()
    linked = more[:-1]  # the byte before belongs to the same number, then the two before, and so on
    for place in range(1, 10):
        if not linked.any():
            break
        joined = numbers[place:] << np.uint64(7) | digits[:-place]
        numbers[place:] = np.where(linked, joined if place < 9 else np.uint64(2**64 - 1), numbers[place:])
        linked = linked[1:] & more[: -place - 1]
    return numbers[~more]
