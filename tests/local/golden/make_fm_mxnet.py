"""Writes fm_mxnet.npz: what MXNet 1.9.1 makes of a few small factorization machines.

Runs in the oracle's environment (`make oracle`): `.oracle/bin/python tests/local/golden/make_fm_mxnet.py`.
The symbol is the managed algorithm's (sparse rows, row_sparse weights), the optimizer MXNet's own lazy Adam.
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "oracle"))
from network import Rows, managed, train

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
        shape = {
            "feature_dim": FEATURES,
            "num_factors": NUM_FACTORS,
            "mini_batch_size": BATCH,
            "epochs": EPOCHS,
        }
        settings = DEFAULTS | changes | shape
        classify = settings["predictor_type"] == "binary_classifier"
        labels = (stars >= 4).astype(np.float32) if classify else stars
        data, indices, indptr = matrices[settings["rows"]]
        filled = Rows(data, indices, np.pad(indptr, (0, fill), mode="edge"))
        network = managed(FEATURES, NUM_FACTORS, classify=classify)
        end, losses = train(network, settings, start, filled, np.pad(labels, (0, fill)))
        out |= {f"{case}/{name}": value for name, value in end.items()} | {f"{case}/losses": losses}
        out[f"{case}/settings"] = np.array(json.dumps({name: str(value) for name, value in settings.items()}))
    np.savez_compressed(Path(__file__).with_name("fm_mxnet.npz"), **out)


if __name__ == "__main__":
    main()
