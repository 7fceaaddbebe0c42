"""The local k-NN engine beside bare faiss: same matrices, same threads, by turns, the best time of each.

The peer is `IndexFlatIP.search` of all users in one call, in a process of its own. Ours is measured twice: the
search alone, cut and spread as the engine does it, and the whole program that local mode starts, which reads
recordIO and writes SageMaker's JSON lines. `python -m benchmarks.match STEP FOLDER` does one step of it.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np

from benchmarks.measure import Measure, program
from local.engines.job import RECORDIO, Job
from local.engines.knn import VERBOSE
from local.engines.knn_model import Floats, Neighbors, Searchers, parts
from topx.recordio import write_dense

COMPARED = 500  # users, spread over all, whose answers must be the peer's
WARM = 5000  # users searched before the clock starts: threads begun, memory taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of the made data; by default those of MovieLens 20M."""

    users: int = 138_000
    items: int = 27_000
    features: int = 65
    x: int = 100
    rounds: int = 3


def measure(sizes: Sizes | None = None) -> Iterator[Measure]:
    """Seconds and peak megabytes beside bare faiss's; raises Unmeasured where the answers differ."""
    sizes = sizes or Sizes()
    with TemporaryDirectory(prefix="topx-benchmark-") as folder:
        Path(folder, "sizes.json").write_text(json.dumps(asdict(sizes)), "utf-8")
        program("benchmarks.match", "make", folder)
        turns = [
            (
                program("benchmarks.match", "bare", folder),
                program("benchmarks.match", "search", folder),
                program("local.engines.knn", "transform", folder),
            )
            for _ in range(sizes.rounds)
        ]
        program("benchmarks.match", "compare", folder)
    bare, search, whole = zip(*turns, strict=True)
    peer = min(float(one.said) for one in bare)
    yield Measure(what="search alone", ours=min(float(one.said) for one in search), peer=peer, unit="s")
    ours = min(one.seconds for one in whole)
    yield Measure(what="whole engine, recordIO to JSON lines", ours=ours, peer=peer, unit="s")
    peak, peer_peak = (max(one.megabytes for one in each) for each in (whole, bare))
    yield Measure(what="peak memory of the whole engine", ours=peak, peer=peer_peak, unit="MB")


def make(folder: Path) -> None:
    """Writes the matrices, plain for the peer and as a batch transform's folder for the engine."""
    sizes = Sizes(**json.loads((folder / "sizes.json").read_text("utf-8")))
    random = np.random.default_rng(1)
    users, items = (
        random.standard_normal((rows, sizes.features), np.float32) for rows in (sizes.users, sizes.items)
    )
    np.save(folder / "users.npy", users)
    np.save(folder / "items.npy", items)
    job = Job(folder)
    for path in (job.data, job.folder / "input" / "config"):
        path.mkdir(parents=True)
    request = {"ContentType": RECORDIO, "SplitType": "RecordIO", "Accept": VERBOSE, "AssembleWith": "Line"}
    (job.folder / "input" / "config" / "transform.json").write_text(json.dumps(request), "utf-8")
    with (job.data / "users.rec").open("wb") as file:
        write_dense(file, users)
    Neighbors(
        index=flat(items),
        labels=np.arange(sizes.items, dtype=np.float32),
        k=sizes.x,
        predictor_type="classifier",
        normalize=False,
    ).write(job.model)


def bare(folder: Path) -> None:
    """Says the seconds of the peer's search."""
    x = Sizes(**json.loads((folder / "sizes.json").read_text("utf-8"))).x
    users, index = np.load(folder / "users.npy"), flat(np.load(folder / "items.npy"))
    index.search(users[:WARM], x)
    began = time.perf_counter()
    index.search(users, x)
    print(time.perf_counter() - began)


def search(folder: Path) -> None:
    """Says the seconds of the engine's search, whose answers go nowhere."""
    users, model = np.load(folder / "users.npy"), Neighbors.read(folder / "model")
    with Searchers() as searchers:
        list(searchers.answers(model.nearest, parts(users[:WARM], model.k)))
        began = time.perf_counter()
        for _ in searchers.answers(model.nearest, parts(users, model.k)):
            pass
        print(time.perf_counter() - began)


def compare(folder: Path) -> None:
    """Fails unless the engine's text holds the peer's answers."""
    users, items = np.load(folder / "users.npy"), np.load(folder / "items.npy")
    with (folder / "output" / "data" / "users.rec.out").open("rb") as file:
        lines = list(file)
    assert len(lines) == len(users), f"{len(lines)} answers for {len(users)} users"
    chosen = np.linspace(0, len(users) - 1, COMPARED).astype(int)
    answers = [json.loads(lines[user]) for user in chosen]
    written, labels = (np.array([answer[name] for answer in answers]) for name in ("distances", "labels"))
    close = partial(np.testing.assert_allclose, written, rtol=1e-4)
    close(flat(items).search(users[chosen], written.shape[1])[0][:, ::-1])
    close(np.einsum("uf,uxf->ux", users[chosen], items[labels.astype(int)]))


def flat(items: Floats) -> faiss.IndexFlatIP:
    """The peer's index over items (items, features)."""
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    return index


STEPS: dict[str, Callable[[Path], None]] = {"make": make, "bare": bare, "search": search, "compare": compare}

if __name__ == "__main__":
    STEPS[sys.argv[1]](Path(sys.argv[2]))
