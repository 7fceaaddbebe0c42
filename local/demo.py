"""`demo`: a made-up shop's events, uploaded, trained on and looked at."""

import json
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from local.quotas import load
from local.run import deployed, emptied, followed, out_problems, tell_end
from local.screen import Screen
from local.session import session
from local.shop import make_shop, product_names
from local.story import Outcome
from local.up import executions
from topx import paths
from topx.errors import SettingsRejected, TopxError, join

LONGEST_WAIT_SECONDS = 60
SHOWN = 3  # users, from one with much history to one with little


class NothingStarted(TopxError):
    """When an upload's event started no execution."""


def demo(out: Path, seed: int, screen: Screen) -> int:
    """Uploads the shop, lets the event start the machine, shows what came of it; returns the exit code."""
    problems = list(out_problems(out))
    if problems:
        raise SettingsRejected(join(problems))
    logs, shop = emptied(out), out / "shop"
    files = make_shop(shop, seed)
    dataset = deployed().datasets[0]
    with session(logs, quotas=load(None), tell=screen.doing) as ready:
        ready.upload({f"{paths.uploads(dataset)}{path.name}": path for path in files})
        screen.doing("waiting for the uploads' events to start a run")
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        while not (started := executions(ready)):
            if time.monotonic() > deadline:
                raise NothingStarted(f"no run after {LONGEST_WAIT_SECONDS} s; look at Trigger's log in {logs}")
            time.sleep(0.1)
        outcome = followed(ready, started[0], out, screen)
    show(shop, out, outcome, screen)
    tell_end(out, outcome, screen)
    return outcome.code


def show(shop: Path, out: Path, outcome: Outcome, screen: Screen) -> None:
    """Says what the run found: `shop` holds the events and products.csv, `out` all that the run made."""
    summary_file, lists = out / "encoded" / "summary.json", sorted((out / "lists").glob("*.parquet"))
    if not summary_file.is_file() or not lists:
        return  # the run ended before there was anything to see
    screen.data(json.loads(summary_file.read_text("utf-8")))
    names = product_names(shop)
    table = pa.concat_tables(pq.read_table(path) for path in lists)
    liked = favourites(shop)
    for user in sorted(liked, key=lambda one: -len(liked[one]))[:: len(liked) // SHOWN][:SHOWN]:
        rows = table.filter(pc.field("user_id") == user).sort_by("rank").to_pylist()
        history = [f"{event:<6} {names[product]}" for product, event in liked[user].items()]
        screen.list_of(user, history[-len(rows) :], [names[row["item_id"]] for row in rows])


def favourites(shop: Path) -> dict[str, dict[str, str]]:
    """User -> product -> `bought` or `wished`, in order of time, out of the shop's files."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(shop.glob("*.tsv")):  # the last month is history enough to look at
        for line in path.read_text("utf-8").splitlines():
            match line.split("\t"):
                case [user, product, ("bought" | "wished") as event, _] if user and product:
                    found.setdefault(user, {})[product] = event
    return found
