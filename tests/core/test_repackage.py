"""Factors -> matrices: inner products are FM scores, shards fit the transform, foreign models are refused."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_run import SmallRun, small_run, write_artifact

from topx.errors import ArtifactRejected
from topx.recordio import read_matrix
from topx.repackage import repackage


def matrices(folder: Path, noun: str) -> list[tuple[np.ndarray, np.ndarray | None]]:
    return [read_matrix(path.read_bytes()) for path in sorted((folder / "matrices" / noun).glob("*.rec"))]


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    settings = {"repackage": {"users_per_shard": 12}, "match_users": {"instance_count": 2}}
    return small_run(tmp_path, users=30, items=24, cold_items=(2, 5), run=settings)


def test_an_inner_product_plus_the_users_offset_is_the_fm_score(run: SmallRun) -> None:
    repackage(run.folder, run.folder)
    users = np.concatenate([matrix for matrix, _ in matrices(run.folder, "users")])
    items = np.concatenate([matrix for matrix, _ in matrices(run.folder, "items")])
    offsets = pq.read_table(run.folder / "matrices" / "offsets.parquet")["offset"].to_numpy()
    labels = np.concatenate([label for _, label in matrices(run.folder, "items")]).astype(int)
    ours = offsets[:, None] + users.astype(np.float64) @ items.astype(np.float64).T
    np.testing.assert_allclose(ours, run.scores()[:, labels], atol=1e-12)


def test_items_without_a_training_row_are_not_indexed(run: SmallRun) -> None:
    summary = repackage(run.folder, run.folder)
    labels = np.concatenate([label for _, label in matrices(run.folder, "items")])
    assert labels.tolist() == [item for item in range(24) if item not in (2, 5)]
    assert summary == {
        "users": 30,
        "items": 24,
        "indexed_items": 22,
        "feature_dim": 4,
        "user_shards": 3,
        "item_shards": 2,
    }


def test_user_shards_hold_all_users_in_order_without_labels(run: SmallRun) -> None:
    repackage(run.folder, run.folder)
    parts = matrices(run.folder, "users")
    assert [len(matrix) for matrix, _ in parts] == [10, 10, 10]
    assert all(label is None for _, label in parts)
    np.testing.assert_array_equal(np.concatenate([matrix for matrix, _ in parts])[:, :-1], run.v[:30])


@pytest.mark.parametrize(("instances", "users", "shards"), [(1, 30, 1), (4, 30, 4), (5, 3, 3)])
def test_every_transform_instance_gets_a_shard_while_there_are_users(
    tmp_path: Path, instances: int, users: int, shards: int
) -> None:
    settings = {"match_users": {"instance_count": instances}}
    run = small_run(tmp_path, users=users, cold_users=(), run=settings)
    assert repackage(run.folder, run.folder)["user_shards"] == shards


def test_another_vocabularys_model_is_refused_with_both_sizes(run: SmallRun) -> None:
    write_artifact(run.folder / "factors" / "model.tar.gz", run.w0, run.w[:-1], run.v[:-1])
    with pytest.raises(ArtifactRejected, match=r"feature_dim 53.*columns 30 to 53.*must be 54"):
        repackage(run.folder, run.folder)


def test_weights_that_are_not_finite_are_refused(run: SmallRun) -> None:
    run.v[33, 1] = np.nan
    write_artifact(run.folder / "factors" / "model.tar.gz", run.w0, run.w, run.v)
    with pytest.raises(ArtifactRejected):
        repackage(run.folder, run.folder)
    assert not (run.folder / "matrices").exists()


def test_the_same_input_gives_the_same_bytes(run: SmallRun, tmp_path: Path) -> None:
    for name in ("one", "two"):
        repackage(run.folder, tmp_path / name)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) == 6
    assert all(
        (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files
    )
