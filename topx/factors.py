"""The parameters of a Factorization Machine: read from a SageMaker artifact, scored, checked, written.

score(x) = w0 + x.w + 1/2 sum_f ((x.v_f)^2 - x^2.v_f^2)   (Rendle 2010, Factorization Machines, lemma 3.1)
"""

import gzip
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from topx.artifact import BIAS, FACTORS, LINEAR, MEMBER, META, PARAMS, SYMBOL, open_artifact
from topx.errors import ArtifactRejected, RecordsRejected, join
from topx.mxparams import write_params

_NUMBERS = 1 << 16  # non-zeros scored at a time
_BLOCK = 1 << 20  # numbers checked at a time
_OUTPUTS = {"regressor": "LinearRegressionOutput", "binary_classifier": "LogisticRegressionOutput"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """A trained machine: w0, w (features,) and v (features, num_factors) float32.

    `metadata` is the artifact's meta.json; its `training_parameters` are strings. Arrays of an artifact are
    read-only views of a temporary file.
    """

    w0: float
    w: NDArray[np.float32]
    v: NDArray[np.float32]
    metadata: dict[str, Any]

    def score(self, matrix: Any) -> NDArray[np.float64]:
        """(rows,) scores of the sparse rows (rows, features), in float64.

        That of a binary_classifier is before the sigmoid. Raises RecordsRejected for another width.
        """
        rows = sparse.csr_array(matrix)
        if rows.shape[1] != len(self.w):
            raise RecordsRejected(
                f"the rows have {rows.shape[1]:,} columns, the model has {len(self.w):,} features: encode them "
                "with the vocabulary that the model was trained on"
            )
        if not rows.has_canonical_format:
            rows = rows.copy()
            rows.sum_duplicates()
        scores = np.full(rows.shape[0], self.w0)
        start = 0
        while start < rows.shape[0]:
            within = int(np.searchsorted(rows.indptr, rows.indptr[start] + _NUMBERS, "right")) - 1
            stop = max(start + 1, min(start + _NUMBERS, within, rows.shape[0]))
            scores[start:stop] += self._block(rows[start:stop])
            start = stop
        return scores

    def _block(self, rows: Any) -> NDArray[np.float64]:
        columns, places = np.unique(rows.indices, return_inverse=True)
        x = sparse.csr_array((rows.data.astype(np.float64), places, rows.indptr), (rows.shape[0], len(columns)))
        w, v = self.w[columns].astype(np.float64), self.v[columns].astype(np.float64)
        pairs = ((x @ v) ** 2).sum(axis=1) - x.power(2) @ (v**2).sum(axis=1)
        scores: NDArray[np.float64] = x @ w + pairs / 2
        return scores

    def check(self) -> None:
        """Raises ArtifactRejected that says how many numbers of which array are not finite."""
        arrays = {"w0": np.array([[self.w0]]), "w": self.w[:, None], "v": self.v}
        problems = []
        for name, array in arrays.items():
            rows = _not_finite(array)
            if len(rows):
                problems.append(
                    f"{name} holds {len(rows):,} numbers of {array.size:,} that are not finite, the first in "
                    f"row {rows[0]}: training diverged; lower the learning rates or set clip_gradient"
                )
        if problems:
            raise ArtifactRejected(join(problems))


def _not_finite(array: NDArray[Any]) -> NDArray[np.int64]:
    """The row of each number that is not finite, (numbers,); block by block."""
    step = max(1, _BLOCK // max(1, array.shape[1]))
    found = [
        start + np.flatnonzero(~np.isfinite(array[start : start + step])) // array.shape[1]
        for start in range(0, len(array), step)
    ]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def load_factors(path: str | Path) -> Factors:
    """The parameters in a SageMaker FM `model.tar.gz`.

    Raises ArtifactRejected that names what the file is where it is anything else, unsafe or broken.
    """
    artifact = open_artifact(Path(path))
    w0, w, v = (artifact.arrays[name] for name in (BIAS, LINEAR, FACTORS))
    parameters = artifact.meta.get("training_parameters")
    problems = [] if isinstance(parameters, dict) else [f"{META} has no training_parameters"]
    if w0.size != 1:
        problems.append(f"w0 has shape {w0.shape}; it is one number")
    if v.ndim != 2 or w.size != len(v):
        problems.append(
            f"w has shape {w.shape} and v {v.shape}; they are (features, 1) and (features, num_factors)"
        )
    elif isinstance(parameters, dict):
        for name, size in zip(("feature_dim", "num_factors"), v.shape, strict=True):
            if str(parameters.get(name, size)) != str(size):
                problems.append(f"{META} says {name} {parameters[name]!r}, v has {size}")
    if problems:
        raise ArtifactRejected(f"{Path(path).name}: {join(problems)}")
    return Factors(w0=float(w0.item()), w=w.reshape(-1), v=v, metadata=artifact.meta)


def save_factors(
    path: str | Path, w0: ArrayLike, w: ArrayLike, v: ArrayLike, training_parameters: Mapping[str, str]
) -> None:
    """Writes the `model.tar.gz` that SageMaker would: `save_model` within a tar. Same input, same bytes."""
    with tempfile.TemporaryFile() as model, Path(path).open("wb") as file:
        save_model(model, w0, w, v, training_parameters)
        member = tarfile.TarInfo(MEMBER)
        member.size = model.tell()
        model.seek(0)
        with (
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as archive,
        ):
            archive.addfile(member, model)


def save_model(
    file: BinaryIO, w0: ArrayLike, w: ArrayLike, v: ArrayLike, training_parameters: Mapping[str, str]
) -> None:
    """Writes `model_algo-1` as SageMaker FM does; MXNet loads its members too. Same input, same bytes.

    w0 is one number, w (features,), v (features, num_factors), all written as float32. Of the parameters
    `predictor_type` decides the output of the graph. Raises ArtifactRejected where the shapes do not fit.
    """
    arrays = {LINEAR: np.asarray(w).reshape(-1, 1), BIAS: np.asarray(w0).reshape(-1), FACTORS: np.asarray(v)}
    features = len(arrays[FACTORS])
    if arrays[FACTORS].ndim != 2 or len(arrays[LINEAR]) != features or len(arrays[BIAS]) != 1:
        shapes = [np.shape(array) for array in (w0, w, v)]
        raise ArtifactRejected(
            f"w0, w, v have shapes {shapes}; they are (1,), (features,), (features, num_factors)"
        )
    predictor = training_parameters.get("predictor_type", "")
    if predictor not in _OUTPUTS:
        raise ArtifactRejected(f"predictor_type is {predictor!r}; regressor and binary_classifier are allowed")
    meta = {
        "version": "1.0",
        "epoch_number": 1,
        "training_parameters": dict(training_parameters),
        "label_names": ["out_label"],
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(META), json.dumps(meta))
        archive.writestr(
            zipfile.ZipInfo(SYMBOL), json.dumps(_symbol(arrays[FACTORS].shape, _OUTPUTS[predictor]))
        )
        info = zipfile.ZipInfo(PARAMS)
        info.file_size = sum(4 * array.size + 8 * len(array) for array in arrays.values())  # decides on ZIP64
        with archive.open(info, "w") as params:
            write_params(params, arrays)


def _symbol(shape: tuple[int, ...], output: str) -> dict[str, Any]:
    """MXNet's graph of the score in its JSON form: storage type 1 is row_sparse, 2 is csr."""
    row = {"axis": "1", "keepdims": "True"}
    graph: list[tuple[str, str, dict[str, str], list[str]]] = [
        ("null", "data", {"__storage_type__": "2"}, []),
        ("null", "w1_weight", {"__shape__": str((shape[0], 1)), "__storage_type__": "1"}, []),
        ("dot", "linear", {}, ["data", "w1_weight"]),
        ("null", "w0_weight", {"__shape__": "(1,)"}, []),
        ("broadcast_add", "biased", {}, ["linear", "w0_weight"]),
        ("null", "v", {"__shape__": str(shape), "__storage_type__": "1"}, []),
        ("dot", "projected", {}, ["data", "v"]),
        ("square", "squares", {}, ["projected"]),
        ("sum", "all_pairs", row, ["squares"]),
        ("square", "data_squares", {}, ["data"]),
        ("_square_sum", "v_squares", row, ["v"]),
        ("dot", "own_pairs", {}, ["data_squares", "v_squares"]),
        ("elemwise_sub", "twice_pairs", {}, ["all_pairs", "own_pairs"]),
        ("_mul_scalar", "pairs", {"scalar": "0.5"}, ["twice_pairs"]),
        ("elemwise_add", "score", {}, ["biased", "pairs"]),
        ("null", "out_label", {}, []),
        (output, "out", {}, ["score", "out_label"]),
    ]
    place = {name: number for number, (_, name, _, _) in enumerate(graph)}
    return {
        "nodes": [
            {"op": op, "name": name, "attrs": attributes, "inputs": [[place[i], 0, 0] for i in inputs]}
            for op, name, attributes, inputs in graph
        ],
        "arg_nodes": [place[name] for op, name, _, _ in graph if op == "null"],
        "node_row_ptr": list(range(len(graph) + 1)),
        "heads": [[place["out"], 0, 0]],
        "attrs": {"mxnet_version": ["int", 10301]},
    }
