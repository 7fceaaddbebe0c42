"""The rows of many frames of recordIO-protobuf at once.

Three readers, each for what the one before leaves: frames that differ in their data alone are read as a table,
others are followed field by field, the rest is taken apart by hand. Where what was read does not fit together,
all is taken apart by hand: that finds the first row that is damaged, and says what is wrong with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topx import varint
from topx.follow import followed
from topx.frame import DTYPES, FLOAT32, FLOAT64, INT32, Form
from topx.frames import Damaged, Frames
from topx.pieces import Bytes, Places, copy, flat, items
from topx.tables import Layouts, Table

_LABELS = {None: (0,), FLOAT32: (4,), FLOAT64: (8,), INT32: (1, 10, 2, 3, 4, 5)}  # bytes, the likely ones first

_Numbers = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of one form: how many values each has, then the values, keys (sparse) and labels of all.

    The values of dense rows may be a table within the bytes that were read, to be copied by who keeps them.
    """

    counts: Places
    values: _Numbers
    keys: _Numbers
    labels: _Numbers


class Reader:
    """Reads run after run of frames that are all of one form; runs may be read at the same time."""

    def __init__(self, form: Form) -> None:
        self.form, self._layouts = form, Layouts(form)

    def read(self, frames: Frames) -> Rows:
        """The rows of the frames (at least one). Raises Damaged for the first that is not in order."""
        try:
            return _merged(list(self._parts(frames)), frames.heads.size)
        except (Damaged, _Unfit):
            return _merged([_by_hand(frames, np.arange(frames.heads.size), self.form)], frames.heads.size)

    def _parts(self, frames: Frames) -> Iterator[tuple[Places, Rows]]:
        left = np.ones(frames.heads.size, bool)
        for table in self._layouts.tables(frames):
            left[table.rows] = False
            yield table.rows, _of_table(table, self.form)
        for label in _LABELS[self.form.label]:
            if left.any():
                rows, streams = followed(frames, np.flatnonzero(left), self.form, label)
                if rows.size:
                    left[rows] = False
                    yield rows, _of_streams(streams, self.form)
        if left.any():
            yield _by_hand(frames, np.flatnonzero(left), self.form)


class _Unfit(Exception):
    """When the numbers of rows do not fit each other."""


def _by_hand(frames: Frames, rows: Places, form: Form) -> tuple[Places, Rows]:
    """(rows, what they are). Raises Damaged for the first that is not in order or of another form."""
    found: dict[str, list[bytes]] = {"values": [], "keys": [], "label": []}
    for row in rows.tolist():
        content, frame = frames.hand(row)
        if frame.form != form:
            raise Damaged(row, f"it is {frame.form}; the first record is {form}")
        for name, pieces in found.items():
            pieces.append(frame.data(content, name))
    streams = {
        name: (np.frombuffer(bytearray().join(pieces), np.uint8), np.array([len(piece) for piece in pieces]))
        for name, pieces in found.items()
    }
    return rows, _of_streams(streams, form)


def _of_table(table: Table, form: Form) -> Rows:
    """Raises _Unfit."""
    if table.keys is None or INT32 in (form.tensor, form.label):
        streams = {name: (flat(data), np.full(len(data), data.shape[1])) for name, data in table.data.items()}
        return _of_streams(streams, form)
    values = table.data["values"].view(DTYPES[form.tensor])
    labels = np.empty(0) if form.label is None else table.data["label"].view(DTYPES[form.label])[:, 0]
    return Rows(
        counts=np.full(len(values), values.shape[1]),
        values=values,
        keys=_keys(table.keys.reshape(-1), form),
        labels=labels,
    )


def _of_streams(streams: dict[str, tuple[Bytes, Places]], form: Form) -> Rows:
    """The rows whose data are the bytes of streams, of so many bytes each. Raises _Unfit."""
    values, counts = _numbers(*streams["values"], form.tensor)
    keys, labels = np.empty(0, np.int32), np.empty(0)
    if form.shape is None:
        _fit((counts == form.width).all())
    else:
        stream, sizes = streams["keys"]
        numbers, begins = varint.decoded(stream)
        _fit(_apart(begins, counts, sizes))
        keys = _keys(numbers, form)
    if form.label is not None:
        labels, one = _numbers(*streams["label"], form.label)
        _fit((one == 1).all())
    return Rows(counts=counts, values=values, keys=keys, labels=labels)


def _fit(fits: Any) -> None:
    if not fits:
        raise _Unfit


def _keys(numbers: _Numbers, form: Form) -> _Numbers:
    """The keys as SciPy takes them. Raises _Unfit."""
    shape = form.shape or 0
    _fit(not numbers.size or numbers.max() < shape)
    if shape > np.iinfo(np.int32).max:
        return numbers.astype(np.int64)
    return numbers.view(np.int32) if numbers.itemsize == 4 else numbers.astype(np.int32)


def _numbers(stream: Bytes, sizes: Places, tensor: int) -> tuple[_Numbers, Places]:
    """(numbers, how many each row has). Raises _Unfit."""
    dtype = DTYPES[tensor]
    if tensor != INT32:
        return stream.view(dtype), sizes // dtype.itemsize
    numbers, begins = varint.decoded(stream)
    counts = np.diff(np.searchsorted(begins[1:], np.cumsum(sizes), "right"), prepend=0)
    _fit(_apart(begins, counts, sizes) and np.diff(begins).max(initial=0) <= varint.LONGEST)
    return numbers.astype(np.uint32).view(np.int32), counts


def _apart(begins: Places, counts: Places, sizes: Places) -> bool:
    """Whether so many numbers, which begin there, take so many bytes in each row."""
    upto = np.cumsum(counts)
    return bool(upto[-1] == begins.size - 1 and (begins.take(upto) == np.cumsum(sizes)).all())


def _merged(parts: list[tuple[Places, Rows]], rows: int) -> Rows:
    """The rows of all parts in their order."""
    if len(parts) == 1:
        return parts[0][1]
    counts, labels = np.empty(rows, np.int64), parts[0][1].labels
    labels = np.empty(rows if labels.size else 0, labels.dtype)
    for places, part in parts:
        counts[places] = part.counts
        if labels.size:
            labels[places] = part.labels
    values, keys = (
        _joined([(places, part.counts, getattr(part, name)) for places, part in parts], counts)
        for name in ("values", "keys")
    )
    return Rows(counts=counts, values=values, keys=keys, labels=labels)


def _joined(streams: list[tuple[Places, Places, _Numbers]], counts: Places) -> _Numbers:
    dtype = streams[0][2].dtype
    if not any(stream.size for *_, stream in streams):
        return np.empty(0, dtype)
    joined = np.empty(counts.sum(), dtype)
    if (counts == counts[0]).all():
        each = items(joined.view(np.uint8), dtype.itemsize * int(counts[0]))
        for places, _, stream in streams:
            each[places] = stream.view(each.dtype).reshape(-1)
        return joined
    begins = dtype.itemsize * (np.cumsum(counts) - counts)
    for places, own, stream in streams:
        copy(joined.view(np.uint8), begins[places], flat(stream).view(np.uint8), None, dtype.itemsize * own)
    return joined
