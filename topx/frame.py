"""One record of recordIO-protobuf, taken apart by hand.

A frame is magic, length of the payload (both u32, little endian), payload, zero padding to four bytes. A
payload is a protobuf `Record` (`record.proto` of the SageMaker SDK): one tensor of Float32, Float64 or Int32
under features["values"], sparse where it has keys and a shape, and as label one number under label["values"].
Whatever protobuf allows is read: fields in any order, numbers packed or not, fields that are not known.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from topx import varint

MAGIC = 0xCED7230A
LONGEST = (1 << 29) - 1  # bytes of a payload: recordIO keeps the three bits above for split records
FLOAT32, FLOAT64, INT32 = 2, 3, 7  # tensors, by their field in a Value
DTYPES: dict[int, np.dtype[Any]] = {FLOAT32: np.dtype("<f4"), FLOAT64: np.dtype("<f8"), INT32: np.dtype("<i4")}
_NAMES = {FLOAT32: "Float32", FLOAT64: "Float64", INT32: "Int32", 9: "Bytes"}
_FIXED = {1: 8, 5: 4}  # bytes by wire type
_MANY, _SHORT = 1 << 16, 1 << 10
_ENDLESS = "a number within it runs past its field or has more than 64 bits"
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG")

_Span = tuple[int, int]  # begin and end in the frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the records of one file have in common; tensors are named by their field in a Value."""

    tensor: int
    shape: int | None  # None: dense rows
    width: int | None  # values of a dense row
    label: int | None  # None: no labels

    def __str__(self) -> str:
        values = f"{self.width} {_NAMES[self.tensor]} values"
        if self.shape is not None:
            values = f"{_NAMES[self.tensor]} values and the shape {self.shape}"
        label = "no" if self.label is None else f"a {_NAMES[self.label]}"
        return f"{'dense' if self.shape is None else 'sparse'} with {values} and {label} label"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A record that is in order: its form and the spans of "values", "keys" and "label" in its frame."""

    form: Form
    spans: dict[str, list[_Span]]

    def data(self, frame: bytes, name: str) -> bytes:
        """The bytes in these spans, as protobuf packs them."""
        return b"".join(frame[begin:end] for begin, end in self.spans[name])


def take_apart(frame: bytes) -> Frame:
    """The record in the frame, whoever wrote it. Magic and length are taken as right.

    Raises ValueError that says what is wrong with the frame.
    """
    end = 8 + int.from_bytes(frame[4:8], "little")
    if any(frame[end:]):
        raise ValueError(f"its padding is {frame[end:].hex()}; padding is zero")
    if end == 8:
        raise ValueError("its payload is empty; a record has features")
    flag = 4 * min(int.from_bytes(frame[8:12], "little"), 1 << 16)
    if frame[32 + flag :].startswith(_IMAGES):
        raise ValueError("it is an image record of MXNet; topx reads protobuf records")
    entries: dict[int, list[_Span]] = {1: [], 2: []}
    for number, wire, span in _fields(frame, (8, end)):
        if number in entries:
            entries[number].append(_message(number, wire, span))
    if entries[2] and not entries[1]:
        names = _joined(name for entry in entries[2] for name in _entry(frame, entry)[0])
        raise ValueError(f"it has no features but the labels {names:.80}: a model's answer, not a row")
    tensor, values, keys, shape = _tensor(frame, entries[1], "features")
    label: int | None = None
    labels: list[_Span] = []
    if entries[2]:
        label, labels, *_ = _tensor(frame, entries[2], "label")
        if (count := _count(frame, label, labels, "label")) != 1:
            raise ValueError(f"its label has {count} numbers; a label is one")
    spans = {"values": values, "keys": keys, "label": labels}
    count = _count(frame, tensor, values, "values")
    feature_dim = _feature_dim(_numbers(frame, shape))
    form = Form(tensor=tensor, shape=feature_dim, width=None, label=label)
    if any(begin < end for begin, end in keys) or (feature_dim is not None and not count):
        _check_keys(_numbers(frame, keys), count, feature_dim)
    elif feature_dim in (None, count):
        form = Form(tensor=tensor, shape=None, width=count, label=label)
    else:
        raise ValueError(
            f"it has {count} values, no keys and the shape {feature_dim}; one key belongs to each value"
        )
    return Frame(form=form, spans=spans)


def _integer(frame: bytes, begin: int, end: int) -> tuple[int, int]:
    """The varint at begin, and where it ends."""
    number = 0
    for place, byte in enumerate(frame[begin : min(end, begin + varint.LONGEST)]):
        number |= (byte & 127) << 7 * place
        if byte < 128:
            return number, begin + place + 1
    raise ValueError(_ENDLESS)


def _fields(frame: bytes, span: _Span) -> Iterator[tuple[int, int, _Span]]:
    """Number, wire type and content of each field of the protobuf message in span."""
    at, end = span
    for _ in range(_MANY):
        if at == end:
            return
        tag, at = _integer(frame, at, end)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29 or wire not in (0, 1, 2, 5):
            raise ValueError(
                f"a field has number {number} and wire type {wire}; protobuf has no such field now"
            )
        if wire == 0:
            size = _integer(frame, at, end)[1] - at
        elif wire == 2:
            size, at = _integer(frame, at, end)
        else:
            size = _FIXED[wire]
        if at + size > end:
            raise ValueError(f"a field of {size} bytes runs past the {end - at} that its message has left")
        yield number, wire, (at, at + size)
        at += size
    if at < end:
        raise ValueError(f"a message within it has more than {_MANY} fields; a Record has five kinds")


def _message(number: int, wire: int, span: _Span) -> _Span:
    if wire != 2:
        raise ValueError(f"field {number} has wire type {wire}; a message has wire type 2")
    return span


def _entry(frame: bytes, span: _Span) -> tuple[list[bytes], list[_Span]]:
    """(keys, values) of an entry of a map."""
    keys, values = [], []
    for number, wire, (begin, end) in _fields(frame, span):
        if number == 1:
            keys.append(frame[slice(*_message(number, wire, (begin, end)))])
        elif number == 2:
            values.append(_message(number, wire, (begin, end)))
        else:
            raise ValueError(f"an entry of a map has field {number}; it has a key (1) and a value (2)")
    return keys, values


def _joined(names: Iterable[bytes]) -> str:
    return b", ".join(names).decode("utf-8", "replace") or "nothing"


def _tensor(frame: bytes, entries: list[_Span], what: str) -> tuple[int, list[_Span], list[_Span], list[_Span]]:
    """(field in its Value, values, keys, shape) of the one tensor named values; spans of packed numbers."""
    pairs = [_entry(frame, entry) for entry in entries]
    if [keys for keys, _ in pairs] != [[b"values"]]:
        names = _joined(key for keys, _ in pairs for key in keys)
        raise ValueError(f"its {what} are {len(pairs)} named {names:.80}; a record has one, named values")
    kinds = [(field[0], _message(*field)) for value in pairs[0][1] for field in _fields(frame, value)]
    if len(kinds) != 1 or kinds[0][0] not in DTYPES:
        found = ", ".join(_NAMES.get(kind, f"field {kind}") for kind, _ in kinds) or "nothing"
        raise ValueError(f"its {what} hold {found:.80}; topx reads one tensor of Float32, Float64 or Int32")
    tensor, span = kinds[0]
    one = {1: {FLOAT32: 5, FLOAT64: 1, INT32: 0}[tensor], 2: 0, 3: 0}  # wire types of what is not packed
    parts: dict[int, list[_Span]] = {number: [] for number in one}
    for number, wire, content in _fields(frame, span):
        if number in parts:
            if wire not in (2, one[number]):
                raise ValueError(
                    f"field {number} of the {_NAMES[tensor]} tensor of its {what} has wire type {wire}; "
                    f"its numbers have {one[number]}, or 2 where they are packed"
                )
            parts[number].append(content)
    return tensor, parts[1], parts[2], parts[3]


def _numbers(frame: bytes, spans: list[_Span]) -> list[int]:
    """The varints in the spans, each of which holds whole ones."""
    numbers: list[int] = []
    for at, end in spans:
        if end - at > _SHORT:  # the same for less time
            decoded, begins = varint.decoded(np.frombuffer(frame[at:end], np.uint8))
            if frame[end - 1] > 127 or np.diff(begins).max() > varint.LONGEST:
                raise ValueError(_ENDLESS)
            numbers += decoded.tolist()
            continue
        while at < end:
            number, at = _integer(frame, at, end)
            numbers.append(number)
    return numbers


def _count(frame: bytes, tensor: int, spans: list[_Span], what: str) -> int:
    """How many numbers there are."""
    if tensor == INT32:
        return len(_numbers(frame, spans))
    size, each = sum(end - begin for begin, end in spans), DTYPES[tensor].itemsize
    if any((end - begin) % each for begin, end in spans):
        raise ValueError(f"its {what} have {size} bytes; {_NAMES[tensor]} numbers have {each} each")
    return size // each


def _feature_dim(shape: list[int]) -> int | None:
    if len(shape) > 1:
        raise ValueError(f"its shape has {len(shape)} numbers; the shape of a row is its feature_dim alone")
    if shape and shape[0] >= 1 << 63:
        raise ValueError(f"its shape is {shape[0]}; a feature_dim has at most 63 bits")
    return shape[0] if shape else None


def _check_keys(keys: list[int], count: int, feature_dim: int | None) -> None:
    if feature_dim is None:
        raise ValueError("it has keys but no shape; a sparse row names its feature_dim as shape")
    if len(keys) != count:
        raise ValueError(f"it has {count} values and {len(keys)} keys; each value has one")
    if keys and max(keys) >= feature_dim:
        raise ValueError(f"it has the key {max(keys)}; the keys of the shape {feature_dim} are less")
