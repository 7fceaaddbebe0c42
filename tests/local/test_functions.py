"""Functions run as AWS runs them: warm, with their own role and limits, failing under AWS's names."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import Small, wait
from tests.local.contracts import contract


def test_a_function_stays_warm(small: Small) -> None:
    first, _ = small.call("Answer", {"n": 1})
    second, _ = small.call("Answer", {"n": 2})
    assert second["event"] == {"n": 2}
    assert second["pid"] == first["pid"] != os.getpid()
    assert second["calls"] == first["calls"] + 1


def test_a_function_runs_from_its_staged_folder_with_its_own_environment(small: Small) -> None:
    answer, _ = small.call("Answer", {})
    environment = answer["environment"]
    assert answer["folder"].endswith("asset.code")
    assert environment["GREETING"] == "hello"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["AWS_LAMBDA_LOG_FORMAT"] == "JSON"
    assert environment["AWS_ENDPOINT_URL"] == small.cloud.endpoint
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["TMPDIR"].startswith(str(small.cloud.work))
    assert 10_000 < answer["left"] <= 20_000


@contract("CREATE_FUNCTION", "IMAGE_CONFIG")
def test_an_image_function_runs_its_command_from_the_staged_image(small: Small) -> None:
    answer, failed = small.call("Heavy", {"n": 1})
    assert not failed
    assert answer["folder"].endswith("asset.image")


def test_a_function_has_the_credentials_of_its_own_role(small: Small) -> None:
    arn, _ = small.call("Whoami", {})
    assert f":assumed-role/{small.names['Role']}/" in arn


@pytest.mark.parametrize(
    ("event", "kind", "text"),
    [
        ("raise", "LookupError", "nothing there"),
        ("exit", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("kill", "Runtime.ExitError", "Runtime exited with error: signal: killed"),
        ("sleep", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
        ("nan", "Runtime.MarshalError", "not JSON compliant"),
    ],
)
def test_what_goes_wrong_has_the_name_that_aws_gives_it(small: Small, event: str, kind: str, text: str) -> None:
    answer, failed = small.call("Break", event)
    assert failed
    assert answer["errorType"] == kind
    assert text in answer["errorMessage"]
    assert small.call("Break", "fine") == ("fine", False)  # the next call finds a fresh process


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is watched on Linux only")
def test_a_function_above_its_memory_is_killed(small: Small) -> None:
    answer, _ = small.call("Break", "memory")
    assert answer["errorType"] == "Runtime.ExitError"


def test_a_handler_that_cannot_be_imported_says_so(small: Small) -> None:
    answer, failed = small.call("Missing", {})
    assert failed
    assert answer["errorType"] == "Runtime.ImportModuleError"
    assert "nowhere" in answer["errorMessage"]


def test_concurrent_calls_have_a_process_each(small: Small) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = pool.map(lambda _: small.call("Heavy", {"wait": 0.5}), range(3))
        assert len({answer["pid"] for answer, _ in answers}) == 3


@contract("INVOKE")
def test_an_asynchronous_call_is_tried_three_times(small: Small) -> None:
    log = small.cloud.logs / "functions" / f"{small.names['Break']}.log"

    def tried() -> int:
        return log.read_text().count('"errorMessage": "nothing there"') if log.exists() else 0

    before = tried()
    answer = small.cloud.client("lambda").invoke(
        FunctionName=small.names["Break"], InvocationType="Event", Payload=json.dumps("raise").encode()
    )
    assert answer["StatusCode"] == 202
    wait(lambda: tried() >= before + 3 or None)
    small.cloud.quiet()
    assert tried() == before + 3


@pytest.mark.parametrize("kind", ["RequestResponse", "Event"])
@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"no json", "InvalidRequestContentException"),
        (b"NaN", "InvalidRequestContentException"),
        (b"\xef\xbb\xbf{}", "InvalidRequestContentException"),
        (b'{"a": 1', "InvalidRequestContentException"),
        (b'"' + b"x" * 7 * 2**20 + b'"', "RequestTooLargeException"),
    ],
)
def test_a_call_that_is_no_call_reaches_no_function(small: Small, kind: str, payload: bytes, code: str) -> None:
    log = small.cloud.logs / "functions" / f"{small.names['Break']}.log"
    before = log.read_text() if log.exists() else ""
    with pytest.raises(ClientError, match=code):
        small.cloud.client("lambda").invoke(
            FunctionName=small.names["Break"], InvocationType=kind, Payload=payload
        )
    assert (log.read_text() if log.exists() else "") == before


def test_an_asynchronous_call_takes_a_megabyte_and_no_more(small: Small) -> None:
    client, asked = small.cloud.client("lambda"), {"FunctionName": small.names["Answer"]}
    large = b'{"x": "' + b"x" * 2**20 + b'"}'
    with pytest.raises(
        ClientError, match=r"too large for the Event invocation type \(service limit: 1048576 bytes\)"
    ):
        client.invoke(**asked, InvocationType="Event", Payload=large)
    assert client.invoke(**asked, InvocationType="Event", Payload=b"{}")["StatusCode"] == 202
    assert client.invoke(**asked, Payload=large)["StatusCode"] == 200


def test_a_call_of_another_kind_is_refused(small: Small) -> None:
    with pytest.raises(ClientError, match="not emulated: InvocationType DryRun"):
        small.cloud.client("lambda").invoke(FunctionName=small.names["Answer"], InvocationType="DryRun")
