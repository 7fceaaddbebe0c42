"""What Preflight decides and every later state reads. Standard library only."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from topx.fields import as_json
from topx.paths import Paths
from topx.settings import Run, load_run


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One current object of the dataset, pinned to its version."""

    key: str
    version: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run, resolved. `$.plan` carries it without the lists of files; plan.json holds all."""

    stage: str
    dataset: str
    run_id: str
    execution: str
    started_at: str
    sequence: int
    content: str
    uri: str  # s3://<runs bucket>/runs/<dataset>/<run id>, no slash at the end
    run: Run
    accept: str | None = None
    files: tuple[File, ...] = ()
    tests: tuple[File, ...] = ()
    quotas: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> Paths:
        """Keys of this run."""
        return Paths(self.dataset, self.run_id)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values of everything: the content of plan.json."""
        return as_json(self)

    def for_states(self) -> dict[str, Any]:
        """What flows as `$.plan`: all but the lists, which may be long."""
        slim = replace(self, files=(), tests=(), quotas=(), warnings=(), versions={}).to_json()
        return {
            key: value
            for key, value in slim.items()
            if key not in {"files", "tests", "quotas", "warnings", "versions"}
        }

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> "Plan":
        """The plan in `$.plan` or in plan.json."""
        lists = {name: tuple(File(**one) for one in given.get(name, ())) for name in ("files", "tests")}
        rest = {name: tuple(given.get(name, ())) for name in ("quotas", "warnings")}
        return cls(**{**given, **lists, **rest, "run": load_run(given["run"])})

    @classmethod
    def read(cls, folder: Path) -> "Plan":
        """The plan of a step: `plan/plan.json` below the step's input folder."""
        return cls.from_json(json.loads((folder / "plan" / "plan.json").read_text("utf-8")))
