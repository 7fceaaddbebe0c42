"""Protobuf's variable-length integers, many at a time: seven bits a byte, the low ones first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 10  # bytes: 64 bits take as many


def widths(numbers: NDArray[Any]) -> NDArray[np.int64]:
    """The bytes that each number (>= 0) takes, (numbers,)."""
    taken = np.ones(numbers.size, np.uint8)
    for shift in range(7, int(numbers.max(initial=0)).bit_length(), 7):
        taken += (numbers >> shift > 0).view(np.uint8)
    return taken.astype(np.int64)


def encoded(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of all numbers (>= 0), one after the other."""
    width = max(1, -(-int(numbers.max(initial=0)).bit_length() // 7))
    digits = np.empty((numbers.size, width), np.uint8)
    used = np.ones((numbers.size, width), bool)
    digits[:, 0] = numbers & 127
    for place in range(1, width):
        rest = numbers >> 7 * place
        digits[:, place] = rest & 127
        used[:, place] = rest > 0
    flat, places = digits.reshape(-1), used.reshape(-1)
    flat[:-1] |= places[1:].view(np.uint8) << np.uint8(7)  # more follows, but after the last
    digits[:, -1] &= 127
    return flat.take(np.flatnonzero(places))


def decoded(stream: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(numbers, begins): all whole numbers of a stream, (numbers,), and where each and what is left begin.

    They have 32 bits where those are enough, else 64; the largest of 64 bits stands for longer ones.
    """
    last = np.flatnonzero(stream < 0x80)
    begins = np.zeros(last.size + 1, np.int64)
    np.add(last, 1, out=begins[1:])
    first = begins[:-1]
    digits = stream.take(first)
    numbers: NDArray[Any] = (digits & np.uint8(0x7F)).astype(np.uint32)
    more = digits >> np.uint8(7)
    for place in range(1, LONGEST):
        if not more.any():
            return numbers, begins
        if place == 4:
            numbers = numbers.astype(np.uint64)
        digits = stream[place:].take(first, mode="clip")
        digit = (digits & np.uint8(0x7F)) * more
        numbers |= digit.astype(numbers.dtype) << numbers.dtype.type(7 * place)
        more &= digits >> np.uint8(7)
    numbers[more > 0] = np.iinfo(np.uint64).max
    return numbers, begins


def short(four: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """(numbers, widths) of the numbers that begin with the lowest byte; a width of 4 stands for more than 3."""
    if not np.bitwise_or.reduce(four) & 0x80:
        return single(four, 1), np.ones_like(four)
    second = four >> np.uint32(7) & np.uint32(1)
    third = second & four >> np.uint32(15)
    fourth = third & four >> np.uint32(23)
    numbers = single(four, 1)
    numbers |= (four >> np.uint32(1) & np.uint32(0x3F80)) * second
    numbers |= (four >> np.uint32(2) & np.uint32(0x1FC000)) * third
    return numbers, np.uint32(1) + second + third + fourth


def single(four: NDArray[np.uint32], width: int) -> NDArray[np.uint32]:
    """The numbers, all of this width (1 to 4), that begin with the lowest byte."""
    numbers = four & np.uint32(0x7F)
    for place in range(1, width):
        numbers |= four >> np.uint32(place) & np.uint32(0x7F << 7 * place)
    return numbers
