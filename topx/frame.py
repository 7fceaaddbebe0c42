"""One record of recordIO-protobuf: where its data stands among the bytes that frame it.

A frame is magic, length of the payload (both u32, little endian), payload, zero padding to four bytes. A
payload is a protobuf `Record`: one Float32 tensor under features["values"], sparse where it has keys and a
shape, and as label one Float32 number under label["values"]. All its fields are length-delimited.
"""

import struct
from dataclasses import dataclass

MAGIC = 0xCED7230A
LONGEST = (1 << 29) - 1  # bytes of a payload: recordIO keeps the three bits above for split records
_KINDS = {2: "Float32", 3: "Float64", 7: "Int32", 9: "Bytes"}  # of tensors

_Span = tuple[int, int]  # begin and end in the frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The layout of all frames that agree in every byte outside their data.

    `spans` holds begin and end of "values", "keys" and "label" in the frame, of those that it has.
    """

    frame: bytes
    shape: int | None  # None: a dense row
    spans: dict[str, _Span]

    @property
    def nnz(self) -> int:
        """The count of values."""
        begin, end = self.spans.get("values", (0, 0))
        return (end - begin) // 4


def lay_out(nnz: int, key_bytes: int, shape: int | None, labelled: bool) -> Layout:
    """The layout that the SageMaker SDK v2 writes: fields in the order of their numbers, no empty ones.

    Raises ValueError where the row is too long for a record.
    """
    values = _field(1, bytes(4 * nnz)) if nnz else b""
    keys = _field(2, bytes(key_bytes)) if key_bytes else b""
    tensor = values + keys + (b"" if shape is None else _field(3, varint(shape)))
    features = _entry(1, tensor)
    payload = features + (_entry(2, _field(1, bytes(4))) if labelled else b"")
    if len(payload) > LONGEST:
        raise ValueError(f"its {nnz} values take {len(payload)} bytes; a record has at most {LONGEST}")
    end = 8 + len(features) - len(tensor) + len(values)
    spans = {
        "values": (end - 4 * nnz, end),
        "keys": (end + len(keys) - key_bytes, end + len(keys)),
        "label": (8 + len(payload) - 4 * labelled, 8 + len(payload)),
    }
    frame = struct.pack("<II", MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)
    return Layout(frame=frame, shape=shape, spans=_filled(spans))


def take_apart(frame: bytes) -> Layout:
    """The layout of a frame, whoever wrote it.

    Magic and length are taken as right; what the keys say is not looked at. Raises ValueError that says
    what is wrong with the frame.
    """
    end = 8 + int.from_bytes(frame[4:8], "little")
    if any(frame[end:]):
        raise ValueError(f"its padding is {frame[end:].hex()}; padding is zero")
    record = _fields(frame, (8, end))
    features = _tensor(frame, record.get(1, []), "features")
    spans = {"values": features.get(1, (0, 0)), "keys": features.get(2, (0, 0))}
    if 2 in record:
        spans["label"] = _tensor(frame, record[2], "label").get(1, (0, 0))
        if (size := spans["label"][1] - spans["label"][0]) != 4:
            raise ValueError(f"its label has {size} bytes; a label is one Float32 number")
    if (size := spans["values"][1] - spans["values"][0]) % 4:
        raise ValueError(f"its values have {size} bytes; Float32 numbers have 4 each")
    spans = _filled(spans)
    shape = _shape(frame, features[3]) if 3 in features else None
    if "keys" in spans and shape is None:
        raise ValueError("it has keys but no shape; a sparse row names its feature_dim as shape")
    if "values" in spans and "keys" not in spans and shape is not None:
        if shape != size // 4:
            raise ValueError(
                f"it has {size // 4} values, no keys and the shape {shape}; one key belongs to each value"
            )
        shape = None
    return Layout(frame=frame, shape=shape, spans=spans)


def _filled(spans: dict[str, _Span]) -> dict[str, _Span]:
    return {name: (begin, end) for name, (begin, end) in spans.items() if begin < end}


def varint(number: int) -> bytes:
    """The number (>= 0) in seven bits a byte, the low ones first."""
    digits = [number >> shift & 127 for shift in range(0, max(1, number.bit_length()), 7)]
    return bytes([digit | 128 for digit in digits[:-1]] + digits[-1:])


def _field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(body)) + body


def _entry(number: int, tensor: bytes) -> bytes:
    return _field(number, _field(1, b"values") + _field(2, _field(2, tensor)))


def _integer(frame: bytes, begin: int, end: int) -> tuple[int, int]:
    """The varint at begin, and where it ends."""
    number = 0
    for place, byte in enumerate(frame[begin : min(end, begin + 9)]):
        number |= (byte & 127) << 7 * place
        if byte < 128:
            return number, begin + place + 1
    raise ValueError("a number within it runs past its field or has more than 63 bits")


def _fields(frame: bytes, span: _Span) -> dict[int, list[_Span]]:
    """The spans of the fields of the protobuf message in span, by field number."""
    at, end = span
    fields: dict[int, list[_Span]] = {}
    for _ in range(32):
        if at == end:
            return fields
        tag, at = _integer(frame, at, end)
        size, at = _integer(frame, at, end)
        if tag & 7 != 2:
            raise ValueError(f"a field has wire type {tag & 7}; the fields of a Record have wire type 2")
        if at + size > end:
            raise ValueError(f"a field of {size} bytes runs past the {end - at} that its message has left")
        fields.setdefault(tag >> 3, []).append((at, at + size))
        at += size
    raise ValueError("a message within it has more than 32 fields; a Record has five kinds")


def _tensor(frame: bytes, entries: list[_Span], what: str) -> dict[int, _Span]:
    """The spans of values (1), keys (2) and shape (3) of the one Float32 tensor named values."""
    pairs = [_fields(frame, entry) for entry in entries]
    names = [frame[begin:end] for pair in pairs for begin, end in pair.get(1, [])]
    if names != [b"values"]:
        raise ValueError(f"its {what} are named {names!r:.80}; a record has one tensor of {what}, named values")
    values = [_fields(frame, span) for span in pairs[0].get(2, [])]
    kinds = [(kind, span) for value in values for kind, spans in value.items() for span in spans]
    if [kind for kind, _ in kinds] != [2]:
        found = ", ".join(_KINDS.get(kind, f"field {kind}") for kind, _ in kinds) or "nothing"
        raise ValueError(f"its {what} hold {found:.80}; topx reads one Float32 tensor")
    parts = _fields(frame, kinds[0][1])
    for number, spans in parts.items():
        if len(spans) > 1:
            raise ValueError(
                f"field {number} of the tensor of its {what} comes {len(spans)} times; once is allowed"
            )
    return {number: spans[0] for number, spans in parts.items()}


def _shape(frame: bytes, span: _Span) -> int:
    shape, end = _integer(frame, *span)
    if end != span[1]:
        raise ValueError("its shape has several numbers; the shape of a row is its feature_dim alone")
    return shape
