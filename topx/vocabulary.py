"""User and item ids <-> column numbers of the training records: users 0..U-1, then items U..U+I-1."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from topx.errors import RunRejected

Longs = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The ids of train, ascending by Unicode code point: the same rows in any order give the same columns."""

    users: pa.StringArray
    items: pa.StringArray

    @property
    def feature_dim(self) -> int:
        """Number of columns, users and items together."""
        return len(self.users) + len(self.items)

    def user_columns(self, ids: pa.StringArray) -> Longs:
        """Column of each user id, -1 where it is unknown."""
        return _places(ids, self.users)

    def item_columns(self, ids: pa.StringArray) -> Longs:
        """Column of each item id, -1 where it is unknown."""
        places = _places(ids, self.items)
        return np.where(places < 0, places, places + len(self.users))

    def digest(self) -> str:
        """SHA-256 in hex of all ids in column order: equal only for equal vocabularies."""
        found = sha256()
        for ids in (self.users, self.items):
            found.update(len(ids).to_bytes(8, "little"))
            found.update(pc.binary_length(ids).to_numpy().tobytes())
            found.update("".join(ids.to_pylist()).encode())
        return found.hexdigest()

    def save(self, folder: Path, *, user_rows: Longs, item_rows: Longs, popularity: Longs) -> None:
        """Writes users.parquet (`id`, `column`, `rows`) and items.parquet (the same and `popularity`).

        `rows` are training records that name the user or item, 0 where the model knows nothing of it;
        `popularity` (items,) is the sum of strengths in train: a purchase tells more than a wish.
        """
        users, items = len(self.users), len(self.items)
        user_table = {"id": self.users, "column": np.arange(users), "rows": user_rows}
        columns = np.arange(users, users + items)
        item_table = {"id": self.items, "column": columns, "rows": item_rows, "popularity": popularity}
        pq.write_table(pa.table(user_table), folder / "users.parquet")
        pq.write_table(pa.table(item_table), folder / "items.parquet")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The vocabulary that `save` wrote. Raises RunRejected where columns are out of order."""
        users = pq.read_table(folder / "users.parquet", columns=["id", "column"])
        items = pq.read_table(folder / "items.parquet", columns=["id", "column"])
        first = 0
        for name, table in (("users", users), ("items", items)):
            found = table.column("column").to_numpy()
            if not np.array_equal(found, np.arange(first, first + len(found))):
                raise RunRejected(
                    f"{name}.parquet does not hold columns {first} to {first + len(found) - 1} in order; "
                    "both files must come from one run of Encode"
                )
            first += len(found)
        ids = (table.column("id").combine_chunks() for table in (users, items))
        return cls(**dict(zip(("users", "items"), ids, strict=True)))


def _places(ids: pa.StringArray, known: pa.StringArray) -> Longs:
    found: Longs = pc.index_in(ids, known).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return found
