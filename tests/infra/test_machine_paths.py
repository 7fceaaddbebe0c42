"""Every path of the machine, looked up in what the states before it really give.

Plan, summary, counts and decision come from the steps themselves, on little data; a Describe answer holds
what the API's model calls required. Each job's request is then checked against the API's model.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.model import Shape
from botocore.validate import ParamValidator

from topx.encode import encode
from topx.evaluate import evaluate
from topx.plan import Plan
from topx.rank import rank
from topx.repackage import repackage
from topx.settings import Run, load_deploy

sys.path.append(str(Path(__file__).parents[1] / "core"))
from small_run import small_run

SAGEMAKER = botocore.session.get_session().get_service_model("sagemaker")
CONTEXT = {
    "$$.Execution.Input": {},
    "$$.Execution.Id": "arn:aws:states:eu-west-1:123456789012:execution:topx:one",
    "$$.Execution.StartTime": "2026-03-01T12:00:00Z",
    "$$.Execution.RedriveCount": 0,
    "$$.State.RetryCount": 0,
}
URI = "s3://runs/runs/ratings/20260301-120000-0123abcd"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """State of a function -> what its function answers."""
    folder = tmp_path_factory.mktemp("encode")
    plan = Plan(
        stage="dev",
        dataset="ratings",
        run_id="20260301-120000-0123abcd",
        execution=CONTEXT["$$.Execution.Id"],  # type: ignore[arg-type]
        started_at="2026-03-01T12:00:00Z",
        sequence=1,
        content="0" * 64,
        uri=URI,
        run=load_deploy({}).resolved(Run()),
    )
    for noun in ("plan", "uploads"):
        (folder / noun).mkdir()
    (folder / "plan" / "plan.json").write_text(json.dumps(plan.to_json()))
    rows = [
        f"u{user},i{item},{1 + (user + item) % 5},{user * item}" for user in range(30) for item in range(20)
    ]
    (folder / "uploads" / "ratings.csv").write_text("\n".join(["user,item,rating,time", *rows]))
    ranked = small_run(tmp_path_factory.mktemp("small") / "run")
    repackage(ranked.folder, ranked.folder)
    ranked.answer(14)
    return {
        "Preflight": json.loads(json.dumps(plan.for_states())),
        "Encode": json.loads(json.dumps(encode(folder, folder))),
        "Rank": rank(ranked.folder, ranked.folder),
        "Evaluate": evaluate(ranked.folder, ranked.folder),
    }


def look_up(path: str, data: dict[str, Any]) -> Any:
    if path.startswith("$$."):
        return CONTEXT[path]
    found: Any = data
    for key in path.removeprefix("$").strip(".").split("."):
        assert key in found, f"{path} is not there: {key} is none of {', '.join(found)}"
        found = found[key]
    return found


def evaluated(text: str, data: dict[str, Any]) -> Any:
    """A path, or one of the two intrinsics that the machine uses."""
    if made := re.fullmatch(r"States\.Format\('(.*)', (.*)\)", text):
        return made[1].format(*(look_up(path, data) for path in made[2].split(", ")))
    if made := re.fullmatch(r"States\.ArrayGetItem\(States\.StringSplit\((\S+), '(.)'\), (\d)\)", text):
        return look_up(made[1], data).split(made[2])[int(made[3])]
    return look_up(text, data)


def filled(value: Any, data: dict[str, Any]) -> Any:
    """Parameters or a ResultSelector with every path replaced by what stands there."""
    if isinstance(value, list):
        return [filled(one, data) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key.removesuffix(".$"): evaluated(one, data) if key.endswith(".$") else filled(one, data)
        for key, one in value.items()
    }


def least(shape: Shape) -> Any:
    """An answer that holds what the API's model calls required, and nothing else."""
    match shape.type_name:
        case "structure":
            return {name: least(shape.members[name]) for name in shape.required_members}
        case "list":
            return []
        case "map":
            return {}
        case "string":
            return "Completed" if "Completed" in (shape.enum or []) else "text"
        case _:
            return 1


def operation(state: dict[str, Any]) -> str:
    return re.fullmatch(r".*:sagemaker:(\w+?)(\.sync)?", state["Resource"])[1]  # type: ignore[index]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    name = operation(state)
    if name == "createModel":
        return {"ModelArn": "arn:aws:sagemaker:eu-west-1:123456789012:model/topx-dev-neighbors-1"}
    shape = SAGEMAKER.operation_model(name.replace("create", "Describe")).output_shape
    return {**least(shape), "ModelArtifacts": {"S3ModelArtifacts": f"{URI}/factors/x/output/model.tar.gz"}}


def test_every_path_leads_to_what_a_state_before_gave(machine: dict[str, Any], given: dict[str, Any]) -> None:
    data: dict[str, Any] = {}
    name, passed = machine["StartAt"], []
    while name:
        state = machine["States"][name]
        passed.append(name)
        if state["Type"] == "Choice":
            (rule,) = state["Choices"]
            look_up(rule["Variable"], data)
            other = machine["States"][state["Default"]]
            filled(other.get("Parameters", {}), data)
            if "CausePath" in other:
                evaluated(other["CausePath"], data)
            name = rule["Next"]
            continue
        request = filled(state["Parameters"], data)
        if "TimeoutSecondsPath" in state:
            assert look_up(state["TimeoutSecondsPath"], data) > 0
        if ":sagemaker:" in state["Resource"]:
            shape = SAGEMAKER.operation_model(operation(state)[0].upper() + operation(state)[1:]).input_shape
            problems = ParamValidator().validate(request, shape).generate_report()
            assert not problems, f"{name}: {problems}"
            result = filled(state["ResultSelector"], answer(state))
        else:
            result = given.get(name, {})
        if "ResultPath" in state:
            data[state["ResultPath"].removeprefix("$.")] = result
        name = state.get("Next")
    assert passed[-1] == "Publish"
    assert set(data) == {
        "plan",
        "encoded",
        "factors",
        "matrices",
        "neighbors",
        "model",
        "matches",
        "lists",
        "report",
    }


def test_answers_are_cut_down_to_what_the_api_always_gives(machine: dict[str, Any]) -> None:
    for state in machine["States"].values():
        if state["Type"] == "Task" and state["Resource"].endswith(".sync"):
            shape = SAGEMAKER.operation_model(operation(state).replace("create", "Describe")).output_shape
            for path in state["ResultSelector"].values():
                assert path.split(".")[1] in shape.required_members, path


def test_a_path_into_nothing_is_found() -> None:
    with pytest.raises(AssertionError, match=r"\$\.plan\.run\.rnk is not there: rnk is none of rank"):
        look_up("$.plan.run.rnk", {"plan": {"run": {"rank": {}}}})
