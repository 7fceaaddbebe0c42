"""MXNet's list of arrays: its own bytes both ways, every layout, no copies, and a clear no to damage."""

import io
import runpy
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nst
from scipy import sparse

from topx.errors import ArtifactRejected
from topx.mxparams import read_params, write_params

GOLDEN = Path(__file__).parent / "golden"
MADE = runpy.run_path(str(GOLDEN / "make.py"))
ARRAYS = MADE["arrays"]()
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
DTYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?")
FILES = ("genuine", "dense", "gaps", "unnamed", "csr", "dtypes", "numpy")


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.params").read_bytes()


def params(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    write_params(file, arrays)
    return file.getvalue()


def patched(content: bytes, at: int, form: str, *numbers: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(f"<{form}", changed, at, *numbers)
    return bytes(changed)


def shape(*sizes: int) -> bytes:
    return struct.pack(f"<i{len(sizes)}q", len(sizes), *sizes)


def listed(*arrays: bytes, names: tuple[str, ...] = ()) -> bytes:
    texts = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in names)
    return struct.pack("<3Q", 0x112, 0, len(arrays)) + b"".join(arrays) + struct.pack("<Q", len(names)) + texts


def device_and(dtype: np.dtype) -> bytes:
    return struct.pack("<3i", 1, 0, [np.dtype(name) for name in DTYPES].index(dtype))


def dense(version: int, array: np.ndarray) -> bytes:
    """One array as the format says it; by version its magic, or 0 for the first one."""
    if not version:
        head = struct.pack(f"<{array.ndim + 1}I", array.ndim, *array.shape)
    else:
        head = struct.pack("<I", version) + (b"" if version == V1 else bytes(4)) + shape(*array.shape)
    return head + device_and(array.dtype) + array.tobytes()


def row_sparse(array: np.ndarray, ids: np.ndarray) -> bytes:
    stored = array[ids]
    head = struct.pack("<Ii", V2, 1) + shape(*stored.shape) + shape(*array.shape) + device_and(array.dtype)
    code = struct.pack("<i", [np.dtype(name) for name in DTYPES].index(ids.dtype))
    return head + code + shape(len(ids)) + stored.tobytes() + ids.tobytes()


def csr(matrix: sparse.csr_array, index: str = "<i8") -> bytes:
    head = struct.pack("<Ii", V2, 2) + shape(matrix.nnz) + shape(*matrix.shape) + device_and(matrix.dtype)
    code = struct.pack("<i", DTYPES.index(index))
    parts = matrix.indptr.astype(index), matrix.indices.astype(index)
    said = b"".join(code + shape(len(part)) for part in parts)
    return head + said + matrix.data.tobytes() + b"".join(part.tobytes() for part in parts)


def same(read: np.ndarray, expected: np.ndarray) -> None:
    assert (read.shape, read.dtype, read.tobytes()) == (expected.shape, expected.dtype, expected.tobytes())


ANY = nst.arrays(
    st.sampled_from(DTYPES), nst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4), fill=st.nothing()
)
FLOATS = nst.arrays("<f4", nst.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=9))


def test_writes_the_bytes_of_mxnet() -> None:
    assert params(**ARRAYS) == golden("genuine")
    assert params(**read_params(golden("genuine"))) == golden("genuine")


def test_arrays_of_any_memory_order_are_written_alike() -> None:
    turned = {name: np.asfortranarray(np.repeat(array, 2, axis=0))[::2] for name, array in ARRAYS.items()}
    assert params(**turned) == golden("genuine")


@given(st.dictionaries(st.text(max_size=9), FLOATS, max_size=4))
def test_what_is_written_is_read_and_written_again_byte_for_byte(arrays: dict[str, np.ndarray]) -> None:
    content = params(**arrays)
    read = read_params(content)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        same(read[name], array)
    assert params(**read) == content


@pytest.mark.parametrize("name", ["genuine", "dense"])
def test_reads_what_mxnet_wrote(name: str) -> None:
    read = read_params(golden(name))
    assert list(read) == list(ARRAYS)
    for key, array in ARRAYS.items():
        same(read[key], array)


@pytest.mark.parametrize("name", ["dtypes", "numpy"])
def test_reads_every_dtype_that_mxnet_wrote(name: str) -> None:
    read = read_params(golden(name))
    for dtype in MADE["DTYPES"]:
        same(read[dtype], MADE["every"](dtype))
    if name == "numpy":
        same(read["scalar"], np.array(0.25, np.float32))
        same(read["nothing"], np.zeros((0, 3), np.float32))


@given(ANY, st.sampled_from([0, V1, V2, V3]))
def test_every_version_gives_the_array_itself(array: np.ndarray, version: int) -> None:
    content = listed(dense(version, array), names=("x",))
    read = read_params(content)["x"]
    same(read, array)
    assert not array.size or np.shares_memory(read, np.frombuffer(content, np.uint8))


def test_an_array_that_was_never_set_is_none() -> None:
    first, one = struct.pack("<I", 0), dense(V2, np.ones(1, np.float32))
    second, third = (struct.pack("<I", V1) + shape(), struct.pack("<Ii", V2, 0) + shape())
    rows = struct.pack("<Ii", V2, 1) + shape() + shape()
    numpy = [struct.pack("<Ii", V3, 0) + struct.pack("<i", -1), struct.pack("<Ii", V3, 0) + shape(2, -1)]
    read = read_params(listed(first, second, third, rows, *numpy, one))
    assert list(read.values()) == [None] * 6 + [np.ones(1)]


def test_version_3_takes_no_dimensions_for_one_number() -> None:
    same(read_params(listed(dense(V3, np.array(7, "<i8"))))["0"], np.array(7, "<i8"))


@given(ANY, st.data())
def test_rows_that_are_not_stored_are_zeros(array: np.ndarray, data: st.DataObject) -> None:
    rows = data.draw(st.sets(st.sampled_from(range(len(array)))) if len(array) else st.just(set()))
    ids = np.array(sorted(rows), data.draw(st.sampled_from(["<i4", "<i8"])))
    absent = np.setdiff1d(np.arange(len(array)), ids)
    array[absent] = 0
    content = listed(row_sparse(array, ids))
    read = read_params(content)["0"]
    same(read, array)
    assert absent.size or not array.size or np.shares_memory(read, np.frombuffer(content, np.uint8))


def test_reads_the_sparse_arrays_that_mxnet_wrote() -> None:
    read = read_params(golden("gaps"))
    expected = np.zeros((5, 3), np.float32)
    expected[[1, 3]] = ARRAYS["arg:v"][:2]
    same(read["arg:v"], expected)
    same(read["none"], np.zeros((4, 2), np.float32))
    filled = read_params(golden("csr"))["x"]
    same(filled, ARRAYS["arg:v"] + 0)
    assert not any(array.flags.writeable for array in (*read.values(), filled))


@given(
    nst.arrays(st.sampled_from(DTYPES), st.tuples(st.integers(0, 5), st.integers(0, 5))),
    st.sampled_from(["<i4", "<i8"]),
)
def test_a_csr_array_is_filled_with_its_zeros(array: np.ndarray, index: str) -> None:
    places = np.argwhere(array != 0)
    matrix = sparse.csr_array(array.shape, dtype="<f4")
    matrix.data, matrix.indices = array[array != 0], places[:, 1]
    matrix.indptr = np.searchsorted(places[:, 0], np.arange(len(array) + 1))
    read = read_params(listed(csr(matrix, index)))["0"]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_a_csr_array_of_nothing_needs_no_starts() -> None:
    head = struct.pack("<Ii", V2, 2) + shape(0) + shape(2, 3) + device_and(np.dtype("f4"))
    nothing = head + 2 * (struct.pack("<i", 6) + shape(0))
    same(read_params(listed(nothing))["0"], np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(("dtype", "given_as"), [("<f4", "<f4"), ("<i8", "<i8"), ("<f2", "<f4")])
def test_a_csr_array_of_too_many_zeros_stays_sparse(dtype: str, given_as: str) -> None:
    matrix = sparse.csr_array((1000, 1 << 36), dtype="<f4")
    matrix.data, matrix.indices = np.array([1, 2, 3], dtype), np.array([5, 1 << 35, 0])
    matrix.indptr = np.r_[np.full(999, 0), 2, 3]
    read = read_params(listed(csr(matrix)))["0"]
    assert sparse.issparse(read)
    assert (read.shape, read.dtype) == ((1000, 1 << 36), given_as)
    assert (read[998, 5], read[998, 1 << 35], read[999, 0], read.sum()) == (1, 2, 3, 6)


def test_arrays_without_names_are_numbered() -> None:
    read = read_params(golden("unnamed"))
    assert list(read) == ["0"]
    same(read["0"], ARRAYS["arg:v"])


@pytest.mark.parametrize("name", ["genuine", "dense", "dtypes", "numpy"])
def test_whole_arrays_are_views_of_the_file(name: str) -> None:
    content = golden(name)
    for array in read_params(content).values():
        assert not array.size or np.shares_memory(array, np.frombuffer(content, np.uint8))


ONE = params(a=np.ones(2))  # dense: version at 24, storage 28, shape 32 and 36, dtype 52, data 56, names 64
TWO = params(
    a=np.ones((2, 1))
)  # row_sparse: stored at 32, shape 52, dtype 80, of ids 84, ids' shape 88, ids 108
CSR = golden("csr")  # (5, 3): stored at 32, shape 44, starts' dtype 76, their shape 80, columns' 92 and 96
STARTS = CSR.index(struct.pack("<2q", 0, 2))
COLUMNS = STARTS + 48
BOOLEAN = listed(dense(V2, np.array([True])))
REFUSED = {
    "no list": (b"PK\x03\x04" + bytes(40), "0x112"),
    "nothing": (b"", "ends too early: 16 more bytes"),
    "another storage": (patched(ONE, 28, "i", 7), "storage type 7; 0 .dense., 1 .row_sparse. and 2 .csr."),
    "storage not set": (patched(ONE, 28, "i", -1), "storage type -1"),
    "sparse in version 3": (patched(TWO, 24, "I", V3), "storage type 1; .* in version 3 only 0"),
    "another dtype": (patched(ONE, 52, "i", 99), r"has dtype 99; 0 \(float32\) to 7 \(bool\)"),
    "a negative dtype": (patched(ONE, 52, "i", -1), "dtype -1"),
    "another version": (patched(ONE, 24, "I", 0xABCDEF), "magic 0xabcdef; SageMaker writes 0xf993fac9"),
    "33 dimensions": (patched(ONE, 24, "I", 33), "magic 0x21"),
    "many dimensions": (patched(ONE, 32, "i", 1 << 30), "1073741824 dimensions; 0 to 32"),
    "dimensions not set": (patched(ONE, 32, "i", -1), "-1 dimensions"),
    "a negative size": (patched(ONE, 36, "q", -1), r"impossible shape \(-1,\)"),
    "an endless size": (patched(ONE, 36, "q", 1 << 62), "impossible shape"),
    "a size past the end": (patched(ONE, 36, "q", 1 << 40), "ends too early: 4398046511104 more bytes"),
    "many arrays": (patched(ONE, 16, "Q", 1 << 60), "claims 1152921504606846976 arrays"),
    "many arrays of nothing": (listed(*[bytes(4)] * 100_001), "100001 arrays .*; at most 100000"),
    "one name for none": (patched(params(), 24, "Q", 1), "1 names for 0 arrays"),
    "a name past the end": (patched(ONE, 72, "Q", 2), "ends too early"),
    "an endless name": (patched(ONE, 72, "Q", 1 << 63), "a name of 9223372036854775808 bytes; at most 1024"),
    "a name twice": (params(a=np.ones(1), b=np.ones(1))[:-1] + b"a", "an array twice; its names are a, a"),
    "more after the end": (ONE + b"x", "goes on for 1 bytes"),
    "half a truth": (BOOLEAN[:-9] + b"\2" + bytes(8), "truth values other than 0 and 1"),
    "stores no shape": (listed(struct.pack("<Ii", V2, 1) + shape() + shape(2, 1) + device_and(np.dtype("f4"))
        + struct.pack("<i", 6) + shape(0)), r"of shape \(2, 1\) does not say what it stores"),
    "ids that turn": (patched(TWO, 108, "2q", 1, 0), "row ids that do not ascend from 0 to 1"),
    "ids twice": (patched(TWO, 108, "2q", 1, 1), "row ids"),
    "an id too far": (patched(TWO, 108, "2q", 0, 2), "row ids"),
    "an id below 0": (patched(TWO, 108, "2q", -1, 1), "row ids"),
    "ids of float32": (patched(TWO, 84, "i", 0), r"an index of dtype 0 and shape \(2,\); one row of integers"),
    "ids of two dimensions": (
        TWO.replace(shape(2) + bytes(2), shape(2, 1) + bytes(2)),
        r"an index of dtype 6 and shape \(2, 1\)",
    ),
    "fewer ids": (patched(TWO, 92, "q", 1), r"stores \(2, 1\) and 1 row ids; each row has one id"),
    "another width": (patched(TWO, 64, "q", 3), r"shape \(2, 3\) stores \(2, 1\)"),
    "too many absent rows": (
        patched(TWO, 56, "q", 1 << 30),
        r"stores 2 of 1073741824 rows; .* more than 64 MB and 100 times",
    ),
    "csr of three dimensions": (listed(csr(sparse.csr_array((1, 1), dtype="f4")).replace(shape(1, 1),
        shape(1, 1, 1))), r"\(1, 1, 1\) is stored as csr"),
    "fewer starts": (patched(CSR, 84, "q", 5), "5 starts of rows and .* a matrix has a start for each row"),
    "fewer columns": (patched(patched(CSR, 36, "q", 13), 100, "q", 5), "5 columns; .* a column for each"),
    "no starts for numbers": (patched(CSR, 84, "q", 0), "0 starts of rows"),
    "a first row that is cut": (patched(CSR, STARTS, "q", 1), "rows that do not follow each other from 0"),
    "a row that ends before it begins": (patched(CSR, STARTS + 8, "q", 1 << 62), "rows that do not follow"),
    "starts around the world": (patched(CSR, STARTS, "6q", 0, (1 << 63) - 1, -1 << 63, -2, (1 << 63) - 1, 11),
        "rows that do not follow"),
    "a column too far": (patched(CSR, COLUMNS, "q", 3), "columns that do not ascend from 0 to 2 within a row"),
    "a column twice": (patched(CSR, COLUMNS, "2q", 1, 1), "columns that do not ascend"),
    "nothing of a huge shape": (listed(struct.pack("<Ii", V2, 2) + shape(0) + shape(1 << 30, 1 << 10)
        + device_and(np.dtype("f4")) + 2 * (struct.pack("<i", 6) + shape(0))), "stores nothing of shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_lies_are_refused_by_name(name: str) -> None:
    content, message = REFUSED[name]
    with pytest.raises(ArtifactRejected, match=message):
        read_params(content)


@pytest.mark.parametrize("name", FILES)
def test_every_cut_is_refused(name: str) -> None:
    content = golden(name)
    for cut in range(len(content)):
        with pytest.raises(ArtifactRejected):
            read_params(content[:cut])


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_byte_is_refused_or_read_in_little_memory(name: str) -> None:
    content = bytearray(golden(name))
    outcomes = set()
    tracemalloc.start()
    try:
        for at in range(len(content)):
            for flip in (1, 32, 255):
                content[at] ^= flip
                try:
                    read_params(bytes(content))
                    outcomes.add("read")
                except ArtifactRejected:
                    outcomes.add("refused")
                content[at] ^= flip
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()
    assert outcomes == {"read", "refused"}


def test_zeros_of_all_arrays_together_are_bounded() -> None:
    one = row_sparse(np.zeros((1 << 21, 4), np.float32), np.array([7]))
    assert read_params(listed(one, one))["1"].nbytes == 32 << 20
    with pytest.raises(ArtifactRejected, match="array 2 of 3 in params stores 1 of 2097152 rows"):
        read_params(listed(one, one, one))
