"""The README says what the code says. Run as a program it writes the table of settings anew."""

import re
from pathlib import Path

from topx.fields import rows
from topx.settings import Deploy

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TABLE = re.compile(r"(<!-- settings: [^\n]*-->\n).*?(<!-- settings end -->)", re.DOTALL)


def table() -> str:
    lines = ["| Setting | Default | Meaning |", "|---|---|---|"]
    for name, default, meaning in rows(Deploy):
        shown = "" if default is None else f"`{_plain(default)}`"
        lines.append(f"| `{name}` | {shown} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, tuple):
        return " ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def written() -> str:
    return TABLE.sub(lambda found: found[1] + table() + found[2], README.read_text("utf-8"))


def test_the_table_of_settings_is_the_code() -> None:
    assert README.read_text("utf-8") == written(), "run `python tests/test_readme.py`"


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", README.read_text("utf-8")))
    assert named
    assert named <= targets


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README.read_text("utf-8")):
        assert (ROOT / link).exists(), link


if __name__ == "__main__":
    README.write_text(written(), "utf-8")
