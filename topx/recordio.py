"""The recordIO-protobuf files that SageMaker's built-in algorithms read, to and from matrices.

A file is a run of frames, one per row (`frame.py` for one, `frames.py` for many): files are joined by joining
their bytes, and writing twice to one file appends.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from topx import varint
from topx.ahead import ahead
from topx.errors import RecordsRejected
from topx.frame import DTYPES, FLOAT32, FLOAT64, INT32, Form
from topx.frames import Damaged, Frames, scan
from topx.kinds import Kinds, fill, filled, lay_out, table
from topx.pieces import Bytes, Places, distinct, flat, items, keep_at_hand
from topx.rows import Reader, Rows
from topx.source import Content, File

_ROWS, _NUMBERS = 1 << 16, 1 << 20  # bounds of a written chunk of sparse rows
_BYTES = 1 << 19  # of dense ones: processors keep as much at hand
_BLOCK = 1 << 22  # bytes of a read chunk


def write_sparse(
    file: BinaryIO, matrix: Any, labels: ArrayLike | None = None, *, own_dtype: bool = False
) -> None:
    """Appends one sparse record per row, byte-identical to the SageMaker SDK v2.

    matrix is any SciPy sparse matrix (rows, feature_dim), labels (rows,) numbers; both are written as
    float32, which SageMaker's FM and k-NN need, or each in its own dtype as the SDK does: float32, float64, or
    int32 for integers. The keys of a row keep the order they have in the matrix. Raises RecordsRejected.
    """
    if not sparse.issparse(matrix) or matrix.ndim != 2:
        raise RecordsRejected(
            f"got {_kind(matrix)}; write_sparse takes a SciPy sparse matrix (rows, feature_dim)"
        )
    csr = matrix.tocsr()
    values, column = csr.data, _column(labels, csr.shape[0], own_dtype)
    form = _form(values, csr.shape[1], column, own_dtype)
    if csr.nnz > _NUMBERS // 8:
        keep_at_hand()

    def frames(span: tuple[int, int]) -> Bytes:
        begins = csr.indptr[span[0] : span[1] + 1].astype(np.int64)
        part = slice(begins[0], begins[-1])
        begins -= begins[0]
        keys = csr.indices[part]
        _check_keys(keys, begins, span[0], csr.shape[1])
        some = _numbers(values[part], "values", form.tensor)
        return _frames(form, begins, some, keys, None if column is None else column[slice(*span)])

    for written in ahead(frames, _spans(csr)):
        file.write(written.data)


def write_dense(
    file: BinaryIO, matrix: ArrayLike, labels: ArrayLike | None = None, *, own_dtype: bool = False
) -> None:
    """Appends one dense record per row, byte-identical to the SageMaker SDK v2.

    matrix (rows, features), labels (rows,) numbers; both are written as `write_sparse` does. Raises
    RecordsRejected.
    """
    array = np.asarray(matrix)
    if array.ndim != 2:
        raise RecordsRejected(f"got {_kind(matrix)}; write_dense takes an array (rows, features)")
    rows, width = array.shape
    column = _column(labels, rows, own_dtype)
    form = _form(array, None, column, own_dtype)
    step = max(1, _BYTES // max(1, array.itemsize * width))
    if INT32 in (form.tensor, form.label):  # whose bytes are not equally many
        for start in range(0, rows, step):
            part = _numbers(array[start : start + step], "values", form.tensor)
            begins = np.arange(len(part) + 1) * width
            some = None if column is None else column[start : start + step]
            file.write(_frames(form, begins, part.reshape(-1), np.empty(0, np.int64), some).data)
        return
    each = {
        "values": width * DTYPES[form.tensor].itemsize,
        "keys": 0,
        "label": 0 if form.label is None else DTYPES[form.label].itemsize,
    }
    kinds = _kinds({name: np.array([size]) for name, size in each.items()}, form)
    frames = table(kinds, 0, min(step, rows))
    for start in range(0, rows, step):
        part = _numbers(array[start : start + step], "values", form.tensor)
        data = {"values": items(part.reshape(-1).view(np.uint8), each["values"])} if width else {}
        if column is not None:
            data["label"] = items(column[start : start + step].view(np.uint8), each["label"])
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
    """Successive (matrix, labels) as `read_matrix` gives them, each of about four megabytes of records.

    Memory is bounded by a few of them, or of the longest records. Raises RecordsRejected.
    """
    for form, rows, _ in _chunks(File(file)):
        yield _matrix(form, replace(rows, values=flat(rows.values)))


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
        flat(part, self.array[self.used : used])
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
        """That of the first record. Raises RecordsRejected where this is none."""
        if not self.frames.heads.size:
            raise self.rejected(0, 0, self.damage)
        try:
            return self.frames.hand(0)[1].form
        except Damaged as error:
            raise self.rejected(0, 0, error) from error

    def rows(self, reader: Reader) -> Rows | None:
        """The rows of the frames; None without frames. Raises RecordsRejected."""
        try:
            return reader.read(self.frames) if self.frames.heads.size else None
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
    parts = _parts(source)
    first = next(parts, None)
    if first is None:
        return
    reader = Reader(first.form())
    for part, rows in ahead(lambda part: (part, part.rows(reader)), chain([first], parts)):
        if rows:
            yield reader.form, rows, part.frames.end
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


def _tensor(numbers: NDArray[Any], what: str, own_dtype: bool) -> int:
    """In which tensor these are written."""
    if numbers.dtype.kind not in "buif":
        raise RecordsRejected(f"the {what} have dtype {numbers.dtype}; records hold real numbers")
    if own_dtype and numbers.dtype.kind in "bui":
        return INT32
    return FLOAT64 if own_dtype and numbers.dtype.itemsize > DTYPES[FLOAT32].itemsize else FLOAT32


def _numbers(numbers: NDArray[Any], what: str, tensor: int) -> NDArray[Any]:
    """The numbers, contiguous and in the tensor's dtype; the same memory where they are."""
    dtype = DTYPES[tensor]
    if tensor == INT32:
        if numbers.size and not -(2**31) <= numbers.min() <= numbers.max() < 2**31:
            raise RecordsRejected(f"the {what} reach beyond int32 (2.1e9): write them as float32")
        return np.ascontiguousarray(numbers, dtype)
    try:
        with np.errstate(over="raise"):
            return np.ascontiguousarray(numbers, dtype)
    except FloatingPointError as error:
        raise RecordsRejected(f"the {what} reach beyond float32 (3.4e38): scale them") from error


def _column(labels: ArrayLike | None, rows: int, own_dtype: bool) -> NDArray[Any] | None:
    if labels is None:
        return None
    column = np.asarray(labels)
    if column.shape != (rows,):
        raise RecordsRejected(
            f"the labels have shape {column.shape}; {rows} rows have labels of shape ({rows},)"
        )
    return _numbers(column, "labels", _tensor(column, "labels", own_dtype))


def _form(values: NDArray[Any], shape: int | None, column: NDArray[Any] | None, own_dtype: bool) -> Form:
    """That of the records to be written; column as `_column` gives it."""
    label = None if column is None else next(name for name, dtype in DTYPES.items() if dtype == column.dtype)
    return Form(tensor=_tensor(values, "values", own_dtype), shape=shape, width=None, label=label)


def _kinds(bytes_of: dict[str, Places], form: Form) -> Kinds:
    try:
        return lay_out(bytes_of, form)
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


def _check_keys(keys: NDArray[Any], begins: Places, start: int, features: int) -> None:
    """Raises RecordsRejected for a key without a column in the matrix; start: the number of the first row."""
    if keys.size and not 0 <= keys.min() <= keys.max() < features:
        place = np.flatnonzero((keys < 0) | (keys >= features))[0]
        row = start + int(np.searchsorted(begins, place, "right")) - 1
        raise RecordsRejected(
            f"row {row} has the key {keys[place]}; its matrix has columns 0 to {features - 1}"
        )


def _frames(
    form: Form, begins: Places, values: NDArray[Any], keys: NDArray[Any], labels: NDArray[Any] | None
) -> Bytes:
    """The frames of some rows; begins: where in the values each begins, and the end."""
    rows = begins.size - 1
    packed = {"values": _packed(values, begins), "keys": _packed(keys, begins if keys.size else 0 * begins)}
    nothing = np.empty(0, np.uint8), np.zeros(rows, np.int64)
    packed["label"] = nothing if labels is None else _packed(labels, np.arange(rows + 1))
    codes = np.zeros(rows, np.int64)
    steps = {name: int(sizes.max()) + 1 for name, (_, sizes) in packed.items()}
    for name, (_, sizes) in packed.items():
        codes = codes * steps[name] + sizes
    codes, which = distinct(codes)
    bytes_of = {}
    for name in reversed(packed):
        codes, bytes_of[name] = np.divmod(codes, steps[name])
    data = {name: stream for name, (stream, _) in packed.items() if stream.size}
    return filled(_kinds(bytes_of, form), which, data)


def _packed(numbers: NDArray[Any], begins: Places) -> tuple[Bytes, Places]:
    """The numbers as protobuf packs them, and the bytes of each row's."""
    if numbers.dtype.kind == "f":
        return numbers.view(np.uint8), numbers.itemsize * np.diff(begins)
    signed = numbers.dtype == np.int32 and numbers.min(initial=0) < 0  # then in 64 bits
    whole = numbers.astype(np.int64).view(np.uint64) if signed else numbers
    return varint.encoded(whole), np.diff(np.append(0, np.cumsum(varint.widths(whole)))[begins])
