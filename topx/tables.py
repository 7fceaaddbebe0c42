"""Frames of recordIO-protobuf of one length that differ in their data alone: a table, with a row for each."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from topx.frame import Form
from topx.frames import Damaged, Frames
from topx.pieces import Bytes, Places, flat, items, tally, windows

_MANY = 256  # rows that are worth a table of their own
_SHORT = 64  # bytes of data that are compared, under a mask, rather than cut out

Stream = tuple[Bytes, Places]  # the data of some rows, back to back, and the bytes of each


def tables(frames: Frames, form: Form) -> Iterator[tuple[Places, dict[str, Stream]]]:
    """The rows, and their data, of the lengths of frames that most rows have."""
    rows_in_all = frames.payloads.size
    lengths, counts = tally(frames.payloads)
    many = counts >= max(_MANY, rows_in_all // 16)
    if 2 * counts[many].sum() < rows_in_all:
        return
    sizes = 8 + (lengths + 3) // 4 * 4
    for kind in np.flatnonzero(many).tolist():
        size = int(sizes[kind])
        rows = np.flatnonzero(frames.payloads == lengths[kind])
        if rows.size == rows_in_all:
            table = frames.raw[: frames.end]
        elif (sizes == size).all():
            table = items(frames.raw[: frames.end], size).take(rows).view(np.uint8)
        else:
            table = windows(frames.raw, size)[frames.heads[rows]].view(np.uint8)
        try:
            own, frame = frames.hand(int(rows[rows.size // 2]))
        except Damaged:
            continue
        if frame.form == form and all(len(spans) < 2 for spans in frame.spans.values()):
            cuts = {name: spans[0] if spans else (0, 0) for name, spans in frame.spans.items()}
            alike = _alike(table.reshape(-1, size), np.frombuffer(own, np.uint8), list(cuts.values()))
            some = table.reshape(-1, size) if alike.all() else table.reshape(-1, size)[alike]
            streams = {}
            for name, (begin, end) in cuts.items():
                streams[name] = flat(some[:, begin:end]), np.full(len(some), end - begin)
            yield rows[alike], streams


def _alike(table: Bytes, own: Bytes, cuts: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which rows agree with this one outside the cuts; none where a first look finds many that do not."""
    fixed = np.full(own.size, 255, np.uint8)
    for begin, end in cuts:
        fixed[begin:end] = 0
    if ((table[:: len(table) // 32] ^ own) & fixed).any():
        return np.zeros(len(table), bool)
    bounds = sorted(bound for cut in cuts if cut[1] - cut[0] > _SHORT for bound in cut)
    alike = np.ones(len(table), bool)
    for begin, end in zip([0, *bounds[1::2]], [*bounds[::2], own.size], strict=True):
        if begin == end:
            continue
        part, mine, mask = table[:, begin:end], own[begin:end], fixed[begin:end]
        if end - begin < own.size:
            part = flat(part).reshape(len(table), -1)
        # What all have in common: a byte that is this one's under both `and` and `or` is so in every row.
        tiles = part[: len(part) // 64 * 64].reshape(-1, 64 * (end - begin)).view(np.uint64)
        differ = np.zeros_like(mine)
        for both in (np.bitwise_and, np.bitwise_or):
            of_tiles = both.reduce(tiles, axis=0).view(np.uint8).reshape(64, -1)
            differ |= both(both.reduce(of_tiles, axis=0), both.reduce(part[-64:], axis=0)) ^ mine
        if (differ & mask).any():
            alike &= (((part ^ mine) & mask) == 0).all(axis=1)
    return alike
