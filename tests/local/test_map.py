"""The map of local/ is complete, and its first part is half an hour's reading."""

import ast
import io
import re
import tokenize
from pathlib import Path

import local
import local.iam

FOLDER = Path(local.__file__).parent
MINUTES = 30
SILENT = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}


def named(text: str) -> list[str]:
    return re.findall(r"^ *(\w+\.py) ", text, re.MULTILINE)


def code(path: Path) -> int:
    """Lines of a file that hold code: no blank ones, comments or docstrings."""
    text = path.read_text("utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {n for one in tokens if one.type not in SILENT for n in range(one.start[0], one.end[0] + 1)}
    for one in ast.walk(ast.parse(text)):
        if isinstance(one, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(one) is not None:
            lines -= set(range(one.body[0].lineno, (one.body[0].end_lineno or 0) + 1))
    return len(lines)


def test_each_file_stands_on_the_map_once() -> None:
    for package in (local, local.iam):
        files = {path.name for path in Path(package.__file__).parent.glob("*.py")} - {"__init__.py"}
        assert sorted(named(package.__doc__ or "")) == sorted(files)


def test_the_first_part_is_half_an_hour() -> None:
    first = (local.__doc__ or "").split("Looked up")[0]
    lines = {name: code(FOLDER / name) for name in named(first)}
    assert sum(lines.values()) <= MINUTES * 60, lines


def test_what_the_page_on_emulation_links_to_is_there() -> None:
    page = FOLDER.parent / "docs/emulation.md"
    links = re.findall(r"\]\((\.\./[^)#]+)", page.read_text("utf-8"))
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []
