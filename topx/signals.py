"""What a value says: its strength, whether it is relevant, and its number."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from topx.distinct import Levels
from topx.errors import InputRejected, SettingsRejected
from topx.settings import Data

_WEAK, _FAIR = 0.4, 0.6  # of a scale's maximum: up to here strength 0, up to here 1, above 2
_RELEVANT = 0.8  # of a scale's maximum: 4 of 5
_LARGEST_SCALE = 100.0
_NEAR = 1e-9  # 0.8 x 4.5 is not 3.6 in binary


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """The meaning of each level, arrays (levels + 1,): the last entry is that of a row without a value.

    `kind` is `ratings`, `amounts`, `events` or `none`; `strength` the repetitions of a label-1 row, 0 for
    known but not positive; `number` the value itself, NaN where there is none; `because` is for a person.
    """

    kind: str
    strength: NDArray[np.int32]
    relevant: NDArray[np.bool_]
    number: NDArray[np.float64]
    because: str

    @property
    def latest_wins(self) -> bool:
        """Whether a later row replaces an earlier one of its pair; otherwise the strongest wins."""
        return self.kind == "ratings"


def signals(levels: Levels | None, rows: NDArray[np.int64], data: Data) -> Signals:
    """The meaning of `levels`, which stand in so many training rows each, `rows` (levels,).

    A column of numbers is a rating scale when its maximum is at most 100 and at least half of its numbers
    above 0 lie above a fifth of that maximum. Otherwise it is an amount (a count, minutes, a price), of
    which each one above 0 is one positive. A rating is relevant from `data.threshold` on, an amount or an
    event when its strength is above 0. Raises SettingsRejected for a threshold that no rating reaches,
    InputRejected where no training row is a positive.
    """
    if levels is None:
        return _with_none("none", [], [], [], "no values: every row is one positive")
    if isinstance(levels, tuple):
        return _events(levels, rows, data)
    trained = levels[rows > 0]
    highest = float(trained[-1]) if trained.size else 0.0
    positive = levels > 0
    low = rows[positive & (levels <= highest / 5)].sum()
    if highest <= 0:
        raise InputRejected(
            f"the highest value is {highest:g}: no row is a positive; values above 0 are, or set "
            "data.columns.value to none if every row is"
        )
    scale = highest <= _LARGEST_SCALE and 2 * low <= rows[positive].sum()
    threshold = data.threshold if data.threshold is not None else _RELEVANT * highest if scale else None
    if threshold is not None and threshold > highest + _NEAR:
        raise SettingsRejected(
            f"data.threshold is {threshold:g}, but the highest value is {highest:g}: nothing would be "
            f"relevant; choose at most {highest:g}"
        )
    relevant = positive if threshold is None else levels >= threshold - _NEAR
    if not scale:
        because = f"amounts up to {highest:g}: each above 0 is one positive"
        return _with_none("amounts", positive, relevant, levels, because)
    share = levels / highest - _NEAR
    strength = (share > _WEAK).astype(np.int32) + (share > _FAIR)
    because = (
        f"ratings up to {highest:g}: strength 0 up to {_WEAK * highest:g}, 1 up to {_FAIR * highest:g}, "
        f"2 above; relevant from {threshold:g}"
    )
    return _with_none("ratings", strength, relevant, levels, because)


def _events(names: tuple[str, ...], rows: NDArray[np.int64], data: Data) -> Signals:
    given = {name.strip().lower(): strength for name, strength in data.strengths.items()}
    strength = np.array([given[name] for name in names], np.int32)
    each = zip(names, strength, rows, strict=True)
    shown = ", ".join(f"`{name}` {repeats} ({count:,} rows)" for name, repeats, count in each)
    if not rows[strength > 0].any():
        raise InputRejected(
            f"no row is a positive: the events and their strengths are {shown}; "
            "give one of them a strength above 0 in data.strengths"
        )
    return _with_none(
        "events", strength, strength > 0, np.full(len(names), np.nan), f"events with strength: {shown}"
    )


def _with_none(kind: str, strength: ArrayLike, relevant: ArrayLike, number: ArrayLike, because: str) -> Signals:
    """Adds the meaning of no value: one positive."""
    return Signals(
        kind=kind,
        strength=np.append(strength, 1).astype(np.int32),
        relevant=np.append(relevant, True).astype(bool),
        number=np.append(number, np.nan),
        because=because,
    )
