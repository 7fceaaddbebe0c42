"""The frames in a run of bytes: where each begins, and which bytes are none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topx.frame import LONGEST, MAGIC, Frame, take_apart
from topx.pieces import Bytes, Places

_SAMPLE = 64  # frames of one length that may be followed by more


class Damaged(Exception):
    """When a row cannot be read: which one, counted from the first of these frames, and why."""

    def __init__(self, row: int, what: object) -> None:
        super().__init__(what)
        self.row = row


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Whole frames, back to back from the beginning of raw to end."""

    raw: Bytes
    heads: Places
    payloads: Places  # bytes
    end: int

    def hand(self, row: int) -> tuple[bytes, Frame]:
        """The bytes of one frame, and it taken apart. Raises Damaged."""
        end = self.heads[row + 1] if row + 1 < self.heads.size else self.end
        frame = self.raw[self.heads[row] : end].tobytes()
        try:
            return frame, take_apart(frame)
        except ValueError as error:
            raise Damaged(row, error) from error


def scan(raw: Bytes) -> tuple[Frames, str]:
    """(frames, damage): the whole frames that raw begins with, what is wrong after them (or "")."""
    words = raw[: raw.size // 4 * 4].view("<u4")
    if words.size < 2:
        return _frames(raw, np.empty(0, np.int64), words[:0], 0), ""
    stride = 2 + (int(words[1]) + 3) // 4
    alike = _run(words[: _SAMPLE * stride], stride)
    run = _run(words, stride) if alike == min(_SAMPLE, words.size // stride) else 0
    if 2 * run * stride >= words.size:
        return _frames(raw, np.arange(0, run * stride, stride), words[1::stride][:run], run * stride), ""
    marks = np.flatnonzero(words[:-1] == MAGIC)
    lengths = words.take(marks + 1)
    after = marks + ((lengths.astype(np.int64) + 11) >> 2)
    # Nearly always the next frame begins at the next magic; a magic may also stand within data.
    strange = (after[:-1] != marks[1:]) | (lengths[:-1] > LONGEST)
    jumps = np.append(np.flatnonzero(strange), marks.size - 1)
    kept, end, damage = [slice(0)], 0, ""
    while end + 1 < words.size:
        first = int(np.searchsorted(marks, end))
        if first == marks.size or marks[first] != end:
            damage = f"it begins with {words[end]:#010x}; a record begins with the magic {MAGIC:#010x}"
            break
        last = int(jumps[np.searchsorted(jumps, first)])
        if lengths[last] > LONGEST:
            damage = (
                f"it claims {lengths[last]} bytes: it is split (cflag {lengths[last] >> 29}) or damaged; "
                f"a record is whole and has at most {LONGEST}"
            )
        if damage or after[last] > words.size:
            kept.append(slice(first, last))
            end = int(marks[last])
            break
        kept.append(slice(first, last + 1))
        end = int(after[last])
    heads, lengths = (np.concatenate([array[part] for part in kept]) for array in (marks, lengths))
    return _frames(raw, heads, lengths, end), damage


def _run(words: NDArray[np.uint32], stride: int) -> int:
    """How many frames of so many words they begin with."""
    whole = words[: words.size // stride * stride].reshape(-1, stride)
    magics, lengths = (whole[:, place].copy() for place in (0, 1))
    low, high = 4 * stride - 11, min(4 * stride - 8, LONGEST)
    alike = (magics == MAGIC) & (lengths >= low) & (lengths <= high)
    return alike.size if alike.all() else int(alike.argmin())


def _frames(raw: Bytes, heads: Places, lengths: NDArray[np.uint32], end: int) -> Frames:
    return Frames(raw=raw, heads=4 * heads, payloads=lengths.astype(np.int64), end=4 * end)
