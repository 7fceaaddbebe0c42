"""A rating file's bytes -> blocks of whole rows, and where the rows of a block stand.

Line ends of every kind become `\\n`. A row is one line, or several where a quoted field holds line ends.
A quote that is opened and never closed costs its own line, not the rest of the file.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from topx.errors import InputRejected

BLOCK = 16 * 2**20  # bytes: large enough for dictionaries to pay off, small enough for a function
LONGEST = 32 * 2**20  # bytes of one row
_QUOTED = 2**20  # bytes, and lines below, that one row with quoted line ends may span
_SPAN = 1000
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Text:
    """A file's text as UTF-8, whatever its encoding; a byte order mark knows it better than the settings do.

    Bytes that are no text stay as they are, so that their rows are found not to be UTF-8.
    """

    def __init__(self, file: BinaryIO, encoding: str | None) -> None:
        self._file, self._rest = file, file.read(3)
        marked = (name for mark, name in _MARKS.items() if self._rest.startswith(mark))
        self.encoding = next(marked, encoding or "utf-8")
        plain = codecs.lookup(self.encoding).name == "utf-8"
        self._decoder = None if plain else codecs.getincrementaldecoder(self.encoding)("surrogateescape")

    def read(self, size: int) -> bytes:
        """The next bytes, about so many; none at the end. Raises InputRejected for another encoding."""
        while True:
            data, self._rest = self._rest + self._file.read(max(0, size - len(self._rest))), b""
            if self._decoder is None:
                return data
            try:
                text = self._decoder.decode(data, final=not data)
            except UnicodeError as error:
                raise InputRejected(
                    f"its bytes are not {self.encoding} ({error}); set data.encoding, such as latin-1"
                ) from error
            if text or not data:
                return text.encode("utf-8", "surrogateescape")


@contextmanager
def opened(path: Path, encoding: str | None = None) -> Iterator[Text]:
    """The file's text, decompressed where it is gzip or zstd (by its content, not its name).

    Raises InputRejected when the compressed bytes are damaged or end early.
    """
    with path.open("rb") as raw:
        head = raw.read(4)
        raw.seek(0)
        kind = "gzip" if head.startswith(_GZIP) else "zstd" if head == _ZSTD else None
        try:
            with ExitStack() as stack:
                file: Any = raw
                if kind == "gzip":
                    file = stack.enter_context(gzip.open(raw))
                elif kind == "zstd":
                    file = stack.enter_context(pa.CompressedInputStream(raw, "zstd"))
                yield Text(file, encoding)
        except (EOFError, OSError, zlib.error) as error:
            if kind is None or (isinstance(error, OSError) and error.errno is not None):
                raise  # of the disk, not of what it holds
            raise InputRejected(
                f"the {kind} data is damaged ({error}); compress and upload it again"
            ) from error


def blocks(file: Text) -> Iterator[bytes]:
    """Blocks of whole rows, each about BLOCK bytes and ended by a line end."""
    rest = b""
    while data := file.read(BLOCK):
        data = rest + data
        held = b""
        if b"\r" in data:
            if data.endswith(b"\r"):  # its \n may come with the next read
                data, held = data[:-1], b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        cut = _cut(data)
        rest = data[cut:] + held
        if len(rest) > LONGEST:
            raise InputRejected(
                f"a row is longer than {LONGEST:,} bytes; is this a rating file with line ends?"
            )
        if cut:
            yield data[:cut]
    rest = rest.replace(b"\r", b"\n")
    if rest:
        yield rest if rest.endswith(b"\n") else rest + b"\n"


def _cut(data: bytes) -> int:
    """Where the last whole row ends: outside quotes, unless those would span too far to be meant."""
    cut = data.rfind(b"\n") + 1
    if b'"' not in data or data.count(b'"', 0, cut) % 2 == 0:
        return cut
    text = np.frombuffer(data, np.uint8, count=cut)
    ends, quotes = np.flatnonzero(text == ord("\n")), np.flatnonzero(text == ord('"'))
    even = ends[np.searchsorted(quotes, ends) % 2 == 0]
    whole = int(even[-1]) + 1 if even.size else 0
    return whole if cut - whole <= _QUOTED else cut


@dataclass(slots=True)
class Lines:
    """The lines of a block: `begins` and `ends` (lines,) byte offsets, `last` the line a row ends on.

    `row` says which lines begin a row: neither blank, nor inside a quoted field, nor refused; `refused`
    gives the reason of those that are.
    """

    block: bytes
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    last: NDArray[np.int64]
    row: NDArray[np.bool_]
    refused: dict[int, str]

    @classmethod
    def of(cls, block: bytes) -> "Lines":
        """All lines of a block, one row each but for blank ones."""
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
        begins = np.concatenate(([0], ends + 1))[:-1]
        return cls(block, begins, ends, np.arange(len(ends)), begins < ends, {})

    def raw(self, line: int) -> bytes:
        """The bytes of the row that begins on this line."""
        return self.block[self.begins[line] : self.ends[self.last[line]]]

    def kept(self) -> bytes:
        """The block without its refused rows."""
        edge, parts = 0, []
        for line in sorted(self.refused):
            parts.append(self.block[edge : self.begins[line]])
            edge = int(self.ends[self.last[line]]) + 1
        return b"".join([*parts, self.block[edge:]])

    def refuse_undecodable(self) -> None:
        """Refuses lines that are not UTF-8 or hold a NUL."""
        self._refuse("encoding", [line for line in self._rows() if not is_text(self.raw(line))])

    def join_quoted(self, delimiter: str, width: int) -> None:
        """Makes one row of lines that a quoted field spans; refuses lines with a stray quote."""
        quotes = np.flatnonzero(np.frombuffer(self.block, np.uint8) == ord('"'))
        count = np.searchsorted(quotes, self.ends) - np.searchsorted(quotes, self.begins)
        odd = np.flatnonzero((count % 2 == 1) & self.row).tolist()
        stray, at = [], 0
        while at < len(odd):
            first, last = odd[at], odd[at + 1] if at + 1 < len(odd) else odd[at] + _SPAN
            if self._is_row(first, first, delimiter, None):  # a quote inside a field that is not quoted
                at += 1
            elif last - first < _SPAN and self._is_row(first, last, delimiter, width):
                self.last[first] = last
                self.row[first + 1 : last + 1] = False
                at += 2
            else:
                stray.append(first)
                at += 1
        self._refuse("quotes", stray)

    def refuse_quoted(self, delimiter: str, *, every: bool) -> None:
        """Refuses every row that holds a quote, or those that break the rules of quoting."""
        quoted = [line for line in self._rows() if b'"' in self.raw(line)]
        fits = [not every and self._is_row(at, int(self.last[at]), delimiter, None) for at in quoted]
        self._refuse("quotes", [line for line, fit in zip(quoted, fits, strict=True) if not fit])

    def _rows(self) -> list[int]:
        return np.flatnonzero(self.row).tolist()

    def _refuse(self, reason: str, lines: list[int]) -> None:
        self.row[lines] = False
        self.refused |= dict.fromkeys(lines, reason)

    def _is_row(self, first: int, last: int, delimiter: str, width: int | None) -> bool:
        if not self.refused.keys().isdisjoint(range(first, last + 1)):
            return False
        text = self.block[self.begins[first] : self.ends[last]].decode()
        try:
            found = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
        except csv.Error:
            return False
        return len(found) == 1 and (width is None or len(found[0]) == width)


def is_text(raw: bytes) -> bool:
    """Whether bytes are UTF-8 without the control characters that delimit or end texts elsewhere."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in raw and b"\x1f" not in raw
