"""Records of the SageMaker SDK v2 with other numbers than Float32, read in their own dtype to the last bit."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from topx.recordio import read_matrix, write_dense, write_sparse

GOLDEN = Path(__file__).parent / "golden"
sys.path.append(str(GOLDEN))  # of the script that made the files, and knows what is in them
from make_tensors import records  # noqa: E402

RECORDS = records()


def as_written(numbers: Any) -> Any:
    """The numbers in the dtype of their tensor: the SDK writes int64 as Int32."""
    return numbers.astype(np.int32) if numbers.dtype == np.int64 else numbers


@pytest.mark.parametrize("name", RECORDS)
def test_numbers_of_the_sdk_keep_their_dtype(name: str) -> None:
    matrix, labels = RECORDS[name]
    found, column = read_matrix((GOLDEN / f"{name}.rec").read_bytes())
    assert found.shape == matrix.shape
    pairs = [(found, matrix)]
    if sparse.issparse(matrix):
        np.testing.assert_array_equal(found.indptr, matrix.indptr)
        np.testing.assert_array_equal(found.indices, matrix.indices)
        pairs = [(found.data, matrix.data)]
    assert (column is None) == (labels is None)
    if labels is not None:
        pairs.append((column, labels))
    for numbers, expected in pairs:
        assert numbers.dtype == as_written(expected).dtype
        assert numbers.tobytes() == as_written(expected).tobytes()


@pytest.mark.parametrize("name", RECORDS)
def test_what_was_read_is_written_as_the_sdk_wrote_it(name: str) -> None:
    content = (GOLDEN / f"{name}.rec").read_bytes()
    matrix, labels = read_matrix(content)
    file = io.BytesIO()
    (write_sparse if sparse.issparse(matrix) else write_dense)(file, matrix, labels, own_dtype=True)
    assert file.getvalue() == content
