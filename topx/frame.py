"""One record of recordIO-protobuf, taken apart by hand.

A frame is magic, length of the payload (both u32, little endian), payload, zero padding to four bytes. A
payload is a protobuf `Record`: one Float32 tensor under features["values"], sparse where it has keys and a
shape, and as label one Float32 number under label["values"]. All its fields are length-delimited.
"""

from dataclasses import dataclass

MAGIC = 0xCED7230A
LONGEST = (1 << 29) - 1  # bytes of a payload: recordIO keeps the three bits above for split records
_KINDS = {2: "Float32", 3: "Float64", 7: "Int32", 9: "Bytes"}  # of tensors

_Span = tuple[int, int]  # begin and end in the frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where the data of a record stands.

    `spans` holds begin and end of "values", "keys" and "label" in the frame, (0, 0) of what it does not have.
    """

    shape: int | None  # None: a dense row
    spans: dict[str, _Span]

    @property
    def labelled(self) -> bool:
        """Whether the record has a label."""
        return self.spans["label"] != (0, 0)

    @property
    def nnz(self) -> int:
        """The count of values."""
        begin, end = self.spans["values"]
        return (end - begin) // 4

    def check(self, first: "Frame") -> None:
        """Raises ValueError where the record cannot stand in one file with this first one."""
        same = self.shape == first.shape and (self.shape is not None or self.nnz == first.nnz)
        if not same or self.labelled != first.labelled:
            raise ValueError(f"it is {self}; the first record is {first}")

    def __str__(self) -> str:
        kind = f"dense with {self.nnz} values" if self.shape is None else f"sparse with the shape {self.shape}"
        return f"{kind} and {'a' if self.labelled else 'no'} label"


def take_apart(frame: bytes) -> Frame:
    """Where the data of the frame stands, whoever wrote it.

    Magic and length are taken as right; what the keys say is not looked at. Raises ValueError that says
    what is wrong with the frame.
    """
    end = 8 + int.from_bytes(frame[4:8], "little")
    if any(frame[end:]):
        raise ValueError(f"its padding is {frame[end:].hex()}; padding is zero")
    record = _fields(frame, (8, end))
    features = _tensor(frame, record.get(1, []), "features")
    values, keys, label = features.get(1, (0, 0)), features.get(2, (0, 0)), (0, 0)
    if 2 in record:
        label = _tensor(frame, record[2], "label").get(1, (0, 0))
        if (size := label[1] - label[0]) != 4:
            raise ValueError(f"its label has {size} bytes; a label is one Float32 number")
    if (size := values[1] - values[0]) % 4:
        raise ValueError(f"its values have {size} bytes; Float32 numbers have 4 each")
    shape = _shape(frame, features[3]) if 3 in features else None
    if keys[0] < keys[1] and shape is None:
        raise ValueError("it has keys but no shape; a sparse row names its feature_dim as shape")
    if values[0] < values[1] and keys[0] == keys[1] and shape is not None:
        if shape != size // 4:
            raise ValueError(
                f"it has {size // 4} values, no keys and the shape {shape}; one key belongs to each value"
            )
        shape = None
    return Frame(shape=shape, spans={"values": values, "keys": keys, "label": label})


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
