"""Frames of recordIO-protobuf that differ in their data alone: a table, with a row for each."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from topx import varint
from topx.frame import Form
from topx.frames import Damaged, Frames
from topx.pieces import Bytes, Places, flat, groups, items, stray, windows

_ENOUGH = 1 << 18  # bytes of the frames of one length, on average, that are worth tables
_SAMPLE = 512  # lengths that tell whether there are too many different ones
_SPLITS = 8  # tables of one length
_KNOWN = 64  # lengths whose layouts are kept
_WIDE = 1 << 14  # bytes of a payload: few rows are longer, and their layouts would take memory
_KEYS = 2  # of a row, at most, that are looked for in the same places in all rows of a table
_SHORT = 64  # bytes of data that are compared, under a mask, rather than cut out


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows, ascending, and for each name their data, (rows, bytes)."""

    rows: Places
    data: dict[str, Bytes]
    keys: NDArray[np.uint32] | None  # (rows, keys), where these stand in the same places in all rows


class Layouts:
    """Where the data stand in frames of one form, by the length of the payload, learned from what is read."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._known: dict[int, list[_Layout]] = {}

    def tables(self, frames: Frames) -> Iterator[Table]:
        """Most of the rows; none where they have so many lengths that to follow them is faster."""
        most = max(1, frames.end // _ENOUGH)
        if len(groups(frames.payloads[:: frames.payloads.size // _SAMPLE + 1])) > most:
            return
        lengths = groups(frames.payloads)
        if len(self._known) > _KNOWN:
            self._known = {}
        for rows in lengths if len(lengths) <= most else ():
            known = self._known.setdefault(int(frames.payloads[rows[0]]), [])
            for place in range(_SPLITS):
                if not rows.size or (place == len(known) and not self._learn(frames, int(rows[0]), known)):
                    break
                found, left = known[place].table(frames, rows)
                if found.rows.size:
                    yield found
                rows = left

    def _learn(self, frames: Frames, row: int, known: "list[_Layout]") -> bool:
        """Whether this row has a layout that others may have, too; it is known then."""
        if frames.payloads[row] > _WIDE:
            return False
        try:
            own, frame = frames.hand(row)
        except Damaged:
            return False
        if frame.form != self._form or any(len(spans) > 1 for spans in frame.spans.values()):
            return False
        cuts = {name: spans[0] if spans else (0, 0) for name, spans in frame.spans.items()}
        known.append(_Layout(np.frombuffer(own, np.uint8), cuts))
        return True


class _Layout:
    """A frame, where its data stand, and where its keys where they are few."""

    def __init__(self, frame: Bytes, cuts: dict[str, tuple[int, int]]) -> None:
        self._frame, self._cuts = frame, cuts
        fixed = np.full(frame.size, 0xFF, np.uint8)
        for begin, end in cuts.values():
            fixed[begin:end] = 0
        begin, end = cuts["keys"]
        ends = begin + 1 + np.flatnonzero(frame[begin:end] < 0x80)
        keys = list(pairwise([begin, *ends.tolist()]))
        self._keys = None
        if len(keys) <= _KEYS and all(last - first <= 4 <= frame.size - first for first, last in keys):
            self._keys = keys
            fixed[begin:end] = 0x80
        self._fixed = fixed
        long = sorted(bound for cut in cuts.values() if cut[1] - cut[0] > _SHORT for bound in cut)
        self._parts = [
            (slice(begin, end), fixed[begin:end])
            for begin, end in zip([0, *long[1::2]], [*long[::2], frame.size], strict=True)
            if begin < end
        ]

    def table(self, frames: Frames, rows: Places) -> tuple[Table, Places]:
        """Those of the rows, all of this length, that have this layout; and the others."""
        size, left = self._frame.size, rows[:0]
        if rows.size == frames.heads.size:
            table = frames.raw[: frames.end].reshape(-1, size)
        elif size * frames.heads.size == frames.end:
            table = items(frames.raw[: frames.end], size).take(rows).view(np.uint8).reshape(-1, size)
        else:
            table = windows(frames.raw, size)[frames.heads[rows]].view(np.uint8).reshape(-1, size)
        while rows.size and (place := self._stray(table)) is not None:
            alike = (table[:, place] ^ self._frame[place]) & self._fixed[place] == 0
            left = np.concatenate([left, rows[~alike]])
            rows, table = rows[alike], table[alike]
        data = {name: table[:, begin:end] for name, (begin, end) in self._cuts.items()}
        keys = None
        if self._keys is not None:
            keys = np.empty((rows.size, len(self._keys)), np.uint32)
            for place, (begin, end) in enumerate(self._keys):
                keys[:, place] = varint.single(table[:, begin : begin + 4].view("<u4")[:, 0], end - begin)
        return Table(rows=rows, data=data, keys=keys), np.sort(left)

    def _stray(self, table: Bytes) -> int | None:
        """The first place outside the data where not all rows, (rows, bytes), have what this frame has."""
        for part, fixed in self._parts:
            some = table[:, part]
            if fixed.size < self._frame.size:
                some = flat(some).reshape(len(table), -1)
            if (place := stray(some, self._frame[part], fixed)) is not None:
                return part.start + place
        return None
