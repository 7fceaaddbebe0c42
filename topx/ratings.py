"""Rating files -> checked columns of equal length; rows that cannot be used go to the quarantine.

Blocks of whole rows are parsed side by side, ids as dictionaries: what is looked at one by one are distinct
ids, distinct values and bad rows, never rows. The same rows give the same columns, but for their order,
whatever their order, files, compression and delimiter.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from topx.ahead import in_order
from topx.cells import NO_TIME
from topx.dialect import HEAD, Dialect, detect
from topx.distinct import Levels, Pile
from topx.errors import InputRejected, join
from topx.lines import Lines, blocks, opened
from topx.parse import Chunk, Reading, event_names, lined, parse
from topx.quarantine import REASONS, Quarantine, quarantine_name
from topx.settings import Data

_BOM = b"\xef\xbb\xbf"


class Source(NamedTuple):
    """A rating file: the name it is reported by, where it lies, whether it is of a given test set."""

    name: str
    path: Path
    given: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """What became of one file; `rows` counts neither header nor blank lines."""

    source: Source
    dialect: Dialect
    rows: int
    quarantine: Quarantine


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """The good rows of all files: rows `starts[f]` to `starts[f + 1]` are those of file f.

    `user_ids`, `item_ids` are distinct texts in ascending order; `user`, `item` (rows,) are places in them.
    `levels` are the distinct values in ascending order, numbers or event names, or None where no training
    file has values; `value` (rows,) is a place in them, -1 where the row's file has none. `time` (rows,) is
    milliseconds since 1970, or None where a training file has no times. `line` (rows,): physical lines.
    """

    files: tuple[FileRead, ...]
    starts: NDArray[np.int64]
    user_ids: pa.StringArray
    item_ids: pa.StringArray
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    levels: Levels | None
    value: NDArray[np.int32]
    time: NDArray[np.int64] | None
    line: NDArray[np.int32]
    warnings: tuple[str, ...]


def sources(folder: Path, *, given: bool = False) -> tuple[list[Source], list[str]]:
    """The rating files below a folder, by name, and the names of the ignored ones: hidden files, markers."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    hidden = {n for n in names if any(part[0] in "._" for part in n.split("/")) or n.endswith("_$folder$")}
    return [Source(n, folder / n, given) for n in names if n not in hidden], sorted(hidden)


def read(files: Sequence[Source], data: Data, *, quarantine: Path | None = None) -> Ratings:
    """The checked rows of all files. Raises InputRejected with the problems of all bad files at once.

    Bad rows are written to the folder `quarantine`, if given. A file is bad when it cannot be read or has
    no good row; the files are when bad rows exceed `data.max_quarantined_share` of all rows.
    """
    dialects = _dialects(files, data)
    training = [d for source, d in zip(files, dialects, strict=True) if not source.given]
    warnings = _gaps(files, dialects)
    guess = next((d.numeric for d in training if d.value is not None), None)
    if guess is None:
        dialects = [replace(dialect, value=None) for dialect in dialects]
    if any(dialect.time is None for dialect in training):
        dialects = [replace(dialect, time=None) for dialect in dialects]
    columns = _Columns(numeric=bool(guess), data=data)
    reads = columns.read(files, dialects, quarantine)
    if columns.seems_numeric() != columns.numeric:  # the rest of the files is unlike their heads
        columns = _Columns(numeric=not guess, data=data)
        reads = columns.read(files, dialects, quarantine)
    _check_share(reads, data)
    return columns.ratings(reads, warnings)


def raw_rows(source: Source, dialect: Dialect, lines: NDArray[np.int32]) -> Iterator[tuple[int, bytes]]:
    """(line, bytes) of the rows that begin on these physical lines, ascending."""
    for first, block in _numbered(source.path, dialect.encoding, header=False):
        here = lines[(lines >= first) & (lines < first + block.count(b"\n"))]
        if here.size:
            known = lined(block, dialect) or Lines.of(block)
            yield from ((int(line), known.raw(int(line) - first)) for line in here)


def _dialects(files: Sequence[Source], data: Data) -> list[Dialect]:
    dialects, problems = [], []
    for source in files:
        if not source.path.is_file():
            problems.append(f"{source.name}: there is no such file; check its path")
            continue
        try:
            with opened(source.path, data.encoding) as file:
                head = file.read(HEAD)
            whole = head if len(head) < HEAD else head[: head.rfind(b"\n") + 1] or head
            dialects.append(detect(whole, data, file.encoding))
        except InputRejected as error:
            problems.append(f"{source.name}: {error}")
    if problems:
        raise InputRejected(join(problems))
    return dialects


def _numbered(path: Path, encoding: str, *, header: bool) -> Iterator[tuple[int, bytes]]:
    """(first physical line, block) of a file, byte order mark and header left out."""
    line = 1
    with opened(path, encoding) as file:
        for block in blocks(file):
            text, start = _unmarked(block), 0
            if header and (names := text.lstrip(b"\n")):
                start = text.index(b"\n", len(text) - len(names)) + 1
                header = False
            skipped = text.count(b"\n", 0, start)
            if start < len(text):
                yield line + skipped, text[start:]
            line += text.count(b"\n")


def _unmarked(block: bytes) -> bytes:
    """The block without byte order marks where lines begin: files that were joined hold several."""
    while _BOM in block and (block.startswith(_BOM) or b"\n" + _BOM in block):
        block = block.removeprefix(_BOM).replace(b"\n" + _BOM, b"\n")
    return block


def _check_share(reads: Sequence[FileRead], data: Data) -> None:
    """Raises InputRejected for files without a good row, and for too many bad rows in all."""
    problems = []
    for one in reads:
        bad = one.quarantine.reasons.total()
        if not one.rows:
            problems.append(f"{one.source.name}: it holds a header and no rows; upload rows or delete it")
        elif bad == one.rows:
            problems.append(f"{one.source.name}: none of its {bad:,} rows can be used: {_shown(one)}")
    rows, bad = sum(one.rows for one in reads), sum(one.quarantine.reasons.total() for one in reads)
    if not problems and bad > data.max_quarantined_share * rows:
        worst = sorted(reads, key=lambda one: one.quarantine.reasons.total(), reverse=True)[:5]
        problems.append(
            f"{bad:,} of {rows:,} rows cannot be used, more than data.max_quarantined_share, "
            f"{data.max_quarantined_share:g}, allows; "
            + "; ".join(f"{one.source.name}: {_shown(one)}" for one in worst if one.quarantine.reasons)
        )
    if problems:
        raise InputRejected(join(problems))


def _shown(one: FileRead) -> str:
    """Reasons with counts, meaning and an example each, unknown events by name."""
    bad = one.quarantine
    words = ", ".join(f"`{text}` {count:,}" for text, count in bad.values.most_common(10))
    return "; ".join(
        f"{reason} {count:,} ({REASONS[reason]}"
        + (f": {words}; " if words and reason in ("value", "event") else "; ")
        + f"{bad.examples[reason][0]})"
        for reason, count in bad.reasons.most_common()
    )


def _gaps(files: Sequence[Source], dialects: Sequence[Dialect]) -> list[str]:
    """Warnings about files that lack a column which others have."""
    known = list(zip(files, dialects, strict=True))
    untimed = [source.name for source, dialect in known if dialect.time is None and not source.given]
    unvalued = [source.name for source, dialect in known if dialect.value is None]
    warnings = []
    if 0 < len(unvalued) < len(files):
        warnings.append(f"no value in {_few(unvalued)}: each of its rows counts as positive")
    if untimed and any(dialect.time is not None for dialect in dialects):
        warnings.append(f"no time in {_few(untimed)}: the times of the other files are not used")
    return warnings


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more files" if len(names) > 3 else "")


class _Columns:
    """The columns as they grow, block by block."""

    def __init__(self, *, numeric: bool, data: Data) -> None:
        self.numeric = numeric
        self._events = event_names(pa.array(list(data.strengths), pa.string()))
        self._user, self._item, self._value = Pile(), Pile(), Pile()
        self._time: list[NDArray[np.int64]] = []
        self._line: list[NDArray[np.int32]] = []
        self._starts = [0]
        self._alike = {"number": 0, "event": 0}

    def read(
        self, files: Sequence[Source], dialects: Sequence[Dialect], folder: Path | None
    ) -> tuple[FileRead, ...]:
        reads, problems = [], []
        reading = Reading(numeric=self.numeric, events=self._events)
        with ThreadPoolExecutor(pa.cpu_count()) as pool:
            for source, dialect in zip(files, dialects, strict=True):
                name = quarantine_name(source.name, given=source.given)
                quarantine = Quarantine(source.name, folder / name if folder else None)
                rows, kept = 0, self._starts[-1]
                try:
                    for chunk in _parsed(pool, source, dialect, reading):
                        rows, kept = rows + chunk.rows, kept + len(chunk.line)
                        quarantine.add(chunk.bad)
                        quarantine.values.update(chunk.unreadable)
                        self._add(chunk)
                except InputRejected as error:
                    problems.append(f"{source.name}: {error}")
                self._starts.append(kept)
                reads.append(FileRead(source=source, dialect=dialect, rows=rows, quarantine=quarantine))
        if problems:
            raise InputRejected(join(problems))
        return tuple(reads)

    def _add(self, chunk: Chunk) -> None:
        rows = len(chunk.line)
        self._user.add(chunk.user)
        self._item.add(chunk.item)
        if chunk.value is None:
            self._value.add_none(rows)
        else:
            self._value.add(chunk.value)
        self._time.append(np.full(rows, NO_TIME) if chunk.time is None else chunk.time)
        self._line.append(chunk.line.astype(np.int32))
        self._alike["number"] += chunk.number_like
        self._alike["event"] += chunk.event_like

    def seems_numeric(self) -> bool:
        """Whether more values look like numbers than like known events; as guessed where none does."""
        if not any(self._alike.values()):
            return self.numeric
        return self._alike["number"] > self._alike["event"]

    def ratings(self, reads: tuple[FileRead, ...], warnings: list[str]) -> Ratings:
        user_ids, user = self._user.ids("user", warnings)
        item_ids, item = self._item.ids("item", warnings)
        levels, value = self._value.levels(numeric=self.numeric)
        timed = any(read.dialect.time is not None for read in reads)
        return Ratings(
            files=reads,
            starts=np.array(self._starts),
            user_ids=user_ids,
            item_ids=item_ids,
            user=user,
            item=item,
            levels=levels,
            value=value,
            time=np.concatenate(self._time) if timed else None,
            line=np.concatenate(self._line),
            warnings=tuple(warnings),
        )


def _parsed(pool: ThreadPoolExecutor, source: Source, dialect: Dialect, reading: Reading) -> Iterator[Chunk]:
    """The file's blocks in order, parsed side by side, few at a time."""
    numbered = _numbered(source.path, dialect.encoding, header=dialect.header)
    return in_order(pool, lambda one: parse(one[1], one[0], dialect, reading), numbered, pa.cpu_count() + 1)
