"""MXNet's list of arrays, the `params` of a model, without MXNet (retired).

Little endian: u64 0x112, u64 0, u64 count, the arrays, u64 count of names (0: none), each u64 length and
bytes. An array begins with its version:

    version 2, 3    u32 magic, i32 storage, [shape of what is stored], shape, i32 device and its number,
                    i32 dtype, [for each index: i32 dtype, shape], data, [the indices]
    version 1       u32 magic, shape, i32 device and its number, i32 dtype, data
    the first one   u32 dimensions, each as u32, and on as version 1

In brackets: for row_sparse (one index: the rows that are stored) and csr (two: where each row begins, and the
columns). A shape is i32 dimensions and each as i64. No dimensions mean an array that was never set, of which
nothing follows; in version 3 (NumPy's shapes) they mean one number, and -1 means not set. MXNet may say 0 for
what is stored: then the index tells. SageMaker writes version 2 with all rows of its row_sparse arrays, so what
is stored is the array itself.
"""

import math
import struct
from collections.abc import Mapping
from mmap import mmap
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from topx.errors import ArtifactRejected

MAGIC = struct.pack("<2Q", 0x112, 0)
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DIMENSIONS = 32
_DENSE, _ROW_SPARSE, _CSR = range(3)
_DTYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?")
_CPU, _FLOAT32, _INT32, _INT64 = 1, 0, 4, 6
_ARRAYS, _NAME = 100_000, 1 << 10  # arrays of a list, bytes of a name: far beyond any model
_FILLED = 64 << 20  # bytes that zeros may fill; beyond, at most 100 times the whole list
_BLOCK = 1 << 20  # numbers written at a time
_CACHED = 1 << 16  # numbers compared at a time

Data = bytes | bytearray | memoryview | mmap


def write_params(file: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Appends the list as SageMaker writes it, float32: matrices as row_sparse with all rows, vectors dense."""
    file.write(MAGIC + struct.pack("<Q", len(arrays)))
    for array in arrays.values():
        shape, rows = _shape(array.shape), array.ndim == 2
        file.write(struct.pack("<Ii", _V2, int(rows)) + (shape if rows else b"") + shape)
        file.write(struct.pack("<3i", _CPU, 0, _FLOAT32))
        if rows:
            file.write(struct.pack("<i", _INT64) + _shape(array.shape[:1]))
        step = max(1, _BLOCK // max(1, math.prod(array.shape[1:])))
        for start in range(0, len(array), step):
            file.write(np.ascontiguousarray(array[start : start + step], "<f4").data)
        if rows:
            for start in range(0, len(array), _BLOCK):
                file.write(np.arange(start, min(start + _BLOCK, len(array)), dtype="<i8").data)
    file.write(struct.pack("<Q", len(arrays)))
    for name in arrays:
        file.write(struct.pack("<Q", len(name.encode())) + name.encode())


def read_params(data: Data) -> dict[str, Any]:
    """The arrays by name, or by "0", "1" and so on where the list has no names, each in its own dtype.

    They are read-only views of `data`, not always aligned; None for an array that was never set. A row_sparse
    array that lacks rows, and a csr array, are copied with their zeros, read-only too. All copies together are
    at most 64 MB or 100 times `data`; beyond that a csr array is given as a SciPy csr_array and rows that lack
    are refused.
    Raises ArtifactRejected that names the array and what is wrong with it.
    """
    reader = _Reader(data)
    if reader.numbers("2Q") != struct.unpack("<2Q", MAGIC):
        raise ArtifactRejected("params does not begin with 0x112, the magic of an MXNet list of arrays")
    (count,) = reader.numbers("Q")
    if count > min(_ARRAYS, reader.left):
        raise ArtifactRejected(
            f"params claims {count} arrays in {reader.left} bytes; at most {_ARRAYS} are allowed"
        )
    arrays = [_array(reader, f"array {place} of {count} in params") for place in range(count)]
    (named,) = reader.numbers("Q")
    if named not in (0, count):
        raise ArtifactRejected(f"params has {named} names for {count} arrays; each has one, or none has")
    names = [reader.text() for _ in range(named)] or [str(place) for place in range(count)]
    if len(set(names)) < count:
        raise ArtifactRejected(f"params holds an array twice; its names are {', '.join(names[:20]):.200}")
    if reader.left:
        raise ArtifactRejected(f"params goes on for {reader.left} bytes after its last name")
    return dict(zip(names, arrays, strict=True))


def _shape(shape: tuple[int, ...]) -> bytes:
    return struct.pack(f"<i{len(shape)}q", len(shape), *shape)


class _Reader:
    """Reads forward, and never past the end."""

    def __init__(self, data: Data) -> None:
        self.data = memoryview(data).cast("B")
        self.at = 0
        self.room = max(_FILLED, 100 * len(self.data))  # bytes that zeros may still fill

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def skip(self, size: int) -> int:
        """Where the next `size` bytes begin."""
        if size > self.left:
            raise ArtifactRejected(
                f"params ends too early: {size} more bytes belong to it after byte {self.at}"
            )
        self.at += size
        return self.at - size

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack_from(f"<{form}", self.data, self.skip(struct.calcsize(f"<{form}")))

    def text(self) -> str:
        (size,) = self.numbers("Q")
        if size > _NAME:
            raise ArtifactRejected(f"params has a name of {size} bytes; at most {_NAME} are allowed")
        start = self.skip(size)
        return bytes(self.data[start : start + size]).decode("utf-8", "backslashreplace")

    def shape(self, what: str, version: int = _V2) -> tuple[int, ...] | None:
        """The next shape; None where it says that the array was never set."""
        if version <= _DIMENSIONS:
            shape = self.numbers(f"{version}I")
        else:
            (dimensions,) = self.numbers("i")
            if version == _V3 and dimensions == -1:
                return None
            if not 0 <= dimensions <= _DIMENSIONS:
                raise ArtifactRejected(f"{what} has {dimensions} dimensions; 0 to {_DIMENSIONS} are allowed")
            shape = self.numbers(f"{dimensions}q")
        if -1 in shape if version == _V3 else not shape:
            return None
        if min(shape, default=0) < 0 or math.prod(max(1, size) for size in shape) >= 1 << 48:
            raise ArtifactRejected(f"{what} has the impossible shape {shape}")
        return shape

    def array(self, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        count = math.prod(shape)
        start = self.skip(count * np.dtype(dtype).itemsize)
        array = np.frombuffer(self.data, dtype, count, start).reshape(shape)
        if dtype == "?" and array.view("u1").max(initial=0) > 1:
            raise ArtifactRejected(f"params holds truth values other than 0 and 1 before byte {self.at}")
        return array

    def fits(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
        """Whether an array may be filled up with zeros."""
        size = dtype.itemsize * math.prod(shape)
        fits = size <= self.room
        self.room -= size if fits else 0
        return fits


def _array(reader: _Reader, what: str) -> Any:
    (version,) = reader.numbers("I")
    if version > _DIMENSIONS and version not in (_V1, _V2, _V3):
        raise ArtifactRejected(f"{what} has the unknown magic {version:#x}; SageMaker writes {_V2:#x}")
    (storage,) = reader.numbers("i") if version in (_V2, _V3) else (_DENSE,)
    if storage not in ((_DENSE,) if version == _V3 else (_DENSE, _ROW_SPARSE, _CSR)):
        raise ArtifactRejected(
            f"{what} has storage type {storage}; 0 (dense), 1 (row_sparse) and 2 (csr) are read, and in "
            "version 3 only 0"
        )
    stored = reader.shape(what) if storage else None
    shape = reader.shape(what, version)
    if shape is None:
        return None
    *_, code = reader.numbers("3i")
    if not 0 <= code < len(_DTYPES):
        raise ArtifactRejected(f"{what} has dtype {code}; 0 (float32) to {len(_DTYPES) - 1} (bool) are read")
    dtype = _DTYPES[code]
    if storage == _DENSE:
        return reader.array(dtype, shape)
    indices = [_index(reader, what) for _ in range(storage)]
    if stored is None:
        raise ArtifactRejected(f"{what} of shape {shape} does not say what it stores")
    fill = _rows if storage == _ROW_SPARSE else _csr
    filled = fill(reader, what, dtype, shape, stored, indices)
    if isinstance(filled, np.ndarray):
        filled.flags.writeable = False
    return filled


def _index(reader: _Reader, what: str) -> tuple[str, int]:
    """Dtype and length of an index, which stands after the data."""
    (code,), shape = reader.numbers("i"), reader.shape(what)
    if code not in (_INT32, _INT64) or shape is None or len(shape) != 1:
        raise ArtifactRejected(
            f"{what} has an index of dtype {code} and shape {shape}; one row of integers is read"
        )
    return _DTYPES[code], shape[0]


def _rows(
    reader: _Reader,
    what: str,
    dtype: str,
    shape: tuple[int, ...],
    stored: tuple[int, ...],
    indices: list[tuple[str, int]],
) -> NDArray[Any]:
    """All rows, where some are stored."""
    [(kind, count)] = indices
    stored = stored if all(stored) else (count, *shape[1:])
    if stored != (count, *shape[1:]):
        raise ArtifactRejected(
            f"{what} of shape {shape} stores {stored} and {count} row ids; each row has one id"
        )
    rows, ids = reader.array(dtype, stored), reader.array(kind, (count,))
    if count and (ids[0] < 0 or ids[-1] >= shape[0] or not _rising(ids)):
        raise ArtifactRejected(f"{what} has row ids that do not ascend from 0 to {shape[0] - 1}")
    if count == shape[0]:
        return rows
    if not reader.fits(rows.dtype, shape):
        raise ArtifactRejected(
            f"{what} stores {count} of {shape[0]} rows; all rows of shape {shape} would take more than "
            f"{_FILLED >> 20} MB and 100 times the file"
        )
    filled = np.zeros(shape, rows.dtype)
    filled[ids] = rows
    return filled


def _rising(ids: NDArray[Any]) -> bool:
    """Whether each id is above the one before, by blocks that stay in a core's cache, copied to be aligned."""
    block, rises = np.empty(_CACHED + 1, ids.dtype), np.empty(_CACHED, bool)  # new memory would cost the most
    for start in range(0, len(ids), _CACHED):
        part = ids[start : start + _CACHED + 1]
        some = block[: len(part)]
        some[:] = part
        if not np.greater(some[1:], some[:-1], out=rises[: len(part) - 1]).all():
            return False
    return True


def _csr(
    reader: _Reader,
    what: str,
    dtype: str,
    shape: tuple[int, ...],
    stored: tuple[int, ...],
    indices: list[tuple[str, int]],
) -> Any:
    """The matrix: with its zeros, or as csr_array where there are too many."""
    (kind, rows), (column_kind, count) = indices
    stored = stored if all(stored) else (count,)
    if len(shape) != 2 or stored != (count,) or rows not in (shape[0] + 1, 0 if not count else -1):
        raise ArtifactRejected(
            f"{what} of shape {shape} is stored as csr with numbers of shape {stored}, {rows} starts of rows "
            f"and {count} columns; a matrix has a start for each row and the end, and a column for each number"
        )
    values, starts, columns = (
        reader.array(kind, (size,)) for kind, size in ((dtype, count), (kind, rows), (column_kind, count))
    )
    if rows and (starts[0] != 0 or starts[-1] != count or (starts[1:] < starts[:-1]).any()):
        raise ArtifactRejected(f"{what} has rows that do not follow each other from 0 to {count}")
    rising = columns[1:] > columns[:-1]
    rising[starts[(starts > 0) & (starts < count)] - 1] = True  # a row begins anew
    if count and (columns.min() < 0 or columns.max() >= shape[1] or not rising.all()):
        raise ArtifactRejected(f"{what} has columns that do not ascend from 0 to {shape[1] - 1} within a row")
    if reader.fits(values.dtype, shape):
        filled, steps = np.zeros(shape, values.dtype), np.diff(starts)
        filled[np.repeat(np.arange(len(steps)), steps), columns] = values
        return filled
    if not rows:
        raise ArtifactRejected(f"{what} stores nothing of shape {shape}, too many zeros")
    if dtype == "<f2":
        values = values.astype("<f4")  # SciPy cannot calculate with sparse float16
    return sparse.csr_array((values, columns, starts), shape=shape)
