"""The complete hyperparameters and channels of both training jobs: text, as the SageMaker API takes it."""

from typing import Any

from topx.settings import Run

_PASSES = 40  # over the data: each draw in the file is one pass of an epoch
_CLASSIC_EPOCHS = 100
_MANY = 1_000_000  # positives above which less decay is better
_CLASSIC = {  # SageMaker's own defaults, which the original article used
    "factors_lr": 1e-4,
    "factors_wd": 1e-5,
    "factors_init_sigma": 1e-3,
    "linear_lr": 1e-3,
    "linear_wd": 1e-3,
}
_OURS = {"factors_lr": 1e-3, "factors_init_sigma": 1e-2, "linear_lr": 1e-3, "linear_wd": 1e-5}
_BIAS = {"bias_lr": 0.1, "bias_wd": 0.01}  # SageMaker's own defaults
_FIXED = {
    "bias_init_method": "normal",
    "bias_init_sigma": "0.01",
    "linear_init_method": "normal",
    "linear_init_sigma": "0.01",
    "factors_init_method": "normal",
}
_KNN_BATCH = 5000  # SageMaker's own default
_KNN_SAMPLE = 256  # the least that SageMaker takes


def factors(run: Run, *, feature_dim: int, draws: int, negatives: int, positives: int) -> dict[str, str]:
    """Factorization Machines: every documented name that has a value.

    `draws` and `negatives` are those of the file, 0 negatives where it has none; `positives` are distinct.
    """
    train, recipe = run.train_factors, run.encode.recipe
    if recipe == "classic":
        defaults = _BIAS | _CLASSIC
    else:
        decay = 1e-5 if positives > _MANY else 3e-5 if negatives > 5 else 2e-5
        defaults = _BIAS | _OURS | {"factors_wd": decay}
    rates = {name: _chosen(getattr(train, name), default) for name, default in defaults.items()}
    epochs = _CLASSIC_EPOCHS if recipe != "default" else max(1, round(_PASSES / draws))
    return {
        "feature_dim": str(feature_dim),
        "num_factors": str(train.num_factors),
        "predictor_type": "regressor" if recipe == "regression" else "binary_classifier",
        "epochs": str(train.epochs or epochs),
        "mini_batch_size": str(train.mini_batch_size),
        **{name: repr(rate) for name, rate in rates.items()},
        **_FIXED,
    }


def neighbors(run: Run, *, indexed_items: int, k: int) -> dict[str, str]:
    """k-NN: an exact index of all item rows under inner product."""
    return {
        "feature_dim": str(run.train_factors.num_factors + 1),
        "k": str(k),
        "sample_size": str(sample_size(indexed_items)),
        "predictor_type": "classifier",
        "index_type": "faiss.Flat",
        "index_metric": "INNER_PRODUCT",
        "mini_batch_size": str(_KNN_BATCH),
    }


def sample_size(indexed_items: int) -> int:
    """Rows that k-NN keeps; fewer than there are would silently drop items."""
    return max(_KNN_SAMPLE, indexed_items)


def channel(name: str, uri: str, *, sharded: bool = False) -> dict[str, Any]:
    """One entry of InputDataConfig: recordIO files below a prefix."""
    return {
        "ChannelName": name,
        "ContentType": "application/x-recordio-protobuf",
        "CompressionType": "None",
        "RecordWrapperType": "None",
        "InputMode": "File",
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": uri,
                "S3DataDistributionType": "ShardedByS3Key" if sharded else "FullyReplicated",
            }
        },
    }


def _chosen(given: float | None, default: float) -> float:
    return default if given is None else given
