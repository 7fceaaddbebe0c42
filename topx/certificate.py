"""Proof by sample that published lists are what the model says: ranked anew from the FM artifact itself.

Nothing of Repackage, the index, the transform or Rank is used: the scores come from w0, w and v.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from topx.factors import load_factors
from topx.plan import Plan
from topx.seen import blocks

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_SAMPLED = 100  # users
_TOLERANCE = 1e-9  # of a float64 score, relative to the user's largest: only the order of a sum differs


@dataclass(frozen=True, slots=True, kw_only=True)
class Exactness:
    """How many sampled users' lists were ranked anew, and how many of them are exactly that ranking."""

    users: int
    exact: int

    @property
    def passed(self) -> bool:
        """Whether lists were compared and all are exact."""
        return 0 < self.users == self.exact


def certify(input: Path, plan: Plan) -> Exactness:
    """The comparison of up to 100 seeded users of the model with all items, in float64.

    A list is exact when it holds min(x, unseen items) distinct unseen items, best first, each with its own
    score, and no better ones exist. Reads encoded, lists and factors below `input`; raises ArtifactRejected
    for weights that are not finite.
    """
    encoded = input / "encoded"
    users = pq.read_table(encoded / "users.parquet", columns=["id", "rows"])
    items = pq.read_table(encoded / "items.parquet", columns=["id", "rows"])
    sample = _sample(users["rows"].to_numpy(), plan.run.encode.seed)
    catalogue = np.flatnonzero(items["rows"].to_numpy() > 0)
    columns = len(users) + catalogue
    ids = users["id"].combine_chunks().take(pa.array(sample))
    lists = pq.read_table(input / "lists", filters=pc.field("user_id").isin(ids)).sort_by("rank")
    owner = pc.index_in(lists["user_id"], ids).to_numpy()
    listed = pc.index_in(lists["item_id"], items["id"].combine_chunks().take(pa.array(catalogue)))
    listed, published = listed.fill_null(-1).to_numpy(), lists["score"].to_numpy()
    seen = pq.read_table(encoded / "seen_all.parquet", filters=pc.field("user").isin(sample))
    touched, by = seen["item"].to_numpy(), seen["user"].to_numpy()

    factors = load_factors(input / "factors" / "model.tar.gz")
    factors.check()
    vectors, weights = (part[columns].astype(np.float64) for part in (factors.v, factors.w))
    exact = 0
    for block in blocks(len(sample), len(columns)):
        some = sample[block]
        scores = factors.v[some].astype(np.float64) @ vectors.T + weights
        scores += factors.w[some, None].astype(np.float64) + float(factors.w0)
        for place, user, score in zip(range(block.start, block.stop), some, scores, strict=True):
            score[np.isin(columns, touched[by == user])] = -np.inf
            mine = owner == place
            exact += _same(score, listed[mine], published[mine], plan.run.rank.x)
    return Exactness(users=len(sample), exact=exact)


def _sample(rows: Ints, seed: int) -> Ints:
    """Ascending columns of up to 100 users that have training rows."""
    known = np.flatnonzero(rows > 0)
    return np.sort(np.random.default_rng(seed).choice(known, min(_SAMPLED, len(known)), replace=False))


def _same(scores: Floats, listed: Ints, published: Floats, x: int) -> bool:
    """Whether a list is the x best of `scores` (items,), where -inf marks what the user has seen."""
    best = np.sort(scores)[::-1][:x]
    best = best[best > -np.inf]
    if len(listed) != len(best) or len(np.unique(listed)) != len(listed) or np.any(listed < 0):
        return False
    error = np.maximum(np.abs(scores[listed] - published), np.abs(best - published))
    return bool(np.all(error <= _TOLERANCE * np.maximum(1, np.abs(best).max(initial=0))))
