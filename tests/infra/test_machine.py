"""The state machine as it is rendered: its story, its retries, its names and its limits."""

import dataclasses
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from drawn import snapshot

from topx import errors
from topx.settings import JOBS, Run, load_deploy

PASSING = {
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
}
ASLEEP = {"Lambda.CodeArtifactUserPendingException", "Lambda.CodeArtifactUserDeletedException"}
JOB_STATES = {"TrainFactors", "Repackage", "TrainNeighbors", "MatchUsers"}


def tasks(machine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: state for name, state in machine["States"].items() if state["Type"] == "Task"}


def walk(value: Any) -> Any:
    """Every (key, value) below a value."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield key, one
            yield from walk(one)
    elif isinstance(value, list):
        for one in value:
            yield from walk(one)


def test_the_machine_is_the_one_we_read_and_accepted(machine: dict[str, Any]) -> None:
    """drawn.py says how to accept a change."""
    kept = Path(__file__).with_name("workflow.asl.json").read_text("utf-8")
    assert snapshot(machine) == kept


def test_the_story_goes_from_preflight_to_publish(machine: dict[str, Any]) -> None:
    told, name = [], machine["StartAt"]
    while name:
        told.append(name)
        state = machine["States"][name]
        name = state["Choices"][0]["Next"] if state["Type"] == "Choice" else state.get("Next")
    assert [one for one in told if not one.endswith("?")] == [
        "Preflight",
        "Encode",
        "TrainFactors",
        "Repackage",
        "TrainNeighbors",
        "RegisterNeighbors",
        "MatchUsers",
        "Rank",
        "Evaluate",
        "Gate",
        "Publish",
    ]


def test_every_state_is_reached_and_every_next_exists(machine: dict[str, Any]) -> None:
    ways = {"Next", "Default"}
    targets = {value for key, value in walk(machine["States"]) if key in ways and isinstance(value, str)}
    assert targets | {machine["StartAt"]} == set(machine["States"])


def test_nothing_is_caught_and_each_task_is_limited_and_retried(machine: dict[str, Any]) -> None:
    assert 0 < machine["TimeoutSeconds"] <= timedelta(days=365).total_seconds()
    assert not [key for key, _ in walk(machine) if key == "Catch"]
    for name, state in tasks(machine).items():
        assert "TimeoutSeconds" in state or "TimeoutSecondsPath" in state, name
        assert state["Retry"], name
        for retry in state["Retry"]:
            assert retry["JitterStrategy"] == "FULL"
            assert retry["MaxDelaySeconds"] >= retry["IntervalSeconds"]
            assert not {"States.ALL", "States.TaskFailed", "States.Timeout"} & set(retry["ErrorEquals"])


def waits(retry: dict[str, Any]) -> int:
    """The longest that a retrier can wait in all, in seconds."""
    delays = (retry["IntervalSeconds"] * retry["BackoffRate"] ** n for n in range(retry["MaxAttempts"]))
    return sum(min(delay, retry["MaxDelaySeconds"]) for delay in delays)


def test_functions_are_retried_on_passing_troubles_and_when_they_slept(machine: dict[str, Any]) -> None:
    for name in ("Preflight", "Encode", "Rank", "Evaluate", "Publish"):
        passing, asleep, *rest = machine["States"][name]["Retry"]
        assert set(passing["ErrorEquals"]) == PASSING
        assert set(asleep["ErrorEquals"]) == ASLEEP
        assert 120 <= waits(asleep) / 2 <= 600  # full jitter halves it on average
        assert bool(rest) == (name == "Publish")


def test_publish_waits_two_hours_for_the_import(machine: dict[str, Any]) -> None:
    retry = machine["States"]["Publish"]["Retry"][-1]
    assert [getattr(errors, name) for name in retry["ErrorEquals"]] == [errors.ListsNotReady]
    looks = 60 * retry["MaxAttempts"]  # it looks for a minute before it says so
    assert waits(retry) / 2 + looks == pytest.approx(7200, rel=0.05)


def test_a_refused_job_is_tried_again_but_never_under_its_own_name(machine: dict[str, Any]) -> None:
    for name in JOB_STATES | {"RegisterNeighbors"}:
        limit, other = machine["States"][name]["Retry"]
        assert limit["ErrorEquals"] == ["SageMaker.ResourceLimitExceededException"]
        assert other["ErrorEquals"] == ["SageMaker.AmazonSageMakerException"]
        assert other["MaxAttempts"] <= 3  # mistakes come under this name, too
    assert "ResourceInUse" not in json.dumps(machine)


def test_a_job_name_is_new_on_each_retry_and_redrive_and_fits(machine: dict[str, Any]) -> None:
    longest = "a" * 12
    for name in JOB_STATES | {"RegisterNeighbors"}:
        (named,) = (
            value
            for key, value in machine["States"][name]["Parameters"].items()
            if re.fullmatch(r"(\w+JobName|ModelName)\.\$", key) and "Format" in value
        )
        text, given = re.fullmatch(r"States\.Format\('(.*)', (.*)\)", named).groups()  # type: ignore[union-attr]
        assert given.split(", ") == ["$.plan.run_id", "$$.State.RetryCount", "$$.Execution.RedriveCount"]
        made = text.replace("-dev-", f"-{longest}-").format("20261231-235959-0123abcd", 10, 99)
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", made), made


def test_the_settings_of_the_stage_are_in_the_definition(machine: dict[str, Any]) -> None:
    given = machine["States"]["Preflight"]["Parameters"]["settings"]
    assert load_deploy(given) == load_deploy({})
    versions = machine["States"]["Preflight"]["Parameters"]["versions"]
    assert versions == {"code": "<hash>", "image": "<hash>"}


def test_a_state_outlasts_what_it_runs(pipeline: dict[str, Any], machine: dict[str, Any]) -> None:
    for name in ("Preflight", "Encode", "Rank", "Evaluate", "Publish"):
        (function,) = (
            one["Properties"]
            for logical, one in pipeline["Resources"].items()
            if re.fullmatch(rf"Functions{name}[0-9A-F]{{8}}|Functions{name}", logical)
        )
        assert machine["States"][name]["TimeoutSeconds"] > function["Timeout"]
    for job in JOBS:
        name = "".join(map(str.title, job.split("_")))
        section = type(getattr(Run(), job))
        (field,) = (f for f in dataclasses.fields(section) if f.name == "max_runtime_seconds")
        if name == "MatchUsers":  # a transform has no limit of its own
            assert machine["States"][name]["TimeoutSecondsPath"] == "$.plan.run.match_users.max_runtime_seconds"
        else:
            assert machine["States"][name]["TimeoutSeconds"] > field.metadata["high"]
            stop = machine["States"][name]["Parameters"]["StoppingCondition"]
            assert stop == {"MaxRuntimeInSeconds.$": f"$.plan.run.{job}.max_runtime_seconds"}


def test_jobs_are_isolated_encrypted_and_tagged(machine: dict[str, Any]) -> None:
    states = machine["States"]
    for name in ("TrainFactors", "TrainNeighbors", "RegisterNeighbors"):
        assert states[name]["Parameters"]["EnableNetworkIsolation"] is True
    assert states["Repackage"]["Parameters"]["NetworkConfig"] == {"EnableNetworkIsolation": True}
    assert states["TrainFactors"]["Parameters"]["EnableInterContainerTrafficEncryption"] is True
    for name in JOB_STATES:
        keys = [value for key, value in walk(states[name]["Parameters"]) if key.endswith("KmsKeyId")]
        assert keys == ["<Key.Arn>"] * 2  # output and volume
    for name in JOB_STATES | {"RegisterNeighbors"}:
        tags = {tag["Key"]: tag.get("Value") or tag["Value.$"] for tag in states[name]["Parameters"]["Tags"]}
        assert tags == {
            "application": "topx",
            "stage": "dev",
            "dataset": "$.plan.dataset",
            "run_id": "$.plan.run_id",
        }


def test_a_job_that_did_not_complete_ends_the_run_and_says_what_to_do(machine: dict[str, Any]) -> None:
    for name in JOB_STATES:
        choice = machine["States"][machine["States"][name]["Next"]]
        (rule,) = choice["Choices"]
        assert rule["Variable"] == f"{machine['States'][name]['ResultPath']}.status"
        assert rule["StringEquals"] == "Completed"
        stopped = machine["States"][choice["Default"]]
        assert (stopped["Type"], stopped["Error"]) == ("Fail", "JobStopped")
        assert "start a new execution" in stopped["CausePath"]


def test_the_definition_stays_far_below_its_limit(machine: dict[str, Any]) -> None:
    assert len(json.dumps(machine)) < 65_536 < 1_048_576
