"""Our file formats beside the SageMaker SDK v2 and MXNet, and beside a plain copy of the same bytes.

All runs in one process of the oracle's Python, by turns; of each the least time counts. The peers get fewer
rows, as they need that much longer. Ours takes large files with two threads beside its own. Reading ends with
arrays on both sides; the SDK's records as they are parsed, before any array is made of them, are measured too.
A line that has a ratio to reach ends in it, as "(100x)"; the others are there to compare.
"""

import io
import json
import logging
import mmap
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.measure import ROOT, Measure, Unmeasured, program
from topx.factors import load_factors, save_model
from topx.mxparams import read_params, write_params
from topx.recordio import read_matrix, write_dense, write_sparse

_TURNS = 7
_FEATURES = 1_000_000  # of the artifact, with 64 factors: 276 MB
_LARGE = 10_000_000  # features of the artifact that is opened beside a limit: 2.8 GB
_PEER_ROWS = 10_000


def measure() -> Iterator[Measure]:
    """Rates and, of each, the share of a plain copy's. Raises Unmeasured without the oracle's environment."""
    python = os.environ.get("TOPX_ORACLE") or str(ROOT / ".oracle/bin/python")
    if not Path(python).exists():
        raise Unmeasured(f"{python} is missing, which has the SageMaker SDK v2 and MXNet: `make oracle`")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MXNET_CPU_WORKER_NTHREADS"), "1")
    settings = os.environ | threads | {"SAGEMAKER_SUPPRESS_V2_WARNING": "1"}
    ran = subprocess.run(
        [python, "-m", "benchmarks.formats"], cwd=ROOT, env=settings, stdout=subprocess.PIPE, check=False
    )
    if ran.returncode:
        raise Unmeasured(
            f"`{python} -m benchmarks.formats` ended with {ran.returncode}; its reason stands above"
        )
    for one in json.loads(ran.stdout):
        yield Measure(**one)
    with tempfile.TemporaryDirectory(prefix="topx-benchmark-") as folder:
        path = Path(folder, "model_algo-1")
        with path.open("wb") as file:
            w, v = np.zeros(_LARGE, np.float32), np.zeros((_LARGE, 64), np.float32)
            save_model(file, 0, w, v, {"predictor_type": "regressor"})
        del w, v
        seconds, megabytes = json.loads(program("benchmarks.formats", str(path)).said)
    what = f"artifact, {_LARGE / 1e6:.0f} M x 64"
    yield Measure(what=f"{what}: opened (limit)", ours=seconds, peer=1, unit="s")
    yield Measure(what=f"{what}: memory (limit)", ours=megabytes, peer=500, unit="MB")


def opened(path: str) -> tuple[float, float]:
    """Seconds to open an unpacked artifact, and the megabytes that are not pages of its file (Linux)."""
    began = time.perf_counter()
    factors = load_factors(path)
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text("utf-8")
    held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    assert len(factors.w) == _LARGE
    return seconds, held / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """The rows that we get, the peer's share of them, and what they are."""

    what: str
    matrix: Any
    bytes: int

    @property
    def rows(self) -> int:
        return int(self.matrix.shape[0])


class _Kept(io.RawIOBase):
    """A file in memory that is there already: what is measured is the writer, not the system's paging."""

    def __init__(self, size: int) -> None:
        self.memory = memoryview(bytearray(size))
        self.at = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        part = memoryview(content).cast("B")
        self.memory[self.at : self.at + len(part)] = part
        self.at += len(part)
        return len(part)


def _least(*steps: Callable[[], object]) -> list[float]:
    """The least seconds of each step, taken by turns."""
    least = [float("inf")] * len(steps)
    for _ in range(_TURNS):
        for place, step in enumerate(steps):
            began = time.perf_counter()
            step()
            least[place] = min(least[place], time.perf_counter() - began)
    return least


def _cases() -> Iterator[_Case]:
    random = np.random.default_rng(0)
    for users, items in ((943, 1682), (138_000, 27_000)):
        rows = 1_000_000
        keys = np.stack([random.integers(0, users, rows), users + random.integers(0, items, rows)], axis=1)
        yield _sparse(f"two-hot of {users:,} + {items:,}", keys.reshape(-1), np.full(rows, 2), users + items)
    counts = random.integers(0, 10, 500_000)
    yield _sparse("sparse of 0 to 9 values", random.integers(0, 30_000, counts.sum()), counts, 30_000)
    yield _case("dense of 65 values", random.normal(size=(200_000, 65)).astype(np.float32))


def _sparse(what: str, keys: Any, counts: Any, features: int) -> _Case:
    ends = np.append(0, np.cumsum(counts)).astype(np.int32)
    values = np.ones(keys.size, np.float32)
    return _case(what, sparse.csr_matrix((values, keys.astype(np.int32), ends), shape=(counts.size, features)))


def _case(what: str, matrix: Any) -> _Case:
    file = io.BytesIO()
    _write(file, matrix)
    return _Case(what=what, matrix=matrix, bytes=file.tell())


def _write(file: Any, matrix: Any) -> None:
    (write_sparse if sparse.issparse(matrix) else write_dense)(
        file, matrix, np.ones(matrix.shape[0], np.float32)
    )


def _peer_write(file: Any, matrix: Any) -> None:
    from sagemaker.amazon import common  # type: ignore[import-not-found]

    labels = np.ones(matrix.shape[0], np.float32)
    if sparse.issparse(matrix):
        common.write_spmatrix_to_sparse_tensor(file, matrix, labels)
    else:
        common.write_numpy_to_dense_tensor(file, matrix, labels)


def _peer_read(file: Any, dense: bool) -> tuple[Any, ...]:
    """What the SDK's records hold, as arrays."""
    from sagemaker.amazon import common

    records = common.read_records(file)
    labels = np.array([record.label["values"].float32_tensor.values[0] for record in records])
    tensors = [record.features["values"].float32_tensor for record in records]
    if dense:
        return np.array([tensor.values for tensor in tensors], np.float32), labels
    values = np.concatenate([np.array(tensor.values, np.float32) for tensor in tensors])
    keys = np.concatenate([np.array(tensor.keys, np.int64) for tensor in tensors])
    return keys, values, labels


def _records(case: _Case) -> Iterator[Measure]:
    """Writing and reading of one kind of rows, memory to memory."""
    from sagemaker.amazon import common

    few = case.matrix[:_PEER_ROWS]
    kept, small = _Kept(case.bytes), _Kept(case.bytes)
    for file, matrix, write in ((kept, case.matrix, _write), (small, few, _peer_write)):
        write(file, matrix)
    ours, theirs = bytes(kept.memory), bytes(small.memory[: small.at])
    if ours[: len(theirs)] != theirs:
        raise Unmeasured(f"{case.what}: our bytes are not those of the SDK")
    target = np.empty(len(ours), np.uint8)

    def again(write: Callable[[Any, Any], None], file: _Kept, matrix: Any) -> None:
        file.at = 0
        write(file, matrix)

    written = _least(
        lambda: again(_write, kept, case.matrix),
        lambda: again(_peer_write, small, few),
        lambda: np.copyto(target, np.frombuffer(ours, np.uint8)),
    )
    dense = not sparse.issparse(few)
    read = _least(
        lambda: read_matrix(ours),
        lambda: _peer_read(io.BytesIO(theirs), dense),
        lambda: common.read_records(io.BytesIO(theirs)),
    )
    rate, peer_rate, copied = case.rows / 1e6, few.shape[0] / 1e6, case.bytes / written[2] / 1e9
    unit = "M rows/s"
    what = f"{case.what}: written ({150 if dense else 200}x)"
    yield Measure(what=what, ours=rate / written[0], peer=peer_rate / written[1], unit=unit)
    copy = "  beside a copy"
    yield Measure(what=copy, ours=case.bytes / written[0] / 1e9, peer=copied, unit="GB/s")
    what = f"{case.what}: read ({150 if dense else 100}x)"
    yield Measure(what=what, ours=rate / read[0], peer=peer_rate / read[1], unit=unit)
    yield Measure(
        what="  beside the SDK's parsing alone", ours=rate / read[0], peer=peer_rate / read[2], unit=unit
    )
    yield Measure(what=copy, ours=case.bytes / read[0] / 1e9, peer=copied, unit="GB/s")


def _artifact(folder: Path) -> Iterator[Measure]:
    """Opening an artifact, its params alone, and these with a look at every number.

    The peer's way to an artifact is the original article's: `model_algo-1` is unzipped, then its params loaded.
    """
    sys.path.insert(0, str(ROOT / "tests/oracle"))
    from retired import mx  # type: ignore[import-not-found]

    path = folder / "params"
    v = np.random.default_rng(0).normal(size=(_FEATURES, 64)).astype(np.float32)
    with path.open("wb") as file:
        arrays = {"arg:w1_weight": v[:, :1], "arg:w0_weight": v[0, :1], "arg:v": v}
        write_params(file, arrays)
    size = path.stat().st_size

    def opened() -> dict[str, Any]:
        with path.open("rb") as file:
            return read_params(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def loaded() -> dict[str, Any]:
        arrays: dict[str, Any] = mx.nd.load(str(path))
        mx.nd.waitall()
        return arrays

    model = folder / "model_algo-1"
    with model.open("wb") as file:
        save_model(file, 0, v[:, 0], v, {"predictor_type": "regressor"})

    def unzipped() -> None:
        with zipfile.ZipFile(model) as archive:
            archive.extract("params", folder / "unzipped")
        mx.nd.load(str(folder / "unzipped/params"))
        mx.nd.waitall()

    target = np.empty(size, np.uint8)
    if not np.array_equal(opened()["arg:v"], loaded()["arg:v"].data.asnumpy()):
        raise Unmeasured("our v is not that of MXNet")
    artifact, peer_artifact, ours, summed, peer, peer_summed, copy = _least(
        lambda: load_factors(model),
        unzipped,
        opened,
        lambda: opened()["arg:v"].sum(),
        loaded,
        lambda: loaded()["arg:v"].data.asnumpy().sum(),
        lambda: path.open("rb").readinto(target.data),
    )
    what = f"artifact of {size / 1e6:.0f} MB"
    yield Measure(what=f"{what}: opened (100x)", ours=1 / artifact, peer=1 / peer_artifact, unit="1/s")
    what = f"its params of {size / 1e6:.0f} MB"
    yield Measure(what=f"{what}: opened", ours=1 / ours, peer=1 / peer, unit="1/s")
    yield Measure(what="  beside a copy of the file", ours=1 / ours, peer=1 / copy, unit="1/s")
    yield Measure(what=f"{what}: opened and v summed", ours=1 / summed, peer=1 / peer_summed, unit="1/s")
    yield Measure(what="  beside a copy of the file", ours=1 / summed, peer=1 / copy, unit="1/s")


def main() -> None:
    """Measures all and prints them as JSON; for the oracle's Python."""
    logging.disable()
    measures = [one for case in _cases() for one in _records(case)]
    with tempfile.TemporaryDirectory(prefix="topx-benchmark-") as folder:
        measures += _artifact(Path(folder))
    print(json.dumps([asdict(one) for one in measures]))


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(opened(sys.argv[1])))
    else:
        main()
