"""Writes fm_mxnet.npz: what MXNet 1.9.1 makes of a few small factorization machines.

Runs in the oracle's environment (`make oracle`): `.oracle/bin/python tests/local/golden/make_fm_mxnet.py`.
The symbol is the managed algorithm's (sparse rows, row_sparse weights), the optimizer MXNet's own lazy Adam.
"""

import json
from pathlib import Path

import numpy as np

# MXNet asks for these names while it is imported; NumPy has dropped them.
DROPPED = (
    "PZERO", "NZERO", "Inf", "PINF", "NINF", "NaN", "NAN", "product", "sometrue", "alltrue", "in1d", "trapz",
    "round_", "msort", "mirr", "npv", "pmt", "ppmt", "pv", "rate",
)  # fmt: skip
for _name in DROPPED:
    setattr(np, _name, getattr(np, _name, None))

import mxnet as mx  # noqa: E402

DEFAULTS = {
    "bias_lr": 0.1, "linear_lr": 0.001, "factors_lr": 0.0001,
    "bias_wd": 0.01, "linear_wd": 0.001, "factors_wd": 0.00001,
}  # fmt: skip
CASES = {
    "regressor": {"predictor_type": "regressor", "rows": "two-hot"},
    "classifier": {"predictor_type": "binary_classifier", "rows": "two-hot", "factors_lr": 0.01},
    "general": {"predictor_type": "regressor", "rows": "general", "factors_lr": 0.01, "linear_lr": 0.01},
    "bent": {
        "predictor_type": "binary_classifier", "rows": "general",
        "factors_lr": 0.003, "clip_gradient": 0.01, "rescale_grad": 0.05, "eps": 0.001, "factors_wd": 0.1,
    },
}  # fmt: skip
FEATURES, NUM_FACTORS, BATCH, EPOCHS, ROWS = 14, 18, 16, 5, 90  # the last batch lacks 6 rows


def symbol(settings, features, num_factors):
    """The managed network: arguments data, w1_weight, w0_weight, v, out_label."""
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
    label = mx.symbol.Variable("out_label")
    classify = settings["predictor_type"] == "binary_classifier"
    output = mx.symbol.LogisticRegressionOutput if classify else mx.symbol.LinearRegressionOutput
    return output(data=score, label=label)


def train(settings, start, matrix, labels, batch, epochs):
    """(end weights by name, loss of each epoch) of rows (data, indices, indptr) whose last batch is full."""
    features, num_factors = start["v"].shape
    module = mx.mod.Module(
        symbol(settings, features, num_factors), data_names=["data"], label_names=["out_label"]
    )
    module.bind(
        data_shapes=[mx.io.DataDesc("data", (batch, features), layout="NC")],
        label_shapes=[mx.io.DataDesc("out_label", (batch, 1))],
    )
    arguments = {
        "w0_weight": mx.nd.array(start["w0"]),
        "w1_weight": mx.nd.array(start["w"][:, None]).tostype("row_sparse"),
        "v": mx.nd.array(start["v"]).tostype("row_sparse"),
    }
    module.init_params(arg_params=arguments, initializer=None)
    adam = mx.optimizer.Adam(
        learning_rate=1.0,
        wd=1.0,
        lazy_update=True,
        rescale_grad=settings.get("rescale_grad", 1 / batch),
        clip_gradient=settings.get("clip_gradient"),
        epsilon=settings.get("eps", 1e-8),
        param_idx2name=dict(enumerate(module._param_names)),
    )
    names = {"bias": "w0_weight", "linear": "w1_weight", "factors": "v"}
    adam.set_lr_mult({name: settings[f"{array}_lr"] for array, name in names.items()})
    adam.set_wd_mult({name: settings[f"{array}_wd"] for array, name in names.items()})
    module.init_optimizer(kvstore=None, optimizer=adam)
    data, indices, indptr = matrix
    losses = []
    for _ in range(epochs):
        loss = 0.0
        for first in range(0, len(labels), batch):
            span = slice(indptr[first], indptr[first + batch])
            part = mx.nd.sparse.csr_matrix(
                (data[span], indices[span], indptr[first : first + batch + 1] - indptr[first]),
                shape=(batch, features),
            )
            y = labels[first : first + batch]
            module.forward(mx.io.DataBatch([part], [mx.nd.array(y[:, None])]), is_train=True)
            p = module.get_outputs()[0].asnumpy().astype(np.float64)[:, 0]
            if settings["predictor_type"] == "regressor":
                loss += ((p - y) ** 2).sum()
            else:
                loss -= np.log(np.where(y == 1, p, 1 - p)).sum()
            module.backward()
            module.update()
        losses.append(loss / len(labels))
    found = module.get_params()[0]
    end = {"w0": found["w0_weight"], "w": found["w1_weight"].tostype("default").reshape(-1), "v": found["v"]}
    return {name: value.tostype("default").asnumpy() for name, value in end.items()}, np.array(losses)


def rows(kind, generator, count, features):
    """`count` rows (data, indices, indptr): a user and an item, or any numbers of features with any values."""
    if kind == "two-hot":
        users, items = (
            generator.integers(0, features // 2, count),
            generator.integers(features // 2, features, count),
        )
        return (
            np.ones(2 * count, np.float32),
            np.stack([users, items], 1).ravel(),
            np.arange(0, 2 * count + 1, 2),
        )
    lengths = generator.integers(0, 6, count)  # empty rows among them
    indices = np.concatenate([np.sort(generator.permutation(features)[:length]) for length in lengths])
    data = generator.normal(0.5, 1, len(indices)).astype(np.float32)
    return data, indices, np.concatenate([[0], np.cumsum(lengths)])


def main():
    generator = np.random.default_rng(1)
    stars = generator.integers(1, 6, ROWS).astype(np.float32)
    start = {
        "w0": generator.normal(0, 0.01, 1).astype(np.float32),
        "w": generator.normal(0, 0.01, FEATURES).astype(np.float32),
        "v": generator.normal(0, 0.1, (FEATURES, NUM_FACTORS)).astype(np.float32),
    }
    matrices = {kind: rows(kind, generator, ROWS, FEATURES) for kind in ("two-hot", "general")}
    out = {"stars": stars} | {f"start/{name}": value for name, value in start.items()}
    for kind, matrix in matrices.items():
        out |= dict(zip((f"{kind}/data", f"{kind}/indices", f"{kind}/indptr"), matrix, strict=True))
    fill = -ROWS % BATCH
    for case, changes in CASES.items():
        settings = DEFAULTS | changes
        labels = stars if settings["predictor_type"] == "regressor" else (stars >= 4).astype(np.float32)
        data, indices, indptr = matrices[settings["rows"]]
        filled = (data, indices, np.pad(indptr, (0, fill), mode="edge"))
        end, losses = train(settings, start, filled, np.pad(labels, (0, fill)), BATCH, EPOCHS)
        out |= {f"{case}/{name}": value for name, value in end.items()} | {f"{case}/losses": losses}
        settings |= {
            "feature_dim": FEATURES,
            "num_factors": NUM_FACTORS,
            "mini_batch_size": BATCH,
            "epochs": EPOCHS,
        }
        out[f"{case}/settings"] = np.array(json.dumps({name: str(value) for name, value in settings.items()}))
    np.savez_compressed(Path(__file__).with_name("fm_mxnet.npz"), **out)


if __name__ == "__main__":
    main()
