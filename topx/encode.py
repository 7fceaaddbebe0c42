"""State Encode: rating files -> vocabulary, training records, seen lists, held-out events, summary."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from topx import hyperparameters
from topx.errors import InputRejected
from topx.negatives import Untouched
from topx.plan import Plan
from topx.ratings import Source, sources
from topx.records import Shape, budget, shard_sizes, shuffle, with_negatives, write_shards
from topx.settings import Run
from topx.survey import Survey, survey

Longs = NDArray[np.int64]
_NEGATIVES, _ORDER = 1, 2  # what the seed is for: two streams of random numbers


def encode(input: Path, output: Path) -> dict[str, Any]:
    """`$.encoded`: counts, hyperparameters and channels; the files go to output/encoded.

    Reads input/plan/plan.json, input/uploads and, for a given test set, input/tests. Raises InputRejected
    and SettingsRejected with everything that is wrong. The same input gives the same bytes.
    """
    plan = Plan.read(input)
    run = plan.run
    files, ignored = sources(input / "uploads")
    tests, ignored_tests = sources(input / "tests", given=True)
    if not files:
        raise InputRejected(
            f"uploads/{plan.dataset}/ holds no rating file"
            + (f" (ignored: {', '.join(ignored[:5])})" if ignored else "")
            + "; upload CSV or TSV rows with a user and an item each"
        )
    folder = output / "encoded"
    if folder.exists():
        shutil.rmtree(folder)  # a repeated step leaves nothing of the one before
    folder.mkdir(parents=True)
    hidden = [*ignored, *ignored_tests]
    found = survey([*files, *tests], run, ignored=hidden, quarantine=folder / "quarantine")
    everything = np.sort(np.concatenate((found.train_keys, found.held_keys)))
    _write_pairs(folder / "seen_train.parquet", found, found.train_keys)
    _write_pairs(folder / "seen_all.parquet", found, everything)
    _write_held_out(folder / "held_out.parquet", found)
    ranking = run.encode.recipe == "default"
    records = (_ranking if ranking else _rated)(folder, found, run)
    positive = found.train.strength > 0
    users, items = len(found.vocabulary.users), len(found.vocabulary.items)
    found.vocabulary.save(
        folder,
        user_rows=records.user_rows,
        item_rows=records.item_rows,
        popularity=np.bincount(found.train_keys % items, weights=found.train.strength, minlength=items).astype(
            np.int64
        ),
    )
    indexed = int((records.item_rows > 0).sum())
    most_seen = int(np.bincount(everything // items).max())
    k = min(indexed, run.match_users.max_neighbors, run.rank.x + most_seen)
    channels = [
        hyperparameters.channel(
            "train", f"{plan.uri}/encoded/train/", sharded=run.train_factors.instance_count > 1
        )
    ]
    if not ranking and len(found.held_keys):
        channels.append(hyperparameters.channel("test", f"{plan.uri}/encoded/test/"))
    encoded = {
        "users": users,
        "items": items,
        "indexed_items": indexed,
        "feature_dim": users + items,
        "rows": records.rows,
        "positives": int(positive.sum()),
        "held_out_users": found.summary["held_out"]["users"],
        "k": k,
        "sample_size": hyperparameters.sample_size(indexed),
        "factors": {
            "hyperparameters": hyperparameters.factors(
                run,
                feature_dim=users + items,
                draws=records.draws,
                negatives=records.negatives,
                positives=int(positive.sum()),
            ),
            "input_data_config": channels,
        },
        "neighbors": {
            "hyperparameters": hyperparameters.neighbors(run, indexed_items=indexed, k=k),
            "input_data_config": [hyperparameters.channel("train", f"{plan.uri}/matrices/items/")],
        },
    }
    summary = found.summary | {
        "warnings": [*found.summary["warnings"], *records.warnings],
        "records": {"rows": records.rows, "draws": records.draws, "negatives": records.negatives},
        "encoded": encoded,
    }
    text = json.dumps(summary, ensure_ascii=False, indent=2)
    (folder / "summary.json").write_text(text + "\n", "utf-8")
    return encoded


def check(files: Sequence[Source], run: Run) -> dict[str, Any]:
    """The summary of what a run would keep, merge, quarantine and hold out; nothing is written."""
    return survey(files, run).summary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Records:
    """What was written: rows in all, and how many name each user and each item."""

    rows: int
    user_rows: Longs
    item_rows: Longs
    draws: int = 1
    negatives: int = 0
    warnings: tuple[str, ...] = ()


def _ranking(folder: Path, found: Survey, run: Run) -> _Records:
    """The default recipe: positives by strength and unseen items as negatives, in several draws.

    Unseen in train: were held-out pairs spared as negatives, training would know what it is judged by.
    """
    shape = _shape(found, [0, 1])
    positive = found.train.strength > 0
    keys, strength = found.train_keys[positive], found.train.strength[positive].astype(np.int64)
    untouched = Untouched.of(found.train_keys, users=shape.users, items=shape.items)
    counts = np.bincount(keys // shape.items, minlength=shape.users)
    plan = budget(run.encode, int(strength.sum()), counts, untouched.free)
    sizes = _sizes(shape, plan.rows, run)
    random = np.random.default_rng([run.encode.seed, _NEGATIVES])
    codes = with_negatives(shape, keys, strength, untouched, plan, sum(sizes), random)
    shuffle(codes, plan.rows, np.random.default_rng([run.encode.seed, _ORDER]))
    user_rows, item_rows = write_shards(folder / "train", shape, codes, sizes)
    warnings = []
    if plan.rows > run.encode.max_rows:
        warnings.append(
            f"{plan.rows:,} training rows with one draw and one negative are more than encode.max_rows, "
            f"{run.encode.max_rows:,}; raise it, or upload less"
        )
    elif (plan.draws, plan.negatives) != (run.encode.draws, run.encode.negatives):
        warnings.append(
            f"encode.max_rows, {run.encode.max_rows:,}, lowered draws from {run.encode.draws} to "
            f"{plan.draws} and negatives from {run.encode.negatives} to {plan.negatives}"
        )
    return _Records(
        rows=len(codes),
        user_rows=user_rows,
        item_rows=item_rows,
        draws=plan.draws,
        negatives=plan.negatives,
        warnings=tuple(warnings),
    )


def _rated(folder: Path, found: Survey, run: Run) -> _Records:
    """Recipes classic and regression: one row per rated pair, and the held-out pairs as a test channel."""
    if run.encode.recipe == "classic":
        number = found.signals.relevant.astype(np.float64)
    else:
        number = found.signals.number
    labels, place = np.unique(number, return_inverse=True)
    shape = _shape(found, labels)
    codes = shape.codes(found.train_keys, place[found.train.level])
    rows, sizes = len(codes), _sizes(shape, len(codes), run)
    codes = np.concatenate((codes, np.empty(sum(sizes) - rows, np.int64)))
    shuffle(codes, rows, np.random.default_rng([run.encode.seed, _ORDER]))
    user_rows, item_rows = write_shards(folder / "train", shape, codes, sizes)
    if len(found.held_keys):
        test = shape.codes(found.held_keys, place[found.held_out.level])
        write_shards(folder / "test", shape, test, [len(test)])
    return _Records(rows=len(codes), user_rows=user_rows, item_rows=item_rows)


def _shape(found: Survey, labels: Any) -> Shape:
    users, items = len(found.vocabulary.users), len(found.vocabulary.items)
    return Shape(users=users, items=items, labels=np.asarray(labels, np.float32))


def _sizes(shape: Shape, rows: int, run: Run) -> list[int]:
    train = run.train_factors
    return shard_sizes(shape, rows, train.mini_batch_size, run.encode.shard_bytes, train.instance_count)


def _write_pairs(path: Path, found: Survey, keys: Longs) -> None:
    """Column numbers of user and item, ascending by both."""
    user, item = np.divmod(keys, len(found.vocabulary.items))
    item += len(found.vocabulary.users)
    pq.write_table(pa.table({"user": user.astype(np.int32), "item": item.astype(np.int32)}), path)


def _write_held_out(path: Path, found: Survey) -> None:
    user, item = np.divmod(found.held_keys, len(found.vocabulary.items))
    columns = {
        "user_id": found.vocabulary.users.take(pa.array(user)),
        "item_id": found.vocabulary.items.take(pa.array(item)),
        "strength": found.held_out.strength,
        "relevant": found.signals.relevant[found.held_out.level],
    }
    pq.write_table(pa.table(columns), path)
