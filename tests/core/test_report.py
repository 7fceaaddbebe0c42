"""The page: verdict first, self-contained, and safe with whatever ids people upload."""

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from small_run import small_run

from topx.fields import as_json
from topx.plan import Plan
from topx.report import page

METRICS = {"ndcg": 0.306, "precision": 0.2, "recall": 0.3, "map": 0.15, "mrr": 0.4, "coverage": 0.5}


@pytest.fixture
def report(tmp_path: Path) -> dict[str, Any]:
    small_run(tmp_path)
    plan = Plan.read(tmp_path)
    checks = [{"name": "popularity", "passed": True, "says": "nDCG@5 is 0.3060, of popularity 0.1270."}]
    return {
        "run_id": plan.run_id,
        "dataset": "ratings",
        "stage": "dev",
        "started_at": plan.started_at,
        "x": 5,
        "gate": {"open": True, "reasons": [], "checks": checks},
        "metrics": {
            "model": METRICS,
            "popularity": {**METRICS, "ndcg": 0.127},
            "random": dict.fromkeys(METRICS, 0.0),
            "live": None,
        },
        "live_run": None,
        "judged": {"users": 934, "relevant": 5469},
        "data": {
            "rows_in": 100_003,
            "kept": 99_990,
            "merged": 10,
            "quarantined": 3,
            "users": 943,
            "items": 1682,
            "reasons": {"no item": 3},
            "scale": "ratings from 1 to 5",
            "split": "a given test set",
            "time_span": None,
            "density": 0.063,
            "files": [{"name": "<u>.csv", "rows_in": 100_003, "kept": 99_990, "merged": 10, "quarantined": 3}],
        },
        "encoded": {"rows": 4_000_000, "positives": 80_000, "indexed_items": 1680},
        "lists": {"entries": 9430, "popular": 20, "infinite": 0},
        "examples": [
            {
                "user": "u<1>",
                "history": ["책", '<img src=x onerror="alert(1)">'],
                "known": 40,
                "list": [{"rank": 1, "item_id": "{{ 7 * 7 }}", "score": 1.23456, "reason": "factors"}],
            }
        ],
        "settings": as_json(plan.run),
        "warnings": ["3 <test> users are unknown"],
    }


class Tags(HTMLParser):
    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_asks_for_nothing(report: dict[str, Any]) -> None:
    html = page(report)
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert not tags.seen & {"script", "link", "img", "iframe", "object", "form"}
    assert not tags.attributes & {"src", "href", "onerror", "onclick"}
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_the_verdict_stands_first(report: dict[str, Any]) -> None:
    text = words(page(report))
    assert text.index("These lists may be published") < text.index("nDCG of 0.306") < text.index("100,003")
    report["gate"]["open"] = False
    assert "These lists are not published" in words(page(report))


def words(html: str) -> str:
    return " ".join(re.sub(r"<style>.*</style>|<[^>]+>", " ", html, flags=re.DOTALL).split())


def test_ids_and_warnings_are_text_whatever_they_hold(report: dict[str, Any]) -> None:
    html = page(report)
    assert "u&lt;1&gt;" in html
    assert "&lt;img src=x onerror=" in html
    assert "{{ 7 * 7 }}" in html
    assert "3 &lt;test&gt; users" in html
    assert "책" in html


def test_metrics_stand_beside_popularity_random_and_live(report: dict[str, Any]) -> None:
    text = words(page(report))
    assert re.search(r"nDCG@5 hits count more.*? 0\.306 0\.127 0\.000 ", text)
    assert "No run is live yet" in text
    live = copy.deepcopy(report)
    live["metrics"]["live"], live["live_run"] = {**METRICS, "ndcg": 0.3}, "20260101-000000-aaaaaaaa"
    assert re.search(r"nDCG@5 hits count more.*? 0\.306 0\.127 0\.000 0\.300 ", words(page(live)))
    assert "Live is run 20260101-000000-aaaaaaaa" in words(page(live))


def test_settings_that_differ_from_the_default_are_marked(report: dict[str, Any]) -> None:
    assert re.findall(r'<tr class="changed"><td><code>([\w.]+)', page(report)) == [
        "rank.x",
        "evaluate.min_users",
    ]


def test_a_run_without_judged_users_still_has_a_page(report: dict[str, Any]) -> None:
    report["metrics"] = dict.fromkeys(report["metrics"])
    report["gate"]["open"] = False
    text = words(page(report))
    assert "Nothing could be judged" in text
    assert "Beside popularity" not in text


def test_the_same_report_gives_the_same_bytes(report: dict[str, Any]) -> None:
    assert page(report) == page(copy.deepcopy(report))
