"""Pairs -> what is trained on and what is held out to judge the lists."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from topx.errors import InputRejected, SettingsRejected
from topx.pairs import Pairs, contained, merge
from topx.ratings import Ratings
from topx.settings import Encode
from topx.signals import Signals

_SECOND = 1000  # milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """`train` and `held_out` share no pair, and train knows every user and item of `held_out`.

    `unknown` (rows,) are rows of the ratings left out because train does not know their user or item;
    `how` is for a person.
    """

    train: Pairs
    held_out: Pairs
    unknown: NDArray[np.int64]
    how: str


def split(ratings: Ratings, signals: Signals, encode: Encode) -> Split:
    """A given test set; or everything from `encode.time_cut` on; or the last positive of sampled users.

    Rows are split first and merged on each side; a test pair that stands in train counts as merged.
    Raises SettingsRejected for a time cut without times, InputRejected where one side has nothing left.
    """
    given = np.repeat([one.source.given for one in ratings.files], np.diff(ratings.starts))
    if given.any():
        return _sides(ratings, signals, given, "a given test set")
    if encode.split == "time":
        if ratings.time is None or encode.time_cut is None:
            raise SettingsRejected(
                "encode.split is `time`, but not every file has a time column; "
                "name it with data.columns.time, or set encode.split to `last`"
            )
        later = ratings.time >= encode.time_cut * _SECOND
        if later.all() or not later.any():
            first, last = ratings.time.min() // _SECOND, ratings.time.max() // _SECOND
            raise SettingsRejected(
                f"encode.time_cut is {encode.time_cut:.0f}, but the times go from {first} to {last}: "
                f"{'nothing lies before' if later.all() else 'nothing lies after'} the cut; "
                f"choose epoch seconds between these"
            )
        return _sides(ratings, signals, later, f"everything from epoch second {encode.time_cut:.0f} on")
    pairs = merge(ratings, signals, np.arange(len(ratings.user)))
    held = _last_positives(pairs, ratings.user_ids, encode)
    how = "the last positive" if ratings.time is not None else "a seeded positive (no times)"
    return Split(
        train=pairs.where(~held),
        held_out=pairs.where(held),
        unknown=np.empty(0, np.int64),
        how=f"{how} of {held.sum():,} sampled users with two positives or more",
    )


def _sides(ratings: Ratings, signals: Signals, test: NDArray[np.bool_], how: str) -> Split:
    train = merge(ratings, signals, np.flatnonzero(~test))
    held = merge(ratings, signals, np.flatnonzero(test))
    users, items = np.zeros(len(ratings.user_ids), bool), np.zeros(len(ratings.item_ids), bool)
    users[train.user], items[train.item] = True, True
    known = users[held.user] & items[held.item]
    seen = contained(_key(held, len(items)), _key(train, len(items)))
    kept = known & ~seen
    if not kept.any():
        raise InputRejected(
            f"the split is {how}, but none of its {len(held):,} pairs can be judged: {(~known).sum():,} have "
            f"a user or an item that stands in no training row, {seen.sum():,} stand in a training row "
            "themselves; check that both sides use the same ids and do not overlap"
        )
    return Split(train=train, held_out=held.where(kept), unknown=held.row[~known], how=how)


def _key(pairs: Pairs, items: int) -> NDArray[np.int64]:
    return pairs.user.astype(np.int64) * items + pairs.item


def _last_positives(pairs: Pairs, user_ids: pa.StringArray, encode: Encode) -> NDArray[np.bool_]:
    """Mask of the held-out pairs: of equally late positives a seeded one.

    Users are sampled by a hash of their id, so that a user's turn does not depend on who else is there. A
    pair stays in train when its item stood in no other: it could be neither judged nor recommended.
    """
    held = np.zeros(len(pairs), bool)
    positive = np.flatnonzero(pairs.strength > 0)
    eligible = np.flatnonzero(np.bincount(pairs.user[positive], minlength=len(user_ids)) >= 2)
    size = round(encode.held_out_share * len(eligible))
    size = min(max(size, encode.held_out_min), encode.held_out_max, len(eligible))
    if not size:
        return held
    draw = _hashes(user_ids.take(pa.array(eligible)).to_pylist(), encode.seed)
    sampled = np.zeros(len(user_ids), bool)
    sampled[eligible[np.argsort(draw[:, 0], kind="stable")[:size]]] = True
    turn = np.zeros(len(user_ids), np.uint64)
    turn[eligible] = draw[:, 1]

    mine = positive[sampled[pairs.user[positive]]]
    first = np.flatnonzero(np.diff(pairs.user[mine], prepend=-1))
    latest = np.maximum.reduceat(pairs.time[mine], first)
    late = mine[pairs.time[mine] == np.repeat(latest, np.diff(first, append=len(mine)))]
    first = np.flatnonzero(np.diff(pairs.user[late], prepend=-1))
    choices = np.diff(first, append=len(late)).astype(np.uint64)
    held[late[first + (turn[pairs.user[late[first]]] % choices).astype(np.int64)]] = True

    left = np.bincount(pairs.item[~held], minlength=int(pairs.item.max()) + 1)
    return held & (left[pairs.item] > 0)


def _hashes(ids: list[str], seed: int) -> NDArray[np.uint64]:
    """Two independent numbers for each id, (ids, 2)."""
    salt = seed.to_bytes(8, "little")
    digests = b"".join(blake2b(one.encode(), digest_size=16, salt=salt).digest() for one in ids)
    return np.frombuffer(digests, "<u8").reshape(-1, 2)
