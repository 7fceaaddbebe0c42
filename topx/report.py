"""A run's evidence as one self-contained page: no script, no network, readable on a phone, light and dark."""

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from topx.fields import rows
from topx.settings import Run

_METRICS = {  # key -> name, what it tells
    "ndcg": ("nDCG", "hits count more the higher they stand; 1 is a perfect list"),
    "precision": ("Precision", "share of the list that was a hit"),
    "recall": ("Recall", "share of the held-out items that the list caught"),
    "map": ("MAP", "precision at each hit, averaged over all held-out items"),
    "mrr": ("MRR", "1 / rank of the first hit"),
    "coverage": ("Coverage", "share of the catalogue that stands in any list"),
}


def page(report: dict[str, Any]) -> str:
    """The HTML of a report, as Evaluate writes it to report.json; the same report gives the same bytes.

    Ids are data of strangers: everything is escaped, and the page forbids itself scripts and requests.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"whole": _whole, "part": _part}
    settings = [(name, _at(report["settings"], name), default, about) for name, default, about in rows(Run)]
    text: str = environment.get_template("report.html.jinja").render(
        report=report, measures=_measures(report), settings=settings
    )
    return text


def _measures(report: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per metric: its name, meaning, and a (value, length of its bar in percent) per model."""
    models = [model for model, metrics in report["metrics"].items() if metrics]
    out = []
    for key, (name, about) in _METRICS.items():
        values = [report["metrics"][model][key] for model in models]
        longest = max(values, default=0) or 1
        cells = [(value, round(100 * value / longest, 1)) for value in values]
        at = "" if key == "coverage" else f"@{report['x']}"
        out.append({"name": name + at, "about": about, "cells": dict(zip(models, cells, strict=True))})
    return out


def _at(settings: dict[str, Any], name: str) -> Any:
    """The value at a dotted name."""
    value: Any = settings
    for key in name.split("."):
        value = value[key]
    return value


def _whole(value: float) -> str:
    """A count with its thousands apart."""
    return f"{value:,.0f}"


def _part(value: float, digits: int = 3) -> str:
    """A number with a fixed count of decimals."""
    return f"{value:.{digits}f}" if math.isfinite(value) else str(value)
