"""SageMaker: moto records the jobs, engines in subprocesses do them, and their ends are SageMaker's."""

import json
import tarfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local import job_inputs, job_rules, work
from local import moto_seams as moto
from local.assembly import NotEmulated
from local.children import ChildrenEnded
from local.iam.needs import Refused
from local.staging import JobFailed, JobStopped, split

if TYPE_CHECKING:
    from local.cloud import Cloud

LONGEST_REASON = 1024
STOPPED_WITHIN_SECONDS = 1.0
ENDS = ("Completed", "Failed", "Stopped")


@dataclass(slots=True)
class Job:
    """One job at work. `record` is moto's, from which Describe answers."""

    cloud: "Cloud"
    kind: str
    name: str
    request: dict[str, Any]
    record: Any
    seconds: float = 0.0  # of its subprocess
    stopping: bool = False
    child: Popen[bytes] | None = None
    thread: Thread | None = None
    ended: Event = field(default_factory=Event)
    noting: Lock = field(default_factory=Lock)

    @property
    def folder(self) -> Path:
        """What the container knows as /opt/ml."""
        return self.cloud.work / "jobs" / self.kind / self.name

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.cloud.logs / "jobs" / f"{self.name}.{self.kind}.log"

    def begin(self) -> None:
        """Starts the work in a thread."""
        now = datetime.now(UTC)
        self._set(creation_time=now, last_modified_time=now, **{f"{self.kind}_start_time": now})
        self._note("InProgress")
        self.thread = Thread(target=self._work, name=self.name, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Ends the job as StopTrainingJob and its like do: at once, unless it is moving files."""
        self.stopping = True
        self._note("Stopping", "Stopping")
        if self.child:
            self.cloud.children.end(self.child)
        self.ended.wait(STOPPED_WITHIN_SECONDS)

    def execute(self, command: list[str], folder: Path) -> int:
        """Exit code of the job's subprocess, which sees no credentials, as in a network of its own.

        Raises JobStopped, and JobFailed where it cannot be started.
        """
        if self.stopping:
            raise JobStopped("Stopped")
        stopping = self.request.get("StoppingCondition") or {}
        limit = stopping.get("MaxRuntimeInSeconds", None if self.kind == "transform" else job_rules.DAY)
        start = time.monotonic()
        try:
            self.child = self.cloud.children.start(
                command, folder=folder, given=self.request.get("Environment", {}), log=self.log
            )
        except (OSError, ValueError) as error:  # no such program, or a word that holds a null character
            raise JobFailed(f"AlgorithmError: {command[0]!r} cannot be started: {error}") from error
        self.cloud.functions.warm()
        try:
            code = None if self.stopping else self.child.wait(limit)
        except TimeoutExpired as error:
            raise JobStopped("MaxRuntimeExceeded") from error
        finally:
            self.cloud.children.end(self.child)
            self.seconds = time.monotonic() - start
        if code is None or self.stopping:
            raise JobStopped("Stopped")
        return code if code >= 0 else 128 - code  # as a container's: 137 after SIGKILL

    def _work(self) -> None:
        reason = "InternalServerError: local mode failed; its traceback stands on the terminal"
        status, detail = "Failed", "Failed"
        try:
            role = self.request.get("RoleArn")
            role = role or self.cloud.jobs.model(self.request["ModelName"])["ExecutionRoleArn"]
            work.DOING[self.kind](self, work.staged(self, role))
            status, detail, reason = "Completed", "Completed", ""
        except JobStopped as error:
            status, detail, reason = "Stopped", str(error), ""
        except JobFailed as error:
            reason = str(error)
        except ClientError as error:
            reason = f"ClientError: {error}"
        except (BotoCoreError, OSError, tarfile.TarError, NotEmulated, ChildrenEnded) as error:
            reason = f"InternalServerError: {error}"
        finally:
            self._note(status, detail, reason)

    def _note(self, status: str, detail: str = "", reason: str = "") -> None:
        with self.noting:
            if not self.ended.is_set():  # a stop that comes too late changes nothing
                self._write(status, detail, reason)
            if status in ENDS:
                self.ended.set()

    def _write(self, status: str, detail: str, reason: str) -> None:
        now = datetime.now(UTC)
        changes: dict[str, Any] = {f"{self.kind}_job_status": status, "last_modified_time": now}
        if reason:
            changes["failure_reason"] = reason[:LONGEST_REASON]
        if status in ENDS:
            changes[f"{self.kind}_end_time"] = now
        if self.kind == "training":
            changes["secondary_status"] = detail or "Training"
        self._set(**changes)

    def _set(self, **attributes: Any) -> None:
        # The status comes last: who sees it sees the rest.
        for name in sorted(attributes, key=lambda name: name.endswith("_job_status")):
            setattr(self.record, name, attributes[name])


class Jobs:
    """All jobs of one cloud."""

    def __init__(self, cloud: "Cloud") -> None:
        self._cloud = cloud
        self._jobs: dict[tuple[str, str], Job] = {}
        self.creating = Lock()  # of two requests for one name the second finds it taken

    def all(self) -> list[tuple[tuple[str, str], Job]]:
        """((kind, name), job) of every job so far."""
        return list(self._jobs.items())

    def engine_seconds(self) -> dict[str, float]:
        """Job name -> seconds of its engine, a subprocess in place of SageMaker's own algorithm."""
        return {name: job.seconds for (kind, name), job in self._jobs.items() if kind != "processing"}

    def model(self, name: str) -> dict[str, Any]:
        """DescribeModel's answer."""
        answer: dict[str, Any] = self._cloud.client("sagemaker").describe_model(ModelName=name)
        return answer

    def check(self, kind: str, request: dict[str, Any]) -> None:
        """Raises what the Create call would answer where it refuses a request that is right in itself."""
        name = request[f"{kind.title()}JobName"]
        if (kind, name) in self._jobs:
            raise moto.Refusal(
                "ResourceInUse",
                f"{kind.title()} job names must be unique within an AWS account and region, and a {kind} job "
                f"with this name already exists ({_arn(f'{kind}-job', name)})",
            )
        if kind == "transform":
            try:
                role = self.model(request["ModelName"])["ExecutionRoleArn"]
            except ClientError as error:
                raise moto.Refusal("ValidationException", error.response["Error"]["Message"]) from error
        else:
            role = request["RoleArn"]
            self._check_role(role, _arn(f"{kind}-job", name))
        for text in job_inputs.missing(self._cloud, kind, request, role):
            raise moto.Refusal("ValidationException", text)
        if problem := self._cloud.quotas.problem(kind, request):
            raise moto.Refusal("ResourceLimitExceeded", problem)

    def check_model(self, request: dict[str, Any]) -> None:
        """Raises what CreateModel would answer where it refuses: a name that is taken, data out of reach."""
        role, data = request["ExecutionRoleArn"], request["PrimaryContainer"]["ModelDataUrl"]
        with suppress(ClientError):
            known = self.model(request["ModelName"])["ModelArn"]
            raise moto.Refusal("ValidationException", f'Cannot create already existing model "{known}".')
        arn = _arn("model", request["ModelName"])
        self._check_role(role, arn)
        try:
            bucket, key = split(data)
            self._cloud.client("s3", role, of=arn).head_object(Bucket=bucket, Key=key or "/")
        except (ClientError, BotoCoreError, JobFailed) as error:
            text = (
                f'Could not access model data at {data}. Please ensure that the role "{role}" exists, that it '
                f'has "s3:GetObject" permissions and that the object is located in {moto.REGION}.'
            )
            raise moto.Refusal("ValidationException", text) from error

    def _check_role(self, role: str, of: str) -> None:
        try:
            self._cloud.iam.trust(role, "sagemaker.amazonaws.com", of)
        except Refused as error:
            text = (
                f"Could not assume role {role}. Please ensure that the role exists and allows principal "
                f"'sagemaker.amazonaws.com' to assume the role. ({error})"
            )
            raise moto.Refusal("ValidationException", text) from error

    def begin(self, kind: str, request: dict[str, Any], record: Any) -> None:
        """Starts the work of a job that moto has recorded."""
        name = request[f"{kind.title()}JobName"]
        self._jobs[kind, name] = Job(self._cloud, kind, name, request, record)
        self._jobs[kind, name].begin()

    def wait(self, kind: str, name: str, seconds: float) -> bool:
        """Whether a job has ended, looked at for some time."""
        return self._jobs[kind, name].ended.wait(seconds)

    def stop(self, kind: str, name: str) -> None:
        """Stops a job; raises what the Stop call answers where there is nothing to stop."""
        job = self._jobs.get((kind, name))
        if job is None:
            raise moto.Refusal("ValidationException", "Requested resource not found.")
        if job.stopping or job.ended.is_set():
            status = getattr(job.record, f"{kind}_job_status")
            text = f"The request was rejected because the {kind} job is in status {status}."
            raise moto.Refusal("ValidationException", text)
        job.stop()

    def close(self) -> None:
        """Stops all jobs and waits for their ends."""
        for job in self._jobs.values():
            if not job.ended.is_set():
                job.stop()
        for job in self._jobs.values():
            if job.thread:
                job.thread.join()


def install(cloud: "Cloud", stack: ExitStack) -> Jobs:
    """Lets SageMaker's jobs really run, until `stack` closes."""
    jobs = Jobs(cloud)
    stops = {
        "training": moto.STOP_TRAINING,
        "processing": moto.STOP_PROCESSING,
        "transform": moto.STOP_TRANSFORM,
    }
    for kind, seam in moto.SAGEMAKER_JOBS.items():
        moto.put(stack, seam, _creating(jobs, kind, seam.original))
        moto.put(stack, stops[kind], _stopping(jobs, kind))
    create_model = moto.CREATE_MODEL.original

    def create_checked_model(self: Any) -> Any:
        jobs.check_model(json.loads(self.body))
        return create_model(self)

    moto.put(stack, moto.CREATE_MODEL, create_checked_model)
    moto.put(stack, moto.TAGGED, _tagged(moto.TAGGED.original))
    return jobs


def _arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{moto.REGION}:{moto.ACCOUNT}:{kind}/{name}"


def _creating(jobs: Jobs, kind: str, original: Any) -> Any:
    def create(self: Any) -> Any:
        request = json.loads(self.body)
        with jobs.creating:
            jobs.check(kind, request)
            answer = original(self)
            record = getattr(self.sagemaker_backend, f"{kind}_jobs")[request[f"{kind.title()}JobName"]]
            if kind == "processing":
                record.processing_resources = request["ProcessingResources"]
            jobs.begin(kind, request, record)
        return answer

    return create


def _tagged(original: Any) -> Any:
    def resource(self: Any, arn: str) -> Any:
        with suppress(AttributeError, ValueError):  # moto, of a kind that it does not know
            if found := original(self, arn):
                return found
        raise moto.Refusal("ValidationException", "Requested resource not found.")

    return resource


def _stopping(jobs: Jobs, kind: str) -> Any:
    def stop(self: Any) -> Any:
        jobs.stop(kind, self._get_param(f"{kind.title()}JobName"))
        return moto.ANSWER(None)

    return stop
