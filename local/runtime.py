"""One process of a function: AWS's own runtime client, talking to a Runtime API that stands here."""

import json
import signal
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import SimpleQueue
from subprocess import Popen
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from local.children import PYTHON

if TYPE_CHECKING:
    from local.cloud import Cloud

LARGEST = 6_291_556  # bytes of an answer
WATCH_SECONDS = 0.05
_MEGABYTE = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call gave: JSON bytes, and whether they describe an error."""

    payload: bytes
    failed: bool = False


@dataclass(slots=True)
class _Call:
    payload: bytes
    timeout: float
    arn: str
    id: str = field(default_factory=lambda: str(uuid4()))
    done: Event = field(default_factory=Event)
    answer: Answer | None = None

    def end(self, answer: Answer) -> None:
        self.answer = self.answer or answer
        self.done.set()

    def failure(self, kind: str, message: str) -> Answer:
        text = {"errorType": kind, "errorMessage": f"RequestId: {self.id} Error: {message}"}
        return Answer(payload=json.dumps(text).encode(), failed=True)


class _Api(HTTPServer):
    """The Runtime API of one process, which asks it for one call after the other."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.calls: SimpleQueue[_Call | None] = SimpleQueue()
        self.current: _Call | None = None
        self.no_start: Answer | None = None
        self.ready = Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A process that ended while its request was open is noticed by the one who waits for the answer."""


class _Requests(BaseHTTPRequestHandler):
    server: _Api
    wbufsize = -1  # one packet for each answer: without it every call waits 40 ms for an acknowledgement

    def do_GET(self) -> None:
        """The next call."""
        self.server.ready.set()
        call = self.server.calls.get()
        if call is None:
            return
        self.server.current = call
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", call.id)
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + call.timeout) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", call.arn)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(call.payload)))
        self.end_headers()
        self.wfile.write(call.payload)

    def do_POST(self) -> None:
        """The answer to the current call, its error, or why the process could not start."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/init/error"):
            self.server.no_start = Answer(payload=body, failed=True)
        elif self.server.current:
            self.server.current.end(_checked(self.server.current, body, self.path.endswith("/error")))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: these requests are no news."""


def _checked(call: _Call, body: bytes, failed: bool) -> Answer:
    if len(body) > LARGEST:
        return call.failure(
            "Function.ResponseSizeTooLarge", f"the answer has {len(body)} bytes; at most {LARGEST}"
        )
    try:
        json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        return call.failure("Runtime.MarshalError", f"Unable to marshal response: {error}")
    return Answer(payload=body, failed=failed)


def refuse_constant(name: str) -> None:
    """Lets `json.loads` refuse NaN and the infinities, which are no JSON."""
    raise ValueError(f"Out of range float values are not JSON compliant: {name}")


class Runtime:
    """One process of one function, started cold, then warm until it fails or is ended."""

    def __init__(self, cloud: "Cloud", function: Any, log: Path, temporary: Path) -> None:
        self._cloud, self._function = cloud, function
        temporary.mkdir(parents=True)
        self._api = _Api()
        self._thread = Thread(target=self._api.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        image = function.package_type == "Image"
        asset = function.code["ImageUri"].rpartition(":")[2] if image else Path(function.code["S3Key"]).stem
        assert cloud.assembly is not None
        folder = cloud.assembly.staged(asset)
        handler = function.image_config.cmd[0] if image else function.handler
        self.process: Popen[bytes] = cloud.children.start(
            [PYTHON, "-m", "awslambdaric", handler],
            folder=folder,
            given={
                **function.environment_vars,
                **cloud.environment(function.role),
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_port}",
                "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
                "AWS_LAMBDA_LOG_GROUP_NAME": function.logging_config.get("LogGroup", function.logs_group_name),
                "AWS_LAMBDA_LOG_STREAM_NAME": log.stem,
                "AWS_LAMBDA_LOG_FORMAT": function.logging_config.get("LogFormat", "Text"),
                "AWS_LAMBDA_LOG_LEVEL": function.logging_config.get("ApplicationLogLevel", "INFO"),
                "LAMBDA_TASK_ROOT": str(folder),
                "PYTHONPATH": str(folder),
                "TMPDIR": str(temporary),
            },
            log=log,
        )

    def call(self, payload: bytes) -> Answer:
        """The function's answer; a process that breaks a limit or ends is answered for, as AWS does."""
        self.wait_until_ready()  # AWS does not count the time of imports either
        call = _Call(payload, float(self._function.timeout), self._function.function_arn)
        self._api.calls.put(call)
        deadline = time.monotonic() + call.timeout
        while not call.done.wait(WATCH_SECONDS):
            if self.process.poll() is not None:
                call.done.wait(WATCH_SECONDS)  # an answer may have been sent with the last breath
                call.end(self._api.no_start or call.failure("Runtime.ExitError", _how(self.process.returncode)))
            elif time.monotonic() > deadline:
                self.end()
                seconds = f"{call.timeout:.2f} seconds"
                call.end(call.failure("Sandbox.Timedout", f"Task timed out after {seconds}"))
            elif _resident(self.process.pid) > self._function.memory_size * _MEGABYTE:
                self.end()
                call.end(call.failure("Runtime.ExitError", _how(-signal.SIGKILL)))
        assert call.answer is not None
        return call.answer

    def wait_until_ready(self) -> None:
        """Waits until the handler is imported, or cannot be."""
        while not self._api.ready.wait(WATCH_SECONDS) and self.process.poll() is None:
            pass

    def end(self) -> None:
        """Ends the process."""
        self._cloud.children.end(self.process)

    def close(self) -> None:
        """Ends the process and its Runtime API."""
        self.end()
        self._api.calls.put(None)
        self._api.shutdown()
        self._thread.join()
        self._api.server_close()


def _how(code: int) -> str:
    """How a process ended, in the words of AWS."""
    if code == 0:
        return "Runtime exited without providing a reason"
    if code < 0:
        return f"Runtime exited with error: signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"Runtime exited with error: exit status {code}"


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 where the system does not say (only Linux does)."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text("ascii").split()
    except OSError:
        return 0
    return int(fields[1]) * 4096
