"""Rating files -> what a run would train on and hold out, with every row accounted for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from topx.cells import NO_TIME
from topx.errors import InputRejected, RunRejected, SettingsRejected
from topx.pairs import Pairs
from topx.quarantine import Bad
from topx.ratings import Ratings, Source, raw_rows, read
from topx.settings import Run
from topx.signals import Signals, signals
from topx.split import Split, split
from topx.vocabulary import Vocabulary

Longs = NDArray[np.int64]
_LEVELS = 50  # values shown in the histogram
_NULLS = ("null", "none", "nan", "n/a", "na", "\\n", "undefined", "<na>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Checked, merged and split ratings, in columns of the vocabulary.

    `train_keys` (train pairs,) and `held_keys` (held-out pairs,) are user column x items + item from 0,
    ascending; `summary` is JSON.
    """

    vocabulary: Vocabulary
    signals: Signals
    train: Pairs
    held_out: Pairs
    train_keys: Longs
    held_keys: Longs
    summary: dict[str, Any]


def survey(
    files: Sequence[Source], run: Run, *, ignored: Sequence[str] = (), quarantine: Path | None = None
) -> Survey:
    """Reads, merges and splits. Raises InputRejected or SettingsRejected where a run could not go on.

    Bad rows go to JSONL files in the folder `quarantine`, if given.
    """
    ratings = read(files, run.data, quarantine=quarantine)
    meaning = signals(ratings.levels, _level_rows(ratings), run.data)
    _check_recipe(meaning, ratings, run)
    parts = split(ratings, meaning, run.encode)
    _set_aside(ratings, parts.unknown)
    vocabulary, user_column, item_column = _vocabulary(ratings, parts.train)
    _check_size(vocabulary, parts, run)

    def keys(pairs: Pairs) -> Longs:
        return user_column[pairs.user] * len(vocabulary.items) + item_column[pairs.item]

    return Survey(
        vocabulary=vocabulary,
        signals=meaning,
        train=parts.train,
        held_out=parts.held_out,
        train_keys=keys(parts.train),
        held_keys=keys(parts.held_out),
        summary=_summary(ratings, meaning, parts, vocabulary, run, ignored),
    )


def _level_rows(ratings: Ratings) -> Longs:
    """Training rows of each level, (levels,)."""
    if ratings.levels is None:
        return np.empty(0, np.int64)
    training = ~np.repeat([one.source.given for one in ratings.files], np.diff(ratings.starts))
    found = ratings.value[training]
    return np.bincount(found[found >= 0], minlength=len(ratings.levels))


def _check_recipe(meaning: Signals, ratings: Ratings, run: Run) -> None:
    if run.encode.recipe == "regression" and (
        meaning.kind not in ("ratings", "amounts") or ratings.value.min() < 0
    ):
        raise SettingsRejected(
            "encode.recipe is `regression`, which learns numbers, but not every row has one "
            f"({meaning.because}); name their column with data.columns.value, or choose `default`"
        )


def _set_aside(ratings: Ratings, rows: Longs) -> None:
    """Puts test rows that train knows nothing of into the quarantine of their files."""
    owner = np.searchsorted(ratings.starts, rows, "right") - 1
    for number in np.unique(owner):
        one = ratings.files[number]
        lines = np.sort(ratings.line[rows[owner == number]])
        found = raw_rows(one.source, one.dialect, lines)
        one.quarantine.add(Bad(line, "unknown", raw) for line, raw in found)


def _vocabulary(ratings: Ratings, train: Pairs) -> tuple[Vocabulary, Longs, Longs]:
    """The ids of train, and the column of each place among all user ids, among all item ids (from 0)."""
    ids, columns = [], []
    for known, places in ((ratings.user_ids, train.user), (ratings.item_ids, train.item)):
        present = np.bincount(places, minlength=len(known)) > 0
        ids.append(known.filter(pa.array(present)))
        columns.append(np.where(present, np.cumsum(present) - 1, -1))
    return Vocabulary(users=ids[0], items=ids[1]), columns[0], columns[1]


def _check_size(vocabulary: Vocabulary, parts: Split, run: Run) -> None:
    users, items = len(vocabulary.users), len(vocabulary.items)
    if users < 2:
        raise InputRejected(
            f"the training rows hold one user only, `{vocabulary.users[0]}`; lists are learned from many "
            "users: upload the rows of at least 2, or name the right column with data.columns.user"
        )
    if run.rank.x > items:
        raise SettingsRejected(
            f"rank.x is {run.rank.x}, but the training rows hold {items} items; choose 1 to {items}"
        )
    if not (parts.train.strength > 0).any():
        raise InputRejected(
            "no training row is a positive after the split; upload more rows, or lower encode.held_out_max"
        )


def _summary(
    ratings: Ratings, meaning: Signals, parts: Split, vocabulary: Vocabulary, run: Run, ignored: Sequence[str]
) -> dict[str, Any]:
    files = _accounts(ratings, parts)
    total = {name: sum(one[name] for one in files) for name in ("rows_in", "kept", "merged", "quarantined")}
    reasons = sum((Counter(one["reasons"]) for one in files), Counter[str]())
    users, items = len(vocabulary.users), len(vocabulary.items)
    judged = np.unique(parts.held_out.user[meaning.relevant[parts.held_out.level]])
    return {
        **total,
        "reasons": dict(sorted(reasons.items())),
        "users": users,
        "items": items,
        "density": len(parts.train) / (users * items),
        "positives": int((parts.train.strength > 0).sum()),
        "scale": meaning.because,
        "values": _histogram(ratings),
        "time_span": _time_span(ratings),
        "split": parts.how,
        "held_out": {
            "pairs": len(parts.held_out),
            "users": len(np.unique(parts.held_out.user)),
            "relevant": int(meaning.relevant[parts.held_out.level].sum()),
            "judged_users": len(judged),
        },
        "vocabulary": vocabulary.digest(),
        "files": files,
        "ignored": list(ignored),
        "warnings": [*ratings.warnings, *_warnings(vocabulary, parts, len(judged), run)],
    }


def _accounts(ratings: Ratings, parts: Split) -> list[dict[str, Any]]:
    """What became of each file's rows. Raises RunRejected if a row is unaccounted for."""
    edges, files = ratings.starts, len(ratings.files)
    won = np.concatenate((parts.train.row, parts.held_out.row))
    kept, unknown = (
        np.bincount(np.searchsorted(edges, rows, "right") - 1, minlength=files) for rows in (won, parts.unknown)
    )
    merged = np.diff(edges) - kept - unknown
    accounts = []
    for number, one in enumerate(ratings.files):
        quarantined = one.quarantine.reasons.total()
        if one.rows != kept[number] + merged[number] + quarantined:
            raise RunRejected(
                f"{one.source.name}: {one.rows:,} rows in, but {kept[number]:,} kept, {merged[number]:,} "
                f"merged and {quarantined:,} quarantined; please report this file's form: {one.dialect.because}"
            )
        accounts.append(
            {
                "name": one.source.name,
                "role": "test" if one.source.given else "training",
                "rows_in": one.rows,
                "kept": int(kept[number]),
                "merged": int(merged[number]),
                "quarantined": quarantined,
                "reasons": dict(sorted(one.quarantine.reasons.items())),
                "examples": dict(sorted(one.quarantine.examples.items())),
                "format": one.dialect.because,
            }
        )
    return accounts


def _histogram(ratings: Ratings) -> list[dict[str, Any]]:
    """The commonest values with the good rows that hold them, in their order."""
    if ratings.levels is None:
        return []
    levels = ratings.levels if isinstance(ratings.levels, tuple) else tuple(ratings.levels.tolist())
    rows = np.bincount(ratings.value[ratings.value >= 0], minlength=len(levels))
    common = np.sort(np.argsort(-rows, kind="stable")[:_LEVELS]).tolist()
    return [{"value": levels[level], "rows": int(rows[level])} for level in common]


def _time_span(ratings: Ratings) -> dict[str, str] | None:
    known = ratings.time[ratings.time != NO_TIME] if ratings.time is not None else None
    if known is None or not len(known):
        return None
    ends = {"first": known.min(), "last": known.max()}
    return {end: datetime.fromtimestamp(int(ms) / 1000, UTC).isoformat() for end, ms in ends.items()}


def _warnings(vocabulary: Vocabulary, parts: Split, judged: int, run: Run) -> list[str]:
    found = []
    if len(parts.unknown):
        found.append(
            f"{len(parts.unknown):,} test rows name a user or an item that stands in no training row: "
            "left out, see the quarantine"
        )
    if judged < run.evaluate.min_users:
        found.append(
            f"{judged:,} users have a relevant held-out event, fewer than evaluate.min_users, "
            f"{run.evaluate.min_users:,}: the gate will find them too few to judge"
        )
    for kind, ids in (("user", vocabulary.users), ("item", vocabulary.items)):
        nulls = pc.is_in(pc.utf8_lower(ids), pa.array(_NULLS))
        if pc.any(nulls).as_py():
            shown = ", ".join(f"`{one}`" for one in ids.filter(nulls).to_pylist())
            found.append(
                f"{kind} id {shown} is taken as it stands; if it means that there is none, remove its rows"
            )
    return found
