"""What each kind of SageMaker job does between reading S3 and writing it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local import images, staging
from local.assembly import ROOT
from local.children import PYTHON
from local.iam.needs import Context, Need, Refused, Role
from local.moto_seams import ACCOUNT, REGION
from local.staging import JobFailed, JobStopped, Staging

if TYPE_CHECKING:
    from local.jobs import Job

LONGEST_MESSAGE = 1024


def staged(job: "Job", role: str) -> Staging:
    """S3 with the rights of the job's role; raises JobFailed where it cannot be used, nor image or keys.

    SageMaker Developer Guide, "How to use SageMaker execution roles": the image is pulled with the role, a key
    of the output needs kms:Encrypt, a key of the disks kms:CreateGrant.
    """
    iam, request = job.cloud.iam, job.request
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{job.kind}-job/{job.name}"
    machine = request.get("ResourceConfig") or request.get("TransformResources")
    machine = machine or request["ProcessingResources"]["ClusterConfig"]
    outputs = ("OutputDataConfig", "TransformOutput", "ProcessingOutputConfig")
    output: dict[str, Any] = next((request[name] for name in outputs if name in request), {})
    try:
        client = job.cloud.client("s3", role, of=arn)
        acting = Role(arn=role, session=role, id="")
        for need in images.pull(_image(job)):
            iam.role_has(acting, need, f"{job.kind} job's image")
        if key := _key(job, output.get("KmsKeyId")):
            iam.role_has(acting, Need(action="kms:Encrypt", resource=key), f"{job.kind} job's output")
        if key := _key(job, machine.get("VolumeKmsKeyId")):
            only: Context = {"kms:grantisforawsresource": "true"}
            need = Need(action="kms:CreateGrant", resource=key, context=only)
            iam.role_has(acting, need, f"{job.kind} job's disks")
    except Refused as error:
        raise JobFailed(f"ClientError: {error}") from error
    return Staging(client)


def _image(job: "Job") -> str:
    request = job.request
    if job.kind == "training":
        return str(request["AlgorithmSpecification"]["TrainingImage"])
    if job.kind == "transform":
        return str(job.cloud.jobs.model(request["ModelName"])["PrimaryContainer"]["Image"])
    return str(request["AppSpecification"]["ImageUri"])


def _key(job: "Job", given: str | None) -> str | None:
    key = job.cloud.iam.world.key(given)
    if key and not key.startswith("arn:"):
        raise JobFailed(f"ClientError: KMS NotFoundException: {key} is no key or alias of {REGION}")
    return key


def _train(job: "Job", staged: Staging) -> None:
    request, folder = job.request, job.folder
    engine = images.engine(_image(job))
    channels = {one["ChannelName"]: one for one in request["InputDataConfig"]}
    staging.configure(
        folder,
        hyperparameters=request.get("HyperParameters", {}),
        inputdataconfig=channels,
        resourceconfig={"current_host": "algo-1", "hosts": ["algo-1"]},
    )
    for name, channel in channels.items():
        staged.fetch(channel["DataSource"]["S3DataSource"], folder / "input/data" / name)
    stopped = None
    try:
        _run_engine(job, [engine, *(["train"] if engine.endswith("knn") else [])])
    except JobStopped as error:
        stopped = error  # SageMaker keeps what there is by then: an artifact says nothing of its completeness
    (folder / "model").mkdir(exist_ok=True)
    staging.archive(folder / "model", folder / "sent/output/model.tar.gz")
    output = request["OutputDataConfig"]
    staged.send(folder / "sent", f"{output['S3OutputPath'].rstrip('/')}/{job.name}", output.get("KmsKeyId"))
    if stopped:
        raise stopped


def _transform(job: "Job", staged: Staging) -> None:
    request, folder = job.request, job.folder
    container = job.cloud.jobs.model(request["ModelName"])["PrimaryContainer"]
    engine = images.engine(_image(job))
    staged.fetch_archive(container["ModelDataUrl"], folder / "model")
    staging.configure(folder, transform=request)
    staged.fetch(request["TransformInput"]["DataSource"]["S3DataSource"], folder / "input/data")
    _run_engine(job, [engine, "transform"])
    output = request["TransformOutput"]
    staged.send(folder / "output/data", output["S3OutputPath"], output.get("KmsKeyId"))


def _process(job: "Job", staged: Staging) -> None:
    request, folder = job.request, job.folder
    application = request["AppSpecification"]
    command = [
        _moved(word, folder)
        for word in (*application["ContainerEntrypoint"], *application.get("ContainerArguments", ()))
    ]
    if command[0] in {"python", "python3"}:
        command[0] = PYTHON
    for one in request.get("ProcessingInputs", []):
        staged.fetch(one["S3Input"], Path(_moved(one["S3Input"]["LocalPath"], folder)))
    config = request.get("ProcessingOutputConfig", {"Outputs": []})
    outputs = {
        _moved(one["S3Output"]["LocalPath"], folder): one["S3Output"]["S3Uri"] for one in config["Outputs"]
    }
    for path in outputs:
        Path(path).mkdir(parents=True, exist_ok=True)
    (folder / "output").mkdir(parents=True, exist_ok=True)
    assert job.cloud.assembly is not None
    code = job.execute(command, job.cloud.assembly.staged(application["ImageUri"].rpartition(":")[2]))
    message = folder / "output/message"
    if message.is_file():
        job.record.exit_message = message.read_bytes()[:LONGEST_MESSAGE].decode("utf-8", "ignore")
    if code:
        raise JobFailed(f"AlgorithmError: exit code {code}; see {job.log}")
    for path, uri in outputs.items():
        staged.send(Path(path), uri, config.get("KmsKeyId"))


DOING: dict[str, Callable[["Job", Staging], None]] = {
    "training": _train,
    "transform": _transform,
    "processing": _process,
}


def _run_engine(job: "Job", words: list[str]) -> None:
    code = job.execute([PYTHON, "-m", *words, str(job.folder)], ROOT)
    if code:
        failure = job.folder / "output/failure"
        text = (
            failure.read_text("utf-8")
            if failure.is_file()
            else f"AlgorithmError: exit code {code}; see {job.log}"
        )
        raise JobFailed(text)


def _moved(path: str, folder: Path) -> str:
    """A container's path below /opt/ml as one below the job's folder."""
    return f"{folder}/{path.removeprefix('/opt/ml/')}" if path.startswith("/opt/ml/") else path
