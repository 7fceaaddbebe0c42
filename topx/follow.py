"""Frames of recordIO-protobuf of any lengths, followed field by field, all at the same time.

Their fields stand in the order of their numbers and are as long as the payload says: as protobuf writes them.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from topx import varint
from topx.frame import DTYPES, INT32, Form
from topx.frames import Frames
from topx.kinds import label_head, shape_field
from topx.pieces import Bytes, Places, flat, gathered, stray, windows

_NAME = b"\x0a\x06values"
_SHORTEST = 14  # bytes of a payload without values, shape and label
_LONGEST = (1 << 21) - 1  # of one whose fields have lengths of three bytes at most
_HEAD = 34  # bytes from a frame's head up to its values, at most
_PADDING = np.array([0, 0xFF000000, 0xFFFF0000, 0xFFFFFF00], np.uint32)  # of a last word, by its bytes

_Flags = NDArray[np.bool_]
_Fields = list[tuple[int, int]]  # bytes of a length, and what this is less than the payload's


def followed(
    frames: Frames, rows: Places, form: Form, label: int
) -> tuple[Places, dict[str, tuple[Bytes, Places]]]:
    """(rows, data) of those of the rows that can be followed, where labels take so many bytes.

    Data are the "values", "keys" and "label" of these rows, back to back, and the bytes of each.
    """
    raw, shape = frames.raw, shape_field(form.shape)
    tail = shape + (b"" if form.label is None else label_head(form.label, label) + bytes(label))
    least = _SHORTEST + len(tail)
    heads, payloads = frames.heads[rows], frames.payloads[rows]
    fit = (payloads >= least) & (payloads <= _LONGEST) & (heads <= raw.size - _HEAD)
    if not fit.all():
        rows, heads, payloads = rows[fit], heads[fit], payloads[fit]
    stops = heads + 8 + payloads
    begins = {"values": heads.copy(), "keys": heads.copy()}
    lengths = {"values": 0 * heads, "keys": 0 * heads}
    words = raw[: raw.size // 4 * 4].view("<u4")
    sure = words.take((stops - 1) >> 2) & _PADDING.take(-payloads & 3) == 0
    tails = np.empty((rows.size, 0), np.uint8)
    if tail:
        tails = _table(raw, stops - len(tail), len(tail))
        sure &= _alike(tails, tail, [(len(tail) - label, len(tail))])
    for some, fields in _layouts(payloads, len(tail) - len(shape)):
        good, table = _headed(raw, heads[some], payloads[some], fields, form.tensor)
        full = payloads[some] > least
        stop = stops[some] - len(tail)
        size, width = varint.short(table[:, -4:].view("<u4")[:, 0])
        size *= full
        at = heads[some] + (4 + table.shape[1]) + width
        good &= ((table[:, -5] == 0x0A) & (width < 4)) | ~full
        if form.tensor != INT32:
            good &= size % np.uint32(DTYPES[form.tensor].itemsize) == 0
        begins["values"][some], lengths["values"][some] = at, size
        at += size
        if form.shape is not None:
            np.minimum(at, stop - 1, out=at)
            four = _table(raw, at, 4).view("<u4")[:, 0]
            size, width = varint.short(four >> np.uint32(8))
            size *= full
            at += 1 + width
            good &= ((four & np.uint32(0xFF) == 0x12) & (width < 4)) | ~full
            begins["keys"][some], lengths["keys"][some] = at, size
            at += size
        good &= (at == stop) | ~full
        sure[some] &= good
    labels = tails[:, len(tail) - label :]
    if not sure.all():
        rows, labels = rows[sure], labels[sure]
        begins, lengths = ({name: each[sure] for name, each in both.items()} for both in (begins, lengths))
    data = {name: (gathered(raw, begins[name], sizes), sizes) for name, sizes in lengths.items()}
    return rows, data | {"label": (flat(labels), np.full(rows.size, label))}


def _layouts(payloads: Places, after: int) -> Iterator[tuple[slice | Places, _Fields]]:
    """(rows, fields): for entry, value and tensor; after: bytes of a payload that follow the entry."""
    first, most = int(payloads.min(initial=_LONGEST)), int(payloads.max(initial=0))
    every = first, most
    while first <= most:
        size, last, fields = first - after, most, []
        for skipped in (0, len(_NAME), 0):
            size -= skipped
            width = 1 if size <= 1 + 0x7F + 1 else 2 if size <= 1 + 0x3FFF + 2 else 3
            last = min(last, first + width + 128**width - size)
            size -= 1 + width
            fields.append((width, first - size))
        if (first, last) == every:
            yield slice(None), fields
        elif (some := np.flatnonzero((payloads >= first) & (payloads <= last))).size:
            yield some, fields
        first = last + 1


def _headed(raw: Bytes, heads: Places, payloads: Places, fields: _Fields, tensor: int) -> tuple[_Flags, Bytes]:
    """(which begin with these fields, their bytes without a head's and with tag and length of the values)."""
    own, free = b"", []
    for tag, (width, _), name in zip((0x0A, 0x12, tensor << 3 | 2), fields, (_NAME, b"", b""), strict=True):
        free.append((len(own) + 1, len(own) + 1 + width))
        own += bytes([tag]) + bytes(width) + name
    table = _table(raw, heads + 8, len(own) + 5)
    good = _alike(table, own + bytes(5), [*free, (len(own), len(own) + 5)])
    for (_, less), (begin, end) in zip(fields, free, strict=True):
        size = payloads.astype(np.uint32) - np.uint32(less)
        for place in range(begin, end):
            digit = size.astype(np.uint8) & np.uint8(0x7F)
            good &= table[:, place] == (digit if place + 1 == end else digit | np.uint8(0x80))
            size >>= np.uint32(7)
    return good, table


def _table(raw: Bytes, begins: Places, size: int) -> Bytes:
    """So many bytes from each of these places on, (rows, size)."""
    return windows(raw, size)[begins].view(np.uint8).reshape(-1, size)


def _alike(table: Bytes, own: bytes, free: list[tuple[int, int]]) -> _Flags:
    """Which rows have these bytes but for those that are free."""
    mine, fixed = np.frombuffer(own, np.uint8), np.full(len(own), 0xFF, np.uint8)
    for begin, end in free:
        fixed[begin:end] = 0
    if stray(table, mine, fixed) is None:
        return np.ones(len(table), bool)
    alike: _Flags = ((table ^ mine) & fixed == 0).all(axis=1)
    return alike
