"""The rows of many frames of recordIO-protobuf at once.

Three readers, each for what the one before leaves: frames of one length that differ in their data alone are
read as a table; frames with the fields in the order of their numbers, as protobuf writes them, are followed
field by field, all at the same time; the rest, and whatever is not in order, is taken apart by hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topx import varint
from topx.frame import DTYPES, FLOAT32, FLOAT64, INT32, Form
from topx.frames import Damaged, Frames
from topx.kinds import label_head, shape_field
from topx.pieces import Bytes, Places, collected, copy, items
from topx.tables import Stream, tables

_LABELS = {None: (0,), FLOAT32: (4,), FLOAT64: (8,), INT32: (1, 10, 2, 3, 4, 5)}  # bytes, the likely ones first
_MANY = 64  # rows that are worth a look whether their keys end alike
_PADDING = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)

_Numbers = NDArray[Any]
_Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Some of the rows, ascending."""

    rows: Places
    counts: Places
    values: _Numbers
    keys: _Numbers
    labels: _Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of one form: how many values each has, then the values, keys (sparse) and labels of all."""

    counts: Places
    values: _Numbers
    keys: _Numbers
    labels: _Numbers


def read(frames: Frames, form: Form) -> Rows:
    """The rows of the frames (at least one), all of this form. Raises Damaged for the first that is not."""
    left = np.ones(frames.heads.size, bool)
    parts, strays = [], set[int]()

    def take(rows: Places, streams: dict[str, Stream]) -> None:
        if not rows.size:
            return
        part, stray = _part(form, rows, streams)
        parts.append(part)
        strays.update(rows[stray].tolist())
        left[rows] = False

    for rows, streams in tables(frames, form):
        take(rows, streams)
    for label in _LABELS[form.label]:
        if left.any():
            take(*_followed(frames, np.flatnonzero(left), form, label))
    if strays or left.any():
        rows = np.array(sorted(strays.union(np.flatnonzero(left).tolist())))
        take(rows, _by_hand(frames, rows, form))
    return _merged(parts, frames.heads.size)


def _followed(frames: Frames, rows: Places, form: Form, label: int) -> tuple[Places, dict[str, Stream]]:
    """Those of the rows, and their data, whose fields stand in order; label: the bytes of theirs."""
    words = frames.raw[: frames.raw.size // 4 * 4].view("<u4")
    shape = shape_field(form.shape)
    head = b"" if form.label is None else label_head(form.label, label)
    start = frames.heads[rows] + 8
    stop = start + frames.payloads[rows]

    def fours(at: Places, count: int) -> Iterator[NDArray[np.uint32]]:
        """The bytes from there on, four by four."""
        place, shift = at >> 2, ((at & 3) << 3).astype(np.uint32)
        left = np.uint32(31) - shift
        low = words.take(place, mode="clip")
        for step in range(1, count + 1):
            high = words.take(place + step, mode="clip")
            yield low >> shift | high << np.uint32(1) << left
            low = high

    def field(at: Places, tag: int) -> tuple[_Flags, Places, Places]:
        """(whether there is such a field, its content's size, where that begins)."""
        (number,) = fours(at, 1)
        size, width = varint.short(number >> np.uint32(8))
        return (number & 255 == tag) & (width < 4), size.astype(np.int64), at + 1 + width

    def constant(at: Places, expected: bytes) -> _Flags:
        """Whether these bytes stand there."""
        differ = np.zeros(at.size, np.uint32)
        for step, four in enumerate(fours(at, -(-len(expected) // 4))):
            some = expected[4 * step : 4 * step + 4]
            differ |= (four ^ int.from_bytes(some, "little")) & ((1 << 8 * len(some)) - 1)
        alike: _Flags = differ == 0
        return alike

    sure, size, at = field(start, 0x0A)
    end = at + size  # of the features
    sure &= constant(at, b"\x0a\x06values")
    here, size, at = field(at + 8, 0x12)
    sure &= here & (at + size == end)
    here, size, at = field(at, form.tensor << 3 | 2)
    sure &= here & (at + size == end)
    last = end - len(shape)  # of values and keys
    sure &= constant(last, shape + head) & (end + len(head) + label == stop)
    (four,) = fours(stop, 1)
    sure &= four & _PADDING.take(-stop & 3) == 0
    empty = at == last
    here, size, values = field(at, 0x0A)
    sizes, at = {"values": size * ~empty}, values + size
    begins = {"values": values, "label": stop - label}
    if form.shape is not None:
        keyed, size, begins["keys"] = field(at, 0x12)
        sizes["keys"], at = size * ~empty, begins["keys"] + size
        here &= keyed
    if form.tensor != INT32:
        here &= sizes["values"] % DTYPES[form.tensor].itemsize == 0
    sure &= empty | here & (at == last)
    sizes["label"] = np.full(rows.size, label)
    data = {name: collected(frames.raw, begins[name][sure], size[sure]) for name, size in sizes.items()}
    return rows[sure], {name: (stream, sizes[name][sure]) for name, stream in data.items()}


def _by_hand(frames: Frames, rows: Places, form: Form) -> dict[str, Stream]:
    """The data of these rows. Raises Damaged for the first that is not in order or of another form."""
    found: dict[str, list[bytes]] = {"values": [], "keys": [], "label": []}
    for row in rows.tolist():
        content, frame = frames.hand(row)
        if frame.form != form:
            raise Damaged(row, f"it is {frame.form}; the first record is {form}")
        for name, pieces in found.items():
            pieces.append(frame.data(content, name))
    return {
        name: (np.frombuffer(bytearray().join(pieces), np.uint8), np.array([len(piece) for piece in pieces]))
        for name, pieces in found.items()
    }


def _part(form: Form, rows: Places, streams: dict[str, Stream]) -> tuple[_Part, list[int]]:
    """(part, strays): the numbers in the streams, and places of rows whose numbers are not in order.

    Where there are strays the first of them is the first row not in order; whatever follows may be wrong.
    """
    values, counts, strays = _numbers(*streams["values"], form.tensor)
    keys: _Numbers = np.empty(0, np.int32)
    if form.shape is None:
        strays += np.flatnonzero(counts != form.width)[:1].tolist()
    else:
        keys, astray = _keys(*streams["keys"], counts)
        strays += astray
        if keys.size and keys.max() >= form.shape:
            place = np.flatnonzero(keys >= form.shape)[0]
            strays.append(int(np.searchsorted(np.cumsum(counts), place, "right")))
        keys = keys.astype(np.int32 if form.shape <= np.iinfo(np.int32).max else np.int64)
    labels = np.empty(0)
    if form.label is not None:
        labels, one, astray = _numbers(*streams["label"], form.label)
        strays += astray + np.flatnonzero(one != 1)[:1].tolist()
    strays = [min(place, rows.size - 1) for place in strays]  # numbers too many at the end are of no row
    return _Part(rows=rows, counts=counts, values=values, keys=keys, labels=labels), strays


def _keys(stream: Bytes, sizes: Places, counts: Places) -> tuple[_Numbers, list[int]]:
    """(keys, the first row, if any, that has not as many as these counts)."""
    row = int(sizes[0])
    if _MANY * row <= stream.size and (sizes == row).all() and (table := varint.table(stream, row)) is not None:
        wrong = np.flatnonzero(counts != table.shape[1])
        return table.reshape(-1), [int(row) for row in wrong[:1]]
    keys, ends = varint.decoded(stream)
    return keys, _apart(ends, sizes, counts)


def _numbers(stream: Bytes, sizes: Places, tensor: int) -> tuple[_Numbers, Places, list[int]]:
    """(numbers, how many each row has, the first row that ends within one if any)."""
    dtype = DTYPES[tensor]
    if tensor != INT32:
        return stream.view(dtype), sizes // dtype.itemsize, []
    numbers, ends = varint.decoded(stream)
    counts = np.diff(np.searchsorted(ends, np.cumsum(sizes), "right"), prepend=0)
    strays = _apart(ends, sizes, counts)
    long = np.flatnonzero(np.diff(ends, prepend=0) > varint.LONGEST)[:1]
    strays += np.searchsorted(np.cumsum(counts), long, "right").tolist()
    return numbers.astype(np.uint32).view(np.int32), counts, strays


def _apart(ends: Places, sizes: Places, counts: Places) -> list[int]:
    """The first row, if any, after which the count of numbers ended is not that of these counts."""
    upto = np.concatenate([np.zeros(1, np.int64), ends, np.full(1, -1)])
    found = upto.take(np.cumsum(counts), mode="clip")
    wrong = np.flatnonzero(found != np.cumsum(sizes))
    return [int(row) for row in wrong[:1]]


def _merged(parts: list[_Part], rows: int) -> Rows:
    """The rows of all parts in their order."""
    if len(parts) == 1:
        return Rows(counts=parts[0].counts, values=parts[0].values, keys=parts[0].keys, labels=parts[0].labels)
    counts, labels = np.empty(rows, np.int64), np.empty(rows, parts[0].labels.dtype)
    for part in parts:
        counts[part.rows] = part.counts
        if part.labels.size:
            labels[part.rows] = part.labels
    values, keys = (
        _joined([(part, getattr(part, name)) for part in parts], counts) for name in ("values", "keys")
    )
    return Rows(counts=counts, values=values, keys=keys, labels=labels)


def _joined(streams: list[tuple[_Part, _Numbers]], counts: Places) -> _Numbers:
    dtype = streams[0][1].dtype
    if not any(stream.size for _, stream in streams):
        return np.empty(0, dtype)
    joined = np.empty(counts.sum(), dtype)
    if (counts == counts[0]).all():
        rows = items(joined.view(np.uint8), dtype.itemsize * int(counts[0]))
        for part, stream in streams:
            rows[part.rows] = stream.view(rows.dtype)
        return joined
    begins = dtype.itemsize * (np.cumsum(counts) - counts)
    for part, stream in streams:
        copy(
            joined.view(np.uint8), begins[part.rows], stream.view(np.uint8), None, dtype.itemsize * part.counts
        )
    return joined
