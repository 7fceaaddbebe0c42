"""AWS in this process: moto as a server on 127.0.0.1, our seams in it, stacks deployed to it."""

import io
import logging
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from threading import Event, Lock
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from local import events, functions, gaps, imports, jobs, moto_seams, queues, requests, states, stopping
from local.assembly import Assembly, Stack
from local.children import Children
from local.iam import authorizer
from local.moto_seams import ACCOUNT, REGION
from local.quotas import Quotas
from topx.errors import TopxError

KEYS = ("AKIATOPXLOCALOPERATO", "local")  # the operator's: every request of theirs is allowed
QUALIFIER = "hnb659fds"  # in the names that CDK's bootstrap gives
ASSETS = f"cdk-{QUALIFIER}-assets-{ACCOUNT}-{REGION}"


MUCH = 2**30  # bytes of memory
SERVICES = {  # of a run -> a call that changes nothing
    "sagemaker": "list_models",
    "dynamodb": "list_tables",
    "s3": "list_buckets",
    "lambda": "list_functions",
    "stepfunctions": "list_state_machines",
    "cloudformation": "list_stacks",
    "ssm": "describe_parameters",
    "iam": "list_roles",
    "sqs": "list_queues",
    "sns": "list_topics",
    "events": "list_rules",
}


class NotDeployed(TopxError):
    """When embedded AWS refuses a stack."""


class Cloud:
    """Embedded AWS as a context: the server runs inside, and nothing is left behind it.

    moto keeps its state in the process, so there is one at a time.
    """

    _only = Lock()

    def __init__(self, work: Path, logs: Path, *, quotas: Quotas) -> None:
        self.work, self.logs = work, logs
        self.quotas = quotas
        self.children = Children()
        self.closing = Event()
        self.endpoint = ""
        self.assembly: Assembly | None = None
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._credentials: dict[str, dict[str, str]] = {}
        self._making = Lock()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if not Cloud._only.acquire(blocking=False):
            raise RuntimeError("embedded AWS already runs in this process; end it first")
        with ExitStack() as stack:
            stack.callback(Cloud._only.release)
            stack.enter_context(_server_log(self.logs / "embedded-aws.log"))
            modules = tuple(moto_seams.MODULES.original())
            moto_seams.put(stack, moto_seams.MODULES, lambda: modules)
            moto_seams.put(stack, moto_seams.BUFFER, _buffer(moto_seams.BUFFER.original))
            server = moto_seams.SERVER(ip_address="127.0.0.1", port=0, verbose=False)
            server.start()
            stack.callback(server.stop)
            self.endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
            stack.callback(self._forget)
            self.iam = authorizer.install(stack, KEYS[0])
            imports.install(self.iam, stack)
            self.quotas.install(stack)
            requests.install(stack)
            states.install(self, stack)
            self.events = events.install(self, stack)
            self.queues = queues.install(self, stack)
            self.functions = functions.install(self, stack)
            moto_seams.put(stack, moto_seams.REQUEST_BODY, _body)
            gaps.install(stack, self.functions.created)
            self.jobs = jobs.install(self, stack)
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def client(self, service: str, role: str | None = None, *, of: str = "") -> Any:
        """A boto3 client of the operator, or of a role assumed at embedded AWS.

        `of` is the ARN of the thing, such as a job, for which its service acts under the role: then the role
        must trust that service. Raises Refused.
        """
        self._check_trust(role, of)
        with self._making:
            if (service, role) not in self._clients:
                keys = self._keys(role)
                self._clients[service, role] = boto3.client(
                    service,
                    endpoint_url=self.endpoint,
                    region_name=REGION,
                    aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
                    aws_session_token=keys.get("AWS_SESSION_TOKEN"),
                    config=Config(
                        retries={"total_max_attempts": 1},
                        read_timeout=900,
                        max_pool_connections=50,
                        parameter_validation=False,  # embedded AWS refuses by itself, as AWS does
                    ),
                )
            return self._clients[service, role]

    def rouse(self) -> None:
        """Calls each service once: the first answer of one takes up to 0.4 s, which nobody then waits for."""
        for service, call in SERVICES.items():
            getattr(self.client(service), call)()

    def environment(self, role: str | None = None, *, of: str = "") -> dict[str, str]:
        """Environment variables with which a process talks to embedded AWS, for the same as a client."""
        self._check_trust(role, of)
        with self._making:
            keys = self._keys(role)
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",  # moto unpacks a trailing checksum slowly
            **keys,
        }

    def history(self, execution: str) -> list[dict[str, Any]]:
        """The events of an execution so far, as GetExecutionHistory answers them.

        Straight from the interpreter: asked for through the API twice a second they would cost a third of all
        that this process does during a run.
        """
        machines = moto_seams.MACHINES[ACCOUNT][REGION]
        events = machines.describe_execution(execution).to_history_output()["events"]
        return [{**event, "timestamp": datetime.fromisoformat(event["timestamp"])} for event in events]

    def quiet(self, seconds: float = 20.0) -> None:
        """Waits for what an execution set off by its events and asynchronous calls, but no longer than that."""
        self.events.quiet(seconds)
        self.functions.quiet(seconds)

    def prepare(self, assembly: Assembly) -> None:
        """What CDK's bootstrap gives an account: a place for assets, and its version."""
        self.assembly = assembly
        self.client("ssm").put_parameter(Name=f"/cdk-bootstrap/{QUALIFIER}/version", Value="30", Type="String")
        self.client("s3").create_bucket(Bucket=ASSETS)

    def deploy(self, stack: Stack) -> dict[str, str]:
        """Creates the stack with its file assets; returns its outputs."""
        for asset, path in stack.zips.items():
            self.client("s3").put_object(Bucket=ASSETS, Key=f"{asset}.zip", Body=_zipped(path))
        formation = self.client("cloudformation")
        try:
            formation.create_stack(
                StackName=stack.name, TemplateBody=stack.to_create(), Capabilities=["CAPABILITY_NAMED_IAM"]
            )
        except (ClientError, BotoCoreError, ResponseParserError) as error:
            raise NotDeployed(f"stack {stack.name}: {error}; the server's log is in {self.logs}") from error
        described = formation.describe_stacks(StackName=stack.name)["Stacks"][0]
        return {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}

    def _end(self) -> None:
        """Ends executions, jobs and functions in an order in which none of them starts anything new."""
        self.closing.set()
        running = stopping.stop_all()
        self.jobs.close()
        self.functions.close()
        self.children.end_all()
        stopping.wait_for(running)
        self.queues.close()
        self.events.close()

    def _forget(self) -> None:
        """Empties moto's state, which would otherwise outlive its server."""
        for client in self._clients.values():
            client.close()
        urlopen(Request(f"{self.endpoint}/moto-api/reset", method="POST")).close()

    def _check_trust(self, role: str | None, of: str) -> None:
        if role and of:
            self.iam.trust(role, f"{of.split(':')[2]}.amazonaws.com", of)

    def _keys(self, role: str | None) -> dict[str, str]:
        if role is None:
            return dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), KEYS, strict=True))
        if role not in self._credentials:
            sts = boto3.client(
                "sts",
                endpoint_url=self.endpoint,
                region_name=REGION,
                aws_access_key_id=KEYS[0],
                aws_secret_access_key=KEYS[1],
            )
            made = sts.assume_role(RoleArn=role, RoleSessionName="local")["Credentials"]
            sts.close()
            self._credentials[role] = {
                "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
                "AWS_SESSION_TOKEN": made["SessionToken"],
            }
        return self._credentials[role]


def _buffer(small: Callable[[], int]) -> Callable[[], int]:
    """Bytes up to which an object of S3 stays in memory: all do, until this process has held MUCH once.

    Files would cost a small run's shards half a second; memory is what a large run does not have.
    """

    def size() -> int:
        unit = 1 if sys.platform == "darwin" else 1024
        return MUCH if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit < MUCH else small()

    return size


@contextmanager
def _server_log(file: Path) -> Iterator[None]:
    """Sends moto's requests and the tracebacks of its errors to a file, not to the terminal."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file)
    loggers = [logging.getLogger(name) for name in ("moto", "werkzeug")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
        handler.close()


def _zipped(folder: Path) -> bytes:
    """The folder as a zip file, uncompressed: it only travels inside this process."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return file.getvalue()


def _body(stream: Any) -> bytes:
    """What is left of a request's body, read in one piece: a training shard is 100 MB."""
    parts = []
    while part := stream.read(stream.limit - stream.tell()):
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
