"""What `python app.py` does with settings: draws a stage, or says everything that is wrong with them."""

import json
from pathlib import Path

import pytest
from drawn import synthesize, template

import app
from topx.errors import SettingsRejected


def test_two_syntheses_write_the_same_files(assembly: Path, tmp_path: Path) -> None:
    assert synthesize(tmp_path / "again").returncode == 0
    files = sorted(path.relative_to(assembly) for path in assembly.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()
    )
    for file in files:
        if not file.name.endswith(".metadata.json"):  # holds the stack traces of warnings
            assert (assembly / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_it_writes_two_stacks_with_tags_and_nothing_to_look_up(assembly: Path) -> None:
    manifest = json.loads((assembly / "manifest.json").read_text())
    stacks = {
        name: one["properties"]
        for name, one in manifest["artifacts"].items()
        if one["type"] == "aws:cloudformation:stack"
    }
    assert set(stacks) == {"topx-dev-data", "topx-dev-pipeline"}
    for stack in stacks.values():
        assert stack["tags"] == {"application": "topx", "stage": "dev"}
        assert not stack["terminationProtection"]
    assert "missing" not in manifest


def test_assets_hold_the_allowed_folders_only(assembly: Path) -> None:
    folders = [path for path in assembly.iterdir() if path.name.startswith("asset.")]
    held = sorted(sorted(path.name for path in folder.iterdir()) for folder in folders)
    assert held == [["containers", "lambdas", "topx"], ["lambdas", "topx"]]
    for folder in folders:
        assert not [path for path in folder.rglob("*") if path.suffix == ".pyc" or "tests" in path.parts]
        assert (folder / "topx" / "instance_types.json").exists()
    (image,) = (folder for folder in folders if (folder / "containers").exists())
    assert [path.name for path in (image / "containers").iterdir()] == ["repackage"]


def test_the_stage_is_chosen_by_name(tmp_path: Path) -> None:
    assert synthesize(tmp_path / "out", "-c", "stage=prod").returncode == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["artifacts"]["topx-prod-data"]["properties"]["terminationProtection"]
    resources = template(tmp_path / "out", "topx-prod-data")["Resources"].values()
    (ledger,) = (one for one in resources if one["Type"] == "AWS::DynamoDB::Table")
    assert ledger["Properties"]["DeletionProtectionEnabled"] is True


def test_wrong_settings_are_listed_at_once_without_a_traceback(tmp_path: Path) -> None:
    wrong = {
        "quiet_period": 5,
        "function_memory_mb": 64,
        "log_retention_days": 42,
        "instance_types": {"train_factors": ["ml.m5.tiny"]},
        "run": {"rank": {"x": 0}, "train_factors": {"instance_type": "ml.m5.24xlarge"}},
    }
    done = synthesize(tmp_path / "out", stage="dev", stages={"dev": wrong})
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for said in (
        "quiet_period does not exist; did you mean quiet_period_seconds?",
        "function_memory_mb is 64; choose 1,024 to 10,240",
        "log_retention_days is 42; CloudWatch has 1, 3, 5,",
        "instance_types.train_factors names ml.m5.tiny, which is not valid for a training job; near it: ml.m5.",
        "instance_types.repackage is empty; name at least one type valid for a processing job",
        "run.rank.x is 0; choose 1 to 1,000",
        "run.train_factors.instance_type is ml.m5.24xlarge; this stage allows ml.m5.tiny",
    ):
        assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_stage_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["-c", "stage=nowhere"]) == 2
    assert "stage is nowhere; cdk.json has dev, local, prod" in capsys.readouterr().err


def test_a_region_without_the_algorithms_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDK_CONTEXT_JSON", json.dumps({"stages": {"dev": {"region": "mx-central-1"}}}))
    assert app.main([]) == 2
    said = capsys.readouterr().err
    assert "region is mx-central-1, which has no image of Factorization Machines and k-NN" in said
    assert "us-east-1" in said


def test_a_broken_cdk_json_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cdk.json").write_text("{")
    monkeypatch.setattr(app, "CDK_JSON", tmp_path / "cdk.json")
    with pytest.raises(SettingsRejected, match=r"cdk\.json is not JSON: .* correct it"):
        app.context([])
