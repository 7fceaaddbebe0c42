"""Lambda: each function runs warm under AWS's own runtime client, from its staged folder, with its own role."""

import json
from collections import deque
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from threading import Lock, Semaphore
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from local import moto_seams as moto
from local.iam.needs import Refused
from local.runtime import Answer, Runtime, refuse_constant

if TYPE_CHECKING:
    from local.cloud import Cloud

AT_ONCE = 4  # processes of one function; further calls wait, where AWS would start more
ASYNCHRONOUS_TRIES = 3
LARGEST = {"RequestResponse": 6 * 2**20, "Event": 2**20}  # bytes of a call's payload
STARTED_EARLY = 2  # functions, in the template's order
ENDING = Answer(
    payload=b'{"errorType": "Runtime.ExitError", "errorMessage": "local mode is ending"}', failed=True
)


class Functions:
    """All deployed functions, called by name."""

    def __init__(self, cloud: "Cloud") -> None:
        self._cloud = cloud
        self._lock = Lock()
        self._idle: dict[str, list[Runtime]] = {}
        self._running: set[Runtime] = set()
        self._slots: dict[str, Semaphore] = {}
        self._numbers = count(1)
        self._cold: list[Any] = []
        self._count = count(1)
        self._warming = ThreadPoolExecutor(max_workers=1, thread_name_prefix="warming")
        self._later = ThreadPoolExecutor(max_workers=16, thread_name_prefix="asynchronous-call")
        self._called: deque[Future[None]] = deque(maxlen=1000)

    def call(self, function: moto.Function, payload: bytes) -> Answer:
        """The answer of one synchronous call; waits while the function is busy AT_ONCE times."""
        name = function.function_name
        with self._lock:
            slot = self._slots.setdefault(name, Semaphore(AT_ONCE))
        with slot:
            if self._cloud.closing.is_set():
                return ENDING
            try:
                runtime = self._take(function)
            except Refused as error:
                text = {"errorType": "AccessDeniedException", "errorMessage": str(error)}
                return Answer(payload=json.dumps(text).encode(), failed=True)
            answer = runtime.call(payload)
            if runtime.process.poll() is None:
                self._give_back(name, runtime)
            else:
                self._drop(runtime)
        return answer

    def call_later(self, function: moto.Function, payload: bytes) -> None:
        """Calls asynchronously, and again where the call fails, which AWS does minutes later."""

        def tries() -> None:
            for _ in range(ASYNCHRONOUS_TRIES):
                answer = self.call(function, payload)
                if not answer.failed:
                    return
            if not self._cloud.closing.is_set():
                self._give_up(function, payload, answer.payload.decode(errors="replace"))

        self._called.append(self._later.submit(tries))

    def quiet(self, seconds: float) -> None:
        """Waits for the ends of asynchronous calls, but no longer than that."""
        futures.wait(list(self._called), seconds)

    def created(self, function: Any) -> None:
        """Notes a new function, and starts the first ones: deploying leaves a core idle."""
        self._cold.append(function)
        if next(self._count) <= STARTED_EARLY:
            self.warm()

    def warm(self) -> None:
        """Starts a process for each function that has none yet, one after the other, in the background.

        Asked for where a core is idle anyway, so that nobody waits for a function's imports.
        """
        cold, self._cold = self._cold, []
        for function in cold:
            self._warming.submit(self._warm, function)

    def close(self) -> None:
        """Ends all processes."""
        self._warming.shutdown(cancel_futures=True)
        self._later.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            running = list(self._running)
        for runtime in running:
            self._drop(runtime)

    def _give_up(self, function: moto.Function, payload: bytes, said: str) -> None:
        """Sends what a function could not handle to its dead-letter queue, in the function's own name."""
        self._cloud.events.lose(f"{function.function_name} failed every time with {said[:500]}")
        if function.dead_letter_target is None:
            return
        about = {"RequestID": ("String", str(uuid4())), "ErrorCode": ("Number", "200")}
        about["ErrorMessage"] = ("String", said[:1024])
        name = function.dead_letter_target.rpartition(":")[2]
        try:
            url = self._cloud.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
            self._cloud.client("sqs", function.role, of=function.function_arn).send_message(
                QueueUrl=url,
                MessageBody=payload.decode(),
                MessageAttributes={
                    name: {"DataType": kind, "StringValue": text} for name, (kind, text) in about.items()
                },
            )
        except (ClientError, BotoCoreError, Refused) as error:
            self._cloud.events.lose(f"{function.function_name}: {name} refused its dead letter: {error}")

    def _warm(self, function: moto.Function) -> None:
        with self._lock:
            if function.function_name in self._idle or self._cloud.closing.is_set():
                return
            runtime = self._start(function)
            self._idle[function.function_name] = [runtime]
        runtime.wait_until_ready()

    def _take(self, function: Any) -> Runtime:
        """An idle process, or a new one."""
        with self._lock:
            idle = self._idle.setdefault(function.function_name, [])
            while idle:
                runtime = idle.pop()
                if runtime.process.poll() is None:
                    return runtime
            return self._start(function)

    def _start(self, function: Any) -> Runtime:
        name = function.function_name
        self._cloud.iam.trust(function.role, "lambda.amazonaws.com", function.function_arn)
        work = self._cloud.work / "functions" / f"{name}-{next(self._numbers)}"
        runtime = Runtime(self._cloud, function, self._cloud.logs / "functions" / f"{name}.log", work)
        self._running.add(runtime)
        return runtime

    def _give_back(self, name: str, runtime: Runtime) -> None:
        with self._lock:
            self._idle.setdefault(name, []).append(runtime)

    def _drop(self, runtime: Runtime) -> None:
        with self._lock:
            self._running.discard(runtime)
        runtime.close()


def _refused(payload: bytes, kind: str) -> tuple[str, str] | None:
    """(error code, message) of the answer to a call that no function hears of."""
    if kind not in LARGEST:
        return (
            "InvalidParameterValueException",
            f"not emulated: InvocationType {kind}; there are {', '.join(LARGEST)}",
        )
    if len(payload) > LARGEST[kind]:
        text = f"{len(payload)} byte payload is too large for the {kind} invocation type"
        return "RequestTooLargeException", f"{text} (service limit: {LARGEST[kind]} bytes)"
    try:
        json.loads(payload.decode(), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        return "InvalidRequestContentException", f"Could not parse request body into json: {error}"
    return None


def install(cloud: "Cloud", stack: ExitStack) -> Functions:
    """Lets every call of a deployed function reach a real process, until `stack` closes."""
    functions = Functions(cloud)

    def invoke(self: Any, body: Any, request_headers: Any, response_headers: Any) -> bytes:
        payload = (body.encode() if isinstance(body, str) else body) or b"{}"
        kind = request_headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if refused := _refused(payload, kind):
            raise moto.Refusal(*refused)
        if kind == "Event":
            functions.call_later(self, payload)
            return b""
        answer = functions.call(self, payload)
        if answer.failed:
            response_headers["x-amz-function-error"] = "Unhandled"
        return answer.payload

    moto.put(stack, moto.INVOKE, invoke)
    return functions
