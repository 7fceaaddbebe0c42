"""AWS's security rules run at each synthesis; each finding we accept is one, and has its reason."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import app
import infra.stage
from topx.settings import load_deploy


def findings(out: Path) -> Counter[str]:
    """Finding -> number of places, of a synthesis that failed."""
    report = json.loads((out / "validation-report.json").read_text("utf-8"))
    (plugin,) = report["pluginReports"]
    assert plugin["pluginName"] == "AwsSolutions"
    return Counter({one["ruleName"]: len(one["violatingConstructs"]) for one in plugin["violations"]})


def test_every_accepted_finding_is_one_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing accepted the synthesis fails on exactly what we accept otherwise."""
    accepted: dict[str, set[str]] = {}

    def acknowledge(_: Any, one: Any) -> None:
        accepted.setdefault(one.id, set()).add(one.reason)

    monkeypatch.setenv("CDK_VALIDATION", "false")
    monkeypatch.setattr(infra.stage.Validations, "acknowledge", acknowledge)
    drawn = infra.stage.draw(load_deploy({}), outdir=str(tmp_path), context=app.context([]))
    with pytest.raises(RuntimeError, match=r"validation-report\.json"):
        drawn.synth()
    assert set(findings(tmp_path)) == set(accepted)
    for reasons in accepted.values():
        assert all(len(reason) >= 20 for reason in reasons)


def test_findings_are_accepted_one_by_one() -> None:
    source = "".join(path.read_text("utf-8") for path in Path(infra.stage.__file__).parent.glob("*.py"))
    assert "IAM5[" in source
    assert '"IAM5"' not in source
    assert '"IAM4' not in source
