"""One block of a rating file -> columns of its good rows, and its bad rows with line, reason and bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from topx.cells import NO_TIME, numbers, times
from topx.dialect import Dialect
from topx.lines import Lines, is_text
from topx.quarantine import REASONS, Bad

_ID = pa.dictionary(pa.int32(), pa.string())
_CODES = {reason: number for number, reason in enumerate(REASONS, 1)}
_UNIT = "\x1f"  # stands for `::`, since the parser takes delimiters of one byte only
_WORDS = 100  # unreadable values that are shown with their count


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How values are read: as numbers, or as events of these names (lower case)."""

    numeric: bool
    events: pa.StringArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The rows of a block: `rows` by its line ends, of which `bad`; the columns hold the others.

    `user`, `item` and `value` are dictionary arrays of raw texts, `time` milliseconds, `line` physical
    lines from 1; `number_like` and `event_like` count the rows by what their value looks like,
    `unreadable` those whose value cannot be read, by its text.
    """

    rows: int
    bad: list[Bad]
    user: pa.DictionaryArray
    item: pa.DictionaryArray
    value: pa.DictionaryArray | None
    time: NDArray[np.int64] | None
    line: NDArray[np.int64]
    number_like: int
    event_like: int
    unreadable: Mapping[str, int]


def parse(block: bytes, first_line: int, dialect: Dialect, reading: Reading) -> Chunk:
    """The columns of one block of whole rows that begins on a physical line."""
    lines, table, odd = _agreed(block, dialect)
    column = {name: table.column(name).combine_chunks() for name in table.column_names}
    time = times(column["time"]) if "time" in column else None
    values = _values(column["value"], reading) if "value" in column else _Values()
    reason = _reasons(column, time, values.wrong, reading)
    place = np.delete(np.arange(table.num_rows + len(odd)), odd)  # of each parsed row among all rows
    wrong = np.flatnonzero(reason)
    if lines is None and (odd or wrong.size):
        lines = Lines.of(block)
    on = np.flatnonzero(lines.row) if lines else np.arange(block.count(b"\n"))
    bad = {int(on[at]): "columns" for at in odd} | (lines.refused if lines else {})
    names = list(REASONS)
    bad |= {int(line): names[code - 1] for line, code in zip(on[place[wrong]], reason[wrong], strict=True)}
    if wrong.size:
        good_rows = reason == 0
        column = {name: one.filter(pa.array(good_rows)) for name, one in column.items()}
        place = place[good_rows]
        time = None if time is None else time[good_rows]
    return Chunk(
        rows=int(lines.row.sum()) + len(lines.refused) if lines else block.count(b"\n"),
        bad=[Bad(first_line + at, bad[at], lines.raw(at)) for at in sorted(bad)] if lines else [],
        user=column["user"],
        item=column["item"],
        value=column.get("value"),
        time=time,
        line=on[place] + first_line,
        number_like=values.number_like,
        event_like=values.event_like,
        unreadable=values.unreadable,
    )


class _Values(NamedTuple):
    """Which rows hold a value that cannot be read, (rows,), and the counts of `Chunk`."""

    wrong: NDArray[np.bool_] | None = None
    number_like: int = 0
    event_like: int = 0
    unreadable: Mapping[str, int] = MappingProxyType({})


def _values(column: pa.DictionaryArray, reading: Reading) -> _Values:
    texts, places = column.dictionary, column.indices.to_numpy()
    number = ~np.isnan(numbers(texts))
    event = pc.is_in(event_names(texts), reading.events).to_numpy(zero_copy_only=False)
    rows = np.bincount(places, minlength=len(texts))
    wrong = ~number if reading.numeric else ~event
    return _Values(
        wrong=wrong[places],
        number_like=int(rows[number].sum()),
        event_like=int(rows[event].sum()),
        unreadable={texts[at].as_py(): int(rows[at]) for at in np.flatnonzero(wrong)[:_WORDS]},
    )


def _reasons(
    column: dict[str, Any], time: NDArray[np.int64] | None, wrong: NDArray[np.bool_] | None, reading: Reading
) -> NDArray[np.int8]:
    """Number of the first reason, in the order of REASONS, that speaks against each row; 0 for none."""
    reason = np.zeros(len(column["user"]), np.int8)
    if time is not None:
        reason[time == NO_TIME] = _CODES["time"]
    if wrong is not None:
        reason[wrong] = _CODES["value" if reading.numeric else "event"]
    for name in ("item", "user"):
        blank = pc.equal(pc.utf8_trim_whitespace(column[name].dictionary), "")
        reason[blank.to_numpy(zero_copy_only=False)[column[name].indices.to_numpy()]] = _CODES[name]
    return reason


def _agreed(block: bytes, dialect: Dialect) -> tuple[Lines | None, pa.Table, list[int]]:
    """The table, once the parser and we see the same rows; lines are None where each line is a row.

    Quotes that come in pairs can still swallow a line end (`a"b,"c`): then each row with quotes is looked at.
    """
    lines = lined(block, dialect)
    table, odd = _table(lines.kept() if lines else block, dialect)
    if lines is None and table.num_rows + len(odd) != block.count(b"\n"):
        lines = Lines.of(block)  # some lines are blank
    for every in (False, True):
        if lines is None or table.num_rows + len(odd) == lines.row.sum():
            break
        lines.refuse_quoted(dialect.delimiter, every=every)
        table, odd = _table(lines.kept(), dialect)
    return lines, table, odd


def event_names(texts: pa.StringArray) -> pa.StringArray:
    """The texts as event names are compared: without outer blanks and case."""
    return pc.utf8_lower(pc.utf8_trim_whitespace(texts))


def lined(block: bytes, dialect: Dialect) -> Lines | None:
    """The block's lines, doubtful rows refused; None where there is nothing to look at: a line is a row."""
    readable, quoted = is_text(block), _quoted(dialect) and b'"' in block
    if readable and not quoted:
        return None
    lines = Lines.of(block)
    if not readable:
        lines.refuse_undecodable()
    if quoted:
        lines.join_quoted(dialect.delimiter, dialect.width)
    return lines


def _quoted(dialect: Dialect) -> bool:
    return dialect.delimiter != "::"


def _table(text: bytes, dialect: Dialect) -> tuple[pa.Table, list[int]]:
    """The wanted columns of the rows that have the file's width, and the places of the other rows."""
    odd: list[int] = []

    def skip(row: csv.InvalidRow) -> str:
        odd.append(row.number - 1)
        return "skip"

    roles = {"user": dialect.user, "item": dialect.item, "value": dialect.value, "time": dialect.time}
    wanted = {name: place for name, place in roles.items() if place is not None}
    kinds = {name: pa.string() if name == "time" else _ID for name in wanted}
    if not text.strip(b"\n"):
        return pa.schema(list(kinds.items())).empty_table(), odd
    names = [str(place) for place in range(dialect.width)]
    delimiter = dialect.delimiter
    if delimiter == "::":
        text, delimiter = text.replace(b"::", _UNIT.encode()), _UNIT
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
        parse_options=csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if _quoted(dialect) else False,
            invalid_row_handler=skip,
        ),
        convert_options=csv.ConvertOptions(
            column_types={str(place): kinds[name] for name, place in wanted.items()},
            include_columns=[str(place) for place in wanted.values()],
        ),
    )
    return table.rename_columns(list(wanted)), odd
