"""Many records of recordIO-protobuf at once, in the bytes that the SageMaker SDK v2 writes.

Rows whose values, keys and labels take equally many bytes have one layout: they are one kind of row. Writing
copies the frame of each row's kind and fills in the data.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topx import varint
from topx.frame import LONGEST, MAGIC, Form
from topx.pieces import Bytes, Places, copy, groups, items, windows

_FEW = 64  # rows of a kind that are copied one by one

Spans = dict[str, tuple[Places, Places]]  # begins and lengths of "values", "keys" and "label"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """Kinds of rows: their frames, one after the other and without data, and where it belongs in each."""

    frames: Bytes
    heads: Places
    payloads: Places  # bytes
    spans: Spans  # begins from the frame's head


def lay_out(bytes_of: dict[str, Places], form: Form) -> Kinds:
    """The kinds of rows whose values, keys and labels take so many bytes, each (kinds,).

    Fields stand in the order of their numbers, empty ones are left out. Raises ValueError where a row is too
    long for a record.
    """
    value_bytes, key_bytes, label_bytes = (bytes_of[name] for name in ("values", "keys", "label"))
    tails, which = _tails(label_bytes, form)
    counted, keyed = (np.where(size > 0, _field(size), 0) for size in (value_bytes, key_bytes))
    tensor = counted + keyed + len(shape_field(form.shape))
    value = _field(tensor)
    entry = 8 + _field(value)
    payloads = _field(entry) + len(tails[0]) - len(shape_field(form.shape)) + label_bytes
    if payloads.max() > LONGEST:
        raise ValueError(
            f"{value_bytes.max()} bytes of values make {payloads.max()}; a record has at most {LONGEST}"
        )
    sizes = 8 + (payloads + 3) // 4 * 4
    heads = np.cumsum(sizes) - sizes
    ends = 8 + payloads - len(tails[0]) - label_bytes  # of the keys
    keys = ends - key_bytes
    values = ends - keyed - value_bytes

    frames = np.zeros(sizes.sum(), np.uint8)
    words = frames.view("<u4")
    words[heads // 4], words[heads // 4 + 1] = MAGIC, payloads
    numbers = np.empty((sizes.size, 16), np.int64)
    numbers[:] = [0x0A, 0, 0x0A, 6, *b"values", 0x12, 0, form.tensor << 3 | 2, 0, 0x0A, 0]
    numbers[:, [1, 11, 13, 15]] = np.column_stack([entry, value, tensor, value_bytes])
    used = np.ones(numbers.shape, bool)
    used[value_bytes == 0, 14:] = False
    copy(frames, heads + 8, varint.encoded(numbers[used]), None, values - 8)
    numbers = np.column_stack([np.full(sizes.size, 0x12), key_bytes])[key_bytes > 0]
    begins = heads + values + value_bytes
    copy(frames, begins, varint.encoded(numbers.reshape(-1)), None, keyed - key_bytes)
    for tail, kinds in zip(tails, which, strict=True):
        if tail:
            windows(frames, len(tail))[(heads + ends)[kinds]] = np.void(tail)
    spans = {
        "values": (values, value_bytes),
        "keys": (keys, key_bytes),
        "label": (8 + payloads - label_bytes, label_bytes),
    }
    return Kinds(frames=frames, heads=heads, payloads=payloads, spans=spans)


def filled(kinds: Kinds, which: Places, data: dict[str, Bytes]) -> Bytes:
    """The frames of rows of these kinds, with their data, which stand in the order of the rows."""
    sizes = _sizes(kinds)[which]
    heads = np.cumsum(sizes) - sizes
    frames = np.empty(sizes.sum(), np.uint8)
    if _FEW * kinds.heads.size > which.size:
        copy(frames, None, kinds.frames, kinds.heads[which], sizes)
        for name, stream in data.items():
            begins, lengths = kinds.spans[name]
            copy(frames, heads + begins[which], stream, None, lengths[which])
        return frames
    every, places = {}, {}
    for name, stream in data.items():
        lengths = kinds.spans[name][1]
        if (lengths == lengths[0]).all():
            every[name] = items(stream, int(lengths[0])) if lengths[0] else stream
        else:
            places[name] = np.cumsum(lengths[which]) - lengths[which]
    for rows in groups(which):
        kind = int(which[rows[0]])
        pieces = {name: stream[rows] for name, stream in every.items() if stream.size}
        for name, begins in places.items():
            if length := int(kinds.spans[name][1][kind]):
                pieces[name] = windows(data[name], length)[begins[rows]]
        block = table(kinds, kind, rows.size)
        fill(block, kinds, kind, pieces)
        windows(frames, block.shape[1])[heads[rows]] = block.view(f"V{block.shape[1]}").reshape(-1)
    return frames


def table(kinds: Kinds, kind: int, rows: int) -> Bytes:
    """So many frames of one kind without their data, (rows, size)."""
    size = int(_sizes(kinds)[kind])
    frames = np.empty((rows, size), np.uint8)
    frames[:] = kinds.frames[kinds.heads[kind] :][:size]
    return frames


def fill(frames: Bytes, kinds: Kinds, kind: int, data: dict[str, NDArray[Any]]) -> None:
    """Puts data, one piece a row, into frames of one kind."""
    for name, pieces in data.items():
        begins, lengths = kinds.spans[name]
        begin, length = int(begins[kind]), int(lengths[kind])
        if length:
            frames[:, begin : begin + length].view(pieces.dtype)[:, 0] = pieces


def field(tag: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    return bytes([tag]) + varint.encoded(np.array([len(content)])).tobytes() + content


@cache
def shape_field(shape: int | None) -> bytes:
    """The field of the shape; nothing for a dense row."""
    return b"" if shape is None else field(0x1A, varint.encoded(np.array([shape])).tobytes())


@cache
def label_head(tensor: int, size: int) -> bytes:
    """All of a label but its number, which takes size bytes in this field of a Value."""
    number = field(tensor << 3 | 2, field(0x0A, bytes(size)))
    return field(0x12, field(0x0A, b"values") + field(0x12, number))[:-size]


def _tails(label_bytes: Places, form: Form) -> tuple[list[bytes], list[Places]]:
    """What follows the keys, up to the label's number, for each size of this; and the kinds that have it."""
    if form.label is None:
        return [shape_field(form.shape)], [np.arange(label_bytes.size)]
    same = groups(label_bytes)
    return [
        shape_field(form.shape) + label_head(form.label, int(label_bytes[kinds[0]])) for kinds in same
    ], same


def _sizes(kinds: Kinds) -> Places:
    return 8 + (kinds.payloads + 3) // 4 * 4


def _field(size: Places) -> Places:
    """The bytes of a field with a content of this size: tag, size, content."""
    return 1 + varint.widths(size) + size
