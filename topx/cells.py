"""Texts of a column -> numbers and times, without a look at each row."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_COMMA = r"^([+-]?\d+),(\d+)$"  # a decimal comma
_DAY = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?$"
_ZONED = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})$"
_SCALES = ((1e11, 1e3), (1e14, 1.0), (1e17, 1e-3), (np.inf, 1e-6))  # seconds, ms, us, ns: to ms
_END = 4_102_444_800_000  # 2100-01-01: what is not before it is no time of an event
NO_TIME = -1


def is_number(text: str) -> bool:
    """Whether a text is a number, with a decimal point or comma."""
    return re.match(_NUMBER, re.sub(_COMMA, r"\1.\2", text.strip())) is not None


def is_date(text: str) -> bool:
    """Whether a text is an ISO 8601 date or time."""
    return re.match(f"{_DAY}|{_ZONED}", text.strip()) is not None


def numbers(texts: pa.Array) -> NDArray[np.float64]:
    """float64 of each text, with a decimal point or comma; NaN where it is no finite number."""
    clean = pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), _COMMA, r"\1.\2")
    clean = pc.if_else(pc.match_substring_regex(clean, _NUMBER), clean, None)
    out: NDArray[np.float64] = clean.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(out), out, np.nan)


def times(texts: pa.Array) -> NDArray[np.int64]:
    """Milliseconds since 1970 of each text, NO_TIME where it is no time of 1970 to 2099.

    Reads epoch seconds, milliseconds, microseconds and nanoseconds, told apart by their size, and ISO 8601;
    without a zone: UTC.
    """
    try:
        return _scaled(texts.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64))
    except pa.ArrowInvalid:
        pass
    clean = pc.utf8_trim_whitespace(texts)
    out = _scaled(numbers(clean))
    for pattern, zone in ((_DAY, None), (_ZONED, "UTC")):
        dates = pc.if_else(pc.match_substring_regex(clean, pattern), clean, None)
        if dates.null_count < len(dates):
            stamps = _dates(dates, pa.timestamp("us", zone)).cast(pa.int64())
            parsed = stamps.fill_null(-1).to_numpy(zero_copy_only=False) // 1000
            out = np.where((parsed >= 0) & (parsed < _END), parsed, out)
    return out


def _scaled(epoch: NDArray[np.float64]) -> NDArray[np.int64]:
    scale = np.select([epoch < limit for limit, _ in _SCALES], [factor for _, factor in _SCALES], np.nan)
    with np.errstate(invalid="ignore"):
        millis = np.floor(epoch * scale)
        fits = (millis >= 0) & (millis < _END)
    return np.where(fits, millis, NO_TIME).astype(np.int64)


def _dates(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """The cast, null where the text has the form of a date but names none, such as 30 February."""
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return pa.nulls(1, kind)
        half = len(texts) // 2
        return pa.concat_arrays([_dates(texts[:half], kind), _dates(texts[half:], kind)])
