import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from topx.negatives import Untouched


def seeded() -> np.random.Generator:
    return np.random.default_rng(7)


@settings(deadline=None)
@given(
    touched=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8)), max_size=40).map(
        lambda some: sorted(set(some))
    ),
    share=st.lists(st.floats(0, 1), min_size=5, max_size=5),
)
def test_as_many_distinct_untouched_items_as_wanted(touched: list[tuple[int, int]], share: list[float]) -> None:
    keys = np.array([user * 9 + item for user, item in touched], np.int64)
    untouched = Untouched.of(keys, users=5, items=9)
    assert untouched.free.tolist() == [9 - sum(one == user for one, _ in touched) for user in range(5)]
    want = (untouched.free * np.array(share)).astype(np.int64)
    drawn = untouched.draw(want, seeded())
    assert np.bincount(drawn // 9, minlength=5).tolist() == want.tolist()
    assert len(set(drawn.tolist())) == len(drawn)
    assert not set(drawn.tolist()) & set(keys.tolist())


def test_all_untouched_items_are_equally_likely_few_or_most_of_them_wanted() -> None:
    keys = np.array([0, 5, 9, 10, 11, 12])  # user 0 has touched 3 of 10 items, user 1 another 3
    untouched = Untouched.of(keys, users=2, items=10)
    random = seeded()
    for want in (2, 5):
        drawn = np.concatenate([untouched.draw(np.array([want, want]), random) for _ in range(4000)])
        count = np.bincount(drawn, minlength=20)
        assert not count[keys].any()
        expected = 4000 * want / 7
        assert np.abs(count[np.setdiff1d(np.arange(20), keys)] - expected).max() < 5 * np.sqrt(expected)


def test_many_users_are_drawn_in_bounded_steps_with_the_same_result_each_time(monkeypatch: object) -> None:
    untouched = Untouched.of(np.arange(0, 300 * 50, 7), users=300, items=50)
    want = np.minimum(untouched.free, np.arange(300) % 40)
    once, again = untouched.draw(want, seeded()), untouched.draw(want, seeded())
    assert np.array_equal(once, again)
    monkeypatch.setattr("topx.negatives._DRAWN", 100)  # type: ignore[attr-defined]
    parts = untouched.draw(want, seeded())
    assert np.bincount(parts // 50, minlength=300).tolist() == want.tolist()
    assert not np.isin(parts, np.arange(0, 300 * 50, 7)).any()


def test_nothing_wanted_gives_nothing() -> None:
    untouched = Untouched.of(np.arange(4), users=2, items=2)
    assert untouched.draw(np.zeros(2, np.int64), seeded()).tolist() == []
