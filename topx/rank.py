"""Matches -> each user's list, published and judged; lists of popularity and random to judge beside.

All are made from the same catalogue, the items with a training row.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from topx.errors import RunRejected
from topx.exact import Catalogue, Part, cut, refill
from topx.lists import Lists, write_import
from topx.matches import match_files, read_matches
from topx.plan import Plan
from topx.recordio import read_matrix
from topx.seen import Seen

Ints = NDArray[np.int64]


def rank(input: Path, output: Path) -> dict[str, int]:
    """Counts of what it wrote: `lists/`, `import/` and `evaluated/` below `output`.

    Reads plan, encoded, matrices and matches below `input`, one file of user rows at a time. Published
    lists leave out all that the user has touched, judged ones what stands in train. Raises RunRejected
    where files contradict each other.
    """
    plan = Plan.read(input)
    x = plan.run.rank.x
    encoded = input / "encoded"
    users = pq.read_table(encoded / "users.parquet", columns=["id", "rows"])
    user_ids, cold = users["id"].combine_chunks(), users["rows"].to_numpy() == 0
    catalogue = read_catalogue(input)
    seen_all = Seen.read(encoded / "seen_all.parquet", len(cold), catalogue.position)
    seen_train = Seen.read(encoded / "seen_train.parquet", len(cold), catalogue.position)
    judged = _judged(encoded / "held_out.parquet", user_ids)
    nearest = int(json.loads((encoded / "summary.json").read_text("utf-8"))["encoded"]["k"])
    for noun in ("lists", "import", "evaluated"):
        (output / noun).mkdir(parents=True, exist_ok=True)

    item_ids = catalogue.ids.to_pylist()
    counts = dict.fromkeys(("entries", "popular", "refilled", "short", "parts"), 0)
    evaluated = []
    for part, path in _parts(input, len(cold)):
        some = judged[slice(*np.searchsorted(judged, part.users[[0, -1]] + [0, 1]))]
        published = Lists.empty(part.users, x, popular=cold[part.users])
        judging = Lists.empty(some, x, popular=cold[some])
        answers = read_matches(path, rows=len(part.users), nearest=nearest, position=catalogue.position)
        unsure = cut(part, catalogue, answers, [(published, seen_all), (judging, seen_train)])
        for lists, seen, rows in zip((published, judging), (seen_all, seen_train), unsure, strict=True):
            refill(part, catalogue, lists, seen, rows)
            _fill_popular(lists, catalogue, seen)
        evaluated.append(_named("model", judging.table(user_ids, catalogue.ids)))
        pq.write_table(published.table(user_ids, catalogue.ids), output / "lists" / f"{part.name}.parquet")
        keys = [f"user:{user}" for user in user_ids.take(pa.array(part.users)).to_pylist()]
        write_import(output / "import" / f"{part.name}.json.gz", keys, published, item_ids)
        counts["entries"] += int(np.count_nonzero(published.items >= 0))
        counts["popular"] += int(np.count_nonzero(published.popular))
        counts["refilled"] += len(unsure[0])
        counts["short"] += int(np.count_nonzero(published.items[:, -1] < 0))
        counts["parts"] += 1

    anyone = Lists.empty(np.zeros(1, np.int64), x, popular=np.ones(1, np.bool_))
    anyone.items[0, : len(catalogue.popular)] = catalogue.popular[:x]
    anyone.scores[0, : len(catalogue.popular)] = catalogue.popularity[catalogue.popular[:x]]
    write_import(output / "import" / f"part-{counts['parts']:05d}.json.gz", ["popular"], anyone, item_ids)

    popularity = Lists.empty(judged, x, popular=np.ones(len(judged), np.bool_))
    _fill_popular(popularity, catalogue, seen_train)
    evaluated.append(_named("popularity", popularity.table(user_ids, catalogue.ids)))
    random = _random(judged, catalogue, seen_train, x, plan.run.encode.seed).table(user_ids, catalogue.ids)
    evaluated.append(_named("random", random))
    pq.write_table(pa.concat_tables(evaluated), output / "evaluated" / "part-00000.parquet")
    return {"users": len(cold), "judged_users": len(judged), "x": x, **counts}


def read_catalogue(input: Path) -> Catalogue:
    """The catalogue of a run; raises RunRejected where item matrix and vocabulary disagree."""
    table = pq.read_table(input / "encoded" / "items.parquet", columns=["id", "rows", "popularity"])
    trained = np.flatnonzero(table["rows"].to_numpy() > 0)
    matrices, labels = [], []
    for path in sorted((input / "matrices" / "items").glob("*.rec")):
        with path.open("rb") as file:
            matrix, label = read_matrix(file)
        matrices.append(matrix)
        labels += [] if label is None else [label]
    if not labels or not np.array_equal(np.concatenate(labels), trained):
        raise RunRejected(
            f"matrices/items holds {sum(map(len, labels)):,} labelled items, encoded/items.parquet "
            f"{len(trained):,} with a training row; they must be the same, in column order: start a new run"
        )
    vectors = np.concatenate(matrices)
    position = np.full(table.num_rows, -1, np.int64)
    position[trained] = np.arange(len(trained))
    popularity = table["popularity"].to_numpy()[trained].astype(np.int64)
    return Catalogue(
        ids=table["id"].combine_chunks().take(pa.array(trained)),
        vectors=vectors,
        doubles=vectors.astype(np.float64),
        popularity=popularity,
        popular=np.argsort(-popularity, kind="stable"),
        position=position,
    )


def _parts(input: Path, users: int) -> Iterator[tuple[Part, Path]]:
    """The files of the user matrix in order, each with its answers; raises RunRejected unless all fit."""
    offsets = pq.read_table(input / "matrices" / "offsets.parquet")["offset"].to_numpy()
    shards = sorted((input / "matrices" / "users").glob("*.rec"))
    first = 0
    for shard, answers in zip(shards, match_files(input / "matches", shards), strict=True):
        with shard.open("rb") as file:
            vectors, _ = read_matrix(file)
        rows = np.arange(first, first + len(vectors))
        first += len(vectors)
        if first > users or len(offsets) != users:
            break
        yield Part(name=shard.stem, users=rows, vectors=vectors, offsets=offsets[rows]), answers
    if first != users or len(offsets) != users:
        raise RunRejected(
            f"matrices/users holds {first:,} rows up to {shard.name} and offsets.parquet {len(offsets):,}, for "
            f"{users:,} users; each user has one of both: start a new run"
        )


def _judged(path: Path, user_ids: pa.Array) -> Ints:
    """Ascending columns of the users with a relevant held-out event; raises RunRejected for unknown ones."""
    table = pq.read_table(path, columns=["user_id", "relevant"])
    named = pc.unique(table.filter(table["relevant"])["user_id"])
    columns = pc.index_in(named, user_ids)
    if columns.null_count:
        unknown = named.filter(pc.is_null(columns))
        raise RunRejected(
            f"encoded/held_out.parquet names {len(unknown):,} users that encoded/users.parquet lacks, such as "
            f"{unknown[0]}; held-out events are of known users: start a new run"
        )
    return np.sort(columns.to_numpy().astype(np.int64))


def _fill_popular(lists: Lists, catalogue: Catalogue, seen: Seen) -> None:
    """The popularity list wherever `popular` says so."""
    rows = np.flatnonzero(lists.popular)
    items = seen.first_unseen(lists.users[rows], catalogue.popular, lists.items.shape[1])
    lists.items[rows] = items
    lists.scores[rows] = np.where(items >= 0, catalogue.popularity[items], 0)


def _random(users: Ints, catalogue: Catalogue, seen: Seen, x: int, seed: int) -> Lists:
    """Lists by chance, scored 0: each user reads one seeded order from a seeded place on."""
    rng = np.random.default_rng(seed)
    lists = Lists.empty(users, x, popular=np.zeros(len(users), np.bool_))
    order = rng.permutation(len(catalogue.vectors))
    lists.items[:] = seen.first_unseen(users, order, x, rng.integers(len(order), size=len(users)))
    return lists


def _named(model: str, table: pa.Table) -> pa.Table:
    """Judged lists under the name of what made them."""
    if model == "random":
        table = table.set_column(4, "reason", pa.array(["random"] * table.num_rows, pa.string()))
    return table.append_column("model", pa.array([model] * table.num_rows, pa.string()))
