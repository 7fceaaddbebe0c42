"""What the tests of the drawing look at: synthesized files as JSON, with tokens and hashes made readable.

`python tests/infra/drawn.py FOLDER > tests/infra/workflow.asl.json` accepts the machine of a synthesis.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def synthesize(out: Path, *arguments: str, **context: Any) -> subprocess.CompletedProcess[str]:
    """`python app.py` as a stranger runs it: no node, docker or credentials in its environment."""
    env = {
        "PATH": "/nowhere",
        "HOME": os.environ["HOME"],  # where jsii keeps what it unpacked
        "CDK_OUTDIR": str(out),
        "CDK_VALIDATION": "false",
        "CDK_CONTEXT_JSON": json.dumps(context),
    }
    command = [sys.executable, str(ROOT / "app.py"), *arguments]
    return subprocess.run(command, env=env, cwd=out.parent, capture_output=True, text=True, check=False)


def template(out: Path, name: str) -> dict[str, Any]:
    """A stack's template as it was written."""
    made: dict[str, Any] = json.loads((out / f"{name}.template.json").read_text("utf-8"))
    return made


def plain(value: Any) -> Any:
    """The same with every token as text, such as `<Runs.Arn>/runs/*`, and no hashes."""
    match value:
        case {"Fn::Join": [between, parts]}:
            return between.join(map(plain, parts))
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{_name(resource)}.{attribute}>"
        case {"Ref": name}:
            return f"<{_name(name)}>"
        case {"Fn::Sub": text}:
            return plain(text.replace("${", "<").replace("}", ">"))
        case {"Fn::FindInMap": [table, {"Ref": key}, column]}:
            return f"<{table} of {key}: {column}>"
        case {"Fn::ImportValue": name}:
            return _import(name)
        case dict():
            return {_name(key): plain(one) for key, one in value.items()}
        case list():
            return [plain(one) for one in value]
        case str():
            return re.sub(r"\b[0-9a-f]{64}\b", "<hash>", value)
        case _:
            return value


def of_type(stack: dict[str, Any], kind: str) -> dict[str, Any]:
    """Logical id without hash -> properties, of a stack made plain."""
    return {name: one.get("Properties", {}) for name, one in stack["Resources"].items() if one["Type"] == kind}


def definition(pipeline: dict[str, Any]) -> dict[str, Any]:
    """The state machine of a plain pipeline stack, joined and parsed."""
    (machine,) = of_type(pipeline, "AWS::StepFunctions::StateMachine").values()
    made: dict[str, Any] = json.loads(machine["DefinitionString"])
    return made


def snapshot(machine: dict[str, Any]) -> str:
    """The machine as workflow.asl.json keeps it: the settings stand in their own file."""
    machine["States"]["Preflight"]["Parameters"]["settings"] = "<settings>"
    return json.dumps(machine, indent=2) + "\n"


def _name(logical: str) -> str:
    return re.sub(r"(?<=[a-z])[0-9A-F]{8}$", "", logical)


def _import(name: str) -> str:
    made = re.fullmatch(r".*:ExportsOutput(?:FnGetAtt|Ref)(\w+?)[0-9A-F]{8}(Arn|)[0-9A-F]{8}", name)
    assert made, name
    return f"<{made[1]}.{made[2]}>" if made[2] else f"<{made[1]}>"


if __name__ == "__main__":
    (file,) = Path(sys.argv[1]).glob("*-pipeline.template.json")
    sys.stdout.write(snapshot(definition(plain(json.loads(file.read_text("utf-8"))))))
