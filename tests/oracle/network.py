"""A factorization machine trained by MXNet 1.9.1: the managed algorithm's network, MXNet's own lazy Adam."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from retired import mx

Floats = NDArray[np.float32]
ARRAYS = {"bias": "w0_weight", "linear": "w1_weight", "factors": "v"}


class Rows(NamedTuple):
    """Sparse rows as in CSR; their number is a multiple of the batch."""

    data: Floats
    indices: NDArray[Any]
    indptr: NDArray[Any]


def managed(features: int, num_factors: int, *, classify: bool) -> Any:
    """The managed algorithm's symbol: arguments data, w1_weight, w0_weight, v, out_label."""
    x = mx.symbol.Variable("data", stype="csr")
    w = mx.symbol.Variable("w1_weight", stype="row_sparse", shape=(features, 1))
    w0 = mx.symbol.Variable("w0_weight", shape=(1,))
    v = mx.symbol.Variable("v", stype="row_sparse", shape=(features, num_factors))
    linear = mx.symbol.broadcast_add(mx.symbol.dot(x, w), w0)
    squares = mx.symbol.dot(x.square(), mx.symbol._internal._square_sum(data=v, axis=1, keepdims=True))
    parts = mx.symbol.Concat(linear, 0.5 * mx.symbol.square(data=mx.symbol.dot(x, v)), dim=1)
    score = mx.sym.elemwise_add(
        mx.symbol.sum(data=parts, axis=1, keepdims=True), 0.5 * mx.symbol.negative(squares)
    )
    return _output(score, classify)


def dense(features: int, num_factors: int, *, classify: bool) -> Any:
    """A symbol with the arguments of old images: w (1, features), w0 (1,), v (num_factors, features), dense."""
    x, v = mx.symbol.Variable("data"), mx.symbol.Variable("v", shape=(num_factors, features))
    linear = mx.symbol.FullyConnected(data=x, num_hidden=1, name="Linear_Plus_Bias")
    squares = mx.symbol.dot(x.square(), v.square(), transpose_b=True)
    pairs = mx.symbol.square(data=mx.symbol.dot(x, v, transpose_b=True)) - squares
    return _output(linear + 0.5 * mx.symbol.sum(data=pairs, axis=1, keepdims=True), classify)


def _output(score: Any, classify: bool) -> Any:
    output = mx.symbol.LogisticRegressionOutput if classify else mx.symbol.LinearRegressionOutput
    return output(data=score, label=mx.symbol.Variable("out_label"))


def train(
    symbol: Any, settings: Mapping[str, Any], start: Mapping[str, Floats], rows: Rows, labels: Floats
) -> tuple[dict[str, Floats], NDArray[np.float64]]:
    """(end weights w0, w, v; loss of each epoch): mean squared error, or cross-entropy of a classifier.

    `settings` are the managed hyperparameters as numbers, `start` the weights w0 (1,), w (features,), v.
    """
    batch, classify = settings["mini_batch_size"], settings["predictor_type"] == "binary_classifier"
    features = len(start["w"])
    module = bound(symbol, start, batch)
    module.init_optimizer(kvstore=None, optimizer=_adam(settings, module))
    losses = []
    for _ in range(settings["epochs"]):
        loss = 0.0
        for first in range(0, len(labels), batch):
            ends = rows.indptr[first : first + batch + 1]
            span = slice(ends[0], ends[-1])
            part = mx.nd.sparse.csr_matrix(
                (rows.data[span], rows.indices[span], ends - ends[0]), shape=(batch, features)
            )
            y = labels[first : first + batch]
            module.forward(mx.io.DataBatch([part], [mx.nd.array(y[:, None])]), is_train=True)
            p = module.get_outputs()[0].asnumpy().astype(np.float64)[:, 0]
            loss += -np.log(np.where(y == 1, p, 1 - p)).sum() if classify else ((p - y) ** 2).sum()
            module.backward()
            module.update()
        losses.append(loss / len(labels))
    found = module.get_params()[0]
    end = {
        name: found[argument].asnumpy()
        for name, argument in zip(("w0", "w", "v"), ARRAYS.values(), strict=True)
    }
    return end | {"w": end["w"].reshape(-1)}, np.array(losses)


def bound(symbol: Any, start: Mapping[str, Floats], batch: int) -> Any:
    """The network with these weights, ready for batches of so many rows."""
    module = mx.mod.Module(symbol, data_names=["data"], label_names=["out_label"])
    module.bind(
        data_shapes=[mx.io.DataDesc("data", (batch, len(start["w"])), layout="NC")],
        label_shapes=[mx.io.DataDesc("out_label", (batch, 1))],
    )
    w0, w, v = (mx.nd.array(array) for array in (start["w0"], start["w"][:, None], start["v"]))
    if "w1_weight" in symbol.list_arguments():
        rows = {"w1_weight": w.tostype("row_sparse"), "v": v.tostype("row_sparse")}
        arguments = {"w0_weight": w0} | rows
    else:
        arguments = {"Linear_Plus_Bias_bias": w0, "Linear_Plus_Bias_weight": w.T, "v": v.T}
    module.init_params(arg_params=arguments, initializer=None)
    return module


def _adam(settings: Mapping[str, Any], module: Any) -> Any:
    """Rates and decays of 1, times those of each array: as the managed job prints them."""
    adam = mx.optimizer.Adam(
        learning_rate=1.0,
        wd=1.0,
        lazy_update=True,
        rescale_grad=settings.get("rescale_grad", 1 / settings["mini_batch_size"]),
        clip_gradient=settings.get("clip_gradient"),
        epsilon=settings.get("eps", 1e-8),
        param_idx2name=dict(enumerate(module._param_names)),
    )
    adam.set_lr_mult({name: settings[f"{array}_lr"] for array, name in ARRAYS.items()})
    adam.set_wd_mult({name: settings[f"{array}_wd"] for array, name in ARRAYS.items()})
    return adam
