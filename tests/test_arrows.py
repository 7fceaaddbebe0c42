"""Who may import whom, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"topx", "lambdas", "containers", "infra", "local", "benchmarks", "app"}
ALLOWED = {
    "topx": set(),
    "lambdas": {"topx"},
    "containers": {"topx"},
    "infra": {"topx"},
    "local": OURS,
    "benchmarks": OURS,
}
LIGHT = ("preflight", "trigger", "settle", "publish", "recommend")
STDLIB_ONLY = ("errors", "fields", "settings", "paths", "plan")


def imports(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
    }


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows_point_inward(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        for name in imports(file):
            top = name.split(".")[0]
            assert top not in OURS - ALLOWED[package] - {package}, f"{file.relative_to(ROOT)} imports {name}"


def test_the_core_knows_no_cloud() -> None:
    for file in sorted((ROOT / "topx").glob("*.py")):
        tops = {name.split(".")[0] for name in imports(file)}
        assert not tops & {"boto3", "botocore", "aws_cdk", "os", "time", "random"}, file.name


def test_the_plain_part_of_the_core_is_standard_library() -> None:
    for name in STDLIB_ONLY:
        tops = {module.split(".")[0] for module in imports(ROOT / "topx" / f"{name}.py")}
        assert tops <= set(sys.stdlib_module_names) | {"topx"}, name


def test_infra_takes_only_settings_errors_and_paths() -> None:
    for file in sorted((ROOT / "infra").glob("*.py")):
        ours = {name for name in imports(file) if name.split(".")[0] == "topx"}
        assert ours <= {"topx.settings", "topx.errors", "topx.paths", "topx.fields"}, file.name


def test_boto3_stands_in_one_file_of_the_functions() -> None:
    using = {file.name for file in (ROOT / "lambdas").glob("*.py") if "boto3" in imports(file)}
    assert using == {"_cloud.py"}


def test_engines_know_no_moto() -> None:
    for file in sorted((ROOT / "local" / "engines").glob("*.py")):
        assert not {name.split(".")[0] for name in imports(file)} & {"moto", "boto3", "botocore"}, file.name


@pytest.mark.parametrize("name", LIGHT)
def test_light_functions_need_no_arrays(name: str) -> None:
    code = f"""
import sys
for blocked in ("numpy", "scipy", "pyarrow", "jinja2"):
    sys.modules[blocked] = None
import lambdas.{name}
assert callable(lambdas.{name}.handler)
"""
    env = {"PATH": "", "AWS_DEFAULT_REGION": "us-east-1", "HOME": "/"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
