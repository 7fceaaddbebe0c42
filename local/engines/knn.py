"""SageMaker k-NN: `python -m local.engines.knn train DIR [--seed N]` and `... knn transform DIR`.

DIR mirrors /opt/ml; `model` holds the members of model.tar.gz: `model_algo-1` (a serialized faiss index),
`model_algo-1.labels` (raw float32, one per indexed row) and `model_algo-1.json`. Training reads recordIO
channels `train` and perhaps `test`. A batch transform answers each row of the objects below `input/data`
in `output/data/<object>.out`, row for row.
"""

import argparse
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from local.engines.job import (
    RECORDIO,
    AlgorithmError,
    ClientError,
    Job,
    chunks,
    files,
    from_strings,
    hyperparameter,
    publish_test,
    running,
)
from local.engines.knn_model import Floats, Neighbors, Searchers, normalized, parts
from topx.errors import join

PROBED = 5  # lists that a query of faiss.IVFFlat looks into, as the managed container sets it
SHORT, VERBOSE = "application/jsonlines", "application/jsonlines; verbose=true"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """Names, types, ranges and defaults of the managed algorithm's hyperparameters."""

    feature_dim: int = hyperparameter(low=1)
    k: int = hyperparameter(low=1)
    predictor_type: str = hyperparameter(choices=("classifier", "regressor"))
    sample_size: int = hyperparameter(low=1)
    dimension_reduction_type: str | None = hyperparameter(None, choices=("sign", "fjlt"))
    dimension_reduction_target: int | None = hyperparameter(None, low=1)
    index_type: str = hyperparameter("faiss.Flat", choices=("faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ"))
    index_metric: str = hyperparameter("L2", choices=("L2", "INNER_PRODUCT", "COSINE"))
    faiss_index_ivf_nlists: int | None = hyperparameter(None, low=1, auto=True)
    faiss_index_pq_m: int | None = hyperparameter(
        None,
        choices=("1", "2", "3", "4", "8", "12", "16", "20", "24", "28", "32", "40", "48", "56", "64", "96"),
    )
    mini_batch_size: int = hyperparameter(5000, low=1)

    def problems(self) -> Iterator[str]:
        """What fits no single field."""
        if self.index_type == "faiss.IVFPQ" and self.index_metric != "L2":
            yield f"index_metric '{self.index_metric}' does not work with 'faiss.IVFPQ'; take 'faiss.Flat'"
        target = self.dimension_reduction_target
        if (self.dimension_reduction_type is None) != (target is None):
            yield "specify both dimension_reduction_type and dimension_reduction_target, or neither"
        if target is not None and target >= self.feature_dim:
            yield f"dimension_reduction_target is {target}; choose less than feature_dim, {self.feature_dim}"


def main() -> None:
    """Runs the job in the folder that the command line names."""
    parser = argparse.ArgumentParser(description="SageMaker k-NN on one machine")
    parser.add_argument("step", choices=("train", "transform"))
    parser.add_argument("folder", type=Path, help="mirrors /opt/ml")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the sample, where train has more than sample_size rows"
    )
    arguments = parser.parse_args()
    with running(arguments.folder) as job:
        if arguments.step == "train":
            train(job, arguments.seed)
        else:
            transform(job)


def train(job: Job, seed: int) -> None:
    """Builds the index, scores the test channel if there is one, and writes the model."""
    settings = from_strings(Hyperparameters, job.config("hyperparameters"))
    if settings.index_type == "faiss.IVFPQ" or settings.dimension_reduction_type is not None:
        raise AlgorithmError(
            f"index_type '{settings.index_type}' with dimension_reduction_type "
            f"'{settings.dimension_reduction_type}' is not emulated; take 'faiss.Flat' or 'faiss.IVFFlat' and "
            "no dimension reduction"
        )
    channels = job.channels()
    log.info("Final configuration: %s", {name: str(value) for name, value in asdict(settings).items()})
    log.info("Using per-worker sample size = %s (number of workers = 1)", settings.sample_size)
    began = time.perf_counter()
    data, labels = read_rows(job, "train", settings)
    log.info("#progress_metric: host=algo-1, completed 100.0 % of epochs")
    throughput = len(data) / (time.perf_counter() - began)
    log.info("#throughput_metric: host=algo-1, train throughput=%s records/second", throughput)
    log.info("Getting reservoir sample from algo-1...")
    if len(data) > settings.sample_size:
        sample = reservoir(len(data), settings.sample_size, np.random.default_rng(seed))
        data, labels = data[sample], labels[sample]
    missing = int(np.isnan(data).any(axis=1).sum())
    log.info(
        "...Got reservoir sample from algo-1: data=%s, labels=%s, NaNs=%s", data.shape, labels.shape, missing
    )
    model = build(data, labels, settings)
    if "test" in channels:
        data, labels = read_rows(job, "test", settings)
        publish_test(measure(model.predict(model.nearest(data)[1]), labels, settings.predictor_type))
    model.write(job.model)


def read_rows(job: Job, channel: str, settings: Hyperparameters) -> tuple[Floats, Floats]:
    """(rows, labels) of a channel, in the order of its files' names."""
    parts = list(job.records(channel, settings.feature_dim))
    for rows, _ in parts:
        check_dense(rows, f"The '{channel}' channel")
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([labels for _, labels in parts])


def check_dense(rows: Any, where: str) -> None:
    """Raises ClientError for sparse rows."""
    if sparse.issparse(rows):
        raise ClientError(f"{where} holds sparse records; k-NN takes dense ones: write them without keys")


def reservoir(rows: int, size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Which of more than `size` rows a reservoir of `size` holds in the end: J. Vitter's algorithm R, 1985."""
    held = np.arange(size)
    coming = np.arange(size, rows)
    places = generator.integers(0, coming + 1)
    taken = places < size
    held[places[taken]] = coming[taken]  # of several at one place the last stays, as one by one
    return held


def build(data: Floats, labels: Floats, settings: Hyperparameters) -> Neighbors:
    """The model over rows (rows, feature_dim) and their labels (rows,)."""
    if settings.k > len(data):
        raise ClientError(f"k is {settings.k} but the index has {len(data)} rows; choose at most {len(data)}")
    description = "Flat"
    if settings.index_type == "faiss.IVFFlat":
        lists = settings.faiss_index_ivf_nlists or math.isqrt(settings.sample_size)
        if lists > len(data):
            raise ClientError(
                f"faiss_index_ivf_nlists is {lists} (auto: the square root of sample_size) but the index has "
                f"{len(data)} rows; choose at most {len(data)}"
            )
        description = f"IVF{lists},Flat"
    metric = faiss.METRIC_L2 if settings.index_metric == "L2" else faiss.METRIC_INNER_PRODUCT
    index: Any = faiss.index_factory(settings.feature_dim, description, metric)
    normalize = settings.index_metric == "COSINE"
    data = normalized(data) if normalize else data
    log.info("Training index...")
    index.train(data)
    log.info("Adding data to index...")
    index.add(data)
    if settings.index_type == "faiss.IVFFlat":
        index.nprobe = PROBED
    kind = settings.predictor_type
    return Neighbors(index=index, labels=labels, k=settings.k, predictor_type=kind, normalize=normalize)


def measure(predicted: Floats, labels: Floats, predictor_type: str) -> dict[str, float]:
    """The managed metrics by name and kind."""
    if predictor_type == "regressor":
        return {"mse <loss>": float(np.square(predicted - labels).mean(dtype=np.float64))}
    classes, which = np.unique(np.concatenate([predicted, labels]), return_inverse=True)
    right = predicted == labels
    hits = np.bincount(which[: len(right)][right], minlength=len(classes))
    return {
        "accuracy <score>": float(right.mean()),
        "macro_f_1.000 <score>": float(np.mean(2 * hits / np.bincount(which))),
    }


def transform(job: Job) -> None:
    """Answers all objects; one that cannot be answered leaves no output, the others do, and the job fails."""
    verbose, limit = check_request(job.config("transform"))
    model = Neighbors.read(job.model)
    answer = partial(model.lines, verbose=verbose)
    objects = files(job.data)
    if not objects:
        raise ClientError("No input objects; give at least one recordIO file")
    problems = []
    with Searchers() as searchers:
        for path in objects:
            out = job.folder / "output" / "data" / path.relative_to(job.data).with_name(f"{path.name}.out")
            out.parent.mkdir(parents=True, exist_ok=True)
            try:
                with out.open("wb") as file:
                    file.writelines(searchers.answers(answer, queries(path, model, limit)))
            except ClientError as error:
                out.unlink()
                problems.append(str(error))
    if problems:
        raise ClientError(join(problems))


def check_request(request: dict[str, Any]) -> tuple[bool, int]:
    """(whether answers are verbose, bytes of a request at most); raises ClientError with every problem.

    `request` is that of CreateTransformJob; what TransformInput and TransformOutput hold may stand flat, too.
    """
    request = request.get("TransformInput", {}) | request.get("TransformOutput", {}) | request
    allowed = {
        "ContentType": (RECORDIO,),
        "SplitType": ("RecordIO",),
        "Accept": (SHORT, VERBOSE),
        "AssembleWith": ("Line",),
        "BatchStrategy": ("MultiRecord", "SingleRecord", None),
    }
    problems = [
        f"{name} is {request.get(name)!r}; allowed: {', '.join(repr(each) for each in values if each)}"
        for name, values in allowed.items()
        if request.get(name) not in values
    ]
    limit = request.get("MaxPayloadInMB", 6)
    if limit not in range(1, 101):  # 0 means no limit, by chunked encoding, which built-in algorithms lack
        problems.append(f"MaxPayloadInMB is {limit!r}; allowed: 1 to 100")
    if problems:
        raise ClientError(join(problems))
    return request["Accept"] == VERBOSE, limit * 2**20


def queries(path: Path, model: Neighbors, limit: int) -> Iterator[Floats]:
    """The rows of an object, in parts; raises ClientError for what cannot be answered."""
    count = 0
    for rows, _ in chunks(path):
        check_dense(rows, path.name)
        if rows.shape[1] != model.index.d:
            raise ClientError(
                f"{path.name}: rows have {rows.shape[1]} features but the model has {model.index.d}"
            )
        if rows.itemsize * rows.shape[1] > limit:
            raise ClientError(f"{path.name}: a record is larger than MaxPayloadInMB, {limit >> 20}; raise it")
        if not (finite := np.isfinite(rows).all(axis=1)).all():
            raise ClientError(f"{path.name}: record {count + int(finite.argmin())} is not finite")
        count += len(rows)
        yield from parts(rows, model.k)


if __name__ == "__main__":
    main()
