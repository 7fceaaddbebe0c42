"""How a rating file is written: delimiter, header, which column is what, and why we think so."""

import csv
from collections import Counter
from dataclasses import dataclass

from topx.cells import is_number
from topx.columns import assign, fixed, looks, recognised, short
from topx.errors import InputRejected
from topx.settings import Data

HEAD = 256 * 2**10  # bytes of a file that detection looks at
_LINES = 1000
_MOST = 0.8  # of the lines have as many columns
_DELIMITERS = {"::": "`::`", "\t": "tab", ";": "`;`", "|": "`|`", ",": "`,`"}  # ties: in this order
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or spreadsheet",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"PAR1": "Parquet",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r") | {127})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one file is written. Columns are positions from 0; `numeric`: the values look like numbers."""

    encoding: str
    delimiter: str
    header: bool
    width: int
    user: int
    item: int
    value: int | None
    time: int | None
    numeric: bool
    because: str


def detect(head: bytes, data: Data, encoding: str = "utf-8") -> Dialect:
    """How the file that begins with these whole lines is written; what `data` fixes is not guessed.

    The lines are UTF-8 by now; `encoding` is that of the file.

    Raises InputRejected with every problem of the file.
    """
    lines = _text_lines(head)
    delimiter, rows = _delimiter(lines, data.delimiter)
    width = Counter(len(row) for row in rows).most_common(1)[0][0]
    if width < 2:
        raise InputRejected(
            f"it has one column (first line: `{short(lines[0])}`); a rating file needs a user and an item "
            f"with {', '.join(_DELIMITERS.values())} between them; data.delimiter sets which"
        )
    header, why = _header(rows, data)
    names = tuple(cell.strip() for cell in rows[0]) if header else ()
    width = len(names) or width
    body = [row for row in rows[header:] if len(row) == width]
    at = assign(names, body, width, data)
    agree = sum(len(row) == width for row in rows)
    split = (
        "data.delimiter says so"
        if data.delimiter
        else f"{agree:,} of the first {len(rows):,} lines have {width} columns"
    )
    label = [f"`{name}`" for name in names] or [f"column {position}" for position in range(width)]
    roles = ", ".join(f"no {role}" if p is None else f"{role} {label[p]}" for role, p in at.items())
    unused = [label[position] for position in range(width) if position not in at.values()]
    written = "" if encoding == "utf-8" else f"{encoding}, "
    return Dialect(
        encoding=encoding,
        delimiter=delimiter,
        header=header,
        width=width,
        because=f"{written}{_DELIMITERS[delimiter]} and {'a' if header else 'no'} header, "
        f"because {split} and {why}; "
        + "; ".join([roles, *([f"not used: {short(', '.join(unused))}"] if unused else [])]),
        user=at["user"] or 0,
        item=at["item"] or 0,
        value=at["value"],
        time=at["time"],
        numeric=looks(is_number, [row[at["value"]] for row in body if at["value"] is not None]),
    )


def _text_lines(head: bytes) -> list[str]:
    foreign = next((name for magic, name in _FOREIGN.items() if head.startswith(magic)), None)
    if foreign or len(head) - len(head.translate(None, _CONTROLS)) > max(1, len(head) // 50):
        raise InputRejected(
            f"it is {foreign or 'binary'}; upload text, one row per line: CSV or TSV, plain, gzip or zstd; "
            "data.encoding names another encoding than UTF-8"
        )
    text = head.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line for line in text.split("\n") if line][:_LINES]
    if not lines:
        raise InputRejected("it is empty; upload rows with a user and an item, or delete the file")
    return lines


def _delimiter(lines: list[str], given: str | None) -> tuple[str, list[list[str]]]:
    """The delimiter under which most lines have equally many columns, and the cells it gives."""

    def rank(delimiter: str) -> tuple[bool, bool, int, float]:
        width, count = Counter(len(row) for row in cells[delimiter]).most_common(1)[0]
        share = count / len(lines)
        names = recognised(cells[delimiter][0])
        return {"user", "item"} <= names.keys(), width > 1 and share >= _MOST, width, share

    cells = {one: [_cells(line, one) for line in lines] for one in ([given] if given else _DELIMITERS)}
    best = max(cells, key=rank)
    return best, cells[best]


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == "::":
        return line.split("::")
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error:  # a field beyond the csv module's limit
        return [line]


def _header(rows: list[list[str]], data: Data) -> tuple[bool, str]:
    first, body = rows[0], rows[1:]
    if data.header is not None:
        return data.header, "data.header says so"
    if any(isinstance(given, str) and given != "none" for given in fixed(data).values()):
        return True, "data.columns holds names"
    numeric = [
        at
        for at, name in enumerate(first)
        if name.strip() and looks(is_number, [row[at] for row in body if len(row) == len(first)])
    ]
    known = [f"`{first[at].strip()}`" for role, at in recognised(first).items() if role in ("user", "item")]
    if not any(is_number(first[at]) for at in numeric):
        if known:
            return True, f"the first line names {' and '.join(known)}"
        if numeric:
            return True, f"`{first[numeric[0]].strip()}` stands above numbers"
    return False, "the first line looks like the others"
