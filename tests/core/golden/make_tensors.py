"""Writes the golden records of other numbers than Float32, by the SageMaker SDK v2.

Runs in the oracle's environment (`make oracle`): `.oracle/bin/python tests/core/golden/make_tensors.py`. Like
make.py, from which it takes its rows, it has no random numbers.
"""

from pathlib import Path
from typing import Any

import numpy as np
from make import rows
from scipy import sparse

HERE = Path(__file__).parent
LARGE, SMALL = np.finfo(np.float64).max, np.finfo(np.float64).smallest_subnormal
# The SDK writes int64 numbers as Int32: those below 0 take ten bytes, the others one to five.
INTEGERS = np.array([0, 1, -1, 127, 128, 16383, 16384, -(2**31), 2**31 - 1, 300], np.int64)
DOUBLES = np.array([0, -0.0, 0.1, LARGE, -LARGE, SMALL, np.inf, -np.inf, np.pi, 1e300])
SINGLES = np.array([0.5, -2, 1e30, 0, np.inf], np.float32)


def numbers(of: np.ndarray, count: int) -> np.ndarray:
    """(count,) of these numbers, over and over."""
    return np.resize(of, count)


def records() -> dict[str, tuple[Any, np.ndarray | None]]:
    """(matrix, labels) of each file: sparse matrices are written sparse, arrays dense."""
    keys = [[3], [], [9, 2, 2], [2**40, 0, 127, 128], list(range(20)), [300] * 7]
    found: dict[str, tuple[Any, np.ndarray | None]] = {}
    for name, own, of_labels in (
        ("float64", DOUBLES, INTEGERS),
        ("int32", INTEGERS, DOUBLES),
        ("float32", SINGLES, INTEGERS[::-1]),
    ):
        matrix = rows(keys, 2**40 + 1)
        matrix.data = numbers(own, matrix.nnz)
        found[f"sparse_{name}"] = matrix, numbers(of_labels, len(keys))
        found[f"dense_{name}"] = numbers(own, 39).reshape(3, 13), numbers(of_labels[2:], 3)
        found[f"dense_{name}_unlabelled"] = numbers(own, 22).reshape(11, 2), None
    return found


def main() -> None:
    """Writes the .rec files."""
    from sagemaker.amazon import common

    for name, (matrix, labels) in records().items():
        write = common.write_spmatrix_to_sparse_tensor
        if not sparse.issparse(matrix):
            write = common.write_numpy_to_dense_tensor
        with (HERE / f"{name}.rec").open("wb") as file:
            write(file, matrix, labels)


if __name__ == "__main__":
    main()
