"""The local FM engine against MXNet 1.9.1, which trains the managed network and our graph on random rows."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from oracle import Oracle

from local.engines.fm import Hyperparameters, learn, start
from local.engines.fm_optimizer import Rows
from local.engines.job import from_strings
from topx.factors import save_model

pytestmark = pytest.mark.oracle

LOSSES = {"regressor": "mse <loss>", "binary_classifier": "binary_classification_cross_entropy <loss>"}
MANAGED = {
    "bias_lr": 0.1, "linear_lr": 0.001, "factors_lr": 0.0001,
    "bias_wd": 0.01, "linear_wd": 0.001, "factors_wd": 0.00001,
}  # fmt: skip
# The steps are as long as float32 allows: where a gradient's sign is that of its rounding, Adam still takes a
# whole step, and MXNet then differs from itself with its additions in another order.
FAST, SLOW = ({"factors_lr": rate, "linear_lr": rate} for rate in (0.01, 0.001))
REGRESSOR, CLASSIFIER = {"predictor_type": "regressor"}, {"predictor_type": "binary_classifier"}
CASES: dict[
    str, tuple[str, dict[str, Any]]
] = {  # rows: users and items, or any features with any values and empty rows among them
    "regressor": ("two_hot", REGRESSOR | SLOW),
    "classifier": ("two_hot", CLASSIFIER | SLOW),
    "defaults": ("general", CLASSIFIER),
    "general regressor": ("general", REGRESSOR | SLOW),
    "general classifier": ("general", CLASSIFIER | SLOW),
    "clip": ("general", REGRESSOR | SLOW | {"clip_gradient": 0.2}),
    "rescale": ("two_hot", CLASSIFIER | SLOW | {"rescale_grad": 1.0}),
    "eps": ("general", CLASSIFIER | FAST | {"eps": 0.01}),
    "decay": ("two_hot", REGRESSOR | SLOW | {"factors_wd": 0.3, "linear_wd": 0.2, "bias_wd": 0.1}),
    "all bent": (
        "general",
        CLASSIFIER
        | FAST
        | {"bias_lr": 0.01, "clip_gradient": 0.05, "rescale_grad": 0.1, "eps": 0.01, "factors_wd": 0.1},
    ),
}
SIZES = {  # network, features, num_factors, rows, mini_batch_size, epochs; the last batch is never full
    "1000 updates": ("managed", 60, 8, 390, 20, 50),
    "200 updates of our graph": ("ours", 700, 64, 1990, 100, 10),
    "180 updates of one factor": ("managed", 9, 1, 47, 8, 30),
}


def two_hot(random: Any, count: int, features: int) -> tuple[Any, Any, Any]:
    users = random.integers(0, features // 2, count)
    items = random.integers(features // 2, features, count)
    return np.ones(2 * count, np.float32), np.stack([users, items], 1).ravel(), np.arange(0, 2 * count + 1, 2)


def general(random: Any, count: int, features: int) -> tuple[Any, Any, Any]:
    lengths = random.integers(0, 6, count)
    indices = np.concatenate([np.sort(random.permutation(features)[:length]) for length in lengths])
    return random.normal(0.5, 1, len(indices)).astype(np.float32), indices, np.append(0, np.cumsum(lengths))


def graph(given: dict[str, Any], weights: dict[str, Any]) -> str:
    """The symbol.json that our artifact would hold."""
    file = io.BytesIO()
    save_model(file, weights["w0"], weights["w"], weights["v"], {"predictor_type": given["predictor_type"]})
    with zipfile.ZipFile(file) as archive:
        return archive.read("symbol.json").decode()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES)
def test_learns_what_mxnet_learns(oracle: Oracle, case: str, size: str) -> None:
    random = np.random.default_rng()  # other rows in each session; the tolerances hold for any
    network, features, num_factors, count, batch, epochs = SIZES[size]
    kind, changes = CASES[case]
    shape = {"feature_dim": features, "num_factors": num_factors, "mini_batch_size": batch, "epochs": epochs}
    given: dict[str, Any] = MANAGED | shape | changes
    weights = {
        "w0": random.normal(0, 0.01, 1).astype(np.float32),
        "w": random.normal(0, 0.01, features).astype(np.float32),
        "v": random.normal(0, 0.1, (features, num_factors)).astype(np.float32),
    }
    labels = random.integers(1, 6, count).astype(np.float32)
    labels = labels if given["predictor_type"] == "regressor" else (labels >= 4).astype(np.float32)
    data, indices, indptr = (two_hot if kind == "two_hot" else general)(random, count, features)

    fill = -count % batch
    end, losses = oracle.ask(
        "train",
        symbol=None if network == "managed" else graph(given, weights),
        settings=given,
        start=weights,
        rows=(data, indices, np.pad(indptr, (0, fill), mode="edge")),
        labels=np.pad(labels, (0, fill)),
    )

    forms = [(indptr.astype(np.int64), data)]
    if kind == "two_hot":
        forms.append((np.zeros(0, np.int64), np.zeros(0, np.float32)))
    for starts, numbers in forms:
        settings = from_strings(Hyperparameters, {name: str(value) for name, value in given.items()})
        machine = start(settings, 1)
        machine.weights.bias[:, 0] = weights["w0"]
        machine.weights.linear[:, 0] = weights["w"]
        machine.weights.factors[:, 0] = weights["v"]
        history = learn(machine, Rows(indices.astype(np.int32), starts, numbers, labels), settings)
        found = [each[LOSSES[given["predictor_type"]]] for each in history]
        np.testing.assert_allclose(found, losses, rtol=1e-6)
        for array, name in zip(machine.weights, ("w0", "w", "v"), strict=True):
            np.testing.assert_allclose(array[:, 0], end[name], rtol=0, atol=1e-5)
