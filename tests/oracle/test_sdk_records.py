"""Records against the SageMaker SDK v2, both ways, on whatever rows hypothesis makes."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle, Refused
from scipy import sparse

from topx.errors import RecordsRejected
from topx.recordio import read_matrix, write_dense, write_sparse

pytestmark = pytest.mark.oracle

WIDTHS = [1, 2, 127, 128, 129, 2625, 2**14, 2**14 + 1, 2**21, 2**31 - 1, 2**31, 2**56, 2**63 - 1]
FLOATS = st.floats(width=32, allow_nan=False)
NUMBERS = {
    np.float32: FLOATS,
    np.float64: st.floats(allow_nan=False),
    np.int64: st.integers(-(2**31), 2**31 - 1),  # which the SDK writes as Int32, and np.int32 not at all
}
TENSORS = {np.float32: np.float32, np.float64: np.float64, np.int64: np.int32}
LABELS = st.sampled_from([None, *NUMBERS])
many = settings(deadline=None, max_examples=150)


def numbers(draw: Any, dtype: Any, count: int) -> Any:
    """(count,) numbers: drawn one by one where they are few, else repeated from these."""
    few = draw(st.lists(NUMBERS[dtype], min_size=1, max_size=8))
    return np.resize(np.array(few, dtype), count)


@st.composite
def sparse_rows(draw: Any, dtype: Any = np.float32, label: Any = np.float32) -> tuple[Any, Any]:
    """(csr_matrix, labels or None): empty and long rows, keys in any order, repeated, of any width."""
    features = draw(st.sampled_from(WIDTHS))
    key = st.one_of(st.integers(0, features - 1), st.integers(0, min(features, 200) - 1))
    keys = draw(st.lists(st.lists(key, max_size=5), max_size=12))
    if keys and draw(st.booleans()):
        keys.insert(draw(st.integers(0, len(keys))), draw(st.lists(key, min_size=1, max_size=3)) * 60)
    keys *= draw(st.sampled_from([1, 1, 1, 30]))  # many rows of few kinds are read another way
    ends = np.cumsum([0, *map(len, keys)])
    matrix = sparse.csr_matrix((len(keys), features), dtype=dtype)
    matrix.data, matrix.indptr = numbers(draw, dtype, int(ends[-1])), ends
    matrix.indices = np.array([key for row in keys for key in row], np.int64)
    return matrix, None if label is None else numbers(draw, label, len(keys))


@st.composite
def dense_rows(draw: Any, dtype: Any = np.float32, label: Any = np.float32) -> tuple[Any, Any]:
    """(array, labels or None): from no row and no column on."""
    rows, columns = draw(st.integers(0, 9)), draw(st.sampled_from([0, 1, 3, 31, 32, 33, 65, 4100]))
    matrix = numbers(draw, dtype, rows * columns).reshape(rows, columns)
    return matrix, None if label is None else numbers(draw, label, rows)


def written(matrix: Any, labels: Any) -> bytes:
    file = io.BytesIO()
    (write_sparse if sparse.issparse(matrix) else write_dense)(file, matrix, labels, own_dtype=True)
    return file.getvalue()


def sdk_written(oracle: Oracle, matrix: Any, labels: Any) -> bytes:
    name = "write_sparse" if sparse.issparse(matrix) else "write_dense"
    content: bytes = oracle.ask(name, matrix=matrix, labels=labels)
    return content


def assert_equal(found: Any, expected: Any) -> None:
    """To the last bit, but for a NaN: 0 and -0 differ, and protobuf makes a signalling NaN a quiet one."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    found, expected = (np.where(np.isnan(part), np.nan, part) for part in (found, expected))
    assert found.tobytes() == expected.tobytes()


def assert_labels(found: Any, labels: Any) -> None:
    assert (found is None) == (labels is None)
    if labels is not None:
        assert_equal(found, labels.astype(TENSORS[labels.dtype.type]))


def assert_records(records: list[Any], matrix: Any, labels: Any) -> None:
    """That the SDK's records hold these rows."""
    width = matrix.shape[1]
    assert len(records) == matrix.shape[0]
    for row, record in enumerate(records):
        ((name, values, keys, shape),) = record["features"]
        assert name == "values"
        if sparse.issparse(matrix):
            span = slice(matrix.indptr[row], matrix.indptr[row + 1])
            assert_equal(values, matrix.data[span].astype(TENSORS[matrix.dtype.type]))
            np.testing.assert_array_equal(keys, matrix.indices[span])
            assert shape.tolist() == [width]
        else:
            assert_equal(values, matrix[row].astype(TENSORS[matrix.dtype.type]))
            assert keys.size == 0
            assert shape.tolist() in ([], [width])
        assert [tensor[0] for tensor in record["label"]] == ["values"] * (labels is not None)
        for _, values, *_ in record["label"]:
            assert_equal(values, labels[row : row + 1].astype(TENSORS[labels.dtype.type]))


@many
@given(data=st.data(), dtype=st.sampled_from(list(NUMBERS)), label=LABELS)
def test_sparse_bytes_are_those_of_the_sdk(oracle: Oracle, data: Any, dtype: Any, label: Any) -> None:
    matrix, labels = data.draw(sparse_rows(dtype, label))
    content = written(matrix, labels)
    assert content == sdk_written(oracle, matrix, labels)
    assert_records(oracle.ask("read_records", content=content), matrix, labels)


@many
@given(data=st.data(), dtype=st.sampled_from(list(NUMBERS)), label=LABELS)
def test_dense_bytes_are_those_of_the_sdk(oracle: Oracle, data: Any, dtype: Any, label: Any) -> None:
    matrix, labels = data.draw(dense_rows(dtype, label))
    content = written(matrix, labels)
    assert content == sdk_written(oracle, matrix, labels)
    assert_records(oracle.ask("read_records", content=content), matrix, labels)


@pytest.mark.parametrize("dtype", NUMBERS)
@many
@given(data=st.data(), label=LABELS)
def test_sparse_records_of_the_sdk_are_read(oracle: Oracle, dtype: Any, data: Any, label: Any) -> None:
    matrix, labels = data.draw(sparse_rows(dtype, label))
    found, column = read_matrix(sdk_written(oracle, matrix, labels))
    if matrix.shape[0] == 0:
        assert (found.shape, column) == ((0, 0), None)
        return
    assert found.shape == matrix.shape
    np.testing.assert_array_equal(found.indptr, matrix.indptr)
    np.testing.assert_array_equal(found.indices, matrix.indices)
    assert_equal(found.data, matrix.data.astype(TENSORS[dtype]))
    assert_labels(column, labels)


@pytest.mark.parametrize("dtype", NUMBERS)
@many
@given(data=st.data(), label=LABELS)
def test_dense_records_of_the_sdk_are_read(oracle: Oracle, dtype: Any, data: Any, label: Any) -> None:
    matrix, labels = data.draw(dense_rows(dtype, label))
    found, column = read_matrix(sdk_written(oracle, matrix, labels))
    if matrix.shape[0] == 0:
        assert (found.shape, column) == ((0, 0), None)
        return
    assert_equal(found, matrix.astype(TENSORS[dtype]))
    assert_labels(column, labels)


@settings(deadline=None, max_examples=800)
@given(data=st.data(), at=st.integers(0), flip=st.integers(1, 255), dense=st.booleans())
def test_what_is_read_of_a_damaged_file_is_what_the_sdk_reads(
    oracle: Oracle, data: Any, at: int, flip: int, dense: bool
) -> None:
    matrix, labels = data.draw(dense_rows() if dense else sparse_rows())
    content = bytearray(written(matrix, labels))
    if not content:
        return
    content[at % len(content)] ^= flip
    try:
        found, column = read_matrix(bytes(content))
        records = oracle.ask("read_records", content=bytes(content))
    except (RecordsRejected, Refused):
        return
    assert_records(records, found, column)


def test_ratings_of_a_million_users_are_the_sdks(oracle: Oracle) -> None:
    random = np.random.default_rng()
    users, items, rows = 1_000_000, 100_000, 20_000
    keys = np.stack([random.integers(0, users, rows), users + random.integers(0, items, rows)], axis=1)
    ends = np.arange(0, 2 * rows + 1, 2)
    matrix = sparse.csr_matrix((np.ones(2 * rows, np.float32), keys.ravel(), ends), (rows, users + items))
    labels = random.integers(0, 2, rows).astype(np.float32)
    assert written(matrix, labels) == sdk_written(oracle, matrix, labels)
