"""The recordIO-protobuf files that SageMaker's built-in algorithms read, to and from matrices.

A file is a run of frames, one per row (`frame.py` for one, `frames.py` for many): files are joined by joining
their bytes, and writing twice to one file appends.
"""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from topx import varint
from topx.errors import RecordsRejected
from topx.frame import Frame
from topx.frames import Damaged, Kinds, Spans, collected, distinct, filled, lay_out, located, opened, scan
from topx.pieces import Bytes, Places

_ROWS, _NUMBERS = 1 << 16, 1 << 20  # bounds of a written chunk
_BLOCK = 1 << 22  # bytes of a read chunk

_Floats = NDArray[np.float32]


def write_sparse(file: BinaryIO, matrix: Any, labels: ArrayLike | None = None) -> None:
    """Appends one sparse record per row, byte-identical to the SageMaker SDK v2 for float32.

    matrix is any SciPy sparse matrix (rows, feature_dim), labels (rows,) numbers; both are written as
    float32. The keys of a row keep the order they have in the matrix. Raises RecordsRejected.
    """
    if not sparse.issparse(matrix) or matrix.ndim != 2:
        raise RecordsRejected(
            f"got {_kind(matrix)}; write_sparse takes a SciPy sparse matrix (rows, feature_dim)"
        )
    csr = matrix.tocsr()
    column = _column(labels, csr.shape[0])
    start = 0
    while start < csr.shape[0]:
        within = int(np.searchsorted(csr.indptr, csr.indptr[start] + _NUMBERS, "right")) - 1
        stop = max(start + 1, min(start + _ROWS, within, csr.shape[0]))
        file.write(_sparse_frames(csr, start, stop, column).data)
        start = stop


def write_dense(file: BinaryIO, matrix: ArrayLike, labels: ArrayLike | None = None) -> None:
    """Appends one dense record per row, byte-identical to the SageMaker SDK v2 for float32.

    matrix (rows, features), labels (rows,) numbers; both are written as float32. Raises RecordsRejected.
    """
    array = np.asarray(matrix)
    if array.ndim != 2:
        raise RecordsRejected(f"got {_kind(matrix)}; write_dense takes an array (rows, features)")
    column = _column(labels, array.shape[0])
    kinds = _kinds(np.array([array.shape[1]]), np.zeros(1, np.int64), None, column)
    step = max(1, min(_ROWS, _NUMBERS // max(1, array.shape[1])))
    for start in range(0, array.shape[0], step):
        part = _float32(array[start : start + step], "values")
        data = {"values": part.reshape(-1).view(np.uint8)}
        if column is not None:
            data["label"] = column[start : start + step].view(np.uint8)
        file.write(filled(kinds, np.zeros(len(part), np.int64), data).data)


def read_matrix(file: BinaryIO | bytes | bytearray | memoryview) -> tuple[Any, _Floats | None]:
    """All records as (matrix, labels), float32.

    Sparse records give a csr_array (rows, feature_dim) that keeps the order of the keys, dense ones an
    ndarray (rows, features), no records an empty csr_array; labels are (rows,), or None where the records
    have none. Raises RecordsRejected with record number and byte offset.
    """
    if isinstance(file, bytes | bytearray | memoryview):
        file = io.BytesIO(file)
    chunks = list(read_chunks(file))
    if len(chunks) < 2:
        return chunks[0] if chunks else (sparse.csr_array((0, 0), dtype=np.float32), None)
    stack = sparse.vstack if sparse.issparse(chunks[0][0]) else np.concatenate
    labels = [column for _, column in chunks if column is not None]
    return stack([matrix for matrix, _ in chunks]), np.concatenate(labels) if labels else None


def read_chunks(file: BinaryIO) -> Iterator[tuple[Any, _Floats | None]]:
    """Successive (matrix, labels) as `read_matrix` gives them, each of about four megabytes of records.

    Memory is bounded by that or by the longest record. Raises RecordsRejected.
    """
    first: Frame | None = None
    record, offset, pending = 0, 0, b""

    def rejected(row: int, at: int, what: object) -> RecordsRejected:
        return RecordsRejected(f"record {record + row} (the first is 0) at byte {offset + at}: {what}")

    # A longer record is met by doubling what was read, never by trusting the length it claims.
    while more := _read(file, max(_BLOCK, len(pending))):
        pending += more
        raw = np.frombuffer(pending, np.uint8)
        heads, end, damage = scan(raw)
        if heads.size:
            try:
                first = first or opened(raw[:end], heads, 0)
                rows = _rows(raw[:end], located(raw[:end], heads, first), first)
            except Damaged as error:
                raise rejected(error.row, int(heads[error.row]), error) from error
            yield rows
        if damage:
            raise rejected(heads.size, end, damage)
        record, offset, pending = record + heads.size, offset + end, pending[end:]
    if pending:
        raise rejected(0, 0, f"the file ends after {len(pending)} bytes of it")


def _kind(matrix: Any) -> str:
    return f"{type(matrix).__name__} of {np.ndim(matrix)} dimensions"


def _float32(numbers: NDArray[Any], what: str) -> _Floats:
    """The numbers as contiguous float32, the same memory where they are."""
    if numbers.dtype.kind not in "buif":
        raise RecordsRejected(f"the {what} have dtype {numbers.dtype}; records hold real numbers, as float32")
    try:
        with np.errstate(over="raise"):
            return np.ascontiguousarray(numbers, "<f4")
    except FloatingPointError as error:
        raise RecordsRejected(f"the {what} reach beyond float32 (3.4e38): scale them") from error


def _column(labels: ArrayLike | None, rows: int) -> _Floats | None:
    if labels is None:
        return None
    column = np.asarray(labels)
    if column.shape != (rows,):
        raise RecordsRejected(
            f"the labels have shape {column.shape}; {rows} rows have labels of shape ({rows},)"
        )
    return _float32(column, "labels")


def _kinds(nnz: Places, key_bytes: Places, shape: int | None, column: _Floats | None) -> Kinds:
    try:
        return lay_out(nnz, key_bytes, shape, column is not None)
    except ValueError as error:
        raise RecordsRejected(f"a row cannot be written: {error}") from error


def _sparse_frames(csr: Any, start: int, stop: int, column: _Floats | None) -> Bytes:
    """The frames of the rows start to stop."""
    begins = csr.indptr[start : stop + 1].astype(np.int64)
    part = slice(begins[0], begins[-1])
    begins -= begins[0]
    keys, features = csr.indices[part], csr.shape[1]
    if keys.size and not 0 <= keys.min() <= keys.max() < features:
        place = np.flatnonzero((keys < 0) | (keys >= features))[0]
        row = start + int(np.searchsorted(begins, place, "right")) - 1
        raise RecordsRejected(
            f"row {row} has the key {keys[place]}; its matrix has columns 0 to {features - 1}"
        )
    nnz = np.diff(begins)
    key_bytes = np.diff(np.append(0, np.cumsum(varint.widths(keys)))[begins])
    step = int(key_bytes.max()) + 1
    pairs, which = distinct(nnz * step + key_bytes)
    kinds = _kinds(pairs // step, pairs % step, features, column)
    data = {"values": _float32(csr.data[part], "values").view(np.uint8), "keys": varint.encoded(keys)}
    if column is not None:
        data["label"] = column[start:stop].view(np.uint8)
    return filled(kinds, which, data)


def _read(file: BinaryIO, size: int) -> bytes:
    """So many bytes, fewer at the end of the file only."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _rows(raw: Bytes, spans: Spans, first: Frame) -> tuple[Any, _Floats | None]:
    """(matrix, labels) of the rows; raises Damaged where their keys are wrong."""
    values = collected(raw, spans["values"]).view("<f4")
    labels = collected(raw, spans["label"]).view("<f4") if first.labelled else None
    nnz = spans["values"][1] // 4
    if first.shape is None:
        return values.reshape(nnz.size, first.nnz), labels
    ends, key_ends = np.cumsum(nnz), np.cumsum(spans["keys"][1])
    stream = collected(raw, spans["keys"])
    # Where the count of keys that have ended is right at the end of each row, it is right in each row.
    last = np.flatnonzero(stream < 128)
    stops = np.concatenate([[-1], last, [-2]])
    wrong = np.flatnonzero(stops[np.minimum(ends, stops.size - 1)] != key_ends - 1)
    if wrong.size:
        row = int(wrong[0])
        raise Damaged(row, f"it has {nnz[row]} values and not as many keys; each value has one")
    keys = varint.decoded(stream, last)
    if keys.size and keys.max() >= first.shape:
        place = int(np.flatnonzero(keys >= first.shape)[0])
        row = int(np.searchsorted(ends, place, "right"))
        raise Damaged(row, f"it has the key {keys[place]}; the keys of the shape {first.shape} are less")
    index = np.int32 if first.shape <= np.iinfo(np.int32).max else np.int64
    begins = np.append(0, ends).astype(index)
    return sparse.csr_array((values, keys.astype(index), begins), shape=(nnz.size, first.shape)), labels
