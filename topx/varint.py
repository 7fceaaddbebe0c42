"""Protobuf's variable-length integers, many at a time: seven bits a byte, the low ones first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 10  # bytes: 64 bits take as many


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
    digits[:, 0] = numbers & 127
    for place in range(1, width):
        rest = numbers >> 7 * place
        digits[:, place] = rest & 127
        used[:, place] = rest > 0
    flat, places = digits.reshape(-1), used.reshape(-1)
    flat[:-1] |= places[1:].view(np.uint8) << np.uint8(7)  # more follows, but for
    digits[:, -1] &= 127
    return flat.take(np.flatnonzero(places))


def decoded(stream: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(numbers, ends): all whole numbers of a stream, and where the bytes of each end.

    They have 32 bits where those are enough, else 64; the largest of 64 bits stands for longer ones.
    """
    last = np.flatnonzero(stream < 128)
    taken = last + 1
    taken[1:] -= taken[:-1].copy()
    most = int(taken.max(initial=0))
    numbers: NDArray[Any] = stream.take(last).astype(np.uint32 if most < 5 else np.uint64)
    digits = stream & np.uint8(127)
    for place in range(1, min(LONGEST, most)):
        longer = (taken > place).view(np.uint8)
        numbers <<= longer * np.uint8(7)
        numbers |= digits.take(last - place, mode="clip") * longer
    if most > LONGEST:
        numbers[taken > LONGEST] = np.iinfo(np.uint64).max
    return numbers, last + 1


def table(stream: NDArray[np.uint8], row: int) -> NDArray[Any] | None:
    """The same numbers, (rows, numbers), in less time; None where not all rows, of so many bytes, end alike."""
    whole = stream < 128
    if not (row and whole[row - 1] and (whole[row:] == whole[:-row]).all()):
        return None
    columns = (stream & np.uint8(127)).reshape(-1, row).T
    ends = [int(last) + 1 for last in np.flatnonzero(whole[:row])]
    begins = [0, *ends[:-1]]
    most = max(end - begin for begin, end in zip(begins, ends, strict=True))
    numbers = np.empty((columns.shape[1], len(ends)), np.uint32 if most < 5 else np.uint64)
    for place, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        number = columns[end - 1].astype(numbers.dtype)
        for digit in columns[begin : end - 1][::-1]:
            number <<= np.uint8(7)
            number |= digit
        numbers[:, place] = number if end - begin <= LONGEST else np.iinfo(np.uint64).max
    return numbers


def short(four: NDArray[np.uint32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(numbers, widths) of the numbers that begin with the lowest byte; a width of 4 stands for more than 3."""
    second = four >> np.uint32(7) & np.uint32(1)
    third = second & four >> np.uint32(15)
    fourth = third & four >> np.uint32(23)
    numbers = (
        (four & 0x7F) | (four >> np.uint32(1) & 0x3F80) * second | (four >> np.uint32(2) & 0x1FC000) * third
    )
    return numbers, 1 + second + third + fourth
