"""SageMaker Factorization Machines, training: `python -m local.engines.fm DIR [--seed N]`.

DIR mirrors /opt/ml. Reads recordIO channels `train` and perhaps `test`, writes `model/model_algo-1` and the
managed log lines. Like the managed job it reads in file order, never shuffles, and fills an incomplete
last batch with empty rows of label 0, which count in the train metrics.
"""

import argparse
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from local.engines.fm_optimizer import Floats, Machine, Rates, Rows, Weights
from local.engines.job import ClientError, Job, from_strings, hyperparameter, publish, publish_test, running
from topx.factors import save_model

METHODS = ("normal", "uniform", "constant")
PUBLISHED = 500  # batches between two batch lines of the log

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """Names, types, ranges and defaults of the managed algorithm's hyperparameters."""

    feature_dim: int = hyperparameter(low=1)
    num_factors: int = hyperparameter(low=1)
    predictor_type: str = hyperparameter(choices=("regressor", "binary_classifier"))
    epochs: int = hyperparameter(1, low=1)
    mini_batch_size: int = hyperparameter(1000, low=1)
    clip_gradient: float | None = hyperparameter(None)
    rescale_grad: float | None = hyperparameter(None)
    eps: float | None = hyperparameter(None)
    bias_lr: float = hyperparameter(0.1, low=0)
    linear_lr: float = hyperparameter(0.001, low=0)
    factors_lr: float = hyperparameter(0.0001, low=0)
    bias_wd: float = hyperparameter(0.01, low=0)
    linear_wd: float = hyperparameter(0.001, low=0)
    factors_wd: float = hyperparameter(0.00001, low=0)
    bias_init_method: str = hyperparameter("normal", choices=METHODS)
    bias_init_sigma: float = hyperparameter(0.01, low=0)
    bias_init_scale: float | None = hyperparameter(None, low=0)
    bias_init_value: float | None = hyperparameter(None)
    linear_init_method: str = hyperparameter("normal", choices=METHODS)
    linear_init_sigma: float = hyperparameter(0.01, low=0)
    linear_init_scale: float | None = hyperparameter(None, low=0)
    linear_init_value: float | None = hyperparameter(None)
    factors_init_method: str = hyperparameter("normal", choices=METHODS)
    factors_init_sigma: float = hyperparameter(0.001, low=0)
    factors_init_scale: float | None = hyperparameter(None, low=0)
    factors_init_value: float | None = hyperparameter(None)

    def problems(self) -> Iterator[str]:
        """What fits no single field."""
        for array in ("bias", "linear", "factors"):
            method = getattr(self, f"{array}_init_method")
            needed = {"uniform": "scale", "constant": "value"}.get(method)
            if needed and getattr(self, f"{array}_init_{needed}") is None:
                yield f"'{array}_init_method' is '{method}' which needs '{array}_init_{needed}'; specify it"

    @property
    def classify(self) -> bool:
        """Whether the predictor is the binary classifier."""
        return self.predictor_type == "binary_classifier"


def main() -> None:
    """Runs the job in the folder that the command line names."""
    parser = argparse.ArgumentParser(description="SageMaker Factorization Machines on one machine")
    parser.add_argument("folder", type=Path, help="mirrors /opt/ml")
    parser.add_argument("--seed", type=int, default=1, help="of the start weights; the managed job has none")
    arguments = parser.parse_args()
    with running(arguments.folder) as job:
        train(job, arguments.seed)


def train(job: Job, seed: int) -> None:
    """Trains, scores the test channel if there is one, and writes the model."""
    given = job.config("hyperparameters")
    settings = from_strings(Hyperparameters, given)
    channels = job.channels()
    rows = read_rows(job, "train", settings)
    test = read_rows(job, "test", settings) if "test" in channels else None
    parameters = {name: str(value) for name, value in asdict(settings).items() if value is not None} | given
    log.info("Final configuration: %s", parameters)
    machine = start(settings, seed)
    learn(machine, rows, settings)
    if test is not None:
        publish_test(measure(machine.score(test), test.labels, settings))
    job.model.mkdir(parents=True, exist_ok=True)
    bias, linear, factors = machine.weights
    with (job.model / "model_algo-1").open("wb") as file:
        save_model(file, bias[0, :1], linear[:, 0], factors[:, 0], parameters)


def read_rows(job: Job, channel: str, settings: Hyperparameters) -> Rows:
    """All rows of a channel, in the order of its files' names."""
    parts: list[tuple[NDArray[np.int32], NDArray[np.int64] | None, Floats | None]] = []
    columns: list[Floats] = []
    for matrix, labels in job.records(channel, settings.feature_dim):
        if settings.classify and not np.isin(labels, (0, 1)).all():
            wrong = labels[~np.isin(labels, (0, 1))][0]
            raise ClientError(
                f"The '{channel}' channel has the label {wrong:g}; a binary_classifier takes 0 and 1"
            )
        block = sparse.csr_array(matrix)
        keys = block.indices.astype(np.int32)
        lengths = np.diff(block.indptr).astype(np.int64)
        two_hot = bool((lengths == 2).all() and (block.data == 1).all() and (keys[::2] != keys[1::2]).all())
        parts.append((keys, None, None) if two_hot else (keys, lengths, block.data))
        columns.append(labels)
    keys = np.concatenate([part[0] for part in parts])
    starts, values = np.zeros(0, np.int64), np.zeros(0, np.float32)
    if any(part[2] is not None for part in parts):  # one row that is not two-hot: all take the general way
        lengths = [np.full(len(k) // 2, 2) if n is None else n for k, n, _ in parts]
        starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        values = np.concatenate([np.ones(len(k), np.float32) if x is None else x for k, _, x in parts])
    return Rows(keys, starts, values, np.concatenate(columns))


def start(settings: Hyperparameters, seed: int) -> Machine:
    """A machine with its start weights: bias, linear, factors drawn in this order from one generator."""
    generator = np.random.default_rng(seed)
    bias = np.zeros((1, 3), np.float32)
    linear = np.zeros((settings.feature_dim, 3), np.float32)
    factors = np.zeros((settings.feature_dim, 3, settings.num_factors), np.float32)
    for name, array in (("bias", bias), ("linear", linear), ("factors", factors)):
        method, sigma, scale, value = (
            getattr(settings, f"{name}_init_{part}") for part in ("method", "sigma", "scale", "value")
        )
        first = array[:, 0]
        if method == "normal":
            first[...] = generator.standard_normal(first.shape, np.float32) * np.float32(sigma)
        elif method == "uniform":
            first[...] = generator.uniform(-scale, scale, first.shape)
        else:
            first[...] = value
    rates = Rates(
        bias_lr=settings.bias_lr,
        linear_lr=settings.linear_lr,
        factors_lr=settings.factors_lr,
        bias_wd=np.float32(settings.bias_wd),
        linear_wd=np.float32(settings.linear_wd),
        factors_wd=np.float32(settings.factors_wd),
        rescale=np.float32(
            1 / settings.mini_batch_size if settings.rescale_grad is None else settings.rescale_grad
        ),
        clip=np.float32(settings.clip_gradient or 0),
        epsilon=np.float32(1e-8 if settings.eps is None else settings.eps),
    )
    weights = Weights(bias, linear, factors)
    return Machine(weights, rates, mini_batch_size=settings.mini_batch_size, classify=settings.classify)


def learn(machine: Machine, rows: Rows, settings: Hyperparameters) -> list[dict[str, float]]:
    """The train metrics of each epoch, logged as they come; each prediction is from before its update."""
    count, size = len(rows.labels), settings.mini_batch_size
    batches = -(-count // size)
    rows = rows._replace(labels=np.pad(rows.labels, (0, batches * size - count)))
    if len(rows.starts):
        rows = rows._replace(starts=np.pad(rows.starts, (0, batches * size - count), mode="edge"))
    scores = np.empty(len(rows.labels), np.float32)
    history = []
    for epoch in range(settings.epochs):
        began = time.perf_counter()
        for first in range(0, batches, PUBLISHED):
            stop = min(first + PUBLISHED, batches)
            scores[first * size : stop * size] = machine.train(rows, first, stop - first)
            batch = slice(first * size, (first + 1) * size)
            publish(
                "train", measure(scores[batch], rows.labels[batch], settings), f"epoch={epoch}, batch={first} "
            )
        seconds = time.perf_counter() - began
        measures = measure(scores, rows.labels, settings)
        history.append(measures)
        publish("train", measures, f"epoch={epoch}, ")
        if epoch == settings.epochs - 1:
            publish("train", measures)
        log.info(
            "#progress_metric: host=algo-1, completed %s %% of epochs", 100 * (epoch + 1) / settings.epochs
        )
        log.info("#throughput_metric: host=algo-1, train throughput=%s records/second", count / seconds)
    return history


def measure(scores: Floats, labels: Floats, settings: Hyperparameters) -> dict[str, float]:
    """The managed metrics by name and kind, from FM scores and labels (rows,); float32 within a batch."""
    edges = np.arange(0, len(scores), settings.mini_batch_size)

    def mean(values: Floats) -> float:
        return float(np.add.reduceat(values, edges).sum(dtype=np.float64) / len(values))

    if not settings.classify:
        errors = scores - labels
        mse = mean(errors * errors)
        return {"rmse <loss>": mse**0.5, "mse <loss>": mse, "absolute_loss <loss>": mean(np.abs(errors))}
    chosen, positive = scores >= 0, labels == 1  # a probability of 0.5 is a score of 0
    hits = int((chosen & positive).sum())
    # -log of the probability of the label, written so that it stays finite: softplus(score) - label * score
    entropy = np.maximum(scores, 0) - scores * labels + np.log1p(np.exp(-np.abs(scores)))
    return {
        "binary_classification_accuracy <score>": float((chosen == positive).mean()),
        "binary_classification_cross_entropy <loss>": mean(entropy),
        "binary_f_1.000 <score>": 2 * hits / max(1, int(chosen.sum()) + int(positive.sum())),
    }


if __name__ == "__main__":
    main()
