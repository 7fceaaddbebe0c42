"""The local k-NN: held to brute force and to the managed contract."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
from scipy import sparse

from local.engines.job import AlgorithmError, ClientError, Job, from_strings
from local.engines.knn import Hyperparameters, reservoir, train, transform
from local.engines.knn_model import Neighbors, Searchers, parts
from topx.recordio import write_dense, write_sparse

ROOT = Path(__file__).parents[2]
VERBOSE = "application/jsonlines; verbose=true"
REQUIRED = {"feature_dim": "9", "k": "7", "predictor_type": "classifier", "sample_size": "256"}
REQUEST = {
    "BatchStrategy": "MultiRecord",
    "MaxPayloadInMB": 1,
    "TransformInput": {"ContentType": "application/x-recordio-protobuf", "SplitType": "RecordIO"},
    "TransformOutput": {"Accept": VERBOSE, "AssembleWith": "Line"},
}


def vectors(count, seed=0, features=9):
    return np.random.default_rng(seed).normal(0, 1, (count, features)).astype(np.float32)


def training(folder, hyperparameters, rows, labels, channel="train"):
    data = folder / "input" / "data" / channel
    data.mkdir(parents=True)
    with (data / "items.rec").open("wb") as file:
        write_dense(file, rows, labels)
    config = folder / "input" / "config"
    config.mkdir(parents=True, exist_ok=True)
    channels = {name.name: {} for name in data.parent.iterdir()}
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    (config / "inputdataconfig.json").write_text(json.dumps(channels))
    return Job(folder)


def trained(folder, rows, labels=None, **changes):
    train(
        training(
            folder / "train", REQUIRED | changes, rows, np.arange(len(rows)) if labels is None else labels
        ),
        1,
    )
    return folder / "train" / "model"


def transforming(folder, model, objects, **changes):
    """The job that answers objects: name -> rows."""
    for name, rows in objects.items():
        path = folder / "input" / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_dense(file, rows)
    (folder / "input" / "config").mkdir(parents=True)
    (folder / "input" / "config" / "transform.json").write_text(json.dumps(REQUEST | changes))
    model.rename(folder / "model")
    return Job(folder)


def answers(folder, name):
    return [json.loads(line) for line in (folder / "output" / "data" / f"{name}.out").read_text().splitlines()]


def brute_force(metric, items, users):
    """(users, items) distances in float64, and how many times more is nearer."""
    items, users = items.astype(np.float64), users.astype(np.float64)
    if metric == "L2":
        return ((users[:, None] - items) ** 2).sum(axis=2), -1
    if metric == "COSINE":
        items, users = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (items, users))
    return users @ items.T, 1


@pytest.mark.parametrize("metric", ["L2", "INNER_PRODUCT", "COSINE"])
def test_answers_are_the_nearest_items_with_ascending_distances(tmp_path, metric):
    items, users = vectors(60), vectors(40, seed=1)
    labels = np.random.default_rng(2).permutation(60) + 100
    model = trained(tmp_path, items, labels, index_metric=metric)
    transform(transforming(tmp_path, model, {"users.rec": users}))
    found = answers(tmp_path, "users.rec")
    assert len(found) == len(users)
    distances, sign = brute_force(metric, items, users)
    for answer, row in zip(found, distances, strict=True):
        assert answer["distances"] == sorted(answer["distances"])
        by_label = dict(zip(labels.tolist(), row, strict=True))
        np.testing.assert_allclose(
            answer["distances"], [by_label[label] for label in answer["labels"]], rtol=1e-4
        )
        assert set(answer["labels"]) == set(labels[np.argsort(-sign * row)[:7]].tolist())


def test_under_inner_product_the_best_item_comes_last(tmp_path):
    board = np.eye(9, dtype=np.float32) * np.arange(1, 10, dtype=np.float32)
    model = trained(tmp_path, board, index_metric="INNER_PRODUCT", k="3")
    transform(transforming(tmp_path, model, {"users.rec": np.ones((1, 9), np.float32)}))
    assert answers(tmp_path, "users.rec") == [
        {"predicted_label": 6.0, "distances": [7.0, 8.0, 9.0], "labels": [6.0, 7.0, 8.0]}
    ]


def test_distances_are_written_so_that_float32_comes_back(tmp_path):
    items = vectors(50) * np.logspace(-12, 12, 50, dtype=np.float32)[:, None]
    folder = trained(tmp_path, items, index_metric="INNER_PRODUCT", k="50")
    model, users = Neighbors.read(folder), vectors(30, seed=1)
    distances, _ = model.nearest(users)
    lines = bytes(model.lines(users, verbose=True)).splitlines()
    written = np.array([json.loads(line)["distances"] for line in lines], np.float32)
    np.testing.assert_array_equal(written, distances)


def test_a_distance_beyond_float32_leaves_the_line_json(tmp_path):
    items = np.full((3, 9), 1e20, np.float32) * np.arange(3, dtype=np.float32)[:, None]
    model = Neighbors.read(trained(tmp_path, items, index_metric="INNER_PRODUCT", k="2"))
    answer = json.loads(model.lines(np.full((1, 9), 1e20, np.float32), verbose=True))
    assert answer["distances"] == [None, None]
    assert set(answer["labels"]) == {1, 2}


def test_the_artifact_has_three_members(tmp_path):
    items = vectors(60)
    model = trained(tmp_path, items, index_metric="INNER_PRODUCT")
    assert sorted(path.name for path in model.iterdir()) == [
        "model_algo-1",
        "model_algo-1.json",
        "model_algo-1.labels",
    ]
    index = faiss.read_index(str(model / "model_algo-1"))
    np.testing.assert_array_equal(index.reconstruct_n(0, index.ntotal), items)
    np.testing.assert_array_equal(np.fromfile(model / "model_algo-1.labels", "<f4"), np.arange(60))
    about = json.loads((model / "model_algo-1.json").read_text())
    assert about.keys() == {"k", "predictor_type", "dimension_reduction", "normalize", "version"}
    assert (about["k"], about["predictor_type"], about["normalize"]) == (7, "classifier", False)


def test_k_in_the_artifact_decides_how_many_are_answered(tmp_path):
    model = trained(tmp_path, vectors(60))
    about = json.loads((model / "model_algo-1.json").read_text()) | {"k": 2}
    (model / "model_algo-1.json").write_text(json.dumps(about))
    transform(transforming(tmp_path, model, {"users.rec": vectors(3, seed=1)}))
    assert [len(answer["labels"]) for answer in answers(tmp_path, "users.rec")] == [2, 2, 2]


def test_a_small_sample_drops_items(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    items = vectors(300)
    model = trained(tmp_path, items, sample_size="40")
    assert "...Got reservoir sample from algo-1: data=(40, 9), labels=(40,), NaNs=0" in caplog.text
    labels = np.fromfile(model / "model_algo-1.labels", "<f4").astype(int)
    assert len(set(labels)) == 40
    index = faiss.read_index(str(model / "model_algo-1"))
    np.testing.assert_array_equal(index.reconstruct_n(0, 40), items[labels])


def test_the_reservoir_is_that_of_the_row_by_row_algorithm():
    for rows in (6, 7, 50):
        draws = np.random.default_rng(rows).integers(0, np.arange(5, rows) + 1)
        held = list(range(5))
        for row, place in enumerate(draws, start=5):
            if place < 5:
                held[place] = row
        np.testing.assert_array_equal(reservoir(rows, 5, np.random.default_rng(rows)), held)


def test_every_row_is_equally_likely_to_be_sampled():
    generator = np.random.default_rng(0)
    counts = np.bincount(np.concatenate([reservoir(20, 5, generator) for _ in range(4000)]), minlength=20)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000 * 0.75)


def test_ivf_answers_from_the_five_nearest_of_its_lists(tmp_path):
    items, users = vectors(2000), vectors(50, seed=1)
    exact = np.argsort(-(users @ items.T), axis=1)[:, :7]

    def recall(lists):
        given = {
            "index_type": "faiss.IVFFlat",
            "index_metric": "INNER_PRODUCT",
            "faiss_index_ivf_nlists": lists,
            "sample_size": "2000",
        }
        model = Neighbors.read(trained(tmp_path / lists, items, **given))
        return np.mean(
            [np.isin(best, found) for best, found in zip(exact, model.nearest(users)[1], strict=True)]
        )

    assert recall("5") == 1
    assert 0.3 < recall("40") < 1


def test_places_without_an_item_are_left_out(tmp_path):
    model = trained(tmp_path, vectors(40), k="30", index_type="faiss.IVFFlat", faiss_index_ivf_nlists="20")
    transform(transforming(tmp_path, model, {"users.rec": vectors(20, seed=1)}))
    for answer in answers(tmp_path, "users.rec"):
        assert 0 < len(answer["labels"]) == len(answer["distances"]) < 30


def test_short_answers_hold_the_label_alone(tmp_path):
    model = trained(tmp_path, vectors(60), predictor_type="regressor")
    transform(transforming(tmp_path, model, {"users.rec": vectors(3, seed=1)}, Accept="application/jsonlines"))
    assert [list(answer) for answer in answers(tmp_path, "users.rec")] == [["predicted_label"]] * 3


@pytest.mark.parametrize(
    ("predictor_type", "expected"), [("classifier", [5, 2, 1]), ("regressor", [14 / 4, 7 / 3, 10 / 4])]
)
def test_the_predicted_label_is_the_commonest_or_the_mean(predictor_type, expected):
    labels = np.array([5, 5, 1, 2, 2, 3, 4], np.float32)
    model = Neighbors(index=None, labels=labels, k=4, predictor_type=predictor_type, normalize=False)
    rows = np.array([[0, 2, 1, 5], [3, 5, 4, -1], [2, 5, 3, 6]])
    np.testing.assert_allclose(model.predict(rows), expected, rtol=1e-6)


def test_a_test_channel_is_scored(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rows, labels = vectors(60), np.arange(60) % 2
    training(tmp_path, REQUIRED | {"k": "1"}, rows[:4], np.array([0, 1, 1, 1]), "test")
    train(training(tmp_path, REQUIRED | {"k": "1"}, rows, labels), 1)
    assert "#test_score (algo-1) : ('accuracy', 0.75)" in caplog.text
    assert f"#test_score (algo-1) : ('macro_f_1.000', {(2 / 3 + 4 / 5) / 2})" in caplog.text
    assert "#quality_metric: host=algo-1, test accuracy <score>=0.75" in caplog.text


def test_objects_are_answered_one_by_one_in_order(tmp_path):
    model = trained(tmp_path, vectors(60))
    users = vectors(20_000, seed=1)
    transform(transforming(tmp_path, model, {"a/users-0.rec": users, "users-1.rec": users[:5][::-1]}))
    first, second = answers(tmp_path, "a/users-0.rec"), answers(tmp_path, "users-1.rec")
    assert len(first) == 20_000
    assert [each["labels"] for each in second] == [each["labels"] for each in first[:5][::-1]]
    exact = ((users[-1] - vectors(60)) ** 2).sum(axis=1)
    assert first[-1]["labels"] == np.argsort(exact)[:7].tolist()


def test_no_more_parts_are_begun_than_threads_need():
    begun = 0

    def given():
        nonlocal begun
        for begun in range(1, 101):
            yield np.full((1, 1), begun, np.float32)

    with Searchers() as searchers:
        for done, answer in enumerate(searchers.answers(np.ndarray.item, given()), start=1):
            assert answer == done
            assert begun < done + searchers.ahead
    assert done == 100


def test_rows_are_cut_so_that_a_part_of_answers_stays_small():
    rows = np.arange(10_000, dtype=np.float32)[:, None]
    for k in (1, 100, 5000, 10**8):
        cut = parts(rows, k)
        np.testing.assert_array_equal(np.concatenate(cut), rows)
        assert max(map(len, cut)) * k <= max(k, 2**22)
        assert max(map(len, cut)) <= 4096


def test_a_bad_object_fails_the_job_and_leaves_no_output(tmp_path):
    model = trained(tmp_path, vectors(60))
    bad = vectors(4)
    bad[2, 3] = np.nan
    objects = {"a.rec": bad, "b.rec": vectors(2), "c.rec": vectors(2, features=8)}
    job = transforming(tmp_path, model, objects)
    (tmp_path / "input" / "data" / "d.rec").write_bytes(b"no records")
    with pytest.raises(ClientError) as caught:
        transform(job)
    for part in (
        "3 problems",
        "a.rec: record 2 is not finite",
        "c.rec: rows have 8 features but the model has 9",
        "d.rec",
    ):
        assert part in str(caught.value)
    assert [path.name for path in (tmp_path / "output" / "data").iterdir()] == ["b.rec.out"]


def test_a_record_above_the_payload_is_refused(tmp_path):
    wide = vectors(2, features=300_000)
    model = trained(tmp_path, wide, feature_dim="300000", k="1")
    with pytest.raises(ClientError, match=r"users\.rec: a record is larger than MaxPayloadInMB, 1; raise it"):
        transform(transforming(tmp_path, model, {"users.rec": wide}))


def test_a_request_that_cannot_work_is_refused_with_all_problems(tmp_path):
    model = trained(tmp_path, vectors(60))
    changes = {"Accept": "text/csv", "SplitType": "None", "AssembleWith": "None", "MaxPayloadInMB": 0}
    with pytest.raises(ClientError) as caught:
        transform(transforming(tmp_path, model, {"users.rec": vectors(1)}, **changes))
    for part in (
        "4 problems",
        f"Accept is 'text/csv'; allowed: 'application/jsonlines', '{VERBOSE}'",
        "SplitType is 'None'; allowed: 'RecordIO'",
        "AssembleWith is 'None'; allowed: 'Line'",
        "MaxPayloadInMB is 0; allowed: 1 to 100",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"k": "61"}, "k is 61 but the index has 60 rows; choose at most 60"),
        ({"feature_dim": "8"}, "feature_dim is 8 but rows of train/items.rec have 9 features"),
        (
            {"k": "0"},
            "The value '0' is not valid for the 'k' hyperparameter which expects an integer of at least 1",
        ),
        ({"index_metric": "DOT"}, "accepts one of the following: 'L2', 'INNER_PRODUCT', 'COSINE'"),
        ({"faiss_index_ivf_nlists": "many"}, "which expects an integer of at least 1 or auto"),
        (
            {"index_type": "faiss.IVFFlat", "faiss_index_ivf_nlists": "99"},
            "nlists is 99 .* the index has 60 rows",
        ),
        ({"index_type": "faiss.IVFPQ", "index_metric": "COSINE"}, "'COSINE' does not work with 'faiss.IVFPQ'"),
        ({"dimension_reduction_type": "sign"}, "specify both dimension_reduction_type and"),
        (
            {"dimension_reduction_type": "sign", "dimension_reduction_target": "9"},
            "target is 9; choose less than",
        ),
    ],
)
def test_impossible_hyperparameters_are_refused(tmp_path, changes, expected):
    with pytest.raises(ClientError, match=expected):
        trained(tmp_path, vectors(60), **changes)


@pytest.mark.parametrize(
    "changes",
    [{"index_type": "faiss.IVFPQ"}, {"dimension_reduction_type": "fjlt", "dimension_reduction_target": "4"}],
)
def test_what_is_not_emulated_is_refused_by_name(tmp_path, changes):
    with pytest.raises(AlgorithmError, match=f"{next(iter(changes.values()))}.* is not emulated"):
        trained(tmp_path, vectors(60), **changes)


def test_all_documented_hyperparameters_are_known():
    given = {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": "8", "faiss_index_ivf_nlists": "auto"}
    settings = from_strings(Hyperparameters, REQUIRED | given | {"mini_batch_size": "100"})
    assert (settings.faiss_index_pq_m, settings.faiss_index_ivf_nlists) == (8, None)


def test_sparse_records_are_refused(tmp_path):
    job = training(tmp_path, REQUIRED, vectors(3), np.arange(3))
    with (tmp_path / "input/data/train/items.rec").open("wb") as file:
        write_sparse(file, sparse.csr_array(vectors(3)), np.arange(3))
    with pytest.raises(ClientError, match="'train' channel holds sparse records; k-NN takes dense ones"):
        train(job, 1)


def test_both_steps_run_as_programs(tmp_path):
    def run(step, folder):
        command = [sys.executable, "-m", "local.engines.knn", step, str(folder)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    training(tmp_path / "train", REQUIRED, vectors(60), np.arange(60))
    finished = run("train", tmp_path / "train")
    assert finished.returncode == 0, finished.stderr
    assert "...Got reservoir sample from algo-1: data=(60, 9), labels=(60,), NaNs=0" in finished.stdout
    transforming(tmp_path, tmp_path / "train" / "model", {"users.rec": vectors(3)}, Accept="text/csv")
    finished = run("transform", tmp_path)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert (tmp_path / "output" / "failure").read_text().startswith("ClientError: Accept is 'text/csv'")
