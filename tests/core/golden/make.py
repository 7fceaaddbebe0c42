"""Writes the golden files: records by the SageMaker SDK v2, arrays by MXNet 1.9.1.

Runs in the oracle's environment (`make oracle`): `.oracle/bin/python tests/core/golden/make.py`. The tests
take the matrices below and compare with the bytes; no random numbers, so that both always see the same.
"""

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

HERE = Path(__file__).parent
# MXNet asks for these names while it is imported; NumPy has dropped them.
DROPPED = (
    "PZERO", "NZERO", "Inf", "PINF", "NINF", "NaN", "NAN", "product", "sometrue", "alltrue", "in1d", "trapz",
    "round_", "msort", "mirr", "npv", "pmt", "ppmt", "pv", "rate",
)  # fmt: skip

DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")


def values(count: int) -> np.ndarray:
    """Numbers of all sizes and signs, (count,) float32: 0, infinities and subnormals are among them."""
    steps = np.arange(count)
    some = (np.where(steps % 2, -1.0, 1.0) * (steps % 7) * 10.0 ** (steps % 61 - 30)).astype(np.float32)
    some[5::11], some[6::13], some[7::17] = np.inf, -np.inf, 1e-45
    return some


def rows(keys: list[list[int]], features: int) -> sparse.csr_matrix:
    """Rows with these keys in this order."""
    ends = np.cumsum([0, *map(len, keys)])
    matrix = sparse.csr_matrix((len(keys), features), dtype=np.float32)
    matrix.data, matrix.indptr = values(int(ends[-1])), ends
    matrix.indices = np.array([key for row in keys for key in row], np.int64)
    return matrix


def records() -> dict[str, tuple[Any, np.ndarray | None]]:
    """(matrix, labels) of each .rec file: sparse matrices are written sparse, arrays dense."""
    one_hot = [[user, 943 + 7 * user % 1682] for user in (0, 5, 127, 128, 300, 942)]
    edges = [128**width + step for width in range(1, 9) for step in (-1, 0)]  # of 1 to 9 bytes
    mixed = [[], [3], [9, 2, 2], edges, [], edges[::-1], list(range(40)), [300] * 70, [2**62, 0]]
    wide = np.outer(np.arange(1, 4), values(33)).astype(np.float32)
    return {
        "two_hot": (rows(one_hot, 2625), np.array([4, 1, 0, -1.5, 1e-45, 5], np.float32)),
        "two_hot_unlabelled": (rows(one_hot, 2625), None),
        "mixed": (rows(mixed, 2**62 + 1), values(len(mixed))),
        "mixed_unlabelled": (rows(mixed, 2**62 + 1), None),
        "dense": (wide, values(3)),
        "dense_unlabelled": (wide, None),
        "dense_of_no_width": (np.empty((2, 0), np.float32), None),
    }


def arrays() -> dict[str, np.ndarray]:
    """The arrays of a small model by name."""
    return {
        "arg:w1_weight": values(5)[:, None],
        "arg:w0_weight": np.array([0.25], np.float32),
        "arg:v": values(15).reshape(5, 3),
    }


def every(dtype: str) -> np.ndarray:
    """The smallest, the largest and some other numbers of a dtype, (2, 3)."""
    if dtype == "bool":
        return np.array([[True, False, True], [False, False, True]])
    limits = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
    return np.array([[limits.min, limits.max, 0], [1, 2, 100]], dtype)


def write_records() -> None:
    """The .rec files, by the SDK."""
    from sagemaker.amazon import common

    for name, (matrix, labels) in records().items():
        write = common.write_spmatrix_to_sparse_tensor
        if not sparse.issparse(matrix):
            write = common.write_numpy_to_dense_tensor
        with (HERE / f"{name}.rec").open("wb") as file, np.errstate(all="ignore"):
            write(file, matrix, labels)


def write_arrays() -> None:
    """The .params files, by MXNet: as SageMaker saves them, and in each other layout that it still writes."""
    for name in DROPPED:
        setattr(np, name, getattr(np, name, None))
    import mxnet as mx

    dense = {name: mx.nd.array(array) for name, array in arrays().items()}
    genuine = dict(dense)
    for name in ("arg:w1_weight", "arg:v"):
        genuine[name] = mx.nd.sparse.row_sparse_array((dense[name], np.arange(5)), shape=dense[name].shape)
    gaps = mx.nd.sparse.row_sparse_array((dense["arg:v"][:2], [1, 3]), shape=(5, 3))
    mx.nd.save(str(HERE / "genuine.params"), genuine)
    mx.nd.save(str(HERE / "dense.params"), dense)
    mx.nd.save(str(HERE / "gaps.params"), {"arg:v": gaps, "none": mx.nd.sparse.zeros("row_sparse", (4, 2))})
    mx.nd.save(str(HERE / "unnamed.params"), [dense["arg:v"]])
    mx.nd.save(str(HERE / "csr.params"), {"x": dense["arg:v"].tostype("csr")})
    mx.nd.save(str(HERE / "float64.params"), {"x": dense["arg:v"].astype("float64")})
    dtypes = {dtype: mx.nd.array(every(dtype), dtype=dtype) for dtype in DTYPES}
    mx.nd.save(str(HERE / "dtypes.params"), dtypes)
    with mx.util.np_shape(True):
        scalar, nothing = mx.nd.array(np.float32(0.25)), mx.nd.zeros((0, 3))
        mx.nd.save(str(HERE / "numpy.params"), {"scalar": scalar, "nothing": nothing, **dtypes})


if __name__ == "__main__":
    write_records()
    write_arrays()
