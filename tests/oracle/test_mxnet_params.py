"""Lists of arrays against MXNet 1.9.1, both ways, in every layout it writes or still reads."""

import io
import math
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle, Refused
from scipy import sparse

from topx.errors import ArtifactRejected
from topx.factors import save_model
from topx.mxparams import read_params, write_params

pytestmark = pytest.mark.oracle

DTYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6, "bool": 7}
STORAGES = ("default", "row_sparse", "csr")
NAMES = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=12)
many = settings(deadline=None, max_examples=200)


def values(draw: Any, dtype: str, shape: tuple[int, ...]) -> Any:
    """Any bits at all: NaN with a payload and subnormals are among them."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = math.prod(shape)
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    raw = random.bytes(count * np.dtype(dtype).itemsize)
    return np.frombuffer(raw, dtype, count).reshape(shape)


@st.composite
def stored(draw: Any, *, least: int = 1, storages: Sequence[str] = STORAGES) -> tuple[Any, ...]:
    """(storage type, shape, data, *aux) as peer.py takes and gives it; no size is below `least`."""
    storage, dtype = draw(st.sampled_from(storages)), draw(st.sampled_from([*DTYPES]))
    sizes = st.integers(least, 6)
    if storage == "default":
        shape = tuple(draw(st.lists(sizes, min_size=1, max_size=4)))
        return storage, shape, values(draw, dtype, shape)
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    if storage == "row_sparse":
        ids = np.array(sorted(draw(st.sets(st.integers(0, shape[0] - 1), min_size=1))), np.int64)
        return storage, shape, values(draw, dtype, (len(ids), shape[1])), ids
    row = st.sets(st.integers(0, shape[1] - 1))
    rows = [sorted(draw(row)) for _ in range(shape[0])]
    rows[0] = rows[0] or [0]
    indices = np.array([key for each in rows for key in each], np.int64)
    indptr = np.cumsum([0, *map(len, rows)])
    return storage, shape, values(draw, dtype, indices.shape), indices, indptr


def whole(array: tuple[Any, ...]) -> Any:
    """All numbers of what is stored."""
    storage, shape, data, *aux = array
    if storage == "default":
        return data
    full = np.zeros(shape, data.dtype)
    if storage == "row_sparse":
        full[aux[0]] = data
    else:
        full[np.repeat(np.arange(shape[0]), np.diff(aux[1])), aux[0]] = data
    return full


def assert_equal(found: Any, expected: Any) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


def assert_same(found: Any, array: tuple[Any, ...]) -> None:
    """That what we read is what is stored, be it given whole or, where it is very wide, as a csr_array."""
    if not sparse.issparse(found):
        assert_equal(found, whole(array))
        return
    _, shape, data, indices, indptr = array
    assert found.shape == shape
    assert_equal(found.data, data)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(found.indptr, indptr)


def assert_read(content: bytes, names: list[str] | None, arrays: list[tuple[Any, ...]]) -> None:
    """That `content` is read as these arrays."""
    read = read_params(content)
    assert list(read) == (list(map(str, range(len(arrays)))) if names is None else names)
    for found, array in zip(read.values(), arrays, strict=True):
        assert_same(found, array)


def listed(names: list[str] | None, arrays: list[bytes]) -> bytes:
    """A list of arrays that are bytes already."""
    encoded = [name.encode() for name in names or []]
    ends = b"".join(struct.pack("<Q", len(name)) + name for name in encoded)
    head = struct.pack("<3Q", 0x112, 0, len(arrays))
    return head + b"".join(arrays) + struct.pack("<Q", len(encoded)) + ends


def older(array: Any, version: int) -> bytes:
    """A dense array as MXNet wrote it before storage types (1), and before it wrote a magic (0)."""
    sizes = struct.pack(f"<i{array.ndim}q", array.ndim, *array.shape)
    head = struct.pack("<I", 0xF993FAC8) + sizes
    if version == 0:
        head = struct.pack(f"<{array.ndim + 1}I", array.ndim, *array.shape)
    return head + struct.pack("<3i", 1, 0, DTYPES[array.dtype.name]) + array.tobytes()


@many
@given(data=st.data(), arrays=st.lists(stored(), max_size=4), named=st.booleans())
def test_what_mxnet_saves_is_read(oracle: Oracle, data: Any, arrays: list[Any], named: bool) -> None:
    count = len(arrays)
    names = data.draw(st.lists(NAMES, min_size=count, max_size=count, unique=True)) if named else None
    content = oracle.ask("save_params", arrays=arrays, names=names)
    assert_read(content, names or None, arrays)  # MXNet writes an empty mapping like an empty list


@many
@given(arrays=st.lists(stored(least=0, storages=["default"]), max_size=3))
def test_what_mxnet_saves_with_numpy_shapes_is_read(oracle: Oracle, arrays: list[Any]) -> None:
    arrays.append(("default", (), np.array(2.5, np.float32)))
    content = oracle.ask("save_params", arrays=arrays, names=None, numpy_shapes=True)
    assert_read(content, None, arrays)


@many
@given(arrays=st.lists(stored(storages=["default"]), min_size=1, max_size=3))
@pytest.mark.parametrize("version", [0, 1])
def test_lists_of_older_mxnet_are_read_as_mxnet_reads_them(
    oracle: Oracle, arrays: list[Any], version: int
) -> None:
    names = [f"arg:{place}" for place in range(len(arrays))]
    content = listed(names, [older(array[2], version) for array in arrays])
    read, loaded = oracle.ask("load_params", content=content)
    assert read == names
    for array, again in zip(arrays, loaded, strict=True):
        assert_equal(again[2], array[2])
    assert_read(content, names, loaded)


@many
@given(data=st.data(), names=st.lists(NAMES, max_size=4, unique=True))
def test_what_is_written_mxnet_loads(oracle: Oracle, data: Any, names: list[str]) -> None:
    shapes = st.lists(st.integers(1, 6), min_size=1, max_size=3)
    arrays = {name: values(data.draw, "float32", tuple(data.draw(shapes))) for name in names}
    file = io.BytesIO()
    write_params(file, arrays)
    found, loaded = oracle.ask("load_params", content=file.getvalue())
    assert (found or []) == names
    for array, again in zip(arrays.values(), loaded, strict=True):
        assert again[0] == ("row_sparse" if array.ndim == 2 else "default")
        assert_equal(whole(again), array)
    assert file.getvalue() == oracle.ask("save_params", arrays=loaded, names=found)


@many
@given(data=st.data(), shape=st.tuples(st.integers(1, 40), st.integers(1, 9)))
def test_the_params_of_a_model_mxnet_loads(oracle: Oracle, data: Any, shape: tuple[int, int]) -> None:
    w0, w, v = (values(data.draw, "float32", sizes) for sizes in ((1,), (shape[0],), shape))
    file = io.BytesIO()
    save_model(file, w0, w, v, {"predictor_type": "regressor"})
    with zipfile.ZipFile(file) as archive:
        content = archive.read("params")
    names, (linear, bias, factors) = oracle.ask("load_params", content=content)
    assert names == ["arg:w1_weight", "arg:w0_weight", "arg:v"]
    assert (linear[0], bias[0], factors[0]) == ("row_sparse", "default", "row_sparse")
    for found, array in ((linear, w[:, None]), (bias, w0), (factors, v)):
        assert_equal(whole(found), array)


@pytest.mark.parametrize("name", ["genuine", "dense", "gaps", "unnamed", "csr", "float64"])
def test_what_is_read_of_a_damaged_list_is_what_mxnet_reads(oracle: Oracle, name: str) -> None:
    golden = Path(__file__).parents[1] / "core" / "golden" / f"{name}.params"
    content, compared = bytearray(golden.read_bytes()), 0
    for at in range(len(content)):
        for flip in (1, 8, 255):
            content[at] ^= flip
            try:
                read = read_params(bytes(content))
                names, loaded = oracle.ask("load_params", content=bytes(content))
            except (ArtifactRejected, Refused):
                continue
            finally:
                content[at] ^= flip
            compared += 1
            assert [*read] == (names or [str(place) for place in range(len(loaded))])
            for found, array in zip(read.values(), loaded, strict=True):
                assert_same(found, array)
    assert compared
