"""Items a user has not touched, drawn without looking at users one by one."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from topx.pairs import contained

Longs = NDArray[np.int64]
_DRAWN = 4_000_000  # keys drawn at a time: bounds memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Untouched:
    """For each user the items without a pair, numbered 0 to `free[user]` - 1 in the order of items.

    `below` (pairs,) is, for each touched item in the order of pairs, user x items + how many untouched items
    come before it: ascending, so that one binary search turns a number into its item.
    """

    items: int
    free: Longs
    first: Longs
    below: Longs

    @classmethod
    def of(cls, keys: Longs, *, users: int, items: int) -> Self:
        """From the touched pairs, ascending: user x items + item."""
        user, item = np.divmod(keys, items)
        touched = np.bincount(user, minlength=users)
        first = np.concatenate(([0], np.cumsum(touched)[:-1]))
        before = item - (np.arange(len(item)) - first[user])
        return cls(items=items, free=items - touched, first=first, below=user * items + before)

    def draw(self, want: Longs, random: np.random.Generator) -> Longs:
        """Keys user x items + item of want[user] distinct untouched items each, every set equally likely.

        `want` (users,) is at most `free`.
        """
        block = np.cumsum(want) // _DRAWN
        edges = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
        parts = [self._block(first, want[first:stop], random) for first, stop in pairwise(edges.tolist())]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def _block(self, first: int, want: Longs, random: np.random.Generator) -> Longs:
        """`draw` for the users from `first` on."""
        free = self.free[first : first + len(want)]
        spare = want > free // 2  # where most are wanted it is quicker to draw those that are not
        chosen = self._distinct(first, np.where(spare, free - want, want), random)
        if spare.any():
            left_out = spare[chosen // self.items - first]
            users = np.flatnonzero(spare)
            every = _ranges((first + users) * self.items, free[users])
            chosen = np.concatenate((chosen[~left_out], every[~contained(every, np.sort(chosen[left_out]))]))
        before = np.searchsorted(self.below, chosen, "right") - self.first[chosen // self.items]
        return chosen + before

    def _distinct(self, first: int, want: Longs, random: np.random.Generator) -> Longs:
        """Keys user x items + number: for each user from `first` on want[i] distinct numbers."""
        free = self.free[first : first + len(want)]
        done, chosen, short = [], np.empty(0, np.int64), want
        while short.any():
            user = np.repeat(np.arange(len(want)), short)
            fresh = (first + user) * self.items + (random.random(len(user)) * free[user]).astype(np.int64)
            chosen = np.concatenate((chosen, fresh))
            chosen.sort()  # np.unique hashes first: twenty times slower here
            chosen = chosen[np.diff(chosen, prepend=-1) != 0]
            owner = chosen // self.items - first
            short = want - np.bincount(owner, minlength=len(want))
            open_ = short[owner] > 0  # who drew a number twice goes on, the others have what they want
            done.append(chosen[~open_])
            chosen, want = chosen[open_], np.where(short > 0, want, 0)
        return np.concatenate([chosen, *done])


def _ranges(starts: Longs, lengths: Longs) -> Longs:
    """starts[0], starts[0] + 1, ... for lengths[0] numbers, then the next."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(lengths.sum())
