"""What each user is known to have touched, as sorted pairs: quick to ask for whole blocks of lists."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from topx.errors import RunRejected

Ints = NDArray[np.int64]
_NUMBERS = 1 << 22  # numbers of a temporary array: bounds memory whatever the size of the input


def blocks(rows: int, width: int) -> Iterator[slice]:
    """Slices that cover `rows`, each of so few that rows x width stays a small array."""
    step = max(1, _NUMBERS // max(1, width))
    return (slice(first, min(first + step, rows)) for first in range(0, rows, step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Items of user u: `items[start[u]:start[u + 1]]`, ascending; start (users + 1,) int64, items int32.

    Items are rows of the catalogue, which holds `catalogue` of them.
    """

    start: Ints
    items: NDArray[np.int32]
    catalogue: int

    @classmethod
    def read(cls, path: Path, users: int, position: Ints) -> Self:
        """The pairs of encoded/seen_*.parquet (columns `user`, `item`) that lie in the catalogue.

        `position` (all items,) int64 is the catalogue's row of item column - users, -1 where it has none.
        Raises RunRejected for columns that do not exist, are out of order or repeated.
        """
        table = pq.read_table(path, columns=["user", "item"])
        user, item = table["user"].to_numpy(), table["item"].to_numpy()
        if len(user):
            step = np.diff(user)
            sorted_pairs = np.all((step > 0) | ((step == 0) & (np.diff(item) > 0)))
            inside = (
                user[0] >= 0 and user[-1] < users and item.min() >= users and item.max() < users + len(position)
            )
            if not sorted_pairs or not inside:
                raise RunRejected(
                    f"encoded/{path.name} holds users {user.min()} to {user.max()} and items {item.min()} to "
                    f"{item.max()}{'' if sorted_pairs else ', out of order or repeated'}; allowed are sorted, "
                    f"distinct pairs of users 0 to {users - 1} and items {users} to "
                    f"{users + len(position) - 1}: start a new run"
                )
        rows = position[item - users]
        kept = rows >= 0
        start = np.zeros(users + 1, np.int64)
        np.cumsum(np.bincount(user[kept], minlength=users), out=start[1:])
        return cls(
            start=start, items=rows[kept].astype(np.int32), catalogue=int(np.count_nonzero(position >= 0))
        )

    def counts(self, users: Ints) -> Ints:
        """(n,) int64: how many items of the catalogue each user has touched."""
        return self.start[users + 1] - self.start[users]

    def pairs(self, users: Ints) -> tuple[Ints, Ints]:
        """All pairs of some users as (place in `users`, item), each (pairs,) int64, sorted by both."""
        counts = self.counts(users)
        place = np.repeat(np.arange(len(users)), counts)
        before = np.cumsum(counts) - counts
        return place, self.items[np.arange(len(place)) + (self.start[users] - before)[place]].astype(np.int64)

    def unseen(self, users: Ints, items: Ints) -> NDArray[np.bool_]:
        """(n, m) bool: whether users[row] has not touched items[row, column]; users (n,), items (n, m)."""
        place, touched = self.pairs(users)
        if not len(place):
            return np.ones(items.shape, np.bool_)
        keys = place * self.catalogue + touched
        asked = np.arange(len(users))[:, None] * self.catalogue + items
        return np.asarray(keys[np.minimum(np.searchsorted(keys, asked), len(keys) - 1)] != asked)

    def first_unseen(self, users: Ints, order: Ints, x: int, begin: Ints | None = None) -> Ints:
        """(n, x) int64: the first x items of `order` that each user has not touched, -1 behind the last.

        User row r reads `order` from place begin[r] on and around its end; unset: from its front.
        """
        out = np.full((len(users), x), -1, np.int64)
        begin = np.zeros(len(users), np.int64) if begin is None else begin
        rows, width = np.arange(len(users)), 4 * x
        while len(rows) and len(order):
            width = min(width, len(order))
            for block in blocks(len(rows), width + int(self.counts(users[rows]).max())):
                some = rows[block]
                items = order[(begin[some, None] + np.arange(width)) % len(order)]
                fresh = self.unseen(users[some], items)
                rank = np.cumsum(fresh, axis=1) - 1
                row, column = np.nonzero(fresh & (rank < x))
                out[some[row], rank[row, column]] = items[row, column]
            rows = rows[out[rows, -1] < 0] if width < len(order) else rows[:0]
            width *= 4  # few users have seen most of what stands in front: only these read on
        return out
