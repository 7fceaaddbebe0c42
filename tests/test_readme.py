"""The README says what the code says. Run as a program it writes what is made from the code anew."""

import re
from pathlib import Path

from local.assembly import LEFT_OUT, NOT_EMULATED
from topx.fields import rows
from topx.settings import Deploy

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


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


def not_emulated() -> str:
    kinds = (f"{about} (`{kind}`)" for kind, about in LEFT_OUT.items() if kind != "AWS::CDK::Metadata")
    return "".join(f"- {one};\n" for one in (*NOT_EMULATED, *kinds))


def written() -> str:
    text = README.read_text("utf-8")
    for name, made in (("settings", table()), ("not emulated", not_emulated())):
        block = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- {name} end -->)", re.DOTALL)
        text = block.sub(lambda found, made=made: found[1] + made + found[2], text)
    return text


def test_what_is_made_from_the_code_is_as_the_code_says() -> None:
    assert README.read_text("utf-8") == written(), "run `python -m tests.test_readme`"


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
