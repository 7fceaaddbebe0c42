"""A made-up shop: 2,000 customers, 800 products, 90 days of events with planted tastes and dirty rows.

Everything comes from one seed, so that the demo shows the same shop everywhere. Nothing in it is real.
"""

import csv
import gzip
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

USERS, PRODUCTS, DAYS = 2_000, 800, 90
START = datetime(2026, 4, 1, tzinfo=UTC)
EVENTS_PER_USER = 45.0

KINDS = (  # a taste is a kind; each product belongs to one
    ("tea", "Green Tea", "녹차"),
    ("cup", "Celadon Cup", "청자 찻잔"),
    ("ink", "Fountain Ink", "만년필 잉크"),
    ("note", "Linen Notebook", "린넨 노트"),
    ("lamp", "Desk Lamp", "책상 조명"),
    ("boot", "Trail Boots", "등산화"),
    ("tent", "Two-Season Tent", "캠핑 텐트"),
    ("seed", "Herb Seeds", "허브 씨앗"),
    ("pot", "Clay Planter", "토분"),
    ("yarn", "Merino Yarn", "메리노 털실"),
    ("knife", "Kitchen Knife", "주방 칼"),
    ("spice", "Spice Blend", "향신료"),
    ("film", "Instant Film", "즉석 필름"),
    ("lens", "Prime Lens", "단렌즈"),
    ("game", "Board Game", "보드게임"),
    ("piano", "Piano Score", "피아노 악보"),
)
STYLES = (
    ("Quiet", "고요한"),
    ("Bright", "환한"),
    ("Old Town", "옛마을"),
    ("River", "강가의"),
    ("Winter", "겨울"),
    ("Plain", "담백한"),
    ("Little", "작은"),
    ("Night", "밤의"),
    ("First", "첫"),
    ("Maker's", "장인의"),
)


def make_shop(folder: Path, seed: int = 7) -> list[Path]:
    """Writes the shop's files and returns those with events: three months in three dialects.

    `products.csv` (product_id, name) beside them is for people to read the lists by name.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    kinds = rng.permutation(np.arange(PRODUCTS) % len(KINDS))
    products = [_product(number, kinds[number], rng) for number in range(PRODUCTS)]
    with (folder / "products.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("product_id", "name"), *products])

    rows = _events(rng, kinds, [product for product, _ in products])
    months = np.array_split(np.arange(len(rows)), 3)
    written = []
    for month, (name, delimiter) in zip(
        months, (("april.csv", ","), ("may.csv.gz", ";"), ("june.tsv", "\t")), strict=True
    ):
        lines = [delimiter.join(("user_id", "product_id", "event", "time"))]
        lines += [delimiter.join(rows[index]) for index in month]
        content = "\n".join(lines).encode() + b"\n"
        written.append(folder / name)
        written[-1].write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return written


def product_names(folder: Path) -> dict[str, str]:
    """Product id -> name, as `make_shop` wrote them."""
    with (folder / "products.csv").open(encoding="utf-8", newline="") as file:
        return {row["product_id"]: row["name"] for row in csv.DictReader(file)}


def _product(number: int, kind: int, rng: np.random.Generator) -> tuple[str, str]:
    word, english, korean = KINDS[kind]
    style = STYLES[rng.integers(len(STYLES))]
    name = f"{style[0]} {english} No. {number}" if number % 2 else f"{style[1]} {korean} {number}호"
    return (f"{word}-{number:04d}" if number % 4 else f"{korean.replace(' ', '')}-{number:04d}"), name


def _events(rng: np.random.Generator, kinds: np.ndarray, products: list[str]) -> list[tuple[str, ...]]:
    """Rows in order of time. Each customer prefers a few kinds, and within them what is well known."""
    fame = rng.permutation(1.0 / np.arange(2, PRODUCTS + 2) ** 0.6)
    rows: list[tuple[datetime, tuple[str, ...]]] = []
    for number in range(USERS):
        user = str(uuid.UUID(bytes=rng.bytes(16), version=4)) if number % 2 else f"customer-{number:05d}"
        taste = np.full(len(KINDS), 0.05)
        taste[rng.choice(len(KINDS), size=3, replace=False)] = (4.0, 2.0, 1.0)
        chance = fame * taste[kinds]
        count = min(int(rng.lognormal(np.log(EVENTS_PER_USER), 0.6)) + 2, 300)
        chosen = rng.choice(PRODUCTS, size=count, p=chance / chance.sum())
        seconds = np.sort(rng.uniform(0, DAYS * 86_400, size=count))
        liking = taste[kinds[chosen]] / taste.max()
        dice = rng.random(count)
        for product, second, like, die in zip(chosen, seconds, liking, dice, strict=True):
            event = (
                "bought"
                if die < 0.22 * like
                else "wished"
                if die < 0.45 * like
                else "seen"
                if die < 0.95
                else "not-chosen"
            )
            moment = START + timedelta(seconds=float(second))
            rows.append((moment, (user, products[product], event, f"{moment:%Y-%m-%dT%H:%M:%SZ}")))
    rows.sort(key=lambda row: row[0])
    return [_dirtied(row, rng) for _, row in rows]


def _dirtied(row: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    """One row in a hundred as real exports have them: a blank id, a new event, no time, a lost column."""
    user, product, event, time = row
    match int(rng.integers(500)):
        case 0:
            return ("", product, event, time)
        case 1:
            return (user, "", event, time)
        case 2:
            return (user, product, "clicked?", time)
        case 3:
            return (user, product, event, "yesterday")
        case 4:
            return (user, product)
    return row
