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

from topx import recordio, tables
from topx.errors import RecordsRejected
from topx.frames import Damaged, scan
from topx.recordio import read_chunks, read_matrix, write_dense, write_sparse
from topx.rows import Reader, _by_hand

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


def field(tag: int, body: bytes) -> bytes:
    return bytes([tag << 3 | 2]) + number(len(body)) + body


def entry(tag: int, tensor: bytes, kind: int = 2, name: bytes = b"values") -> bytes:
    return field(tag, field(1, name) + field(2, field(kind, tensor)))


def packed(tensor: int, numbers: Any) -> bytes:
    """Numbers as protobuf packs them in this field of a Value: Float32 (2), Float64 (3) or Int32 (7)."""
    if tensor == 7:
        return b"".join(number(int(one) % (1 << 64)) for one in numbers)
    return np.asarray(numbers, {2: "<f4", 3: "<f8"}[tensor]).tobytes()


def number(value: int) -> bytes:
    more = []
    while value > 127:
        more.append(value & 127 | 128)
        value >>= 7
    return bytes([*more, value])


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
    monkeypatch.setattr(tables, "_KNOWN", 1)
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
    floats = st.floats(width=32, allow_nan=False)
    values = data.draw(st.lists(floats, min_size=int(ends[-1]), max_size=int(ends[-1])))
    labels = data.draw(st.none() | st.lists(floats, min_size=len(keys), max_size=len(keys)))
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


def test_a_long_row_of_another_writer_is_read_or_named() -> None:
    keys = list(range(128, 1128))
    numbers = field(1, packed(2, keys)) + field(2, packed(7, keys))
    content = frame(entry(1, field(3, b"\x90\x4e") + numbers))
    matrix, _ = read_matrix(content)
    np.testing.assert_array_equal(matrix.indices, keys)
    endless = frame(entry(1, field(3, b"\x90\x4e") + numbers[:-1] + b"\x88"))
    with pytest.raises(RecordsRejected, match="a number within it runs past its field"):
        read_matrix(endless)


def test_a_dense_row_may_name_its_shape() -> None:
    matrix, _ = read_matrix(frame(entry(1, ONE + field(3, b"\x01"))))
    np.testing.assert_array_equal(matrix, [[1]])


DTYPES = {2: np.float32, 3: np.float64, 7: np.int32}
INTEGERS = np.array([0, 1, -1, 127, 128, 300, -(2**31), 2**31 - 1] * 100)


@pytest.mark.parametrize("count", [1, 2, 800])
@pytest.mark.parametrize("label", [None, 2, 3, 7])
@pytest.mark.parametrize("tensor", [2, 3, 7])
def test_each_tensor_is_read_in_its_own_dtype(tensor: int, label: int | None, count: int) -> None:
    integers = INTEGERS[:count]
    labels = [entry(2, field(1, packed(label, [one])), label) if label else b"" for one in integers]
    expected = None if label is None else integers.astype(DTYPES[label])
    content = b""
    for one, with_label in zip(integers, labels, strict=True):
        content += frame(entry(1, field(1, packed(tensor, [one, 7, -one])), tensor) + with_label)
    matrix, column = read_matrix(content)
    with np.errstate(over="ignore"):
        dense = np.stack([integers, np.full(count, 7), -integers], axis=1)
    assert matrix.dtype == DTYPES[tensor]
    np.testing.assert_array_equal(matrix, dense.astype(np.int64).astype(DTYPES[tensor]))
    content = b""
    for row, (one, with_label) in enumerate(zip(integers, labels, strict=True)):
        numbers = [one] * (row % 4)
        tensors = field(1, packed(tensor, numbers)) + field(2, packed(7, range(row % 4))) if row % 4 else b""
        content += frame(entry(1, tensors + field(3, number(300)), tensor) + with_label)
    rows, other = read_matrix(content)
    assert rows.dtype == DTYPES[tensor]
    assert rows.shape == (count, 300)
    np.testing.assert_array_equal(rows.data, np.repeat(integers, np.arange(count) % 4).astype(DTYPES[tensor]))
    np.testing.assert_array_equal(rows.indices, [key for row in range(count) for key in range(row % 4)])
    for found in (column, other):
        assert (found is None) == (expected is None)
        if expected is not None:
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("tensor", [2, 3, 7])
def test_numbers_need_not_be_packed(tensor: int) -> None:
    wire = {2: 5, 3: 1, 7: 0}[tensor]
    loose = b"".join(bytes([1 << 3 | wire]) + packed(tensor, [one]) for one in (5, 6))
    keys = b"\x10\x03" + field(2, b"\x04") + b"\x10\x81\x01"
    label = entry(2, bytes([1 << 3 | wire]) + packed(tensor, [9]), tensor)
    row = entry(1, keys + loose + field(1, packed(tensor, [7])) + b"\x18\x90\x03", tensor)
    matrix, labels = read_matrix(frame(row + label) * 3)
    assert matrix.dtype == labels.dtype == DTYPES[tensor]
    np.testing.assert_array_equal(matrix.data, [5, 6, 7] * 3)
    np.testing.assert_array_equal(matrix.indices, [3, 4, 129] * 3)
    np.testing.assert_array_equal(labels, [9] * 3)


def test_fields_that_are_not_known_are_passed_over() -> None:
    strange = b"".join([b"\xf8\x07\x85\x01", b"\xf9\x07" + bytes(8), b"\xfd\x07" + bytes(4), b"\xfa\x07\x01x"])
    matrix, _ = read_matrix(frame(strange + entry(1, strange + SPARSE + strange) + strange))
    np.testing.assert_array_equal(matrix.indices, [5])


def test_a_matrix_that_was_read_can_be_written_to() -> None:
    for content in (rows([[1, 2]], 9), frame(entry(1, SPARSE + field(4, b"odd"))), written(np.ones((1, 2)))):
        for matrix, _ in (read_matrix(content), *read_chunks(io.BytesIO(content))):
            matrix *= 2


GOOD = rows([[1, 2], [3]], 9)  # 76 bytes
PHOTO = struct.pack("<IfQQ", 0, 3, 1, 0) + b"\xff\xd8\xff\xe0 a photo"
REFUSED = {
    "a CSV": (b"user,item,rating\n1,2,3\n", r"record 0 .*at byte 0: it begins with 0x72657375.*0xced7230a"),
    "a foreign second record": (GOOD + b"junkjunk", "record 2 .*at byte 76: it begins with"),
    "a cut head": (GOOD + GOOD[:5], "record 2 .*at byte 76: the file ends after 5 bytes"),
    "a cut record": (GOOD + GOOD[:39], "record 2 .*at byte 76: the file ends after 39 bytes"),
    "a split record": (
        GOOD + struct.pack("<2I", MAGIC, 1 << 29 | 4) + b"1234",
        "record 2 .*at byte 76: it claims 536870916 bytes.*cflag 1",
    ),
    "an image": (frame(PHOTO), "image record of MXNet"),
    "an image of many labels": (frame(struct.pack("<IfQQ2f", 2, 0, 1, 0, 1, 2) + PHOTO[24:]), "image record"),
    "an answer": (
        frame(entry(2, ONE, name=b"distances") + entry(2, ONE, name=b"labels")),
        "no features but the labels distances, labels: a model's answer",
    ),
    "padding": (frame(b"\x0a\x00\x00")[:-1] + b"x", "padding is 78"),
    "Bytes": (frame(entry(1, ONE, 9)), "hold Bytes; topx reads one tensor of Float32, Float64 or Int32"),
    "an unknown tensor": (frame(entry(1, ONE, 4)), "hold field 4"),
    "two values": (frame(field(1, field(1, b"values") + field(2, field(2, ONE) * 2))), "hold Float32, Float32"),
    "no value": (frame(field(1, field(1, b"values"))), "hold nothing"),
    "a third in an entry": (frame(field(1, field(1, b"values") + field(3, b""))), "entry of a map has field 3"),
    "another name": (frame(entry(1, ONE, name=b"image")), "features are 1 named image; .* one, named values"),
    "two features": (frame(entry(1, ONE) * 2), "features are 2 named values, values"),
    "no features": (frame(field(3, b"uid")), "features are 0 named nothing"),
    "two labels": (frame(entry(1, ONE) + entry(2, field(1, bytes(8)))), "label has 2 numbers; a label is one"),
    "half a value": (frame(entry(1, field(1, b"abc"))), "values have 3 bytes; Float32 numbers have 4"),
    "half a Float64": (frame(entry(1, ONE, 3)), "values have 4 bytes; Float64 numbers have 8"),
    "a cut Int32": (frame(entry(1, field(1, b"\x01\x85"), 7)), "a number within it runs past its field"),
    "an Int32 of 11 bytes": (frame(entry(1, field(1, b"\xff" * 10 + b"\x01"), 7)), "more than 64 bits"),
    "values of another wire type": (frame(entry(1, b"\x09" + bytes(8))), "field 1 of the Float32 .* type 1"),
    "no shape": (frame(entry(1, ONE + field(2, b"\x05"))), "keys but no shape"),
    "two shapes": (frame(entry(1, SPARSE + field(3, b"\x09"))), "shape has 2 numbers"),
    "a shape of two": (frame(entry(1, ONE + field(2, b"\x05") + field(3, b"\x09\x02"))), "shape has 2 numbers"),
    "a shape too large": (frame(entry(1, field(3, number(1 << 63)))), "at most 63 bits"),
    "no keys": (frame(entry(1, ONE + field(3, b"\x09"))), "1 values, no keys and the shape 9"),
    "too few keys": (frame(entry(1, field(1, bytes(8)) + field(2, b"\x05") + field(3, b"\x09"))), "2 values"),
    "too many keys": (frame(entry(1, ONE + field(2, b"\x05\x06") + field(3, b"\x09"))), "1 values and 2 keys"),
    "a cut key": (frame(entry(1, ONE + field(2, b"\x85") + field(3, b"\x09"))), "a number within it runs past"),
    "keys and no values": (frame(entry(1, field(2, b"\x05") + field(3, b"\x09"))), "0 values"),
    "a long key": (
        frame(entry(1, ONE + field(2, b"\xff" * 10 + b"\x00") + field(3, b"\x09"))),
        "more than 64 bits",
    ),
    "a key too far": (GOOD + frame(entry(1, ONE + field(2, b"\x09") + field(3, b"\x09"))), "record 2 .*key 9"),
    "another shape": (GOOD + rows([[1]], 10), "record 2 .*shape 10 and no label; the first .* shape 9 and no"),
    "a label suddenly": (GOOD + rows([[1]], 9, labels=True), "record 2 .* a Float32 label; .* no label"),
    "dense after sparse": (GOOD + written(np.ones((1, 2))), "record 2 .*dense with 2 Float32 values"),
    "another width": (written(np.ones((2, 3))) + written(np.ones((1, 2))), "record 2 .*2 Float32 .*3 Float32"),
    "another dtype": (
        written(np.ones((2, 1))) + frame(entry(1, field(1, bytes(8)), 3)),
        "record 2 .*1 Float64 values.*first .*1 Float32",
    ),
    "a field past the end": (frame(b"\x0a\x7f\x00"), "runs past"),
    "a fixed field past the end": (frame(b"\xfd\x07\x00"), "field of 4 bytes runs past the 1"),
    "features of another wire type": (frame(b"\x0d\x00\x00\x00\x00"), "field 1 has wire type 5; a message"),
    "a group": (frame(b"\x0b\x0c"), "number 1 and wire type 3"),
    "a tag of 64 bits": (frame(b"\xfa" + b"\xff" * 8 + b"\x01\x00"), "number 2305843009213693951"),
    "field 0": (frame(b"\x02\x00"), "number 0"),
    "an endless number": (frame(b"\xff" * 12), "runs past its field or has more than 64 bits"),
    "many fields": (frame(field(3, b"") * 70000), "more than 65536 fields"),
    "an empty payload": (frame(b""), "its payload is empty"),
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


def test_of_several_damaged_records_the_first_is_named() -> None:
    many = [[user, 900 + user] for user in range(700)]
    content = bytearray(rows(many, 2000))
    size = len(content) // 700
    for row in (650, 20, 400):
        content[row * size + 8] ^= 1
    with pytest.raises(RecordsRejected, match=f"record 20 .*at byte {20 * size}:"):
        read_matrix(content)
    content[20 * size + 8] ^= 1
    content[300 * size + 35] ^= 128  # the first key does not end where it did
    with pytest.raises(RecordsRejected, match=f"record 300 .*at byte {300 * size}: .*keys"):
        read_matrix(content)


def survives(content: bytes) -> None:
    try:
        read_matrix(content)
    except RecordsRejected as rejected:
        assert "at byte" in str(rejected)  # noqa: PT017  either outcome is right, anything else is not


SMALL = {
    **{name: (GOLDEN / f"{name}.rec").read_bytes() for name in ("two_hot", "mixed", "dense")},
    "Float64": frame(entry(1, field(1, packed(3, [1, 2])), 3) + entry(2, field(1, bytes(8)), 3)) * 3,
    "Int32": frame(entry(1, field(1, packed(7, [1, -2, 300])), 7) + entry(2, field(1, b"\x03"), 7)) * 3,
    "not packed": frame(entry(1, b"\x10\x05\x0d" + bytes(4) + b"\x18\x09")) * 3,
}


@pytest.mark.parametrize("name", SMALL)
def test_every_cut_is_refused_unless_it_falls_between_records(name: str) -> None:
    content = SMALL[name]
    heads = {at for at in range(0, len(content), 4) if content[at : at + 4] == struct.pack("<I", MAGIC)}
    for cut in range(len(content)):
        if cut in heads:
            read_matrix(content[:cut])
        else:
            with pytest.raises(RecordsRejected, match="the file ends after"):
                read_matrix(content[:cut])


@pytest.mark.parametrize("name", SMALL)
def test_a_flipped_byte_is_refused_or_read(name: str) -> None:
    content = bytearray(SMALL[name])
    for at in range(len(content)):
        for flip in (1, 4, 128, 255) if len(content) < 1000 else (at % 255 + 1,):
            content[at] ^= flip
            survives(bytes(content))
            content[at] ^= flip


@pytest.mark.parametrize("labels", [True, False])
def test_a_flipped_byte_among_many_rows_is_refused_or_read(labels: bool) -> None:
    content = bytearray(rows([[user % 128, 900 + user] for user in range(300)], 2000, labels=labels))
    size = len(content) // 300
    for at in range(150 * size, 151 * size):
        content[at] ^= 1
        survives(bytes(content))
        content[at] ^= 1


def many_alike(name: str, count: int = 90) -> bytes:
    """Records that are read many at a time: of one length, of few or of many."""
    random = np.random.default_rng(5)
    label = entry(2, field(1, struct.pack("<f", 1)))
    if name == "dense":
        return written(random.normal(size=(count, 65)).astype(np.float32), np.arange(count))
    if name == "Float64":
        return b"".join(frame(entry(1, field(1, packed(3, [one, 2.5])), 3) + label) for one in range(count))
    if name == "Int32":
        tensors = [field(1, packed(7, [one % 5, -2, 300 * one])) for one in range(count)]
        labels = [entry(2, field(1, packed(7, [300 * (one % 2)])), 7) for one in range(count)]
        return b"".join(frame(entry(1, one, 7) + other) for one, other in zip(tensors, labels, strict=True))
    if name == "another order":
        shaped = [field(3, b"\x90\x03") + ONE + field(2, number(one)) for one in range(count)]
        return b"".join(frame(label + entry(1, one)) for one in shaped)
    sizes = {"two-hot": [2], "three keys": [3], "0 to 9": range(10), "0 to 60": [0, 1, 20, 40, 60]}[name]
    lengths = random.choice(list(sizes), count)
    return rows([random.choice([1, 200, 20_000], size) for size in lengths], 30_000, labels=name != "0 to 9")


def outcome(read: Any) -> tuple[Any, ...]:
    try:
        found = read()
    except Damaged as damaged:
        return damaged.row, str(damaged)
    values = np.ravel(found.values)
    return *(each.tolist() for each in (found.counts, found.keys)), values.tobytes(), found.labels.tobytes()


@pytest.mark.parametrize("enough", [1, 1 << 60])
@pytest.mark.parametrize(
    "name",
    ["two-hot", "three keys", "0 to 9", "0 to 60", "dense", "Float64", "Int32", "another order"],
)
def test_many_rows_at_a_time_are_read_as_by_hand_whatever_byte_is_damaged(
    name: str, enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_ENOUGH", enough)  # rows of some lengths are read as tables, or followed
    content = np.frombuffer(many_alike(name), np.uint8).copy()
    whole, _ = scan(content)
    form, random = whole.hand(0)[1].form, np.random.default_rng(7)
    size = whole.end // whole.heads.size
    near = random.integers(0, min(size, 64), 40) + random.choice(whole.heads[:-1], 40)  # where the fields are
    for at in [None, *near.tolist(), *random.integers(0, content.size, 30).tolist()]:
        flip = 0 if at is None else int(random.choice([1, 2, 4, 8, 128, 255]))
        content[at or 0] ^= flip
        frames, _ = scan(content)
        if frames.heads.size:
            every = np.arange(frames.heads.size)
            expected = outcome(lambda frames=frames, every=every: _by_hand(frames, every, form)[1])
            assert outcome(lambda frames=frames: Reader(form).read(frames)) == expected
        content[at or 0] ^= flip


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
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_long_rows_of_different_lengths_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordio, "_BLOCK", 1 << 17)
    content = rows([[1] * (30_000 + row) for row in range(160)], 9)  # 24 MB
    tracemalloc.start()
    try:
        assert sum(matrix.shape[0] for matrix, _ in read_chunks(io.BytesIO(content))) == 160
        assert tracemalloc.get_traced_memory()[1] < 40 << 20  # 32 MB are at hand
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


@pytest.mark.parametrize("beyond", [2**31, -(2**31) - 1])
def test_integers_beyond_int32_are_refused_in_their_own_dtype(beyond: int) -> None:
    for matrix, labels, what in ((np.array([[beyond]]), None, "values"), (np.ones((1, 1)), [beyond], "labels")):
        with pytest.raises(RecordsRejected, match=f"the {what} reach beyond int32"):
            write_dense(io.BytesIO(), matrix, labels, own_dtype=True)


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
