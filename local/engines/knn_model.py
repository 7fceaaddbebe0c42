"""A trained SageMaker k-NN: the members of its model.tar.gz, and what it answers.

The members are `model_algo-1` (a serialized faiss index), `model_algo-1.labels` (raw float32, one for each
row of the index) and `model_algo-1.json`.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)  # no slots: cached_property
class Neighbors:
    """A trained model: an index, the label of each of its rows, and how to answer."""

    index: Any  # a faiss index
    labels: Floats  # (rows,)
    k: int
    predictor_type: str
    normalize: bool  # of rows and queries to length 1: the inner product is then the cosine

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The model whose members lie in `folder`."""
        about = json.loads((folder / "model_algo-1.json").read_text("utf-8"))
        return cls(
            index=faiss.read_index(str(folder / "model_algo-1")),
            labels=np.fromfile(folder / "model_algo-1.labels", "<f4"),
            k=about["k"],
            predictor_type=about["predictor_type"],
            normalize=about["normalize"],
        )

    def write(self, folder: Path) -> None:
        """Writes the three members."""
        folder.mkdir(parents=True, exist_ok=True)
        faiss.write_index(self.index, str(folder / "model_algo-1"))
        self.labels.astype("<f4").tofile(folder / "model_algo-1.labels")
        about = {
            "k": self.k,
            "predictor_type": self.predictor_type,
            "dimension_reduction": None,
            "normalize": self.normalize,
            "version": "1.0",
        }
        (folder / "model_algo-1.json").write_text(json.dumps(about), "utf-8")

    def nearest(self, queries: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """(distances, index rows), each (queries, k), ascending by distance whatever the metric.

        So under INNER_PRODUCT and COSINE, where the larger is the nearer, the best comes last. Places for
        which faiss.IVFFlat found no row come with the row -1.
        """
        distances, rows = self.index.search(normalized(queries) if self.normalize else queries, self.k)
        if self.index.metric_type == faiss.METRIC_INNER_PRODUCT:
            return distances[:, ::-1], rows[:, ::-1]
        return distances, rows

    def predict(self, rows: NDArray[np.int64]) -> Floats:
        """The label for each query (queries,) from its index rows (queries, k), -1 for none.

        A regressor takes the mean, a classifier the commonest label and of several the least.
        """
        labels = np.where(rows < 0, np.float32(np.nan), self.labels[rows])
        if self.predictor_type == "regressor":
            mean: Floats = np.nanmean(labels, axis=1)
            return mean
        labels.sort(axis=1)  # equal labels come to stand in runs, those of none at the end
        place = np.arange(labels.shape[1])
        begins = np.diff(labels, axis=1, prepend=np.nan) != 0
        length = place - np.maximum.accumulate(np.where(begins, place, 0), axis=1)
        commonest: Floats = labels[np.arange(len(labels)), length.argmax(axis=1)]
        return commonest

    @cached_property
    def _texts(self) -> pa.StringArray:
        """Each label as JSON (rows,)."""
        return pa.array([str(label) for label in self.labels.tolist()], pa.string())

    def lines(self, queries: Floats, *, verbose: bool) -> memoryview:
        """The answers to queries (queries, features) as JSON lines.

        Each float32 is written in the fewest digits that give it back.
        """
        distances, rows = self.nearest(queries)
        predicted = pa.array([str(label) for label in self.predict(rows).tolist()], pa.string())
        parts = ['{"predicted_label": ', predicted, "}\n"]
        if verbose:
            found = rows >= 0
            ends = pa.array(np.concatenate([[0], found.sum(axis=1).cumsum()]), pa.int32())
            numbers = pa.array(distances[found]).cast(pa.string()), self._texts.take(pa.array(rows[found]))
            lists = [pc.binary_join(pa.ListArray.from_arrays(ends, each), ", ") for each in numbers]
            parts[2:] = [', "distances": [', lists[0], '], "labels": [', lists[1], "]}\n"]
        _, offsets, text = pc.binary_join_element_wise(*parts, "").buffers()
        return memoryview(text)[: np.frombuffer(offsets, np.int32)[len(queries)]]


def normalized(rows: Floats) -> Floats:
    """The rows at length 1; zero rows stay zero."""
    rows = rows.copy()
    faiss.normalize_L2(rows)
    return rows
