"""A trained SageMaker k-NN: the members of its model.tar.gz, and what it answers.

The members are `model_algo-1` (a serialized faiss index), `model_algo-1.labels` (raw float32, one for each
row of the index) and `model_algo-1.json`.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import faiss
import numpy as np
import orjson
from numpy.typing import NDArray

from topx.ahead import in_order

Floats = NDArray[np.float32]
Answer = TypeVar("Answer")
PART, NUMBERS = 4096, 1 << 22  # rows, and their distances at most, that a thread searches and writes at once


@dataclass(frozen=True, slots=True, kw_only=True)
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
        if not (labels[:, 1:] == labels[:, :-1]).any():
            return labels[:, 0]
        place = np.arange(labels.shape[1])
        begins = np.diff(labels, axis=1, prepend=np.nan) != 0
        length = place - np.maximum.accumulate(np.where(begins, place, 0), axis=1)
        commonest: Floats = labels[np.arange(len(labels)), length.argmax(axis=1)]
        return commonest

    def lines(self, queries: Floats, *, verbose: bool) -> bytes:
        """The answers to queries (queries, features) as JSON lines.

        Each float32 is written in the fewest digits that give it back, one that is not finite as null.
        """
        distances, rows = self.nearest(queries)
        predicted = _json(self.predict(rows).astype(np.float64))[1:-1].split(b",")
        if not verbose:
            return b"".join(b'{"predicted_label":%s}\n' % each for each in predicted)
        found, labels = rows >= 0, self.labels[rows]
        if found.all():
            lists: list[Any] = [np.ascontiguousarray(distances), labels]
        else:
            lists = [[row[held] for row, held in zip(each, found, strict=True)] for each in (distances, labels)]
        # All rows in one call and then cut: half the time of a call for each.
        near, named = (_json(each)[2:-2].split(b"],[") for each in lists)
        answers = zip(predicted, near, named, strict=True)
        return b"".join(b'{"predicted_label":%s,"distances":[%s],"labels":[%s]}\n' % each for each in answers)


def _json(numbers: Any) -> bytes:
    text: bytes = orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)
    return text


def normalized(rows: Floats) -> Floats:
    """The rows at length 1; zero rows stay zero."""
    rows = rows.astype(np.float32)
    faiss.normalize_L2(rows)
    return rows


class Searchers(ThreadPoolExecutor):
    """As many threads as faiss would take. Each searches alone, then writes its text while others search.

    That is faster than all searching and then one writing.
    """

    def __init__(self) -> None:
        faiss.cvar.distance_compute_blas_query_bs = 1024  # of 4096: so many products stay in the cache
        threads = faiss.omp_get_max_threads()
        super().__init__(threads, initializer=faiss.omp_set_num_threads, initargs=(1,))
        self.ahead = 2 * threads

    def answers(self, answer: Callable[[Floats], Answer], parts: Iterable[Floats]) -> Iterator[Answer]:
        """`answer(part)` of each part in order; at most `ahead` are begun, however slowly they are taken."""
        return in_order(self, answer, parts, self.ahead)


def parts(rows: Floats, k: int) -> list[Floats]:
    """The rows in equal parts of PART at most, and fewer where k is above a thousand."""
    return np.array_split(rows, math.ceil(len(rows) / max(1, min(PART, NUMBERS // k))))
