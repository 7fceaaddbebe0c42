"""Rows -> distinct (user, item) pairs: what was said twice is merged by a rule that no order of rows changes.

Ratings: the last by time wins, of equally late ones (or without times) the highest. Events and amounts: the
strongest wins; its pair's time is that of the latest positive event.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from topx.cells import NO_TIME
from topx.ratings import Ratings
from topx.signals import Signals

Longs = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Distinct pairs, ascending by user, then item; arrays (pairs,).

    `user`, `item` are places among the ratings' ids, `level` among their values, `row` is that of the
    ratings that won; `time` is all NO_TIME where there are no times.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    level: NDArray[np.int32]
    strength: NDArray[np.int32]
    time: Longs
    row: Longs

    def __len__(self) -> int:
        return len(self.user)

    def where(self, mask: NDArray[np.bool_]) -> Self:
        """The pairs that a mask keeps."""
        return type(self)(**{name: getattr(self, name)[mask] for name in self.__slots__})


def merge(ratings: Ratings, signals: Signals, rows: Longs) -> Pairs:
    """The pairs that stand in these rows of the ratings."""
    key = ratings.user[rows].astype(np.int64) * len(ratings.item_ids) + ratings.item[rows]
    level = ratings.value[rows]
    strength = signals.strength[level]
    time = np.full(len(rows), NO_TIME) if ratings.time is None else ratings.time[rows]
    order = ascending(key)
    new = np.flatnonzero(np.diff(key[order], prepend=-1))  # where the rows of a pair begin
    count = np.diff(new, append=len(order))
    if len(new) < len(order):
        shared = np.repeat(count > 1, count)
        some = order[shared]
        rules: list[NDArray[Any]] = [level, time] if signals.latest_wins else [level, time, strength]
        order[shared] = some[np.lexsort([rule[some] for rule in [*rules, key]])]
    won = order[new + count - 1]
    latest = time[won]
    if not signals.latest_wins and len(new):
        latest = np.maximum.reduceat(np.where(strength > 0, time, NO_TIME)[order], new)
    return Pairs(
        user=ratings.user[rows[won]],
        item=ratings.item[rows[won]],
        level=level[won],
        strength=strength[won],
        time=latest,
        row=rows[won],
    )


def ascending(key: Longs) -> Longs:
    """The stable order of non-negative keys: sorts key and place in one number where both fit."""
    bits = len(key).bit_length()
    if not len(key) or int(key.max()) >> (62 - bits):
        return np.argsort(key, kind="stable")
    packed = key << bits | np.arange(len(key))
    packed.sort()
    return packed & ((1 << bits) - 1)


def contained(key: Longs, among: Longs) -> NDArray[np.bool_]:
    """Which keys stand in `among`, which is ascending."""
    at = np.searchsorted(among, key)
    return among[np.minimum(at, len(among) - 1)] == key if len(among) else np.zeros(len(key), bool)
