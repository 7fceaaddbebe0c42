"""Many records of recordIO-protobuf at once, in the bytes that the SageMaker SDK v2 writes.

Rows with equally many values and equally many bytes of keys have one layout: they are one kind of row.
Writing copies the frame of each row's kind and fills in the data. Reading goes backwards: the length of a
frame and its count of values give the kind, and where the frame agrees with that kind's outside the data, the
data is where the kind has it. The few frames that do not agree are taken apart one by one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topx import varint
from topx.frame import LONGEST, MAGIC, Frame, take_apart
from topx.pieces import Bytes, Places, copy, groups, windows

Spans = dict[str, tuple[Places, Places]]  # begins and lengths of "values", "keys" and "label"

_LABEL = bytes.fromhex("12120a0676616c756573120812060a04")  # all of a label but its number


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """Kinds of rows: their frames, one after the other and without data, and where it belongs in each."""

    frames: Bytes
    heads: Places
    payloads: Places  # bytes
    spans: Spans  # begins from the frame's head


class Damaged(Exception):
    """When a row cannot be read: which one, counted from the first of these frames, and why."""

    def __init__(self, row: int, what: object) -> None:
        super().__init__(what)
        self.row = row


def distinct(codes: Places) -> tuple[Places, Places]:
    """(values, which): the distinct codes (at least one), ascending, and for each code its place there."""
    low, high = int(codes.min()), int(codes.max())
    if high - low >= 1 << 16:
        values, which = np.unique(codes, return_inverse=True)
        return values, which
    present = np.flatnonzero(np.bincount(codes - low))
    places = np.empty(high - low + 1, np.int64)
    places[present] = np.arange(present.size)
    return present + low, places[codes - low]


def lay_out(nnz: Places, key_bytes: Places, shape: int | None, labelled: bool) -> Kinds:
    """The kinds of rows with so many values and bytes of keys, both (kinds,); dense without a shape.

    Fields stand in the order of their numbers, empty ones are left out. Raises ValueError where a row is too
    long for a record.
    """
    tail = _shape_field(shape) + (_LABEL if labelled else b"")
    label = 4 * labelled
    counted, keyed = np.where(nnz > 0, _field(4 * nnz), 0), np.where(key_bytes > 0, _field(key_bytes), 0)
    tensor = counted + keyed + len(_shape_field(shape))
    value = _field(tensor)
    entry = 8 + _field(value)
    payloads = _field(entry) + (len(_LABEL) + label if labelled else 0)
    if payloads.max() > LONGEST:
        raise ValueError(f"{nnz.max()} values take {payloads.max()} bytes; a record has at most {LONGEST}")
    sizes = 8 + (payloads + 3) // 4 * 4
    heads = np.cumsum(sizes) - sizes
    ends = 8 + payloads - len(tail) - label  # of the keys
    keys = ends - key_bytes
    values = ends - keyed - 4 * nnz

    frames = np.zeros(sizes.sum(), np.uint8)
    words = frames.view("<u4")
    words[heads // 4], words[heads // 4 + 1] = MAGIC, payloads
    numbers = np.empty((nnz.size, 16), np.int64)
    numbers[:] = [0x0A, 0, 0x0A, 6, *b"values", 0x12, 0, 0x12, 0, 0x0A, 0]
    numbers[:, [1, 11, 13, 15]] = np.column_stack([entry, value, tensor, 4 * nnz])
    used = np.ones(numbers.shape, bool)
    used[nnz == 0, 14:] = False
    copy(frames, heads + 8, varint.encoded(numbers[used]), None, values - 8)
    numbers = np.column_stack([np.full(nnz.size, 0x12), key_bytes])[key_bytes > 0]
    copy(frames, heads + values + 4 * nnz, varint.encoded(numbers.reshape(-1)), None, keyed - key_bytes)
    lengths = np.full(nnz.size, len(tail))
    copy(frames, heads + ends, np.frombuffer(tail, np.uint8), np.zeros(nnz.size, np.int64), lengths)
    spans = {
        "values": (values, 4 * nnz),
        "keys": (keys, key_bytes),
        "label": (8 + payloads - label, np.full(nnz.size, label)),
    }
    return Kinds(frames=frames, heads=heads, payloads=payloads, spans=spans)


def filled(kinds: Kinds, which: Places, data: dict[str, Bytes]) -> Bytes:
    """The frames of rows of these kinds, with their data, which stand in the order of the rows."""
    sizes = (8 + (kinds.payloads + 3) // 4 * 4)[which]
    heads = np.cumsum(sizes) - sizes
    frames = np.empty(sizes.sum(), np.uint8)
    copy(frames, None, kinds.frames, kinds.heads[which], sizes)
    for name, stream in data.items():
        begins, lengths = kinds.spans[name]
        copy(frames, heads + begins[which], stream, None, lengths[which])
    return frames


def scan(raw: Bytes) -> tuple[Places, int, str]:
    """(heads, end, damage): where whole frames begin, where they end, what is wrong there (or "")."""
    words = raw[: raw.size // 4 * 4].view("<u4")
    marks = np.flatnonzero(words[:-1] == MAGIC)
    lengths = words[marks + 1].astype(np.int64)
    after = marks + 2 + (lengths + 3) // 4
    # Nearly always the next frame begins at the next magic; a magic may also stand within data.
    jumps = np.append(np.flatnonzero(after[:-1] != marks[1:]), marks.size - 1)
    kept, end, damage = [marks[:0]], 0, ""
    while end + 1 < words.size:
        first = int(np.searchsorted(marks, end))
        if first == marks.size or marks[first] != end:
            damage = f"it begins with {words[end]:#010x}; a record begins with the magic {MAGIC:#010x}"
            break
        last = int(jumps[np.searchsorted(jumps, first)])
        if after[last] > words.size:
            kept.append(marks[first:last])
            end = int(marks[last])
            if lengths[last] > LONGEST:
                damage = f"it claims {lengths[last]} bytes; a record has at most {LONGEST}"
            break
        kept.append(marks[first : last + 1])
        end = int(after[last])
    return 4 * np.concatenate(kept), 4 * end, damage


def opened(raw: Bytes, heads: Places, row: int) -> Frame:
    """The frame of one row, taken apart by hand. Raises Damaged."""
    end = heads[row + 1] if row + 1 < heads.size else raw.size
    try:
        return take_apart(raw[heads[row] : end].tobytes())
    except ValueError as error:
        raise Damaged(row, error) from error


def located(raw: Bytes, heads: Places, first: Frame) -> Spans:
    """Where the data of each row stands in raw, which the frames at heads fill.

    All have the shape or the width of the first record of the file, and labels where it has one. Raises
    Damaged.
    """
    kinds, possible, which = _guessed(raw, heads, first)
    spans = {name: (heads + begins[which], lengths[which]) for name, (begins, lengths) in kinds.spans.items()}
    sure = possible[which]
    sure[sure] = _agree(raw, heads[sure], kinds, which[sure])
    for row in np.flatnonzero(~sure).tolist():
        frame = opened(raw, heads, row)
        try:
            frame.check(first)
        except ValueError as error:
            raise Damaged(row, error) from error
        for name, (begin, end) in frame.spans.items():
            spans[name][0][row], spans[name][1][row] = heads[row] + begin, end - begin
    return spans


def collected(raw: Bytes, spans: tuple[Places, Places]) -> Bytes:
    """The bytes of these spans of raw, back to back."""
    begins, lengths = spans
    stream = np.empty(lengths.sum(), np.uint8)
    copy(stream, None, raw, begins, lengths)
    return stream


def _guessed(raw: Bytes, heads: Places, first: Frame) -> tuple[Kinds, NDArray[np.bool_], Places]:
    """(kinds, possible, which): of each row the only kind that its length and count of values leave.

    Kinds that are not possible have nothing to do with their rows.
    """
    words = raw.view("<u4")
    payloads, of_length = distinct(words[heads // 4 + 1].astype(np.int64))
    features = payloads - (len(_LABEL) + 4 if first.labelled else 0)
    tensor = _inside(_inside(_inside(features) - 8))
    room = tensor - len(_shape_field(first.shape))  # of values and keys
    size = np.where(room[of_length] > 0, _number(raw, heads + (9 + features - tensor)[of_length]), 0)
    step = int(size.max()) + 1
    pairs, which = distinct(of_length * step + size)
    of_length, size = np.divmod(pairs, step)
    keyed = room[of_length] - np.where(size > 0, _field(size), 0)
    key_bytes = np.maximum(_inside(keyed), 0)
    possible = (keyed >= 0) & (size % 4 == 0)
    if first.shape is None:
        possible &= (keyed == 0) & (size == 4 * first.nnz)
    nnz, key_bytes = np.where(possible, size // 4, 0), np.where(possible, key_bytes, 0)
    kinds = lay_out(nnz, key_bytes, first.shape, first.labelled)
    possible &= kinds.payloads == payloads[of_length]
    return kinds, possible, which


def _agree(raw: Bytes, heads: Places, kinds: Kinds, which: Places) -> NDArray[np.bool_]:
    """Which frames are those of their kinds, outside the data."""
    if 64 * kinds.heads.size < heads.size:
        return _agree_by_kind(raw, heads, kinds, which)
    (values, counted), (keys, keyed), (label, labelled) = kinds.spans.values()
    sizes = 8 + (kinds.payloads + 3) // 4 * 4
    agree = np.ones(heads.size, bool)
    pieces = ((0 * values, values), (values + counted, keys), (keys + keyed, label), (label + labelled, sizes))
    for begin, end in pieces:
        theirs, own, lengths = heads + begin[which], (kinds.heads + begin)[which], (end - begin)[which]
        for rows in groups(lengths):
            if length := int(lengths[rows[0]]):
                one, other = windows(raw, length)[theirs[rows]], windows(kinds.frames, length)[own[rows]]
                same = one.view(np.uint8) == other.view(np.uint8)
                if not same.all():
                    agree[rows] &= same.reshape(-1, length).all(axis=1)
    return agree


def _agree_by_kind(raw: Bytes, heads: Places, kinds: Kinds, which: Places) -> NDArray[np.bool_]:
    """`_agree` for few kinds with many rows each: whole frames, word by word."""
    agree = np.empty(heads.size, bool)
    for rows in groups(which):
        kind = int(which[rows[0]])
        size = 8 + (int(kinds.payloads[kind]) + 3) // 4 * 4
        own = kinds.frames[kinds.heads[kind] :][:size].view("<u4")
        fixed = np.full(size, 255, np.uint8)
        for begins, lengths in kinds.spans.values():
            fixed[begins[kind] :][: lengths[kind]] = 0
        mask = fixed.view("<u4")
        theirs = windows(raw, size)[heads[rows]].view("<u4").reshape(rows.size, -1)
        differ = np.zeros(rows.size, np.uint32)
        for place in np.flatnonzero(mask):
            differ |= (theirs[:, place] ^ own[place]) & mask[place]
        agree[rows] = differ == 0
    return agree


def _field(size: Places) -> Places:
    """The bytes of a field with a content of this size: tag, size, content."""
    return 1 + varint.widths(size) + size


def _inside(field: Places) -> Places:
    """The size of the content of a field: the reverse of `_field` (anything where there is none)."""
    size = field - 2
    for width in range(2, 5):
        size = np.where(field - width >= 1 << 7 * (width - 1), field - 1 - width, size)
    return size


def _shape_field(shape: int | None) -> bytes:
    if shape is None:
        return b""
    number = varint.encoded(np.array([shape])).tobytes()
    return bytes([0x1A, len(number)]) + number


def _number(raw: Bytes, at: Places) -> Places:
    """The varints at these places as far as they have four bytes."""
    four = windows(raw, 4)[np.clip(at, 0, raw.size - 4)].view("<u4").astype(np.int64)
    numbers = four & 127
    more = four & 128 > 0
    for place in (1, 2, 3):
        numbers += np.where(more, four >> 8 * place & 127, 0) << 7 * place
        more &= four >> 8 * place & 128 > 0
    return numbers
