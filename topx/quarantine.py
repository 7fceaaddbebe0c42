"""Rows that cannot be used, kept aside: where they stood, why, and what they said."""

import json
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

REASONS = {
    "encoding": "the row is not UTF-8, or not data.encoding, or holds a NUL",
    "quotes": "a quote is opened and not closed, or stands where none may",
    "columns": "the row has another number of columns than the file",
    "user": "no user",
    "item": "no item",
    "value": "the value is no number",
    "event": "data.strengths names no such event",
    "time": "the time is neither epoch nor ISO 8601, or not within 1970 to 2099",
    "unknown": "a test row whose user or item stands in no training row",
}
_TEXT = 2000  # characters of a row that are kept
_EXAMPLES = 3


class Bad(NamedTuple):
    """One refused row: its first physical line from 1, its reason, its bytes."""

    line: int
    reason: str
    raw: bytes


class Quarantine:
    """The refused rows of one file: counts, examples, unreadable values, and a JSONL file where wanted."""

    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}
        self.values: Counter[str] = Counter()
        self._path = path
        if path is not None:
            path.unlink(missing_ok=True)

    def add(self, bad: Iterable[Bad]) -> None:
        """Counts the rows and appends them to the file, which exists from its first row on."""
        name, lines = json.dumps(self.name, ensure_ascii=False), []
        for line, reason, raw in bad:
            text = raw.decode("utf-8", "backslashreplace")
            if len(text) > _TEXT:
                text = f"{text[:_TEXT]}... ({len(text):,} characters)"
            shown = self.examples.setdefault(reason, [])
            if len(shown) < _EXAMPLES:
                shown.append(f"line {line}: {text[:200]}")
            self.reasons[reason] += 1
            lines.append(
                f'{{"file": {name}, "line": {line}, "reason": "{reason}", '
                f'"text": {json.dumps(text, ensure_ascii=False)}}}\n'
            )
        if lines and self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8", newline="\n") as file:
                file.writelines(lines)


def quarantine_name(name: str, *, given: bool) -> str:
    """The quarantine file's name: the rating file's path with `/` and the like percent-encoded.

    Files of a given test set begin with `tests+`, which no encoded name of a training file can.
    """
    safe = quote(name, safe="")
    if len(safe) > 200:
        safe = f"{safe[:150]}-{sha256(name.encode()).hexdigest()[:16]}"
    return f"{'tests+' if given else ''}{safe}.jsonl"
