"""MXNet's list of arrays, the `params` of a model, without MXNet (retired).

Little endian: u64 0x112, u64 0, u64 count, the arrays, u64 count of names (0: none), each u64 length and
bytes. An array: u32 magic, i32 storage type, [shape of the stored rows], shape, i32 device and its number,
i32 dtype, [i32 dtype and shape of the row ids], data, [row ids]; in brackets for row_sparse alone. A shape
is i32 dimensions and each as i64. SageMaker writes all rows of its row_sparse arrays, so what is stored is
the array itself.
"""

import math
import struct
from collections.abc import Mapping
from mmap import mmap
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from topx.errors import ArtifactRejected

MAGIC = struct.pack("<2Q", 0x112, 0)
_VERSION = 0xF993FAC9
_OTHERS = {0xF993FAC8: "version 1", 0xF993FACA: "version 3 (NumPy shapes)"}
_STORAGES = ("dense", "row_sparse", "csr")
_DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")
_CPU, _FLOAT32, _INT64 = 1, 0, 6
_FILLED = 64 << 20  # bytes of an array with rows not stored; beyond, at most 100 times the whole list
_BLOCK = 1 << 20  # numbers written at a time

Data = bytes | bytearray | memoryview | mmap


def write_params(file: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Appends the list as SageMaker writes it, float32: matrices as row_sparse with all rows, vectors dense."""
    file.write(MAGIC + struct.pack("<Q", len(arrays)))
    for array in arrays.values():
        shape, sparse = _shape(array.shape), array.ndim == 2
        file.write(struct.pack("<Ii", _VERSION, int(sparse)) + (shape if sparse else b"") + shape)
        file.write(struct.pack("<3i", _CPU, 0, _FLOAT32))
        if sparse:
            file.write(struct.pack("<i", _INT64) + _shape(array.shape[:1]))
        step = max(1, _BLOCK // max(1, math.prod(array.shape[1:])))
        for start in range(0, len(array), step):
            file.write(np.ascontiguousarray(array[start : start + step], "<f4").data)
        if sparse:
            for start in range(0, len(array), _BLOCK):
                file.write(np.arange(start, min(start + _BLOCK, len(array)), dtype="<i8").data)
    file.write(struct.pack("<Q", len(arrays)))
    for name in arrays:
        file.write(struct.pack("<Q", len(name.encode())) + name.encode())


def read_params(data: Data) -> dict[str, NDArray[np.float32]]:
    """The arrays by name, or by "0", "1" and so on where the list has no names.

    They are read-only views of `data`, not always aligned; only a row_sparse array that lacks rows is copied,
    with zeros for these. Raises ArtifactRejected for damage and for layouts that SageMaker does not write.
    """
    reader = _Reader(data)
    if reader.numbers("2Q") != struct.unpack("<2Q", MAGIC):
        raise ArtifactRejected("params does not begin with 0x112, the magic of an MXNet list of arrays")
    (count,) = reader.numbers("Q")
    if count > reader.left:
        raise ArtifactRejected(f"params claims {count} arrays in {reader.left} bytes")
    arrays = [_array(reader, f"array {place} of {count} in params") for place in range(count)]
    (named,) = reader.numbers("Q")
    if named not in (0, count):
        raise ArtifactRejected(f"params has {named} names for {count} arrays; each has one, or none has")
    names = [reader.text() for _ in range(named)] or [str(place) for place in range(count)]
    if len(set(names)) < count:
        raise ArtifactRejected(f"params holds an array twice; its names are {', '.join(names):.200}")
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
        self.filled = 0  # bytes of arrays with rows not stored

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
        start = self.skip(size)
        return bytes(self.data[start : start + size]).decode("utf-8", "backslashreplace")

    def shape(self, what: str) -> tuple[int, ...]:
        (dimensions,) = self.numbers("i")
        if not 1 <= dimensions <= 32:
            raise ArtifactRejected(f"{what} has {dimensions} dimensions; 1 to 32 are allowed")
        shape = self.numbers(f"{dimensions}q")
        if min(shape) < 0 or math.prod(max(1, size) for size in shape) >= 1 << 48:
            raise ArtifactRejected(f"{what} has the impossible shape {shape}")
        return shape

    def array(self, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        count = math.prod(shape)
        start = self.skip(count * np.dtype(dtype).itemsize)
        return np.frombuffer(self.data, dtype, count, start).reshape(shape)


def _array(reader: _Reader, what: str) -> NDArray[np.float32]:
    (version,) = reader.numbers("I")
    if version != _VERSION:
        other = _OTHERS.get(
            version, "the layout of the first MXNet" if version <= 32 else f"magic {version:#x}"
        )
        raise ArtifactRejected(f"{what} has {other}; SageMaker writes version 2 (magic {_VERSION:#x})")
    (storage,) = reader.numbers("i")
    if storage not in (0, 1):
        name = dict(enumerate(_STORAGES)).get(storage, storage)
        raise ArtifactRejected(f"{what} is stored as {name}; dense and row_sparse are read")
    stored = reader.shape(what) if storage else None
    shape = reader.shape(what)
    *_, dtype = reader.numbers("3i")
    if dtype != _FLOAT32:
        raise ArtifactRejected(
            f"{what} holds {dict(enumerate(_DTYPES)).get(dtype, dtype)}; SageMaker writes float32"
        )
    if stored is None:
        return reader.array("<f4", shape)
    if reader.numbers("i") != (_INT64,) or reader.shape(what) != stored[:1] or stored[1:] != shape[1:]:
        raise ArtifactRejected(f"{what} of shape {shape} stores {stored} and not one int64 id for each row")
    rows, ids = reader.array("<f4", stored), reader.array("<i8", stored[:1])
    if len(ids) and (ids[0] < 0 or ids[-1] >= shape[0] or not (ids[1:] > ids[:-1]).all()):
        raise ArtifactRejected(f"{what} has row ids that do not ascend from 0 to {shape[0] - 1}")
    if len(ids) == shape[0]:
        return rows
    reader.filled += 4 * math.prod(shape)
    if reader.filled > max(_FILLED, 100 * len(reader.data)):
        raise ArtifactRejected(
            f"{what} stores {len(ids)} rows of {shape[0]}: {reader.filled} bytes with all rows"
        )
    filled = np.zeros(shape, np.float32)
    filled[ids] = rows
    return filled
