"""MXNet's list of arrays: its own bytes both ways, no copies, and a clear no to damage and other layouts."""

import io
import runpy
import struct
from pathlib import Path

import numpy as np
import pytest

from topx.errors import ArtifactRejected
from topx.mxparams import read_params, write_params

GOLDEN = Path(__file__).parent / "golden"
ARRAYS = runpy.run_path(str(GOLDEN / "make.py"))["arrays"]()


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


def test_writes_the_bytes_of_mxnet() -> None:
    assert params(**ARRAYS) == golden("genuine")


def test_arrays_of_any_memory_order_are_written_alike() -> None:
    turned = {name: np.asfortranarray(np.repeat(array, 2, axis=0))[::2] for name, array in ARRAYS.items()}
    assert params(**turned) == golden("genuine")


@pytest.mark.parametrize("name", ["genuine", "dense"])
def test_reads_what_mxnet_wrote(name: str) -> None:
    read = read_params(golden(name))
    assert list(read) == list(ARRAYS)
    for key, array in ARRAYS.items():
        assert read[key].dtype == np.float32
        np.testing.assert_array_equal(read[key], array)


def test_rows_that_are_not_stored_are_zeros() -> None:
    read = read_params(golden("gaps"))
    expected = np.zeros((5, 3), np.float32)
    expected[[1, 3]] = ARRAYS["arg:v"][:2]
    np.testing.assert_array_equal(read["arg:v"], expected)
    np.testing.assert_array_equal(read["none"], np.zeros((4, 2)))


def test_arrays_without_names_are_numbered() -> None:
    read = read_params(golden("unnamed"))
    assert list(read) == ["0"]
    np.testing.assert_array_equal(read["0"], ARRAYS["arg:v"])


@pytest.mark.parametrize("name", ["genuine", "dense"])
def test_whole_arrays_are_views_of_the_file(name: str) -> None:
    content = golden(name)
    for array in read_params(content).values():
        assert np.shares_memory(array, np.frombuffer(content, np.uint8))


ONE = params(a=np.ones(2))  # dense: version at 24, storage 28, shape 32 and 36, dtype 52, data 56, names 64
TWO = params(
    a=np.ones((2, 1))
)  # row_sparse: stored at 32, shape 52, dtype 80, of ids 84, ids' shape 88, ids 108
REFUSED = {
    "no list": (b"PK\x03\x04" + bytes(40), "0x112"),
    "nothing": (b"", "ends too early: 16 more bytes"),
    "csr": (golden("csr"), "array 0 of 1 in params is stored as csr; dense and row_sparse are read"),
    "float64": (golden("float64"), "holds float64; SageMaker writes float32"),
    "another storage": (patched(ONE, 28, "i", 7), "is stored as 7"),
    "another dtype": (patched(ONE, 52, "i", 99), "holds 99"),
    "version 1": (patched(ONE, 24, "I", 0xF993FAC8), "version 1; SageMaker writes version 2"),
    "version 3": (patched(ONE, 24, "I", 0xF993FACA), "version 3"),
    "the first version": (patched(ONE, 24, "I", 2), "the layout of the first MXNet"),
    "another version": (patched(ONE, 24, "I", 0xABCDEF), "magic 0xabcdef"),
    "no dimensions": (patched(ONE, 32, "i", 0), "0 dimensions"),
    "many dimensions": (patched(ONE, 32, "i", 1 << 30), "1073741824 dimensions"),
    "a negative size": (patched(ONE, 36, "q", -1), r"impossible shape \(-1,\)"),
    "an endless size": (patched(ONE, 36, "q", 1 << 62), "impossible shape"),
    "a size past the end": (patched(ONE, 36, "q", 1 << 40), "ends too early: 4398046511104 more bytes"),
    "many arrays": (patched(ONE, 16, "Q", 1 << 60), "claims 1152921504606846976 arrays"),
    "one name for none": (patched(params(), 24, "Q", 1), "1 names for 0 arrays"),
    "a name past the end": (patched(ONE, 72, "Q", 1 << 63), "ends too early"),
    "a name twice": (params(a=np.ones(1), b=np.ones(1))[:-1] + b"a", "an array twice; its names are a, a"),
    "more after the end": (ONE + b"x", "goes on for 1 bytes"),
    "ids that turn": (patched(TWO, 108, "2q", 1, 0), "row ids that do not ascend from 0 to 1"),
    "ids twice": (patched(TWO, 108, "2q", 1, 1), "row ids"),
    "an id too far": (patched(TWO, 108, "2q", 0, 2), "row ids"),
    "an id below 0": (patched(TWO, 108, "2q", -1, 1), "row ids"),
    "ids of int32": (patched(TWO, 84, "i", 4), "not one int64 id for each row"),
    "fewer ids": (patched(TWO, 92, "q", 1), "not one int64 id for each row"),
    "another width": (patched(TWO, 64, "q", 3), r"shape \(2, 3\) stores \(2, 1\)"),
    "too many absent rows": (patched(TWO, 56, "q", 1 << 30), "stores 2 rows of 1073741824: 4294967296 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_other_layouts_and_lies(name: str) -> None:
    content, message = REFUSED[name]
    with pytest.raises(ArtifactRejected, match=message):
        read_params(content)


@pytest.mark.parametrize("name", ["genuine", "dense", "gaps", "unnamed"])
def test_every_cut_is_refused(name: str) -> None:
    content = golden(name)
    for cut in range(len(content)):
        with pytest.raises(ArtifactRejected):
            read_params(content[:cut])


@pytest.mark.parametrize("name", ["genuine", "dense", "gaps", "unnamed"])
def test_a_flipped_byte_is_refused_or_read(name: str) -> None:
    content = bytearray(golden(name))
    outcomes = set()
    for at in range(len(content)):
        for flip in (1, 4, 128, 255):
            content[at] ^= flip
            try:
                read_params(bytes(content))
                outcomes.add("read")
            except ArtifactRejected:
                outcomes.add("refused")
            content[at] ^= flip
    assert outcomes == {"read", "refused"}
