"""Which test holds which name of local/moto_seams.py: read from the tests' source, so that none is left out."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., None])


def contract(*names: str) -> Callable[[Test], Test]:
    """Marks a test as the contract of names in moto_seams: it fails when moto no longer does what we need."""
    return lambda test: test


def held() -> dict[str, set[str]]:
    """Name in moto_seams -> the tests of this folder that are marked as its contract."""
    found: dict[str, set[str]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for test in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(test, ast.FunctionDef):
                continue
            for mark in test.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == contract.__name__:
                    for name in mark.args:
                        found.setdefault(ast.literal_eval(name), set()).add(f"{path.name}::{test.name}")
    return found
