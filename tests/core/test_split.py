from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from topx.errors import InputRejected, SettingsRejected
from topx.pairs import Pairs, ascending, merge
from topx.ratings import Ratings, Source, read
from topx.settings import Data, Encode
from topx.signals import Signals, signals
from topx.split import Split, split


def load(folder: Path, text: str, tests: str | None = None) -> tuple[Ratings, Signals]:
    folder.mkdir(exist_ok=True)
    files = []
    for name, body in (("a.csv", text), ("t.csv", tests)):
        if body is not None:
            (folder / name).write_text(body, "utf-8")
            files.append(Source(name, folder / name, name == "t.csv"))
    ratings = read(files, Data())
    levels = 0 if ratings.levels is None else len(ratings.levels)
    rows = np.bincount(ratings.value[ratings.value >= 0], minlength=levels)
    return ratings, signals(ratings.levels, rows, Data())


def told(ratings: Ratings, pairs: Pairs) -> list[tuple[object, ...]]:
    users, items = ratings.user_ids.to_pylist(), ratings.item_ids.to_pylist()
    values = ["-"] if ratings.levels is None else [*ratings.levels, "-"]
    return [
        (users[u], items[i], values[v], s)
        for u, i, v, s in zip(pairs.user, pairs.item, pairs.level, pairs.strength, strict=True)
    ]


def cut(folder: Path, text: str, tests: str | None = None, **encode: object) -> tuple[Ratings, Split]:
    ratings, meaning = load(folder, text, tests)
    return ratings, split(ratings, meaning, Encode(**encode))  # type: ignore[arg-type]


TIMED = "user,item,rating,time\nu,i,5,2000\nu,i,2,3000\nu,i,4,3000\nu,i,5,1000\nv,j,5,1\nv,i,3,2\n"


def test_the_last_rating_wins_and_of_equally_late_ones_the_highest(tmp_path: Path) -> None:
    ratings, meaning = load(tmp_path, TIMED)
    pairs = merge(ratings, meaning, np.arange(6))
    assert told(ratings, pairs) == [("u", "i", 4.0, 2), ("v", "i", 3.0, 1), ("v", "j", 5.0, 2)]
    assert pairs.row.tolist() == [2, 5, 4]
    assert (pairs.time // 1000).tolist() == [3000, 2, 1]


def test_without_times_the_highest_rating_wins_whatever_the_order_of_rows(tmp_path: Path) -> None:
    text = "user,item,rating\nu,i,5\nu,i,2\nv,j,4\n"
    for number, body in enumerate((text, "user,item,rating\nv,j,4\nu,i,2\nu,i,5\n")):
        ratings, meaning = load(tmp_path / str(number), body)
        assert told(ratings, merge(ratings, meaning, np.arange(3))) == [("u", "i", 5.0, 2), ("v", "j", 4.0, 2)]


def test_the_strongest_event_wins_and_the_latest_positive_one_dates_it(tmp_path: Path) -> None:
    text = "user,item,event,time\nu,i,bought,5\nu,i,wished,7\nu,i,seen,9\nu,j,seen,3\nv,i,wished,4\n"
    ratings, meaning = load(tmp_path, text)
    pairs = merge(ratings, meaning, np.arange(5))
    assert told(ratings, pairs) == [("u", "i", "bought", 2), ("u", "j", "seen", 0), ("v", "i", "wished", 1)]
    assert (pairs.time[[0, 2]] // 1000).tolist() == [7, 4]


def test_keys_are_put_in_stable_order_small_or_large() -> None:
    random = np.random.default_rng(3)
    for top in (10, 2**40, 2**62):
        key = random.integers(0, top, 1000)
        assert np.array_equal(ascending(key), np.argsort(key, kind="stable"))
    assert ascending(np.empty(0, np.int64)).tolist() == []


def test_a_given_test_set_is_merged_on_its_side_and_known_or_unknown_pairs_leave_it(tmp_path: Path) -> None:
    ratings, found = cut(
        tmp_path,
        "user,item,rating\nu,i,5\nv,j,4\nv,i,1\n",
        "user,item,rating\nu,j,2\nu,j,5\nu,i,5\nnew,i,5\nu,new,4\nv,new,4\n",
    )
    assert told(ratings, found.train) == [("u", "i", 5.0, 2), ("v", "i", 1.0, 0), ("v", "j", 4.0, 2)]
    assert told(ratings, found.held_out) == [("u", "j", 5.0, 2)]
    assert sorted(found.unknown.tolist()) == [6, 7, 8]


def test_a_test_set_of_unknown_users_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match="none of its 2 pairs can be judged: 1 have a user or an item"):
        cut(tmp_path, "user,item\nu,i\nv,j\n", "user,item\nw,i\nu,i\n")


def test_a_time_cut_holds_out_everything_from_it_on(tmp_path: Path) -> None:
    text = "user,item,rating,time\nu,i,5,10\nu,j,4,20\nv,j,4,10\nv,i,2,30\nw,i,5,30\nv,j,1,40\n"
    ratings, found = cut(tmp_path, text, split="time", time_cut=20.0)
    assert told(ratings, found.train) == [("u", "i", 5.0, 2), ("v", "j", 4.0, 2)]
    assert told(ratings, found.held_out) == [("u", "j", 4.0, 2), ("v", "i", 2.0, 0)]
    assert found.unknown.tolist() == [4]
    for outside in (5.0, 50.0):
        with pytest.raises(
            SettingsRejected, match=f"encode.time_cut is {outside:.0f}, but the times go from 10 to 40"
        ):
            cut(tmp_path, text, split="time", time_cut=outside)
    with pytest.raises(SettingsRejected, match=r"encode.split is `time`, but not every file has a time column"):
        cut(tmp_path, "user,item\nu,i\nv,j\n", split="time", time_cut=20.0)


def shop(users: int, items: int, *, timed: bool = True) -> str:
    random = np.random.default_rng(5)
    rows = [
        f"u{user},i{item},{['bought', 'wished', 'seen'][item % 3]}"
        + (f",{random.integers(1000, 9999)}" if timed else "")
        for user in range(users)
        for item in random.choice(items, 8, replace=False)
    ]
    return "\n".join(["user,item,event" + (",time" if timed else ""), *rows])


def test_the_last_positive_of_each_sampled_user_is_held_out(tmp_path: Path) -> None:
    ratings, found = cut(tmp_path, shop(60, 30), held_out_share=0.5, held_out_min=1)
    everything = merge(
        ratings, signals(ratings.levels, np.ones(3, np.int64), Data()), np.arange(len(ratings.user))
    )
    count = Counter(everything.user[everything.strength > 0].tolist())
    assert len(found.held_out) == round(0.5 * sum(number >= 2 for number in count.values()))
    for user, time, strength in zip(
        found.held_out.user, found.held_out.time, found.held_out.strength, strict=True
    ):
        mine = (everything.user == user) & (everything.strength > 0)
        assert strength > 0
        assert time == everything.time[mine].max()
        assert mine.sum() >= 2
    assert len(np.unique(found.held_out.user)) == len(found.held_out)
    assert len(found.train) + len(found.held_out) == len(everything)


def test_the_sample_has_its_share_within_its_bounds(tmp_path: Path) -> None:
    sizes = {
        len(cut(tmp_path, shop(60, 30), held_out_share=share, held_out_min=low, held_out_max=high)[1].held_out)
        for share, low, high in [(0.2, 1, 100), (0.01, 12, 100), (1.0, 1, 12)]
    }
    assert sizes == {12}
    assert len(cut(tmp_path, shop(60, 30))[1].held_out) == 60  # fewer than 1,000: all


def test_a_users_turn_depends_on_the_seed_and_the_id_alone(tmp_path: Path) -> None:
    def chosen(text: str, seed: int) -> list[str]:
        ratings, found = cut(tmp_path, text, held_out_share=0.5, held_out_min=1, seed=seed)
        return [str(row[0]) for row in told(ratings, found.held_out)]

    text = shop(60, 30)
    backwards = "\n".join([text.split("\n")[0], *reversed(text.split("\n")[1:])])
    assert chosen(text, 1) == chosen(backwards, 1) != chosen(text, 2)


def test_without_times_a_seeded_positive_is_held_out_whatever_the_order(tmp_path: Path) -> None:
    text = shop(60, 30, timed=False)
    backwards = "\n".join([text.split("\n")[0], *reversed(text.split("\n")[1:])])
    (ratings, one), (again, two) = cut(tmp_path / "1", text), cut(tmp_path / "2", backwards)
    assert told(ratings, one.held_out) == told(again, two.held_out)
    place = [item for _, item, _, _ in told(ratings, one.held_out)]
    assert len(set(place)) > 10  # not always the first or the last item


def test_an_item_is_never_lost_to_the_held_out_side(tmp_path: Path) -> None:
    text = "user,item,time\nu,i,1\nu,rare,2\nv,i,1\nv,j,3\nw,j,1\nw,i,2\n"
    ratings, found = cut(tmp_path, text)
    assert [row[:2] for row in told(ratings, found.held_out)] == [("v", "j"), ("w", "i")]
    assert ("u", "rare") in [row[:2] for row in told(ratings, found.train)]


def test_nobody_with_two_positives_means_nothing_held_out(tmp_path: Path) -> None:
    _, found = cut(tmp_path, "user,item\nu,i\nv,j\n")
    assert (len(found.train), len(found.held_out)) == (2, 0)
