"""The parameters of a Factorization Machine: read from a SageMaker artifact, scored, checked, written.

score(x) = w0 + x.w + 1/2 sum_f ((x.v_f)^2 - x^2.v_f^2)   (Rendle 2010, Factorization Machines, lemma 3.1)
"""

import gzip
import json
import math
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from topx.artifact import MEMBER, META, NAMES, OLD_NAMES, PARAMS, SYMBOL, Artifact, open_artifact
from topx.errors import ArtifactRejected, RecordsRejected, join
from topx.mxparams import write_params

_NUMBERS = 1 << 16  # non-zeros scored at a time
_BLOCK = 1 << 20  # numbers checked at a time
_OUTPUTS = {"regressor": "LinearRegressionOutput", "binary_classifier": "LogisticRegressionOutput"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """A trained machine: w0, w (features,) and v (features, num_factors) float32.

    `metadata` is the artifact's meta.json; its `training_parameters` are strings. Arrays of an artifact are
    read-only views of its file, or of a temporary one. `source` is what was opened, None for a machine made
    in memory.
    """

    w0: float
    w: NDArray[np.float32]
    v: NDArray[np.float32]
    metadata: dict[str, Any]
    source: Artifact | None = field(default=None, repr=False, compare=False)

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
        """Reads all numbers: raises ArtifactRejected where the artifact's checksum says that they are damaged,
        and else says how many of which array are not finite.
        """
        if self.source:
            self.source.check()
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

    def save(self, path: str | Path) -> None:
        """Writes a `model.tar.gz`; of what is as it was opened, its `model_algo-1` has the same bytes.

        Else that is made anew, as by `save_model`, with this metadata. Raises ArtifactRejected as that does.
        """
        arrays, source = _arrays(self.w0, self.w, self.v), self.source
        with tempfile.TemporaryFile() as model:
            if source and json.loads(source.meta) == self.metadata and _alike(arrays, _arrays(*_taken(source))):
                model.write(source.content)
            else:
                _write(model, arrays, self.metadata)
            _tar(Path(path), model)


def _alike(some: Mapping[str, NDArray[Any]], others: Mapping[str, NDArray[Any]]) -> bool:
    """Whether both would be written as the same float32, to the bit; block by block."""
    for one, other in zip(some.values(), others.values(), strict=True):
        if one.shape != other.shape:
            return False
        for part in _blocks(one):
            bits = [np.ascontiguousarray(array[part], np.float32).view(np.uint32) for array in (one, other)]
            if (bits[0] != bits[1]).any():
                return False
    return True


def _blocks(array: NDArray[Any]) -> Iterator[slice]:
    """Successive rows, so many that their numbers make a block."""
    step = max(1, _BLOCK // max(1, math.prod(array.shape[1:])))
    return (slice(start, start + step) for start in range(0, len(array), step))


def _not_finite(array: NDArray[Any]) -> NDArray[np.int64]:
    """The row of each number that is not finite, (numbers,); block by block."""
    found = [
        part.start + np.flatnonzero(~np.isfinite(array[part])) // array.shape[1] for part in _blocks(array)
    ]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def load_factors(path: str | Path) -> Factors:
    """The parameters in an FM `model.tar.gz`, its unpacked `model_algo-1`, or the folder that holds this.

    Nothing of an unpacked file is copied: its numbers are paged in as they are used, so it opens in the time
    that its row ids take to read. Its checksum is checked by `Factors.check`; that of a `model.tar.gz`, which
    must be read to its end anyway, at once. The arrays of old images (`Linear_Plus_Bias_weight` (1, features),
    `v` (num_factors, features)) are turned. Raises ArtifactRejected that names what the file is where it is
    anything else, unsafe or broken, or that lists what does not fit.
    """
    artifact = open_artifact(Path(path))
    metadata = json.loads(artifact.meta)
    problems = [
        f"{name} is {array.dtype if isinstance(array, np.ndarray) else 'not dense'}; SageMaker writes float32"
        for name, array in artifact.arrays.items()
        if not isinstance(array, np.ndarray) or array.dtype != np.float32
    ]
    if not problems:
        w0, w, v = _taken(artifact)
        problems = _problems(w0, w, v, metadata.get("training_parameters"))
    if problems:
        raise ArtifactRejected(f"{Path(path).name}: {join(problems)}")
    return Factors(w0=float(w0.item()), w=w.reshape(-1), v=v, metadata=metadata, source=artifact)


def _taken(artifact: Artifact) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(w0, w, v) of its arrays; those of old images turned."""
    arrays = {name.removeprefix("arg:"): array for name, array in artifact.arrays.items()}
    if OLD_NAMES[0] not in arrays:
        w0, w, v = (arrays[name] for name in NAMES)
        return w0, w, v
    w0, w, v = (arrays[name] for name in OLD_NAMES)
    return w0, w.T, v.T


def _problems(w0: NDArray[Any], w: NDArray[Any], v: NDArray[Any], parameters: object) -> list[str]:
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
    return problems


def save_factors(
    path: str | Path, w0: ArrayLike, w: ArrayLike, v: ArrayLike, training_parameters: Mapping[str, str]
) -> None:
    """Writes the `model.tar.gz` that SageMaker would: `save_model` within a tar. Same input, same bytes."""
    with tempfile.TemporaryFile() as model:
        save_model(model, w0, w, v, training_parameters)
        _tar(Path(path), model)


def save_model(
    file: BinaryIO, w0: ArrayLike, w: ArrayLike, v: ArrayLike, training_parameters: Mapping[str, str]
) -> None:
    """Writes `model_algo-1` as SageMaker FM does; MXNet loads its members too. Same input, same bytes.

    w0 is one number, w (features,), v (features, num_factors), all written as float32. Of the parameters
    `predictor_type` decides the output of the graph. Raises ArtifactRejected where the shapes do not fit.
    """
    meta = {
        "version": "1.0",
        "epoch_number": 1,
        "training_parameters": dict(training_parameters),
        "label_names": ["out_label"],
    }
    _write(file, _arrays(w0, w, v), meta)


def _arrays(w0: ArrayLike, w: ArrayLike, v: ArrayLike) -> dict[str, NDArray[Any]]:
    """The arrays of `params` by name, in SageMaker's order."""
    arrays = [np.asarray(w).reshape(-1, 1), np.asarray(w0).reshape(-1), np.asarray(v)]
    if arrays[2].ndim != 2 or len(arrays[0]) != len(arrays[2]) or len(arrays[1]) != 1:
        shapes = [np.shape(array) for array in (w0, w, v)]
        raise ArtifactRejected(
            f"w0, w, v have shapes {shapes}; they are (1,), (features,), (features, num_factors)"
        )
    return dict(zip(("arg:w1_weight", "arg:w0_weight", "arg:v"), arrays, strict=True))


def _write(file: BinaryIO, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    parameters = meta.get("training_parameters")
    predictor = str(parameters.get("predictor_type", "")) if isinstance(parameters, Mapping) else ""
    if predictor not in _OUTPUTS:
        raise ArtifactRejected(f"predictor_type is {predictor!r}; regressor and binary_classifier are allowed")
    symbol = _symbol(arrays["arg:v"].shape, _OUTPUTS[predictor])
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, text in ((META, meta), (SYMBOL, symbol)):
            archive.writestr(zipfile.ZipInfo(name), json.dumps(text))
        entry = zipfile.ZipInfo(PARAMS)
        entry.file_size = sum(4 * array.size + 8 * len(array) for array in arrays.values())  # decides on ZIP64
        with archive.open(entry, "w") as params:
            write_params(params, arrays)


def _tar(path: Path, model: IO[bytes]) -> None:
    member = tarfile.TarInfo(MEMBER)
    member.size = model.seek(0, 2)
    model.seek(0)
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        archive.addfile(member, model)


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
