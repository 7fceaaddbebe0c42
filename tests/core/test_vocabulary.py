from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from topx.errors import RunRejected
from topx.vocabulary import Vocabulary

IDS = Vocabulary(users=pa.array(["01", "1", "ann"]), items=pa.array(["x", "김치"]))


def save(folder: Path, vocabulary: Vocabulary) -> None:
    vocabulary.save(
        folder,
        user_rows=np.array([7, 0, 2]),
        item_rows=np.array([9, 0]),
        popularity=np.array([3, 0]),
    )


def test_users_come_first_then_items_and_the_unknown_are_minus_one() -> None:
    assert IDS.feature_dim == 5
    assert IDS.user_columns(pa.array(["ann", "1.0", "01"])).tolist() == [2, -1, 0]
    assert IDS.item_columns(pa.array(["김치", "ann", "x"])).tolist() == [4, -1, 3]


def test_what_is_saved_is_loaded_with_the_same_digest(tmp_path: Path) -> None:
    save(tmp_path, IDS)
    loaded = Vocabulary.load(tmp_path)
    assert loaded.users.equals(IDS.users)
    assert loaded.items.equals(IDS.items)
    assert loaded.digest() == IDS.digest()


def test_the_files_hold_columns_training_rows_and_popularity(tmp_path: Path) -> None:
    save(tmp_path, IDS)
    assert pq.read_table(tmp_path / "users.parquet").to_pydict() == {
        "id": ["01", "1", "ann"],
        "column": [0, 1, 2],
        "rows": [7, 0, 2],
    }
    assert pq.read_table(tmp_path / "items.parquet").to_pydict() == {
        "id": ["x", "김치"],
        "column": [3, 4],
        "rows": [9, 0],
        "popularity": [3, 0],
    }


@pytest.mark.parametrize(
    ("users", "items"),
    [
        (["01", "1"], ["ann", "x", "김치"]),
        (["0", "11", "ann"], ["x", "김치"]),
        (["1", "01", "ann"], ["x", "김치"]),
    ],
)
def test_another_vocabulary_has_another_digest(users: list[str], items: list[str]) -> None:
    assert Vocabulary(users=pa.array(users), items=pa.array(items)).digest() != IDS.digest()


def test_files_of_two_runs_are_refused(tmp_path: Path) -> None:
    save(tmp_path, IDS)
    items = (tmp_path / "items.parquet").read_bytes()
    more = Vocabulary(users=pa.array(["a", "b", "c", "d"]), items=pa.array(["x", "y"]))
    more.save(
        tmp_path,
        user_rows=np.zeros(4, np.int64),
        item_rows=np.zeros(2, np.int64),
        popularity=np.zeros(2, np.int64),
    )
    (tmp_path / "items.parquet").write_bytes(items)
    with pytest.raises(RunRejected, match=r"items.parquet does not hold columns 4 to 5 in order"):
        Vocabulary.load(tmp_path)
