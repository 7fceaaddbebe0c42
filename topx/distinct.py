"""Texts of many blocks -> what is distinct in them, in ascending order, and each row's place in that."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from topx.cells import numbers
from topx.parse import event_names

Places = NDArray[np.int32]
Levels = NDArray[np.float64] | tuple[str, ...]
_COMPACT = 4_000_000  # dictionary entries that pile up before they are made one dictionary


class Pile:
    """Dictionary arrays of blocks; memory follows what is distinct, not how many blocks there are."""

    def __init__(self) -> None:
        self._parts: list[pa.DictionaryArray] = []
        self._entries = 0

    def add(self, part: pa.DictionaryArray) -> None:
        """Puts the rows of a block behind those before."""
        self._parts.append(part)
        self._entries += len(part.dictionary)
        if self._entries > _COMPACT:
            self._parts, self._entries = [pa.concat_arrays(self._parts)], 0

    def add_none(self, rows: int) -> None:
        """Puts rows without a text behind those before."""
        self.add(pa.DictionaryArray.from_arrays(pa.nulls(rows, pa.int32()), pa.array([], pa.string())))

    def _all(self) -> tuple[pa.StringArray, Places]:
        """(distinct texts, place of each row's text in them, -1 for none)."""
        if not self._parts:
            return pa.array([], pa.string()), np.empty(0, np.int32)
        one = pa.concat_arrays(self._parts)
        self._parts = []
        return one.dictionary, one.indices.fill_null(-1).to_numpy()

    def ids(self, role: str, warnings: list[str]) -> tuple[pa.StringArray, Places]:
        """(distinct ids in ascending order, places (rows,)): outer blanks stripped, Unicode in NFC."""
        raw, places = self._all()
        clean = pc.utf8_trim_whitespace(pc.utf8_normalize(raw, "NFC"))
        one = clean.dictionary_encode()
        order = pc.sort_indices(one.dictionary)
        rank = np.empty(len(order), np.int32)
        rank[order.to_numpy()] = np.arange(len(order))
        changed = pc.sum(pc.not_equal(raw, clean)).as_py()
        if changed:
            warnings.append(
                f"{changed:,} {role} ids were written with outer blanks or in another Unicode form than NFC; "
                f"{len(raw) - len(order):,} of them are the same as another id"
            )
        return one.dictionary.take(order), rank[one.indices.to_numpy()][places]

    def levels(self, *, numeric: bool) -> tuple[Levels | None, Places]:
        """(distinct values or None, places (rows,), -1 for none): equal numbers are one value."""
        texts, places = self._all()
        if not len(texts):
            return None, places
        used = np.bincount(places[places >= 0], minlength=len(texts)) > 0
        given = numbers(texts) if numeric else np.array(event_names(texts).to_pylist())
        levels, rank = np.unique(given[used], return_inverse=True)
        place = np.full(len(texts) + 1, -1, np.int32)  # the last is what -1, no value, finds
        place[:-1][used] = rank
        return levels if numeric else tuple(levels.tolist()), place[places]
