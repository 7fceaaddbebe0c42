"""How the end of an execution is read."""

import json

import pytest

from local.story import Outcome, facts, reason

MESSAGE = "ratings.csv: it is empty"


@pytest.mark.parametrize(
    ("error", "cause", "told"),
    [
        ("InputRejected", json.dumps({"errorType": "InputRejected", "errorMessage": MESSAGE}), "InputRejected"),
        ("States.TaskFailed", json.dumps({"ExitMessage": f"ArtifactRejected: {MESSAGE}"}), "ArtifactRejected"),
        ("States.TaskFailed", json.dumps({"FailureReason": MESSAGE}), "States.TaskFailed"),
        ("JobStopped", MESSAGE, "JobStopped"),
    ],
)
def test_a_failure_is_told_by_class_and_message(error: str, cause: str, told: str) -> None:
    assert reason(error, cause) == (told, MESSAGE)


@pytest.mark.parametrize(
    ("status", "output", "error", "code"),
    [
        ("SUCCEEDED", {"published": True, "run_id": "r"}, "", 0),
        ("SUCCEEDED", {"published": False, "reasons": ["too few"]}, "", 3),
        ("FAILED", {}, "InputRejected", 2),
        ("FAILED", {}, "QuotasRejected", 2),
        ("FAILED", {}, "ArtifactRejected", 1),
        ("FAILED", {}, "States.Timeout", 1),
        ("ABORTED", {}, "ABORTED", 1),
    ],
)
def test_the_exit_code_says_who_must_act(status: str, output: dict[str, object], error: str, code: int) -> None:
    assert Outcome(status=status, seconds=1, output=output, error=error).code == code


def test_a_stop_without_a_word_is_told_by_its_state() -> None:
    assert (
        Outcome(status="ABORTED", seconds=1, output={}, error="ABORTED", state="Rank").told
        == "ABORTED (state Rank)"
    )


def test_a_run_whose_calls_were_refused_is_no_success() -> None:
    output = {"published": True, "run_id": "r"}
    outcome = Outcome(status="SUCCEEDED", seconds=1, output=output, refused=("User: x is not authorized",))
    assert outcome.code == 1
    assert outcome.told == "Failed: calls were refused (1), see above; the lists may be incomplete."


def test_a_state_is_told_by_the_numbers_that_it_made() -> None:
    assert facts({"users": 1200, "k": 4, "path": "p", "ok": True}) == "users 1,200 · k 4"
    assert facts({"run_id": "r", "published": False, "reasons": []}) == "run_id r · published false"
