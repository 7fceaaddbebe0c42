"""The recordIO-protobuf files that SageMaker's built-in algorithms read, to and from matrices.

A file is a run of frames, one per row (`frame.py` for one, `frames.py` for many): files are joined by joining
their bytes, and writing twice to one file appends.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from topx import varint
from topx.ahead import ahead
from topx.errors import RecordsRejected
from topx.frame import Form
from topx.frames import Damaged, Frames, scan
from topx.kinds import Kinds, fill, filled, lay_out, table
from topx.pieces import Bytes, Places, distinct, items, keep_at_hand
from topx.rows import Rows, read
from topx.source import Content, File

_ROWS, _NUMBERS = 1 << 16, 1 << 20  # bounds of a written chunk of sparse rows
_BYTES = 1 << 19  # of dense ones: processors keep as much at hand
_BLOCK = 1 << 23  # bytes of a read chunk

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
    if csr.nnz > _NUMBERS // 8:
        keep_at_hand()
    for _, frames in ahead(lambda span: _sparse_frames(csr, *span, column), _spans(csr)):
        file.write(frames.data)


def write_dense(file: BinaryIO, matrix: ArrayLike, labels: ArrayLike | None = None) -> None:
    """Appends one dense record per row, byte-identical to the SageMaker SDK v2 for float32.

    matrix (rows, features), labels (rows,) numbers; both are written as float32. Raises RecordsRejected.
    """
    array = np.asarray(matrix)
    if array.ndim != 2:
        raise RecordsRejected(f"got {_kind(matrix)}; write_dense takes an array (rows, features)")
    column = _column(labels, array.shape[0])
    width = array.shape[1]
    kinds = _kinds(np.array([width]), np.zeros(1, np.int64), None, column)
    step = max(1, _BYTES // kinds.frames.size)
    frames = table(kinds, 0, min(step, array.shape[0]))
    for start in range(0, array.shape[0], step):
        part = _float32(array[start : start + step], "values")
        data = {"values": items(part.reshape(-1).view(np.uint8), 4 * width)} if width else {}
        if column is not None:
            data["label"] = items(column[start : start + step].view(np.uint8), 4)
        fill(frames[: len(part)], kinds, 0, data)
        file.write(frames[: len(part)].reshape(-1).data)


def read_matrix(file: BinaryIO | bytes | bytearray | memoryview) -> tuple[Any, NDArray[Any] | None]:
    """All records as (matrix, labels), each in its own dtype: float32, float64 or int32.

    Sparse records give a csr_array (rows, feature_dim) that keeps the order of the keys, dense ones an
    ndarray (rows, features), no records an empty csr_array; labels are (rows,), or None where the records
    have none. Raises RecordsRejected with record number and byte offset.
    """
    source = Content(file) if isinstance(file, bytes | bytearray | memoryview) else File(file)
    columns = {name: _Column() for name in ("counts", "values", "keys", "labels")}
    form, size = None, 0
    for form, rows, chunk in _chunks(source):  # noqa: B007  the form of the last is that of all
        size += chunk
        for name, column in columns.items():
            column.append(getattr(rows, name), source.size / size)
    if form is None:
        return sparse.csr_array((0, 0), dtype=np.float32), None
    return _matrix(form, Rows(**{name: column.array[: column.used] for name, column in columns.items()}))


def read_chunks(file: BinaryIO) -> Iterator[tuple[Any, NDArray[Any] | None]]:
    """Successive (matrix, labels) as `read_matrix` gives them, each of about eight megabytes of records.

    Memory is bounded by that or by the longest record. Raises RecordsRejected.
    """
    for form, rows, _ in _chunks(File(file)):
        yield _matrix(form, rows)


class _Column:
    """An array that grows at its end."""

    def __init__(self) -> None:
        self.array: NDArray[Any] = np.empty(0)
        self.used = 0

    def append(self, part: NDArray[Any], factor: float) -> None:
        """Part comes to the end; what there is then is expected to grow by this factor."""
        used = self.used + part.size
        if used > self.array.size or not self.used:
            room = max(int(used * factor * 1.01), 2 * self.used, used)
            grown = np.empty(room, part.dtype)  # pages that are never written take no memory
            grown[: self.used] = self.array[: self.used]
            self.array = grown
        self.array[self.used : used] = part
        self.used = used


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Frames of a file: the number of the first, where it begins, and what is wrong after the last (or "")."""

    frames: Frames
    record: int
    offset: int
    damage: str

    def rejected(self, row: int, at: int, what: object) -> RecordsRejected:
        return RecordsRejected(
            f"record {self.record + row} (the first is 0) at byte {self.offset + at}: {what}"
        )

    def form(self) -> Form:
        """That of the first record."""
        try:
            return self.frames.hand(0)[1].form
        except Damaged as error:
            raise self.rejected(0, 0, error) from error

    def rows(self, form: Form) -> Rows:
        try:
            return read(self.frames, form)
        except Damaged as error:
            raise self.rejected(error.row, int(self.frames.heads[error.row]), error) from error


def _parts(source: Content | File) -> Iterator[_Part]:
    """The frames of a file in parts of a block each; the last is the first with damage."""
    record, offset, size = 0, 0, _BLOCK
    while (raw := source.look(size)).size:
        frames, damage = scan(raw)
        if not frames.heads.size and not damage:
            if raw.size == size:
                size *= 2  # a longer record is met by reading on, never by trusting the length it claims
                continue
            damage = f"the file ends after {raw.size} bytes of it"
        yield _Part(frames=frames, record=record, offset=offset, damage=damage)
        if damage:
            return
        record, offset = record + frames.heads.size, offset + frames.end
        source.move(frames.end)


def _chunks(source: Content | File) -> Iterator[tuple[Form, Rows, int]]:
    """(form, rows, bytes) of successive parts of a file."""
    if source.size > _BLOCK:
        keep_at_hand()
    form: Form | None = None

    def rows(part: _Part) -> Rows | None:
        return part.rows(form) if form and part.frames.heads.size else None

    parts = _parts(source)
    for first in parts:
        form = first.form() if first.frames.heads.size else None
        parts = chain([first], parts)
        break
    for part, found in ahead(rows, parts):
        if form and found:
            yield form, found, part.frames.end
        if part.damage:
            raise part.rejected(part.frames.heads.size, part.frames.end, part.damage)


def _matrix(form: Form, rows: Rows) -> tuple[Any, NDArray[Any] | None]:
    labels = None if form.label is None else rows.labels
    if form.shape is None:
        return rows.values.reshape(rows.counts.size, -1 if rows.values.size else 0), labels
    begins = np.zeros(rows.counts.size + 1, rows.keys.dtype)
    np.cumsum(rows.counts, out=begins[1:])
    return sparse.csr_array((rows.values, rows.keys, begins), shape=(rows.counts.size, form.shape)), labels


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


def _spans(csr: Any) -> Iterator[tuple[int, int]]:
    """Successive rows that are written as one chunk, as start and stop."""
    start = 0
    while start < csr.shape[0]:
        within = int(np.searchsorted(csr.indptr, csr.indptr[start] + _NUMBERS, "right")) - 1
        stop = max(start + 1, min(start + _ROWS, within, csr.shape[0]))
        yield start, stop
        start = stop


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
