"""The local Factorization Machines: held to MXNet, to genuine jobs and to the managed contract."""

import json
import logging
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from local.engines.fm import Hyperparameters, learn, measure, read_rows, start, train
from local.engines.fm_optimizer import Machine, Rows
from local.engines.job import ClientError, Job, from_strings
from topx.factors import load_factors
from topx.recordio import write_dense, write_sparse

ROOT = Path(__file__).parents[2]
GOLDEN = np.load(Path(__file__).with_name("golden") / "fm_mxnet.npz")
NO_STARTS, NO_VALUES = np.zeros(0, np.int64), np.zeros(0, np.float32)
REQUIRED = {"feature_dim": "6", "num_factors": "3", "predictor_type": "regressor"}


def two_hot(users, items, labels):
    return Rows(
        np.stack([users, items], 1).astype(np.int32).ravel(), NO_STARTS, NO_VALUES, labels.astype(np.float32)
    )


def some_rows(count=25, features=6):
    generator = np.random.default_rng(7)
    users, items = generator.integers(0, 3, count), generator.integers(3, features, count)
    matrix = sparse.csr_array(
        (np.ones(2 * count, np.float32), np.stack([users, items], 1).ravel(), np.arange(0, 2 * count + 1, 2)),
        shape=(count, features),
    )
    return matrix, generator.integers(0, 2, count).astype(np.float32)


def job(folder, hyperparameters, channels=None, **configuration):
    """The folder of a job; channels: name -> (matrix, labels)."""
    for name, (matrix, labels) in (channels or {"train": some_rows()}).items():
        data = folder / "input" / "data" / name
        data.mkdir(parents=True)
        with (data / "part-00000.rec").open("wb") as file:
            write_sparse(file, matrix, labels)
    config = folder / "input" / "config"
    config.mkdir(parents=True)
    settings = {name: {"ContentType": "application/x-recordio-protobuf"} for name in channels or ["train"]}
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    (config / "inputdataconfig.json").write_text(json.dumps(settings | configuration))
    return Job(folder)


def run(folder, *arguments):
    command = [sys.executable, "-m", "local.engines.fm", str(folder), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("case", "form"),
    [
        ("regressor", "keys"),
        ("regressor", "csr"),
        ("classifier", "keys"),
        ("classifier", "csr"),
        ("general", "csr"),
        ("bent", "csr"),
    ],
)
def test_learns_what_mxnet_learns(case, form):
    given = json.loads(str(GOLDEN[f"{case}/settings"]))
    kind = given.pop("rows")
    settings = from_strings(Hyperparameters, given)
    labels = GOLDEN["stars"]
    labels = (labels >= 4).astype(np.float32) if settings.classify else labels
    rows = Rows(GOLDEN[f"{kind}/indices"].astype(np.int32), NO_STARTS, NO_VALUES, labels)
    if form == "csr":
        rows = rows._replace(starts=GOLDEN[f"{kind}/indptr"].astype(np.int64), values=GOLDEN[f"{kind}/data"])
    machine = start(settings, 1)
    machine.weights.bias[:, 0] = GOLDEN["start/w0"]
    machine.weights.linear[:, 0] = GOLDEN["start/w"]
    machine.weights.factors[:, 0] = GOLDEN["start/v"]

    history = learn(machine, rows, settings)

    name = "binary_classification_cross_entropy <loss>" if settings.classify else "mse <loss>"
    np.testing.assert_allclose([each[name] for each in history], GOLDEN[f"{case}/losses"], rtol=1e-6)
    for found, array in zip(machine.weights, ("w0", "w", "v"), strict=True):
        np.testing.assert_allclose(found[:, 0], GOLDEN[f"{case}/{array}"], rtol=0, atol=1e-5)


def test_only_touched_rows_change():
    settings = from_strings(Hyperparameters, REQUIRED | {"mini_batch_size": "2"})
    machine = start(settings, 1)
    before = machine.weights.factors.copy(), machine.weights.linear.copy()
    learn(machine, two_hot(np.array([0, 1]), np.array([4, 4]), np.array([1.0, 5.0])), settings)
    untouched = [2, 3, 5]
    np.testing.assert_array_equal(machine.weights.factors[untouched], before[0][untouched])
    np.testing.assert_array_equal(machine.weights.linear[untouched], before[1][untouched])
    assert (machine.weights.factors[[0, 1, 4]] != before[0][[0, 1, 4]]).all()


def test_an_incomplete_last_batch_is_filled_with_empty_rows_of_label_0():
    settings = from_strings(
        Hyperparameters, REQUIRED | {"mini_batch_size": "4", "bias_lr": "0", "bias_init_sigma": "0"}
    )
    labels = np.full(5, 3.0)
    history = learn(start(settings, 1), two_hot(np.zeros(5, int), np.full(5, 3), labels), settings)
    assert history[0]["mse <loss>"] == pytest.approx(5 * 9 / 8, rel=0.01)


def test_the_seed_decides_the_weights():
    settings = from_strings(Hyperparameters, REQUIRED | {"factors_init_sigma": "0.5"})

    def trained(seed):
        machine = start(settings, seed)
        learn(machine, two_hot(np.arange(3), np.arange(3, 6), np.arange(3.0)), settings)
        return b"".join(array.tobytes() for array in machine.weights)

    assert trained(3) == trained(3)
    assert trained(3) != trained(4)


def test_start_weights_follow_their_methods():
    given = {"bias_init_method": "constant", "bias_init_value": "0.25", "feature_dim": "4000"}
    given |= {"linear_init_method": "uniform", "linear_init_scale": "0.5", "factors_init_sigma": "0.2"}
    bias, linear, factors = start(from_strings(Hyperparameters, REQUIRED | given), 1).weights
    assert bias[0].tolist() == [0.25, 0, 0]
    assert 0.49 < np.abs(linear[:, 0]).max() <= 0.5
    assert factors[:, 0].std() == pytest.approx(0.2, rel=0.03)
    assert not linear[:, 1:].any()
    assert not factors[:, 1:].any()


def test_scores_are_the_pairwise_formula():
    generator = np.random.default_rng(0)
    settings = from_strings(Hyperparameters, REQUIRED | {"num_factors": "19", "factors_init_sigma": "1"})
    machine = start(settings, 1)
    x = generator.normal(0, 1, (8, 6)).astype(np.float32) * (generator.random((8, 6)) < 0.6)
    matrix = sparse.csr_array(x)
    rows = Rows(
        matrix.indices.astype(np.int32), matrix.indptr.astype(np.int64), matrix.data, np.zeros(8, np.float32)
    )
    w0, w, v = (array[:, 0].astype(np.float64) for array in machine.weights)
    pairs = [sum(r[i] * r[j] * (v[i] @ v[j]) for i in range(6) for j in range(i)) for r in x.astype(np.float64)]
    np.testing.assert_allclose(machine.score(rows), w0 + x @ w + pairs, rtol=1e-4, atol=1e-5)


def test_cross_entropy_stays_finite_where_the_probability_is_0_or_1():
    settings = replace(from_strings(Hyperparameters, REQUIRED), predictor_type="binary_classifier")
    found = measure(np.array([200, -200, 0], np.float32), np.array([0, 0, 1], np.float32), settings)
    assert found["binary_classification_cross_entropy <loss>"] == pytest.approx((200 + 0 + np.log(2)) / 3)
    assert found["binary_classification_accuracy <score>"] == pytest.approx(2 / 3)
    assert found["binary_f_1.000 <score>"] == pytest.approx(2 / 3)


def test_two_hot_rows_are_held_as_keys_alone(tmp_path):
    settings = from_strings(Hyperparameters, REQUIRED)
    rows = read_rows(job(tmp_path, REQUIRED), "train", settings)
    assert (len(rows.keys), len(rows.starts), len(rows.values)) == (50, 0, 0)


def test_one_other_row_among_two_hot_rows_is_read_with_all_of_them(tmp_path):
    matrix, labels = some_rows()
    more = sparse.csr_array(np.array([[0, 0.5, 0, 0, 2, 1]], np.float32))
    folder = job(tmp_path, REQUIRED, {"train": (matrix, labels)})
    with (tmp_path / "input/data/train/part-00001.rec").open("wb") as file:
        write_sparse(file, more, [1])
    rows = read_rows(folder, "train", from_strings(Hyperparameters, REQUIRED))
    read = sparse.csr_array((rows.values, rows.keys, rows.starts), shape=(26, 6))
    np.testing.assert_array_equal(read.toarray(), sparse.vstack([matrix, more]).toarray())


def test_a_job_writes_the_artifact_and_the_managed_log(tmp_path):
    given = REQUIRED | {"epochs": "2", "mini_batch_size": "10"}
    job(tmp_path, given, {"train": some_rows(), "test": some_rows(7)})
    finished = run(tmp_path, "--seed", "5")
    assert finished.returncode == 0, finished.stderr
    with zipfile.ZipFile(tmp_path / "model" / "model_algo-1") as model:
        assert sorted(model.namelist()) == ["meta.json", "params", "symbol.json"]
        parameters = json.loads(model.read("meta.json"))["training_parameters"]
    assert parameters.items() >= (given | {"bias_lr": "0.1", "factors_init_method": "normal"}).items()
    lines = [
        re.sub(r"^\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d INFO \d+\] ", "", line)
        for line in finished.stdout.splitlines()
    ]
    number = r"\d+\.\d+(e-\d+)?"
    names = ("rmse", "mse", "absolute_loss")

    def quality(when, data="train"):
        return [rf"#quality_metric: host=algo-1, {when}{data} {name} <loss>={number}" for name in names]

    expected = [
        *quality("epoch=0, batch=0 "),
        *quality("epoch=0, "),
        r"#progress_metric: host=algo-1, completed 50\.0 % of epochs",
        rf"#throughput_metric: host=algo-1, train throughput={number} records/second",
        *quality("epoch=1, batch=0 "),
        *quality("epoch=1, "),
        *quality(""),
        r"#progress_metric: host=algo-1, completed 100\.0 % of epochs",
        rf"#throughput_metric: host=algo-1, train throughput={number} records/second",
        *[rf"#test_score \(algo-1\) : \('{name}', {number}\)" for name in names],
        *quality("", "test"),
    ]
    metrics = [line for line in lines if line.startswith("#")]
    assert len(metrics) == len(expected)
    for line, pattern in zip(metrics, expected, strict=True):
        assert re.fullmatch(pattern, line)


def test_the_artifact_scores_the_test_channel_as_the_log_says(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    matrix, labels = some_rows(40)
    train(
        job(tmp_path, REQUIRED | {"factors_init_sigma": "1"}, {"train": some_rows(), "test": (matrix, labels)}),
        1,
    )
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "model" / "model_algo-1", "model_algo-1")
    errors = load_factors(tmp_path / "model.tar.gz").score(matrix) - labels
    logged = re.search(r"#test_score \(algo-1\) : \('rmse', (.*)\)", caplog.text)[1]
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(float(logged), rel=1e-6)


def test_batch_lines_come_every_500_batches(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    settings = from_strings(Hyperparameters, REQUIRED | {"mini_batch_size": "1"})
    learn(start(settings, 1), two_hot(np.zeros(1001, int), np.full(1001, 4), np.ones(1001)), settings)
    assert re.findall(r"batch=(\d+) train rmse", caplog.text) == ["0", "500", "1000"]


def test_a_failing_job_says_why_and_exits_1(tmp_path):
    job(
        tmp_path,
        {"num_factors": "64", "predictor_type": "ranker", "epochs": "0", "epoch": "3", "bias_lr": "fast"},
    )
    finished = run(tmp_path)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    reason = (tmp_path / "output" / "failure").read_text()
    assert reason.startswith("ClientError: 5 problems:")
    for part in (
        "No value(s) were specified for 'feature_dim' which are required hyperparameter(s)",
        "Additional hyperparameters are not allowed ('epoch' was unexpected); did you mean 'epochs'?",
        "The value 'ranker' is not valid for the 'predictor_type' hyperparameter "
        "which accepts one of the following: 'regressor', 'binary_classifier'",
        "The value '0' is not valid for the 'epochs' hyperparameter which expects an integer of at least 1",
        "The value 'fast' is not valid for the 'bias_lr' hyperparameter which expects a number of at least 0",
    ):
        assert part in reason
    assert not (tmp_path / "model").exists()


def test_an_unforeseen_failure_is_written_down_too(tmp_path):
    job(tmp_path, REQUIRED)
    (tmp_path / "input" / "config" / "hyperparameters.json").write_text("{")
    finished = run(tmp_path)
    assert finished.returncode == 1
    assert (tmp_path / "output" / "failure").read_text().startswith("AlgorithmError: JSONDecodeError: ")


@pytest.mark.parametrize("text", ["1.5", "", " 1", "1e3", "nan", "one"])
def test_integers_are_integers(text):
    with pytest.raises(ClientError, match="'epochs' hyperparameter which expects an integer of at least 1"):
        from_strings(Hyperparameters, REQUIRED | {"epochs": text})


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "-0.1", "0x1"])
def test_numbers_are_finite(text):
    with pytest.raises(ClientError, match="'factors_lr' hyperparameter which expects a number of at least 0"):
        from_strings(Hyperparameters, REQUIRED | {"factors_lr": text})


def test_init_methods_need_their_parameter():
    given = {"bias_init_method": "constant", "factors_init_method": "uniform"}
    with pytest.raises(ClientError, match=r"2 problems:\n.*'bias_init_value'.*\n.*'factors_init_scale'"):
        from_strings(Hyperparameters, REQUIRED | given)


def test_feature_dim_must_be_that_of_the_data(tmp_path):
    with pytest.raises(
        ClientError, match=r"feature_dim is 7 but rows of train/part-00000\.rec have 6 features"
    ):
        train(job(tmp_path, REQUIRED | {"feature_dim": "7"}), 1)


def test_a_classifier_takes_labels_0_and_1(tmp_path):
    matrix, labels = some_rows()
    given = REQUIRED | {"predictor_type": "binary_classifier"}
    with pytest.raises(ClientError, match="'train' channel has the label 4; a binary_classifier takes 0 and 1"):
        train(job(tmp_path, given, {"train": (matrix, labels + 4)}), 1)


def test_records_need_labels(tmp_path):
    with pytest.raises(ClientError, match=r"train/part-00000.rec have no label"):
        train(job(tmp_path, REQUIRED, {"train": (some_rows()[0], None)}), 1)


def test_channels_are_checked_all_at_once(tmp_path):
    folder = job(tmp_path, REQUIRED, train={"ContentType": "text/csv"}, validation={})
    with pytest.raises(
        ClientError, match=r"2 problems:\n.*'text/csv' .* 'train'.*\n.*'validation' was unexpected"
    ):
        train(folder, 1)


def test_an_empty_channel_is_refused(tmp_path):
    folder = job(tmp_path, REQUIRED)
    (tmp_path / "input/data/train/part-00000.rec").write_bytes(b"")
    with pytest.raises(ClientError, match="'train' channel has no records"):
        train(folder, 1)


def test_a_broken_file_is_named(tmp_path):
    folder = job(tmp_path, REQUIRED)
    (tmp_path / "input/data/train/part-00001.rec").write_bytes(b"user,item,rating\n" * 9)
    with pytest.raises(ClientError, match=r"Unable to read part-00001.rec: .*record 0"):
        train(folder, 1)


def test_dense_records_are_read_as_sparse_ones(tmp_path):
    folder = job(tmp_path, REQUIRED)
    with (tmp_path / "input/data/train/part-00000.rec").open("wb") as file:
        write_dense(file, some_rows()[0].toarray(), some_rows()[1])
    rows = read_rows(folder, "train", from_strings(Hyperparameters, REQUIRED))
    assert len(rows.keys) == 50


# MovieLens 100k against genuine jobs: mean and deviation over seeds, from facts measured on the managed runs.


def movielens(name):
    folder = os.environ.get("TOPX_DATA")
    if not folder:
        pytest.skip("TOPX_DATA is unset; it names the folder that holds ml-100k")
    return np.loadtxt(Path(folder) / "ml-100k" / name, dtype=np.int64)


def ratings(table, *, classify):
    labels = table[:, 2] >= 4 if classify else table[:, 2]
    return two_hot(table[:, 0] - 1, 943 + table[:, 1] - 1, labels)


def classified(seed, **changes):
    given = {"feature_dim": "2625", "num_factors": "64", "predictor_type": "binary_classifier", "epochs": "100"}
    settings = from_strings(Hyperparameters, given | changes)
    table = movielens("ua.base")
    machine = start(settings, seed)
    shuffled = table[np.random.default_rng(seed).permutation(len(table))]
    history = learn(machine, ratings(shuffled, classify=True), settings)
    test = ratings(movielens("ua.test"), classify=True)
    entropy = "binary_classification_cross_entropy <loss>"
    tested = measure(machine.score(test), test.labels, settings)
    return [*history[-1].values(), *tested.values(), history[1][entropy], history[3][entropy]]


def regressed(seed):
    given = {"feature_dim": "2625", "num_factors": "64", "predictor_type": "regressor", "epochs": "50"}
    settings = from_strings(Hyperparameters, given)
    machine: Machine = start(settings, seed)
    history = learn(machine, ratings(movielens("ua.base"), classify=False), settings)
    test = ratings(movielens("ua.test"), classify=False)
    tested = measure(machine.score(test), test.labels, settings)["rmse <loss>"]
    return [*(history[epoch]["rmse <loss>"] for epoch in (0, 1, 9, 49)), tested, machine.weights.bias[0, 0]]


CLASSIFIED = (  # last epoch: accuracy, cross-entropy, F1; test: the same; cross-entropy of epochs 1 and 3
    [0.750, 0.514, 0.780, 0.695, 0.579, 0.737, 0.6739, 0.6558],
    [0.002, 0.002, 0.001, 0.003, 0.002, 0.007, 0.0002, 0.0002],
)
REGRESSED = (  # rmse of epochs 0, 1, 9 and 49 and of the test set; w0
    [1.766, 1.1412, 1.0798, 0.9679, 0.992, 3.180],
    [0.004, 0.0002, 0.0002, 0.0009, 0.001, 0.005],
)


def check(runs, expected):
    """Each run within 3.5 deviations of the expected means, their mean within 3 errors of two equal samples."""
    distance = (np.array(runs) - expected[0]) / expected[1]
    assert np.abs(distance).max() < 3.5, distance
    assert np.abs(distance.mean(axis=0)).max() < 3 * np.sqrt(2 / len(runs)), distance.mean(axis=0)


def test_movielens_classifier_trains_like_the_managed_job():
    check([classified(1)], CLASSIFIED)


def test_movielens_regressor_trains_like_the_managed_job():
    check([regressed(seed) for seed in (1, 2, 3)], REGRESSED)


def test_a_sum_gradient_would_be_noticed():
    accuracy, entropy, *_ = classified(1, rescale_grad="1")
    assert entropy < 0.495
    assert accuracy > 0.760


@pytest.mark.slow
def test_movielens_classifier_over_24_seeds():
    check([classified(seed) for seed in range(24)], CLASSIFIED)


@pytest.mark.slow
def test_movielens_regressor_over_12_seeds():
    check([regressed(seed) for seed in range(12)], REGRESSED)
