"""The made-up shop of the demo."""

import gzip
from pathlib import Path

from local.shop import PRODUCTS, USERS, make_shop, product_names


def test_the_shop_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first, second, other = (make_shop(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert [file.read_bytes() for file in first] != [file.read_bytes() for file in other]


def test_the_shop_has_what_a_real_export_has(tmp_path: Path) -> None:
    april, may, june = make_shop(tmp_path)
    names = product_names(tmp_path)
    assert len(names) == PRODUCTS
    assert any("가" <= letter <= "힣" for letter in "".join(names.values()))
    rows = [line.split(",") for line in april.read_text("utf-8").splitlines()[1:]]
    rows += [line.split(";") for line in gzip.decompress(may.read_bytes()).decode().splitlines()[1:]]
    rows += [line.split("\t") for line in june.read_text("utf-8").splitlines()[1:]]
    whole = [row for row in rows if len(row) == 4]
    assert 0 < len(rows) - len(whole) < len(rows) / 100
    assert {event for *_, event, _ in whole} == {"bought", "wished", "seen", "not-chosen", "clicked?"}
    assert len({user for user, *_ in whole}) == USERS + 1  # the blank id among them
