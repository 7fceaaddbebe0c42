"""The x best unseen items of each user, exactly: from the index's answers where they prove it, else from all.

The index answers in float32 and names equally many items for every user. Each answer is scored again in
float64, cleared of what the user has seen and cut to x; a list that the answer does not prove is made from
all items. So lists equal a brute-force ranking of the matrices, ties going to the lower column.

The catalogue is what lists are made from: the items with a training row. Below, an item is a row of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from topx.errors import RunRejected
from topx.lists import Lists
from topx.seen import Seen, blocks

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_AUDITED = 64  # answers of each part that are compared with all items


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The items that may be listed, in column order.

    ids (items,) strings; vectors (items, width) float32 and doubles, the same as float64; popularity (items,)
    int64; popular (items,) int64: the rows, most popular first; position (all items,) int64: the row of
    column - U, -1 where it has none.
    """

    ids: pa.Array
    vectors: NDArray[np.float32]
    doubles: Floats
    popularity: Ints
    popular: Ints
    position: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of the user matrix: users (n,) int64 columns in sequence, vectors (n, width), offsets (n,)."""

    name: str
    users: Ints
    vectors: NDArray[np.float32]
    offsets: Floats

    def scores(self, rows: Ints, items: Ints, catalogue: Catalogue) -> Floats:
        """(n, m) float64, offset + <user row, item row>: rows (n,) of this part, items (n, m)."""
        out = np.empty(items.shape)
        for block in blocks(len(rows), items.shape[1] * self.vectors.shape[1]):
            vectors = self.vectors[rows[block]].astype(np.float64)
            out[block] = np.einsum("nd,nmd->nm", vectors, catalogue.doubles[items[block]])
        return out + self.offsets[rows, None]

    def margins(self, catalogue: Catalogue) -> Floats:
        """(n,) float64 per user: float32 inner products further apart than this stand in the right order.

        Twice the bound d u |a| |b| on the error of one, u half of float32's epsilon, b the longest item
        vector (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
        """
        longest = np.sqrt(np.square(catalogue.doubles).sum(axis=1).max())
        lengths = np.sqrt(np.square(self.vectors.astype(np.float64)).sum(axis=1))
        return np.asarray(self.vectors.shape[1] * np.finfo(np.float32).eps * longest * lengths)


def cut(
    part: Part, catalogue: Catalogue, answers: Iterable[Ints], targets: list[tuple[Lists, Seen]]
) -> list[Ints]:
    """Fills lists of a part's users from its answers; gives each target's rows that these do not prove.

    `answers` are blocks of (users, nearest) distinct items. One proves a list when the x-th unseen item
    scores above its lowest by more than float32 can err, for then no other item can; or when it names all
    items. Raises RunRejected where a sampled answer misses an item that it should name.
    """
    audited = np.unique(np.linspace(0, len(part.users) - 1, _AUDITED, dtype=np.int64))
    margins = part.margins(catalogue)
    samples: list[tuple[Ints, Ints, Floats]] = []
    unsure: list[list[Ints]] = [[] for _ in targets]
    begin = 0
    for answer in answers:
        heaviest = max(int(seen.counts(lists.users).max(initial=0)) for lists, seen in targets)
        for block in blocks(len(answer), answer.shape[1] * part.vectors.shape[1] + heaviest):
            rows, items = np.arange(begin + block.start, begin + block.stop), answer[block]
            scores = part.scores(rows, items, catalogue)
            bound = scores.min(axis=1) + margins[rows]
            checked = np.isin(rows, audited)
            samples.append((rows[checked], items[checked], bound[checked]))
            for (lists, seen), doubtful in zip(targets, unsure, strict=True):
                first, last = part.users[rows[[0, -1]]]
                there = np.arange(*np.searchsorted(lists.users, [first, last + 1]))
                here = lists.users[there] - first
                kept = np.where(seen.unseen(lists.users[there], items[here]), scores[here], -np.inf)
                _put(lists, there, items[here], kept)
                proven = (lists.items[there, -1] >= 0) & (lists.scores[there, -1] > bound[here])
                if items.shape[1] < len(catalogue.vectors):
                    doubtful.append(there[~proven & ~lists.popular[there]])
        begin += len(answer)
    rows, items, bound = (np.concatenate(each) for each in zip(*samples, strict=True))
    _audit(part, catalogue, rows, items, bound)
    return [np.concatenate(rows or [np.empty(0, np.int64)]) for rows in unsure]


def refill(part: Part, catalogue: Catalogue, lists: Lists, seen: Seen, rows: Ints) -> None:
    """Makes the lists of some rows anew, from all items: x of them unless the user has seen the rest."""
    size, x = len(catalogue.vectors), lists.items.shape[1]
    margins = part.margins(catalogue)
    for block in blocks(len(rows), size):
        some = rows[block]
        users = lists.users[some]
        here = users - part.users[0]
        near = part.vectors[here] @ catalogue.vectors.T
        near[seen.pairs(users)] = -np.inf
        nth = np.partition(near, max(size - x, 0), axis=1)[:, max(size - x, 0)]
        floor = nth.astype(np.float64) - margins[here]
        row, item = np.nonzero((near >= floor[:, None]) & (near > -np.inf))
        score = part.scores(here[row], item[:, None], catalogue)[:, 0]
        order = np.lexsort((item, -score, row))
        row, item, score = row[order], item[order], score[order]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        best = place < x
        lists.items[some] = -1
        lists.items[some[row[best]], place[best]] = item[best]
        lists.scores[some[row[best]], place[best]] = score[best]


def _put(lists: Lists, rows: Ints, items: Ints, scores: Floats) -> None:
    """The x best of (rows, m) scored items, ascending by item; -inf marks what may not be listed."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, : lists.items.shape[1]]
    best = np.take_along_axis(scores, order, axis=1)
    listed = best > -np.inf
    lists.items[rows, : order.shape[1]] = np.where(listed, np.take_along_axis(items, order, axis=1), -1)
    lists.scores[rows, : order.shape[1]] = np.where(listed, best, 0)


def _audit(part: Part, catalogue: Catalogue, rows: Ints, items: Ints, bound: Floats) -> None:
    """Compares answers with all items; raises RunRejected where one misses an item scoring above its lowest."""
    for block in blocks(len(rows), len(catalogue.vectors)):
        some = rows[block]
        near = part.vectors[some] @ catalogue.vectors.T + part.offsets[some, None]
        np.put_along_axis(near, items[block], -np.inf, axis=1)
        if (missed := np.flatnonzero(near.max(axis=1) > bound[block])).size:
            row, item = some[missed[0]], int(near[missed[0]].argmax())
            raise RunRejected(
                f"matches/{part.name}.rec.out line {row + 1:,} leaves out item {catalogue.ids[item]}, whose "
                f"score {near[missed[0], item]:.6g} is above its lowest, {bound[block][missed[0]]:.6g}; the "
                "index must be faiss.Flat, INNER_PRODUCT, with sample_size of all items: start a new run"
            )
