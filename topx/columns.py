"""Which column of a rating file is what: by the settings, by its name, or by how it looks."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

from topx.cells import is_date, is_number
from topx.errors import InputRejected, join
from topx.settings import Data

_MOST = 0.8  # of the cells look like a number, a time
_SECONDS = 1e8  # from 1973 on: what is smaller and a number is taken for a value, not a time
# Spellings, best first, without case and separators.
_PEOPLE = "user customer client visitor member account reviewer person buyer player reader listener viewer"
_THINGS = (
    "item product article movie film book song track artist game app business venue place video show "
    "anime recipe course news content"
)
_VALUES = (
    "rating ratings score stars value event eventtype action actiontype behavior behaviour behaviortype "
    "interaction interactiontype feedback preference overall bookrating userrating reviewscore weight "
    "strength count plays playcount quantity qty hours playtime"
)
_TIMES = (
    "timestamp time ts datetime date eventtime eventtimestamp eventdate createdat created unixtime "
    "unixreviewtime ratingtime ratedat orderdate invoicedate purchasedate reviewtime when at t"
)
_SPELLINGS: dict[str, list[str]] = {
    "user": [f"{who}{end}" for end in ("id", "", "code", "no", "key") for who in _PEOPLE.split()]
    + ["uid", "u", "userhash", "username", "custid"],
    "item": [f"{what}{end}" for end in ("id", "", "code", "no", "key") for what in _THINGS.split()]
    + ["iid", "i", "sku", "skuid", "asin", "isbn", "stockcode", "ean", "upc", "gtin", "title"],
    "value": _VALUES.split(),
    "time": _TIMES.split(),
}
_NAMES = re.compile(r"[\W_]+")  # what does not count in a column's name


def assign(names: tuple[str, ...], body: list[list[str]], width: int, data: Data) -> dict[str, int | None]:
    """The position of each role, user and item never None; raises InputRejected with every problem."""
    problems, at = [], dict[str, int | None]()
    for role, given in fixed(data).items():
        place: int | None = None
        if isinstance(given, int):
            place = given if 0 <= given < width else None
        elif given is not None and given != "none":
            place = _position(given, names)
        if place is None and given is not None and given != "none":
            known = ", ".join(names) or "no header: give a position"
            problems.append(
                f"data.columns.{role} is {given!r}, but the file has {width} columns ({short(known)})"
            )
        at[role] = place
    taken = {place for place in at.values() if place is not None}
    free = [place for place in range(width) if place not in taken]
    guess = recognised(names, free) if names else _by_look(at, free, body, data)
    for role, given in fixed(data).items():
        if given is None:
            at[role] = guess.get(role)
            if at[role] is None and role in ("user", "item"):
                problems.append(
                    f"no {role} column is recognised among {short(', '.join(names) or f'{width} columns')}; "
                    f"set data.columns.{role} to a name or a position from 0"
                )
    for place, count in Counter(place for place in at.values() if place is not None).items():
        if count > 1:
            roles = " and ".join(role for role, one in at.items() if one == place)
            problems.append(f"data.columns gives {roles} the same column, {place}; choose different ones")
    if problems:
        raise InputRejected(join(problems))
    return at


def fixed(data: Data) -> dict[str, str | int | None]:
    """role -> what the settings say of its column."""
    columns = data.columns
    return {"user": columns.user, "item": columns.item, "value": columns.value, "time": columns.time}


def _position(name: str, names: Sequence[str]) -> int | None:
    """Where a name stands: spelled exactly so, or else alike but for case and separators."""
    alike = [_plain(one) for one in names]
    return names.index(name) if name in names else alike.index(_plain(name)) if _plain(name) in alike else None


def _plain(name: str) -> str:
    return _NAMES.sub("", name.partition(":")[0].casefold())  # RecBole writes `user_id:token`


def recognised(names: Sequence[str], free: Sequence[int] | None = None) -> dict[str, int]:
    """role -> position of the best known spelling among the free positions."""
    plain = {at: _plain(name) for at, name in enumerate(names) if free is None or at in free}
    found: dict[str, int] = {}
    for role, spellings in _SPELLINGS.items():
        ranked = [(spellings.index(name), at) for at, name in plain.items() if name in spellings]
        if ranked:
            found[role] = min(ranked)[1]
    return found


def _by_look(at: dict[str, int | None], free: list[int], body: list[list[str]], data: Data) -> dict[str, int]:
    """role -> position in a file without header: user, item, then what looks like a value and a time."""
    guess: dict[str, int] = {}
    for role in ("user", "item"):
        if at[role] is None and free and fixed(data)[role] is None:
            guess[role] = free.pop(0)
    cells = {place: [row[place] for row in body] for place in free}
    times = [place for place in free if looks(_is_time, cells[place])]
    values = [place for place in free if place not in times and looks(is_number, cells[place])]
    events = [place for place in free if place not in times and _looks_like_events(cells[place], data)]
    for role, places in (("time", times), ("value", values + events)):
        if places:
            guess[role] = places[0]
    return guess


def looks(like: Callable[[str], bool], cells: list[str]) -> bool:
    """Whether nearly all cells that are not blank look alike."""
    full = [cell for cell in cells if cell.strip()]
    return bool(full) and sum(map(like, full)) >= _MOST * len(full)


def _is_time(cell: str) -> bool:
    return is_date(cell) or (is_number(cell) and float(cell.strip().replace(",", ".")) >= _SECONDS)


def _looks_like_events(cells: list[str], data: Data) -> bool:
    """Known event names, or so few different words that they can be nothing else."""
    words = Counter(cell.strip().casefold() for cell in cells if cell.strip())
    known = sum(words[name.casefold()] for name in data.strengths)
    return 2 * known >= words.total() > 0 or 0 < 10 * len(words) <= words.total()


def short(text: str) -> str:
    """The text, cut where it is long."""
    return text if len(text) <= 120 else text[:117] + "..."
