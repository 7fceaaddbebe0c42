"""Records: the bytes of the SageMaker SDK both ways, whatever the rows, and a clear no to damage."""

import io
import runpy
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from topx import recordio
from topx.errors import RecordsRejected
from topx.recordio import read_chunks, read_matrix, write_dense, write_sparse

GOLDEN = Path(__file__).parent / "golden"
RECORDS = runpy.run_path(str(GOLDEN / "make.py"))["records"]()
MAGIC = 0xCED7230A


def written(matrix: Any, labels: Any = None) -> bytes:
    file = io.BytesIO()
    (write_sparse if sparse.issparse(matrix) else write_dense)(file, matrix, labels)
    return file.getvalue()


def rows(keys: list[list[int]], features: int, labels: bool = False) -> bytes:
    ends = np.cumsum([0, *map(len, keys)])
    indices = np.array([key for row in keys for key in row], np.int64)
    matrix = sparse.csr_array((np.ones(ends[-1], np.float32), indices, ends), shape=(len(keys), features))
    return written(matrix, np.ones(len(keys)) if labels else None)


def assert_same(read: tuple[Any, Any], matrix: Any, labels: Any) -> None:
    assert read[0].shape == matrix.shape
    assert read[0].dtype == np.float32
    if sparse.issparse(matrix):
        assert isinstance(read[0], sparse.csr_array)
        np.testing.assert_array_equal(read[0].indptr, matrix.indptr)
        np.testing.assert_array_equal(read[0].indices, matrix.indices)
        assert read[0].data.tobytes() == matrix.data.tobytes()
    else:
        assert read[0].tobytes() == matrix.tobytes()
    assert (read[1] is None) == (labels is None)
    assert labels is None or read[1].tobytes() == labels.tobytes()


def field(number: int, body: bytes) -> bytes:
    assert len(body) < 1 << 14
    size = bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])
    return bytes([number << 3 | 2]) + size + body


def entry(number: int, tensor: bytes, kind: int = 2, name: bytes = b"values") -> bytes:
    return field(number, field(1, name) + field(2, field(kind, tensor)))


def frame(payload: bytes) -> bytes:
    return struct.pack("<2I", MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)


ONE = field(1, struct.pack("<f", 1))
SPARSE = ONE + field(2, b"\x05") + field(3, b"\x09")


@pytest.mark.parametrize("name", RECORDS)
def test_writes_the_bytes_of_the_sdk(name: str) -> None:
    assert written(*RECORDS[name]) == (GOLDEN / f"{name}.rec").read_bytes()


@pytest.mark.parametrize("name", RECORDS)
def test_reads_what_the_sdk_wrote(name: str) -> None:
    assert_same(read_matrix((GOLDEN / f"{name}.rec").read_bytes()), *RECORDS[name])


@pytest.mark.parametrize("name", RECORDS)
def test_chunks_of_any_size_make_the_same_file_and_the_same_matrix(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordio, "_ROWS", 2)
    monkeypatch.setattr(recordio, "_NUMBERS", 5)
    monkeypatch.setattr(recordio, "_BLOCK", 30)
    golden = GOLDEN / f"{name}.rec"
    assert written(*RECORDS[name]) == golden.read_bytes()
    with golden.open("rb") as file:
        assert len(list(read_chunks(file))) > 1
        file.seek(0)
        assert_same(read_matrix(file), *RECORDS[name])


def test_the_documented_example_takes_53_bytes() -> None:
    matrix = sparse.csr_array(([1, 1], [5, 943], [0, 2]), shape=(1, 2625))
    assert written(matrix, [4]).hex(" ", 4) == (
        "0a23d7ce 35000000 0a1f0a06 76616c75 65731215 12130a08 0000803f 0000803f "
        "120305af 071a02c1 1412120a 0676616c 75657312 0812060a 04000080 40000000"
    )


@pytest.mark.parametrize("kind", ["bsr", "coo", "csc", "dia", "dok", "lil"])
def test_any_sparse_format_is_written_like_its_csr(kind: str) -> None:
    dense = np.arange(12).reshape(3, 4) % 5
    expected = written(sparse.csr_matrix(dense, dtype=np.float32))
    assert written(sparse.csr_matrix(dense).asformat(kind)) == expected
    assert written(sparse.csr_array(dense, dtype=np.float64).asformat(kind)) == expected


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, np.float64])
def test_values_and_labels_are_cast_to_float32(dtype: type) -> None:
    matrix, labels = np.array([[0, 1], [1, 1]]), np.array([1, 0])
    floats = written(matrix.astype(np.float32), labels.astype(np.float32))
    assert written(matrix.astype(dtype), labels.astype(dtype)) == floats
    assert written(np.asfortranarray(matrix.astype(dtype)), labels) == floats


def test_writing_again_appends() -> None:
    file = io.BytesIO()
    for part in ([[1], [2, 3]], [[0, 4]]):
        file.write(rows(part, 5))
    assert file.getvalue() == rows([[1], [2, 3], [0, 4]], 5)


def test_no_rows_are_no_bytes_and_no_bytes_are_no_rows() -> None:
    assert written(np.empty((0, 3))) == b""
    assert written(sparse.csr_array((0, 3)), []) == b""
    matrix, labels = read_matrix(b"")
    assert matrix.shape == (0, 0)
    assert labels is None


@settings(deadline=None)
@given(data=st.data(), features=st.sampled_from([1, 127, 128, 129, 2**14, 2**31 - 1, 2**31, 2**63 - 1]))
def test_sparse_rows_come_back_as_they_were(data: st.DataObject, features: int) -> None:
    key = st.one_of(st.integers(0, features - 1), st.integers(0, min(features, 200) - 1))
    keys = data.draw(st.lists(st.lists(key, max_size=6), min_size=1, max_size=30))
    ends = np.cumsum([0, *map(len, keys)])
    number = st.floats(width=32, allow_nan=False)
    values = data.draw(st.lists(number, min_size=int(ends[-1]), max_size=int(ends[-1])))
    labels = data.draw(st.none() | st.lists(number, min_size=len(keys), max_size=len(keys)))
    matrix = sparse.csr_array((len(keys), features), dtype=np.float32)
    matrix.data, matrix.indptr = np.array(values, np.float32), ends
    matrix.indices = np.array([key for row in keys for key in row], np.int64)
    column = None if labels is None else np.array(labels, np.float32)
    assert_same(read_matrix(written(matrix, column)), matrix, column)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 200), st.integers(0, 2**32 - 1), st.booleans())
def test_dense_rows_come_back_as_they_were(count: int, width: int, seed: int, labelled: bool) -> None:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(count, width)).astype(np.float32)
    labels = random.normal(size=count).astype(np.float32) if labelled else None
    assert_same(read_matrix(written(matrix, labels)), matrix, labels)


def test_rows_of_very_many_lengths_come_back_as_they_were() -> None:
    random = np.random.default_rng(3)
    ends = np.append(0, np.cumsum(random.integers(0, 300, 500)))
    keys = (1 << random.integers(0, 40, ends[-1])) - 1
    values = random.normal(size=ends[-1]).astype(np.float32)
    matrix = sparse.csr_array((values, keys, ends), shape=(500, 1 << 40))
    assert_same(read_matrix(written(matrix)), matrix, None)


def test_the_magic_may_stand_within_the_data() -> None:
    magic = np.frombuffer(struct.pack("<I", MAGIC), np.float32)[0]
    for width in range(1, 5):  # another place of the words each time
        matrix = np.full((20, width), magic)
        assert_same(read_matrix(written(matrix, matrix[:, 0])), matrix, matrix[:, 0])


def test_records_of_other_writers_are_read() -> None:
    label = entry(2, field(1, struct.pack("<f", 3)))
    payloads = [
        label + entry(1, SPARSE),  # any order of fields
        entry(1, field(3, b"\x09") + field(2, b"\x88\x80\x00") + ONE)
        + label,  # a key in more bytes than needed
        *(entry(1, SPARSE) + label + field(3, b"uid %03d" % uid) for uid in range(200)),
        entry(1, SPARSE) + label + field(4, b"{}") + field(5, b""),
    ]
    matrix, labels = read_matrix(b"".join(map(frame, payloads)))
    np.testing.assert_array_equal(matrix.indices, [5, 8] + [5] * 201)
    np.testing.assert_array_equal(labels, [3] * 203)


def test_one_odd_record_among_many_alike_is_read_or_named() -> None:
    many, label = [[user, 900 + user] for user in range(700)], entry(2, field(1, struct.pack("<f", 1)))
    before, after = rows(many, 2000, labels=True), rows(many[::-1], 2000, labels=True)
    shaped = field(3, b"\xd0\x0f")
    odd = frame(entry(1, shaped + field(2, b"\x05") + ONE) + label)
    matrix, labels = read_matrix(before + odd + after)
    np.testing.assert_array_equal(matrix.indices, np.concatenate([np.ravel(many), [5], np.ravel(many[::-1])]))
    np.testing.assert_array_equal(labels, np.ones(1401))
    broken = frame(entry(1, ONE + field(2, b"\x05") + shaped) + label.replace(b"values", b"valves"))
    with pytest.raises(RecordsRejected, match=f"record 700 .*at byte {len(before)}: its label .*valves"):
        read_matrix(before + broken + after)


def test_a_dense_row_may_name_its_shape() -> None:
    matrix, _ = read_matrix(frame(entry(1, ONE + field(3, b"\x01"))))
    np.testing.assert_array_equal(matrix, [[1]])


GOOD = rows([[1, 2], [3]], 9)  # 76 bytes
REFUSED = {
    "a CSV": (b"user,item,rating\n1,2,3\n", r"record 0 .*at byte 0: it begins with 0x72657375.*0xced7230a"),
    "a foreign second record": (GOOD + b"junkjunk", "record 2 .*at byte 76: it begins with"),
    "a cut head": (GOOD + GOOD[:5], "record 2 .*at byte 76: the file ends after 5 bytes"),
    "a cut record": (GOOD + GOOD[:39], "record 2 .*at byte 76: the file ends after 39 bytes"),
    "a split record": (GOOD + struct.pack("<2I", MAGIC, 1 << 29 | 4) + b"1234", "claims 536870916 bytes"),
    "padding": (frame(b"\x0a\x00\x00")[:-1] + b"x", "padding is 78"),
    "Float64": (frame(entry(1, field(1, bytes(8)), 3)), "features hold Float64; topx reads one Float32"),
    "Int32": (frame(entry(1, ONE, 7)), "hold Int32"),
    "Bytes": (frame(entry(1, ONE, 9)), "hold Bytes"),
    "a Float64 label": (frame(entry(1, SPARSE) + entry(2, field(1, bytes(8)), 3)), "label hold Float64"),
    "two values": (frame(field(1, field(1, b"values") + field(2, field(2, ONE) * 2))), "hold Float32, Float32"),
    "no value": (frame(field(1, field(1, b"values"))), "hold nothing"),
    "another name": (frame(entry(1, ONE, name=b"image")), "features are named .*image.*named values"),
    "two features": (frame(entry(1, ONE) * 2), "one tensor of features"),
    "no features": (frame(entry(2, ONE)), "features are named"),
    "two labels": (frame(entry(1, ONE) + entry(2, field(1, bytes(8)))), "label has 8 bytes"),
    "half a value": (frame(entry(1, field(1, b"abc"))), "values have 3 bytes"),
    "values in two pieces": (frame(entry(1, ONE * 2)), "field 1 of the tensor .* 2 times"),
    "no shape": (frame(entry(1, ONE + field(2, b"\x05"))), "keys but no shape"),
    "two shapes": (frame(entry(1, SPARSE + field(3, b"\x09"))), "field 3 of the tensor"),
    "a shape of two": (frame(entry(1, ONE + field(2, b"\x05") + field(3, b"\x09\x02"))), "shape has several"),
    "no keys": (frame(entry(1, ONE + field(3, b"\x09"))), "1 values, no keys and the shape 9"),
    "too few keys": (frame(entry(1, field(1, bytes(8)) + field(2, b"\x05") + field(3, b"\x09"))), "2 values"),
    "too many keys": (frame(entry(1, ONE + field(2, b"\x05\x06") + field(3, b"\x09"))), "not as many keys"),
    "a cut key": (frame(entry(1, ONE + field(2, b"\x85") + field(3, b"\x09"))), "not as many keys"),
    "keys and no values": (frame(entry(1, field(2, b"\x05") + field(3, b"\x09"))), "0 values"),
    "a long key": (frame(entry(1, ONE + field(2, b"\xff" * 10 + b"\x00") + field(3, b"\x09"))), "the key 1844"),
    "a key too far": (GOOD + frame(entry(1, ONE + field(2, b"\x09") + field(3, b"\x09"))), "record 2 .*key 9"),
    "another shape": (GOOD + rows([[1]], 10), "record 2 .*shape 10 and no label; the first .* shape 9 and no"),
    "a label suddenly": (GOOD + rows([[1]], 9, labels=True), "record 2 .* a label; the first .* no label"),
    "dense after sparse": (GOOD + written(np.ones((1, 2))), "record 2 .*dense with 2 values"),
    "another width": (written(np.ones((2, 3))) + written(np.ones((1, 2))), "record 2 .*2 values.*3 values"),
    "a field past the end": (frame(b"\x0a\x7f\x00"), "runs past"),
    "another wire type": (frame(b"\x0d\x00\x00\x00\x00"), "wire type 5"),
    "an endless number": (frame(b"\xff" * 12), "runs past its field or has more than 63 bits"),
    "many fields": (frame(field(3, b"") * 40), "more than 32 fields"),
    "an empty payload": (frame(b""), "features are named"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_with_record_and_offset(name: str) -> None:
    content, message = REFUSED[name]
    with pytest.raises(RecordsRejected, match=message):
        read_matrix(content)


def test_the_earlier_rows_of_a_damaged_file_can_be_read() -> None:
    chunks = read_chunks(io.BytesIO(GOOD + b"junkjunk"))
    assert next(chunks)[0].shape == (2, 9)
    with pytest.raises(RecordsRejected, match="record 2"):
        next(chunks)


def survives(content: bytes) -> None:
    try:
        read_matrix(content)
    except RecordsRejected as rejected:
        assert "at byte" in str(rejected)  # noqa: PT017  either outcome is right, anything else is not


@pytest.mark.parametrize("name", ["two_hot", "mixed", "dense"])
def test_every_cut_is_refused_unless_it_falls_between_records(name: str) -> None:
    content = (GOLDEN / f"{name}.rec").read_bytes()
    heads = {at for at in range(0, len(content), 4) if content[at : at + 4] == struct.pack("<I", MAGIC)}
    for cut in range(len(content)):
        if cut in heads:
            read_matrix(content[:cut])
        else:
            with pytest.raises(RecordsRejected, match="the file ends after"):
                read_matrix(content[:cut])


@pytest.mark.parametrize("name", ["two_hot", "mixed", "dense"])
def test_a_flipped_byte_is_refused_or_read(name: str) -> None:
    content = bytearray((GOLDEN / f"{name}.rec").read_bytes())
    for at in range(len(content)):
        for flip in (1, 4, 128, 255) if len(content) < 1000 else (at % 255 + 1,):
            content[at] ^= flip
            survives(bytes(content))
            content[at] ^= flip


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_anything_in_a_frame_is_refused_or_read(payloads: list[bytes]) -> None:
    survives(b"".join(map(frame, payloads)))


@pytest.mark.parametrize("claim", [(1 << 29) - 1, 1 << 29, (1 << 32) - 1])
def test_a_claimed_length_costs_no_memory(claim: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RecordsRejected):
            read_matrix(GOOD + struct.pack("<2I", MAGIC, claim) + bytes(1000))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


class Dripping(io.RawIOBase):
    """A source such as a socket: it gives fewer bytes than it is asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self.content.read(min(size, 7))


def test_a_source_may_give_fewer_bytes_than_asked() -> None:
    assert_same(read_matrix(Dripping((GOLDEN / "mixed.rec").read_bytes())), *RECORDS["mixed"])


def out_of_range(key: int) -> sparse.csr_array:
    matrix = sparse.csr_array(np.eye(3, dtype=np.float32))
    matrix.indices[1] = key
    return matrix


@pytest.mark.parametrize(
    ("write", "matrix", "labels", "message"),
    [
        (write_sparse, np.ones((2, 2)), None, "ndarray of 2 dimensions; write_sparse takes a SciPy"),
        (write_sparse, sparse.coo_array(np.ones(3)), None, "coo_array of 1 dim"),
        (write_dense, sparse.csr_array((2, 2)), None, "csr_array of 2 dimensions; write_dense takes"),
        (write_dense, np.ones(3), None, "ndarray of 1 dim"),
        (write_dense, np.ones((3, 2)), [1, 2], r"shape \(2,\); 3 rows have labels of shape \(3,\)"),
        (write_sparse, sparse.csr_array((3, 2)), np.ones((3, 1)), r"shape \(3, 1\)"),
        (write_dense, np.ones((1, 1), complex), None, "values have dtype complex128"),
        (write_dense, np.ones((1, 1)), np.array(["a"]), "labels have dtype <U1"),
        (write_sparse, sparse.csr_array([[1e39]]), None, "values reach beyond float32"),
        (write_dense, np.ones((1, 1)), [1e39], "labels reach beyond float32"),
        (write_sparse, out_of_range(3), None, "row 1 has the key 3; its matrix has columns 0 to 2"),
        (write_sparse, out_of_range(-1), None, "row 1 has the key -1"),
    ],
)
def test_what_cannot_be_written_is_refused(write: Any, matrix: Any, labels: Any, message: str) -> None:
    file = io.BytesIO()
    with pytest.raises(RecordsRejected, match=message):
        write(file, matrix, labels)
    assert file.getvalue() == b""
