"""FM artifacts, ours and MXNet's own: opened by MXNet as in the original article, and their scores."""

import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle
from scipy import sparse

from local.engines.fm import train
from local.engines.job import Job
from topx.artifact import NAMES, OLD_NAMES
from topx.factors import load_factors, save_factors
from topx.recordio import write_sparse

pytestmark = pytest.mark.oracle

FEATURES = 40


def some_rows(seed: int, count: int, features: int) -> Any:
    """A csr_matrix of random rows: empty ones, keys in any order, values of any sign."""
    random = np.random.default_rng(seed)
    matrix = sparse.random_array((count, features), density=0.3, rng=random, dtype=np.float32).tocsr()
    matrix.data = random.normal(size=matrix.nnz).astype(np.float32)
    return sparse.csr_matrix(matrix)


def opened(oracle: Oracle, artifact: Path, folder: Path, rows: Any) -> tuple[dict[str, Any], Any]:
    """(weights, outputs) by the article's recipe: tar, unzip, rename two of the three files, load."""
    folder.mkdir()
    with tarfile.open(artifact) as archive:
        archive.extractall(folder, filter="data")
    with zipfile.ZipFile(folder / "model_algo-1") as archive:
        archive.extractall(folder)
    (folder / "symbol.json").rename(folder / "model-symbol.json")
    (folder / "params").rename(folder / "model-0000.params")
    assert (folder / "meta.json").exists()
    found: tuple[dict[str, Any], Any] = oracle.ask("open_model", folder=str(folder), rows=rows)
    return found


def assert_opens_alike(oracle: Oracle, artifact: Path, folder: Path, rows: Any) -> None:
    ours = load_factors(artifact)
    weights, outputs = opened(oracle, artifact, folder, rows)
    old = "w1_weight" not in weights
    expected = np.float32(ours.w0), ours.w, ours.v.T if old else ours.v
    for name, array in zip(OLD_NAMES if old else NAMES, expected, strict=True):
        assert weights[name].tobytes() == array.tobytes()
    scores = ours.score(rows)
    if ours.metadata["training_parameters"]["predictor_type"] == "binary_classifier":
        scores = 1 / (1 + np.exp(-scores))
    # MXNet adds in float32, and the sums of squares are as large as their difference may be small.
    scale = 1 + abs(rows) @ np.abs(ours.w) + (abs(rows) @ np.abs(ours.v)).max(axis=1) ** 2 * ours.v.shape[1]
    np.testing.assert_array_less(np.abs(outputs - scores), 1e-6 * scale)


@pytest.mark.parametrize("predictor", ["regressor", "binary_classifier"])
def test_the_artifact_of_the_local_engine_opens_as_in_the_article(
    oracle: Oracle, tmp_path: Path, predictor: str
) -> None:
    rows = some_rows(5, 300, FEATURES)
    labels = np.random.default_rng(5).integers(0, 2, 300).astype(np.float32)
    (tmp_path / "input" / "data" / "train").mkdir(parents=True)
    (tmp_path / "input" / "config").mkdir()
    with (tmp_path / "input" / "data" / "train" / "part-00000.rec").open("wb") as file:
        write_sparse(file, rows, labels)
    config = tmp_path / "input" / "config"
    config.joinpath("hyperparameters.json").write_text(
        f'{{"feature_dim": "{FEATURES}", "num_factors": "7", "predictor_type": "{predictor}", "epochs": "30", '
        '"mini_batch_size": "50", "factors_lr": "0.01", "linear_lr": "0.01", "factors_init_sigma": "0.1"}'
    )
    config.joinpath("inputdataconfig.json").write_text(
        '{"train": {"ContentType": "application/x-recordio-protobuf"}}'
    )
    train(Job(tmp_path), 1)
    artifact = tmp_path / "model.tar.gz"
    with tarfile.open(artifact, "w:gz") as archive:
        archive.add(tmp_path / "model" / "model_algo-1", "model_algo-1")
    assert_opens_alike(oracle, artifact, tmp_path / "opened", some_rows(6, 500, FEATURES))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 200), st.integers(1, 70)),
    predictor=st.sampled_from(["regressor", "binary_classifier"]),
)
def test_any_artifact_that_is_saved_scores_in_mxnet_as_here(
    oracle: Oracle, tmp_path_factory: Any, seed: int, shape: tuple[int, int], predictor: str
) -> None:
    folder, random = tmp_path_factory.mktemp("artifact"), np.random.default_rng(seed)
    w0, w, v = random.normal(), random.normal(size=shape[0]), random.normal(0, 0.3, shape)
    save_factors(folder / "model.tar.gz", w0, w, v, {"predictor_type": predictor})
    assert_opens_alike(oracle, folder / "model.tar.gz", folder / "opened", some_rows(seed, 50, shape[0]))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 200), st.integers(1, 70)),
    network=st.sampled_from(["managed", "dense"]),
    classify=st.booleans(),
    order=st.permutations(["meta.json", "symbol.json", "params"]),
)
def test_any_artifact_of_mxnet_scores_as_in_mxnet_and_is_written_again_byte_for_byte(
    oracle: Oracle,
    tmp_path_factory: Any,
    seed: int,
    shape: tuple[int, int],
    network: str,
    classify: bool,
    order: list[str],
) -> None:
    folder, random = tmp_path_factory.mktemp("artifact"), np.random.default_rng(seed)
    sizes = {"w0": (1,), "w": shape[:1], "v": shape}
    weights = {name: random.normal(0, 0.3, size).astype(np.float32) for name, size in sizes.items()}
    symbol, params = oracle.ask("save_checkpoint", weights=weights, network=network, classify=classify)
    meta = {"training_parameters": {"predictor_type": "binary_classifier" if classify else "regressor"}}
    parts = {"meta.json": json.dumps(meta), "symbol.json": symbol, "params": params}
    with zipfile.ZipFile(folder / "model_algo-1", "w") as archive:
        for name in order:
            archive.writestr(name, parts[name])
    artifact = folder / "model.tar.gz"
    with tarfile.open(artifact, "w:gz") as archive:
        archive.add(folder / "model_algo-1", "model_algo-1")
    read = load_factors(artifact)
    for name, array in weights.items():
        assert np.float32(getattr(read, name)).tobytes() == array.tobytes()
    read.save(folder / "again.tar.gz")
    with tarfile.open(folder / "again.tar.gz") as archive:
        again = archive.extractfile("model_algo-1")
        assert again is not None
        assert again.read() == (folder / "model_algo-1").read_bytes()
    assert_opens_alike(oracle, artifact, folder / "opened", some_rows(seed, 50, shape[0]))
