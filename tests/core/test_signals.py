import numpy as np
import pytest

from topx.errors import InputRejected, SettingsRejected
from topx.settings import Data
from topx.signals import Signals, signals


def meaning(levels: list[float], rows: list[int] | None = None, data: Data | None = None) -> Signals:
    return signals(np.array(levels, float), np.array(rows or [1] * len(levels)), data or Data())


@pytest.mark.parametrize(
    ("levels", "strength", "relevant"),
    [
        ([1, 2, 3, 4, 5], [0, 0, 1, 2, 2], [4, 5]),
        ([0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5], [0, 0, 0, 0, 1, 1, 2, 2, 2, 2], [4, 4.5, 5]),
        ([1, 4, 5, 6, 7, 8, 10], [0, 0, 1, 1, 2, 2, 2], [8, 10]),
        ([0, 40, 41, 60, 61, 80, 100], [0, 0, 1, 1, 2, 2, 2], [80, 100]),
        ([-10, -1, 0, 5, 10], [0, 0, 0, 1, 2], [10]),
        ([0, 1], [0, 2], [1]),
        ([1.8, 2.7, 3.6, 4.5], [0, 1, 2, 2], [3.6, 4.5]),
    ],
)
def test_a_rating_counts_by_its_fraction_of_the_scale(
    levels: list[float], strength: list[int], relevant: list[float]
) -> None:
    found = meaning(levels)
    assert (found.kind, found.latest_wins) == ("ratings", True)
    assert found.strength.tolist() == [*strength, 1]
    assert found.number[found.relevant].tolist()[:-1] == relevant


@pytest.mark.parametrize(
    ("levels", "rows"), [([1, 2, 3, 12], [90, 8, 1, 1]), ([0, 30, 350_000], [5, 1, 1]), ([9.99, 199.0], [1, 1])]
)
def test_numbers_that_are_no_scale_are_amounts_each_a_positive(levels: list[float], rows: list[int]) -> None:
    found = meaning(levels, rows)
    assert (found.kind, found.latest_wins) == ("amounts", False)
    assert found.strength.tolist() == [*(int(level > 0) for level in levels), 1]
    assert found.relevant.tolist() == [*(level > 0 for level in levels), True]
    assert meaning(levels, rows, Data(threshold=3)).relevant.tolist() == [
        *(level >= 3 for level in levels),
        True,
    ]


def test_only_training_rows_make_the_scale() -> None:
    assert meaning([1, 5, 50], [5, 5, 0]).strength.tolist() == [0, 2, 2, 1]


def test_events_count_as_the_settings_say() -> None:
    data = Data(strengths={"Bought": 3, "seen": 0})
    found = signals(("bought", "seen"), np.array([2, 9]), data)
    assert found.strength.tolist() == [3, 0, 1]
    assert found.relevant.tolist() == [True, False, True]
    assert found.because == "events with strength: `bought` 3 (2 rows), `seen` 0 (9 rows)"


def test_rows_without_values_are_positives() -> None:
    found = signals(None, np.empty(0, np.int64), Data())
    assert (found.strength.tolist(), found.relevant.tolist()) == ([1], [True])


def test_a_threshold_above_every_rating_is_refused() -> None:
    with pytest.raises(
        SettingsRejected, match=r"data.threshold is 6, but the highest value is 5: .* choose at most 5"
    ):
        meaning([1, 5], data=Data(threshold=6))


def test_values_without_a_positive_are_refused() -> None:
    with pytest.raises(InputRejected, match="the highest value is 0: no row is a positive"):
        meaning([-1, 0])
    with pytest.raises(InputRejected, match=r"no row is a positive: .* `seen` 0 \(4 rows\); give one of them"):
        signals(("seen",), np.array([4]), Data())
