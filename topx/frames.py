"""Runs of recordIO frames, vectorised: filled with data, and taken apart again.

Rows with equally many values and equally many bytes of keys have one layout (`frame.py`): they are one kind
of row. Writing copies the template of each row's kind and fills in the data. Reading takes one frame of each
kind apart, which checks it, and reads every frame that equals it outside the data at the same places.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from topx.frame import LONGEST, MAGIC, Layout, take_apart, varint

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]


class Damaged(Exception):
    """When a row cannot be read: which one, counted from the first of these frames, and why."""

    def __init__(self, row: int, what: object) -> None:
        super().__init__(what)
        self.row = row


def groups(codes: NDArray[Any]) -> list[Places]:
    """The places of equal codes, ascending in each group; codes is not empty."""
    low, high = int(codes.min()), int(codes.max())
    if low == high:
        return [np.arange(codes.size)]
    narrow = (codes - low).astype(np.uint16) if high - low < 1 << 16 else codes  # 16 bits sort by radix
    order = np.argsort(narrow, kind="stable")
    ordered = narrow[order]
    return np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)


def spans(layouts: list[Layout], kinds: Places, name: str) -> tuple[Places, Places]:
    """(begins, lengths) in bytes of that data within the frame of each row."""
    table = np.array([layout.spans.get(name, (0, 0)) for layout in layouts])
    return table[:, 0][kinds], (table[:, 1] - table[:, 0])[kinds]


def filled(layouts: list[Layout], kinds: Places, data: dict[str, Bytes]) -> Bytes:
    """The frames of rows of these kinds, with their data, which stand in the order of the rows."""
    sizes = np.array([len(layout.frame) for layout in layouts])
    heads = np.cumsum(sizes[kinds]) - sizes[kinds]
    frames = np.empty(sizes[kinds].sum(), np.uint8)
    templates = np.frombuffer(b"".join(layout.frame for layout in layouts), np.uint8)
    _copy(frames, None, templates, (np.cumsum(sizes) - sizes)[kinds], sizes[kinds])
    for name, stream in data.items():
        begins, lengths = spans(layouts, kinds, name)
        _copy(frames, heads + begins, stream, None, lengths)
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


def taken_apart(
    raw: Bytes, heads: Places, form: Layout | None
) -> tuple[list[Layout], Places, dict[str, Bytes]]:
    """(layouts, kinds, data) as `filled` takes them, of the frames that begin at heads and fill raw.

    All have the form of the first record of the file: its shape or its width, and labels or none. Raises
    Damaged.
    """
    layouts: list[Layout] = []
    alike: list[tuple[Places, NDArray[np.void]]] = []  # by layout: rows, their frames
    kinds, rows = np.empty(heads.size, np.int64), np.arange(heads.size)
    codes = lengths = raw.view("<u4")[heads // 4 + 1].astype(np.int64)
    for turn in range(3):  # told apart by their length, then by their count of values too, then one by one
        left = [rows[:0]]
        for group in sorted(groups(codes), key=lambda group: int(group[0])):
            own = rows[group]
            frames = _windows(raw, 8 + (int(lengths[own[0]]) + 3) // 4 * 4)[heads[own]]
            try:
                layout = take_apart(frames[0].tobytes())
                form = form or layout
                _check_form(layout, form)
            except ValueError as error:
                raise Damaged(int(own[0]), error) from error
            kinds[own] = len(layouts)
            layouts.append(layout)
            fits = _equal_but_data(frames, _dtype(layout))
            alike.append((own[fits], frames[fits].view(_dtype(layout))))
            left.append(own[~fits])
        rows = np.sort(np.concatenate(left))
        if not rows.size:
            break
        codes = rows if turn else lengths[rows] << 32 | _counts(raw, heads[rows], layouts, kinds[rows])
    data = {}
    for name in ("values", "keys", "label"):
        _, sizes = spans(layouts, kinds, name)
        offsets = np.cumsum(sizes) - sizes
        data[name] = np.empty(sizes.sum(), np.uint8)
        for own, frames in alike:
            if name in (frames.dtype.names or ()):
                _windows(data[name], frames.dtype[name].itemsize)[offsets[own]] = frames[name]
    return layouts, kinds, data


def _dtype(layout: Layout) -> np.dtype[np.void]:
    """A frame as one item, its data as fields of raw bytes."""
    return np.dtype(
        {
            "names": list(layout.spans),
            "formats": [f"V{end - begin}" for begin, end in layout.spans.values()],
            "offsets": [begin for begin, _ in layout.spans.values()],
            "itemsize": len(layout.frame),
        }
    )


def _equal_but_data(frames: NDArray[np.void], dtype: np.dtype[np.void]) -> NDArray[np.bool_]:
    """Which frames equal the first outside their data."""
    blank = frames.copy()
    for name in dtype.names or ():
        blank.view(dtype)[name] = np.void(bytes(dtype[name].itemsize))
    words = blank.view("<u4").reshape(frames.size, -1)
    if (words[1:] == words[:-1]).all():  # nearly always, and many times faster than row by row
        return np.ones(frames.size, bool)
    equal: NDArray[np.bool_] = (words == words[0]).all(axis=1)
    return equal


def _copy(target: Bytes, to: Places | None, source: Bytes, begins: Places | None, lengths: Places) -> None:
    """Copies pieces of these lengths, all of one length at once; without places they stand back to back."""
    alike, total = groups(lengths), int(lengths.sum())
    if total and len(alike) == 1:
        length = int(lengths[0])
        pieces = source.view(f"V{length}") if begins is None else _windows(source, length)[begins]
        if to is None:
            target.view(f"V{length}")[:] = pieces
        else:
            _windows(target, length)[to] = pieces
        return
    offsets = np.cumsum(lengths) - lengths
    to, begins = offsets if to is None else to, offsets if begins is None else begins
    if 1500 * len(alike) > total:  # so many lengths that single bytes take less time
        places = np.arange(total) - np.repeat(offsets, lengths)
        target[np.repeat(to, lengths) + places] = source[np.repeat(begins, lengths) + places]
        return
    for rows in alike:
        if length := int(lengths[rows[0]]):
            _windows(target, length)[to[rows]] = _windows(source, length)[begins[rows]]


def _windows(array: Bytes, length: int) -> NDArray[np.void]:
    """A view of every `length` neighbours as one item, which NumPy copies at once."""
    return np.ndarray((array.size - length + 1,), f"V{length}", array, strides=(1,))


def _counts(raw: Bytes, heads: Places, layouts: list[Layout], kinds: Places) -> Places:
    """A code for the count of values of each row: the bytes of the varint before the values."""
    widths = np.array([len(varint(4 * layout.nnz)) if layout.nnz else 0 for layout in layouts])
    begins, _ = spans(layouts, kinds, "values")
    codes: Places = _windows(raw, 4)[heads + begins - widths[kinds]].view("<u4").astype(np.int64)
    for last in (1 << 7, 1 << 15, 1 << 23):
        codes = np.where(codes & last, codes, codes & (2 * last - 1))
    return codes


def _check_form(layout: Layout, form: Layout) -> None:
    """Raises ValueError where records of these two layouts cannot stand in one file."""
    same = layout.shape == form.shape and (layout.shape is not None or layout.nnz == form.nnz)
    if not same or ("label" in layout.spans) != ("label" in form.spans):
        raise ValueError(f"it is {_described(layout)}; the first record is {_described(form)}")


def _described(layout: Layout) -> str:
    kind = (
        f"dense with {layout.nnz} values" if layout.shape is None else f"sparse with the shape {layout.shape}"
    )
    return f"{kind} and {'a' if 'label' in layout.spans else 'no'} label"
