"""SageMaker's jobs: how they start, end, fail and are stopped, alone and as tasks of a machine."""

import io
import json
import time
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from local.staging import JobFailed, split
from tests.local.conftest import Small, deploy, machine, wait
from tests.local.contracts import contract
from topx.recordio import write_sparse

AT_WORK = ("InProgress", "Stopping")
IMAGE = "382416733822.dkr.ecr.us-east-1.amazonaws.com/{}:1"


def processing(small: Small, name: str, text: str, **more: Any) -> dict[str, Any]:
    """A request whose container writes each text in capitals."""
    bucket = small.names["Bucket"]
    small.cloud.client("s3").put_object(Bucket=bucket, Key=f"{name}/{text}.txt", Body=text.encode())
    work = "/opt/ml/processing"
    return {
        "ProcessingJobName": name,
        "AppSpecification": {
            "ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/assets:image",
            "ContainerEntrypoint": ["python", "program.py"],
            "ContainerArguments": [
                *("--input", f"{work}/input"),
                *("--output", f"{work}/output"),
                *("--message", "/opt/ml/output/message"),
            ],
        },
        "ProcessingInputs": [
            {
                "InputName": "text",
                "S3Input": {
                    "S3Uri": f"s3://{bucket}/{name}/",
                    "LocalPath": f"{work}/input/text",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "texts",
                    "S3Output": {
                        "S3Uri": f"s3://{bucket}/{name}-out/",
                        "LocalPath": f"{work}/output/texts",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": f"arn:aws:iam::123456789012:role/{small.names['Role']}",
        **more,
    }


def training(small: Small, name: str, image: str = "factorization-machines", **more: Any) -> dict[str, Any]:
    """A request whose job fails at once: its hyperparameters are impossible."""
    bucket = small.names["Bucket"]
    small.cloud.client("s3").put_object(Bucket=bucket, Key=f"{name}/part.rec", Body=b"")
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE.format(image), "TrainingInputMode": "File"},
        "HyperParameters": {"feature_dim": "many"},
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "ContentType": "application/x-recordio-protobuf",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{name}/"}},
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": f"arn:aws:iam::123456789012:role/{small.names['Role']}",
        **more,
    }


def processed(small: Small, name: str) -> dict[str, Any]:
    """The description of an ended processing job."""
    client = small.cloud.client("sagemaker")

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.describe_processing_job(ProcessingJobName=name)
        return None if found["ProcessingJobStatus"] in AT_WORK else found

    return wait(look)


def trained(small: Small, name: str) -> dict[str, Any]:
    """The description of an ended training job."""
    client = small.cloud.client("sagemaker")

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.describe_training_job(TrainingJobName=name)
        return None if found["TrainingJobStatus"] in AT_WORK else found

    return wait(look)


def test_a_container_step_reads_and_writes_s3_without_credentials(small: Small) -> None:
    client = small.cloud.client("sagemaker")
    client.create_processing_job(**processing(small, "caps", "hello"))
    assert processed(small, "caps")["ProcessingJobStatus"] == "Completed"
    s3 = small.cloud.client("s3")
    assert s3.get_object(Bucket=small.names["Bucket"], Key="caps-out/hello.txt")["Body"].read() == b"HELLO"
    assert (small.cloud.logs / "jobs/caps.processing.log").read_text() == "done\n"


def test_a_container_that_fails_leaves_its_message(small: Small) -> None:
    small.cloud.client("sagemaker").create_processing_job(**processing(small, "fails", "fail"))
    found = processed(small, "fails")
    assert found["ProcessingJobStatus"] == "Failed"
    assert found["ExitMessage"] == "InputRejected: the text says fail"
    assert found["FailureReason"].startswith("AlgorithmError: exit code 1")


@pytest.mark.parametrize(
    ("word", "text"),
    [("no-such-program", "No such file or directory"), ("a\x00b", "null byte"), ("", "cannot be started")],
)
def test_a_container_that_cannot_start_fails_its_job(small: Small, word: str, text: str) -> None:
    name = f"unstarted-{len(word)}"
    request = processing(small, name, "hello")
    request["AppSpecification"]["ContainerEntrypoint"] = [word]
    small.cloud.client("sagemaker").create_processing_job(**request)
    reason = processed(small, name)["FailureReason"]
    assert reason.startswith("AlgorithmError: ")
    assert text in reason


def test_a_container_may_need_no_arguments_and_have_no_output(small: Small) -> None:
    request = processing(small, "bare", "hello")
    request["AppSpecification"]["ContainerEntrypoint"] = ["python", "-c", "print('bare')"]
    del request["AppSpecification"]["ContainerArguments"], request["ProcessingOutputConfig"]
    small.cloud.client("sagemaker").create_processing_job(**request)
    assert processed(small, "bare")["ProcessingJobStatus"] == "Completed"


def test_a_key_that_does_not_exist_fails_the_job(small: Small) -> None:
    request = training(small, "keyless")
    request["OutputDataConfig"]["KmsKeyId"] = "alias/nothing"
    small.cloud.client("sagemaker").create_training_job(**request)
    assert trained(small, "keyless")["FailureReason"].startswith("ClientError: KMS NotFoundException: alias/no")


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://bucket/a/b", ("bucket", "a/b")),
        ("s3://bucket", ("bucket", "")),
        ("https://s3.us-east-1.amazonaws.com/bucket/a/b", ("bucket", "a/b")),
        ("https://s3.amazonaws.com/bucket", ("bucket", "")),
        ("https://my.bucket.s3.us-east-1.amazonaws.com/a", ("my.bucket", "a")),
    ],
)
def test_both_addresses_of_an_object_are_understood(uri: str, place: tuple[str, str]) -> None:
    assert split(uri) == place


@pytest.mark.parametrize(
    "uri", ["https://s3.eu-west-1.amazonaws.com/a/b", "https://example.com/a", "s3:///a", "a"]
)
def test_another_address_fails_the_job(uri: str) -> None:
    with pytest.raises(JobFailed, match="is no S3 address of us-east-1"):
        split(uri)


def test_an_algorithm_that_fails_gives_the_managed_reason(small: Small) -> None:
    small.cloud.client("sagemaker").create_training_job(**training(small, "impossible"))
    found = trained(small, "impossible")
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("ClientError: ")
    assert "feature_dim" in found["FailureReason"]


def test_a_processing_input_without_objects_fails_the_job(small: Small) -> None:
    request = processing(small, "empty", "hello")
    request["ProcessingInputs"][0]["S3Input"]["S3Uri"] += "nothing/"
    small.cloud.client("sagemaker").create_processing_job(**request)
    assert "No S3 objects found under S3 URL" in processed(small, "empty")["FailureReason"]


def test_a_job_that_runs_too_long_is_stopped(small: Small) -> None:
    application = processing(small, "long", "hello")["AppSpecification"]
    application |= {"ContainerEntrypoint": ["python", "-c", "import time; time.sleep(60)"]}
    request = processing(small, "long", "hello", StoppingCondition={"MaxRuntimeInSeconds": 1})
    request["AppSpecification"] = application
    start = time.monotonic()
    small.cloud.client("sagemaker").create_processing_job(**request)
    assert processed(small, "long")["ProcessingJobStatus"] == "Stopped"
    assert 1 <= time.monotonic() - start < 5


def test_a_training_job_that_runs_too_long_leaves_an_artifact(small: Small) -> None:
    limit = {"MaxRuntimeInSeconds": 1}
    values = {"feature_dim": "4", "num_factors": "2", "predictor_type": "regressor", "epochs": "1000000"}
    request = training(small, "late", StoppingCondition=limit, HyperParameters=values)
    row = csr_array(np.ones((1000, 4), np.float32))
    file = io.BytesIO()
    write_sparse(file, row, np.ones(1000, np.float32))
    s3, bucket = small.cloud.client("s3"), small.names["Bucket"]
    s3.put_object(Bucket=bucket, Key="late/part.rec", Body=file.getvalue())
    small.cloud.client("sagemaker").create_training_job(**request)
    found = trained(small, "late")
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    artifact = found["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{bucket}/")
    assert s3.head_object(Bucket=bucket, Key=artifact)["ContentLength"] > 0


@contract("STOP_TRAINING", "STOP_TRANSFORM")
def test_only_a_job_that_runs_can_be_stopped(small: Small) -> None:
    client = small.cloud.client("sagemaker")
    client.create_processing_job(**processing(small, "over", "hello"))
    processed(small, "over")
    with pytest.raises(client.exceptions.ClientError, match="job is in status Completed"):
        client.stop_processing_job(ProcessingJobName="over")
    for kind in ("training", "transform"):
        with pytest.raises(client.exceptions.ClientError, match="Requested resource not found"):
            getattr(client, f"stop_{kind}_job")(**{f"{kind.title()}JobName": "nobody"})


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({}, "ResourceInUse", "taken"),
        (
            {"TrainingJobName": "new", "CheckpointConfig": {"S3Uri": "s3://a/b"}},
            "ValidationException",
            "not emulated",
        ),
        (
            {
                "TrainingJobName": "new",
                "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 21, "VolumeSizeInGB": 1},
            },
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.m5.large for training job usage' is 20 Instances",
        ),
        (
            {"TrainingJobName": "new", "StoppingCondition": {"MaxRuntimeInSeconds": 432_001}},
            "ResourceLimitExceeded",
            "'Longest run time for a training job' is 432000 Seconds, .* a request delta of 432001 Seconds",
        ),
    ],
)
def test_a_create_call_refuses_as_sagemaker_does(small: Small, change: Any, code: str, text: str) -> None:
    client = small.cloud.client("sagemaker")
    name = f"taken-{code.lower()}-{len(text)}"
    client.create_training_job(**training(small, name))
    with pytest.raises(client.exceptions.ClientError, match=text) as refused:
        client.create_training_job(**training(small, name, **change))
    assert refused.value.response["Error"]["Code"] == code


def task(small: Small, name: str, request: dict[str, Any], action: str, **more: Any) -> dict[str, str]:
    """Names of a stack with a machine of one SageMaker task."""
    state = {
        "Type": "Task",
        "Resource": f"arn:aws:states:::sagemaker:{action}",
        "Parameters": request,
        "End": True,
    }
    return deploy(
        small.cloud, name, {"Machine": machine({"StartAt": "Job", "States": {"Job": {**state, **more}}})}
    )


def execution(small: Small, names: dict[str, str]) -> str:
    client = small.cloud.client("stepfunctions")
    return str(client.start_execution(stateMachineArn=names["Machine"])["executionArn"])


@contract("SAGEMAKER_JOBS", "RESOURCE_CONDITION", "TASK_OF_SAGEMAKER")
def test_a_task_waits_for_its_job_and_answers_its_description(small: Small) -> None:
    names = task(small, "one", processing(small, "in-task", "hello"), "createProcessingJob.sync")
    done = small.ended(execution(small, names))
    output = json.loads(done["output"])
    assert output["ProcessingJobStatus"] == "Completed"
    tags = small.cloud.client("sagemaker").list_tags(ResourceArn=output["ProcessingJobArn"])["Tags"]
    assert {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"} in tags
    assert isinstance(output["CreationTime"], int)  # dates would break DescribeExecution


@contract(
    "FAILURE",
    "FAILURE_EVENT",
    "STATES_ERROR_NAME",
    "STATES_ERROR_TYPE",
    "CUSTOM_ERROR_NAME",
    "EVENT_TYPE",
    "TASK_FAILED",
    "EVENT_DETAILS",
)
def test_a_failed_job_is_retried_under_a_new_name_and_then_fails_the_task(small: Small) -> None:
    request = training(small, "again")
    del request["TrainingJobName"]
    request["TrainingJobName.$"] = (
        "States.Format('again-{}-{}', $$.State.RetryCount, $$.Execution.RedriveCount)"
    )
    retry = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 1}]
    done = small.ended(execution(small, task(small, "two", request, "createTrainingJob.sync", Retry=retry)))
    assert (done["status"], done["error"]) == ("FAILED", "States.TaskFailed")
    assert json.loads(done["cause"])["TrainingJobName"] == "again-2-0"
    assert trained(small, "again-1-0")["TrainingJobStatus"] == "Failed"


@contract("ERROR_NAME", "_SERVICE_EXCEPTION")
def test_a_name_that_is_taken_fails_the_task_by_name(small: Small) -> None:
    small.cloud.client("sagemaker").create_training_job(**training(small, "twice"))
    done = small.ended(
        execution(small, task(small, "three", training(small, "twice"), "createTrainingJob.sync"))
    )
    assert done["error"] == "SageMaker.ResourceInUseException"


def test_a_missing_model_fails_the_task_by_name(small: Small) -> None:
    request = {
        "TransformJobName": "no-model",
        "ModelName": "nobody",
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://a/b"}}},
        "TransformOutput": {"S3OutputPath": "s3://a/c"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    done = small.ended(execution(small, task(small, "four", request, "createTransformJob.sync")))
    assert done["error"] == "SageMaker.AmazonSageMakerException"
    assert "nobody" in done["cause"]


@pytest.mark.parametrize("how", ["stop", "timeout"])
@contract("STOP_PROCESSING")
def test_the_end_of_a_task_stops_its_job(small: Small, how: str) -> None:
    request = processing(small, f"stopped-{how}", "hello")
    request["AppSpecification"]["ContainerEntrypoint"] = ["python", "-c", "import time; time.sleep(60)"]
    limit = {"TimeoutSeconds": 1} if how == "timeout" else {}
    arn = execution(small, task(small, f"five-{how}", request, "createProcessingJob.sync", **limit))
    wait(lambda: (small.cloud.logs / f"jobs/stopped-{how}.processing.log").exists() or None)
    if how == "stop":
        small.cloud.client("stepfunctions").stop_execution(executionArn=arn)
    done = small.ended(arn)
    assert done["status"] == {"stop": "ABORTED", "timeout": "FAILED"}[how]
    assert how == "stop" or done["error"] == "States.Timeout"
    assert processed(small, f"stopped-{how}")["ProcessingJobStatus"] == "Stopped"
