"""Service Quotas of SageMaker from a file, so that an account with a quota of 0 can be tried at home."""

import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topx.errors import SettingsRejected, join

USUAL = Path(__file__).with_name("quotas.json")
KINDS = {"training": "training job", "processing": "processing job", "transform": "transform job"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Quota name -> instances or seconds: what the account has (`applied`), what AWS gives if not listed."""

    applied: dict[str, float]
    default: dict[str, float]

    def problem(self, kind: str, request: dict[str, Any]) -> str | None:
        """AWS's text where the request for a job of this kind needs more than a quota, else None."""
        machines = request.get("ResourceConfig") or request.get("TransformResources")
        machines = machines or request["ProcessingResources"]["ClusterConfig"]
        seconds = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 0)
        for name, asked, unit in (
            (f"{machines['InstanceType']} for {KINDS[kind]} usage", machines["InstanceCount"], "Instances"),
            (f"Longest run time for a {KINDS[kind]}", seconds, "Seconds"),
        ):
            value = self.applied.get(name, self.default.get(name))
            if value is not None and asked > value:
                return (
                    f"The account-level service limit '{name}' is {value:.0f} {unit}, with current utilization "
                    f"of 0 {unit} and a request delta of {asked} {unit}. Please use AWS Service Quotas to "
                    "request an increase for this quota."
                )
        return None

    def install(self, stack: ExitStack) -> None:
        """Answers the Service Quotas API from these, until `stack` closes."""
        from local import moto_seams as moto  # seconds of imports, which a wrong file need not wait for

        for seam, table in ((moto.LIST_QUOTAS, self.applied), (moto.LIST_DEFAULT_QUOTAS, self.default)):
            moto.put(stack, seam, _listing(table))


def load(file: Path | None) -> Quotas:
    """The usual quotas with those of `file` over them; raises SettingsRejected with every problem."""
    usual = json.loads(USUAL.read_text("utf-8"))
    if file is None:
        return Quotas(**usual)
    try:
        given = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsRejected(
            f"--quotas {file} is no readable JSON file: {error}; see {USUAL.name}"
        ) from error
    problems = []
    if not isinstance(given, dict) or not given.keys() <= usual.keys():
        problems.append(
            f'--quotas {file} holds {str(given)[:60]}; give {{"applied": {{name: number}}}} as in {USUAL.name}'
        )
        raise SettingsRejected(join(problems))
    for part, table in given.items():
        if not isinstance(table, dict):
            problems.append(f"--quotas {file}: {part} is {table!r}; give {{quota name: instances}}")
            continue
        problems += [
            f"--quotas {file}: {part}, {name!r} is {value!r}; give a number of instances, 0 or more"
            for name, value in table.items()
            if type(value) not in (int, float) or value < 0
        ]
    if problems:
        raise SettingsRejected(join(problems))
    return Quotas(**{part: {**table, **given.get(part, {})} for part, table in usual.items()})


def _described(name: str, value: float) -> dict[str, Any]:
    return {
        "ServiceCode": "sagemaker",
        "ServiceName": "Amazon SageMaker",
        "QuotaCode": f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}",  # names count
        "QuotaName": name,
        "Value": float(value),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


def _listing(table: dict[str, float]) -> Any:
    """List operations: page by page, as there are some 1,500 of them on AWS."""

    def answer(self: Any) -> str:
        given = json.loads(self.body)
        of_sagemaker = given.get("ServiceCode") == "sagemaker"
        every = [_described(name, value) for name, value in sorted(table.items())] if of_sagemaker else []
        start, size = int(given.get("NextToken", 0)), int(given.get("MaxResults", 100))
        page: dict[str, Any] = {"Quotas": every[start : start + size]}
        if start + size < len(every):
            page["NextToken"] = str(start + size)
        return json.dumps(page)

    return answer
