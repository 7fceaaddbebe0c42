"""One contract for each name of moto that local mode leans on, and what stands in its place."""

import gzip
import inspect
import json
import runpy
import time
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from local import cloud
from local import moto_seams as moto
from local.cloud import NotDeployed
from local.events import transformed
from tests.local.conftest import Small, deploy, function, machine, wait

pytestmark = pytest.mark.xdist_group("local-seams")  # one cloud for the module
SIGNATURES = {
    "MODULES": [],
    "BUFFER": [],
    "CREATE_BUCKET": ["resource_name", "cloudformation_json", "account_id", "region_name", "kwargs"],
    "CREATE_FUNCTION": ["resource_name", "cloudformation_json", "account_id", "region_name", "kwargs"],
    "CREATE_TABLE": ["resource_name", "cloudformation_json", "account_id", "region_name", "kwargs"],
    "TASK_OF_SAGEMAKER": [],
    "CUSTOM_ERROR_NAME": ["self", "error_name"],
    "FUNCTION_CLIENT": ["region", "service", "state_credentials"],
    "PARSER_OF_DEFINITIONS": [],
    "PARSER_OF_EXECUTIONS": [],
    "CONTEXT": ["self"],
    "START_EXECUTION": ["self", "state_machine_arn", "name", "execution_input", "trace_header"],
    "EXECUTION_STARTS": ["self"],
    "EXECUTION_ENDS": ["self"],
    "INVOKE": ["self", "body", "request_headers", "response_headers"],
    "CREATE_MAPPING": ["self", "spec"],
    "SEND_TO_TARGETS": ["self", "original_event", "transform_input"],
    "S3_EVENT": ["account_id", "event_name", "bucket", "key"],
    "S3_DELETE_MARKER": ["self", "bucket_name", "key_name"],
    "SAGEMAKER_JOBS training": ["self"],
    "SAGEMAKER_JOBS processing": ["self"],
    "SAGEMAKER_JOBS transform": ["self"],
    "STOP_PROCESSING": ["self"],
    "IMPORT_TABLE": ["self"],
    "DESCRIBE_IMPORT": ["self"],
    "JSON_LINES": ["original"],
    "REQUEST_BODY": ["self"],
    "LIST_DEFAULT_QUOTAS": ["self"],
}
SEAMS = dict(moto.seams())
FUNCTIONS = {
    "Answer": function("handlers.answer"),
    "Break": function("handlers.break_", Timeout=1),
    "Whoami": function("handlers.whoami"),
}


@pytest.mark.parametrize("name", [name for name, seam in SEAMS.items() if not seam.added])
def test_moto_has_what_we_replace(name: str) -> None:
    original = SEAMS[name].original
    if callable(original):
        assert list(inspect.signature(original).parameters) == SIGNATURES[name]
    else:
        assert name == "MACHINES_OF_TEMPLATES"
        assert type(original) is type(moto.MACHINES)


@pytest.mark.parametrize("name", [name for name, seam in SEAMS.items() if seam.added])
def test_moto_lacks_what_we_add(name: str) -> None:
    assert not hasattr(SEAMS[name].owner, SEAMS[name].name)


def test_a_sagemaker_task_finds_the_methods_that_it_calls() -> None:
    for name in ("_get_boto_service_action", "_is_integration_pattern", "_get_sfn_resource", "_from_error"):
        assert callable(getattr(moto.TASK, name))
    parameters = ["self", "env", "resource_runtime_part", "normalised_parameters", "state_credentials"]
    assert list(inspect.signature(moto.TASK._eval_service_task).parameters) == parameters
    assert list(inspect.signature(moto.TASK._eval_integration_pattern).parameters) == parameters


def test_what_was_replaced_or_added_is_restored() -> None:
    replaced, added = SEAMS["SEND_TO_TARGETS"], SEAMS["LIST_IMPORTS"]
    before = replaced.original
    with ExitStack() as stack:
        moto.put(stack, replaced, lambda: 1)
        moto.put(stack, added, lambda: 2)
        assert (replaced.original(), added.original()) == (1, 2)
    assert replaced.original is before
    assert not hasattr(added.owner, added.name)


def test_another_moto_is_refused_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "9.9.9")
    with pytest.raises(ImportError, match=r"moto is 9\.9\.9; local mode is proven with 5\.2\.5"):
        runpy.run_path(str(Path(moto.__file__)))


def test_names_that_moved_are_refused_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("moto.events.models.Rule.send_to_targets")
    monkeypatch.delattr("moto.sqs.models.sqs_backends")
    with pytest.raises(ImportError, match=r"sqs\.models:sqs_backends; events\.models:Rule\.send_to_targets"):
        runpy.run_path(str(Path(moto.__file__)))


def test_objects_stay_in_memory_until_much_is_held(monkeypatch: pytest.MonkeyPatch, small: Small) -> None:
    assert SEAMS["BUFFER"].original() == cloud.MUCH
    monkeypatch.setattr(cloud, "MUCH", 2**20)
    assert SEAMS["BUFFER"].original() < 10 * 2**20


def test_a_bucket_from_a_template_keeps_versions(small: Small) -> None:
    s3 = small.cloud.client("s3")
    versions = {
        s3.put_object(Bucket=small.names["Bucket"], Key="versions", Body=b)["VersionId"] for b in (b"1", b"2")
    }
    assert len(versions) == 2


def test_a_table_from_a_template_can_go_back_in_time(small: Small) -> None:
    table = {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        },
    }
    names = deploy(small.cloud, "tables", {"Table": table})
    answer = small.cloud.client("dynamodb").describe_continuous_backups(TableName=names["Table"])
    recovery = answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"


def execute(small: Small, name: str, definition: dict[str, Any], given: Any = None) -> dict[str, Any]:
    """The ended execution of a machine of its own stack."""
    names = deploy(small.cloud, name, {**FUNCTIONS, "Machine": machine(definition)})
    client = small.cloud.client("stepfunctions")
    text = json.dumps(given or {})
    arn = client.start_execution(stateMachineArn=names["Machine"], input=text)["executionArn"]
    done: dict[str, Any] = small.ended(arn)
    return done


def test_the_history_is_what_the_api_answers(small: Small) -> None:
    done = execute(small, "history", {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}})
    client = small.cloud.client("stepfunctions")
    answered = client.get_execution_history(executionArn=done["executionArn"])["events"]
    read = small.cloud.history(done["executionArn"])
    assert [event["type"] for event in read] == [event["type"] for event in answered]
    assert read[1]["stateEnteredEventDetails"]["name"] == "Pass"
    assert abs((read[1]["timestamp"] - answered[1]["timestamp"]).total_seconds()) < 0.01


def test_the_context_holds_text_that_may_stand_in_state_data(small: Small) -> None:
    context = {"start.$": "$$.Execution.StartTime", "redrives.$": "$$.Execution.RedriveCount"}
    context |= {"name.$": "$$.Execution.Name", "retries.$": "$$.State.RetryCount"}
    state = {"Type": "Task", "Resource": "ANSWER", "Parameters": context, "OutputPath": "$.event", "End": True}
    done = execute(small, "context", {"StartAt": "Look", "States": {"Look": state}})
    output = json.loads(done["output"])
    assert output["redrives"] == output["retries"] == 0
    assert output["start"].endswith("Z")
    assert output["name"] == done["name"] != "None"


def test_each_execution_has_a_program_of_its_own(small: Small) -> None:
    retry = [{"ErrorEquals": ["LookupError"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    state = {"Type": "Task", "Resource": "BREAK", "InputPath": "$.what", "Retry": retry, "End": True}
    definition = machine({"StartAt": "Try", "States": {"Try": state}})
    name = deploy(small.cloud, "programs", {**FUNCTIONS, "Machine": definition})["Machine"]
    client = small.cloud.client("stepfunctions")
    tries = []
    for _ in range(2):
        arn = client.start_execution(stateMachineArn=name, input='{"what": "raise"}')["executionArn"]
        small.ended(arn)
        tries.append(sum(event["type"] == "LambdaFunctionFailed" for event in small.cloud.history(arn)))
    assert tries == [2, 2]  # the count of retries does not leak from one to the next


def test_a_machine_calls_functions_with_its_own_role(small: Small) -> None:
    state = {"Type": "Task", "Resource": "WHOAMI", "End": True}
    assert ":assumed-role/" in execute(small, "role", {"StartAt": "Who", "States": {"Who": state}})["output"]
    assert any(role for _, role in small.cloud._clients if role and "role-Role" in role)


def test_a_function_error_keeps_its_name_and_is_retried(small: Small) -> None:
    retry = [{"ErrorEquals": ["LookupError"], "IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1}]
    state = {"Type": "Task", "Resource": "BREAK", "Parameters": "raise", "Retry": retry, "End": True}
    state["InputPath"] = "$.what"
    del state["Parameters"]
    done = execute(small, "retry", {"StartAt": "Try", "States": {"Try": state}}, {"what": "raise"})
    assert (done["status"], done["error"]) == ("FAILED", "LookupError")
    assert json.loads(done["cause"])["errorMessage"] == "nothing there"
    history = small.cloud.client("stepfunctions").get_execution_history(executionArn=done["executionArn"])
    assert sum("LookupError" in json.dumps(event, default=str) for event in history["events"]) >= 2


def test_a_task_of_another_service_is_refused(small: Small) -> None:
    state = {"Type": "Task", "Resource": "arn:aws:states:::athena:startQueryExecution.sync", "End": True}
    with pytest.raises(NotDeployed, match=r"startQueryExecution\.sync is not emulated locally"):
        execute(small, "athena", {"StartAt": "Ask", "States": {"Ask": state}})


def queue_of_events(
    small: Small, name: str, pattern: dict[str, Any], more: dict[str, Any] | None = None
) -> str:
    """URL of a queue that gets the events of a pattern."""
    target = {"Id": "queue", "Arn": {"Fn::GetAtt": ["Queue", "Arn"]}, **(more or {})}
    rule = {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": pattern, "Targets": [target]}}
    return deploy(small.cloud, name, {"Queue": {"Type": "AWS::SQS::Queue"}, "Rule": rule})["Queue"]


def receive(small: Small, url: str) -> list[Any]:
    """Bodies of the messages that came."""
    found = small.cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in found]


def test_s3_tells_what_happened_as_aws_does(small: Small) -> None:
    s3, bucket = small.cloud.client("s3"), small.names["Bucket"]
    url = queue_of_events(
        small, "s3", {"source": ["aws.s3"], "detail": {"object": {"key": [{"prefix": "in/"}]}}}
    )
    s3.put_object(Bucket=bucket, Key="in/a.csv", Body=b"1,2\n")
    s3.put_object(Bucket=bucket, Key="out/a.csv", Body=b"1,2\n")
    s3.delete_object(Bucket=bucket, Key="in/a.csv")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="in/b.csv")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="in/b.csv", UploadId=upload, PartNumber=1, Body=b"3,4\n")
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="in/b.csv", UploadId=upload, MultipartUpload=parts)
    events: list[Any] = []
    wait(lambda: len(events.extend(receive(small, url)) or events) >= 3 or None)
    time.sleep(0.3)
    events += receive(small, url)
    by_reason = {event["detail"]["reason"]: event for event in events}
    assert sorted(by_reason) == ["CompleteMultipartUpload", "DeleteObject", "PutObject"]
    assert len(events) == 3
    put, deleted = by_reason["PutObject"], by_reason["DeleteObject"]
    assert put["detail-type"] == "Object Created"
    assert put["detail"]["object"].keys() == {"key", "size", "etag", "version-id", "sequencer"}
    assert deleted["detail-type"] == "Object Deleted"
    assert deleted["detail"]["deletion-type"] == "Delete Marker Created"
    assert len({event["id"] for event in events}) == 3


def test_the_bus_hears_how_executions_end(small: Small) -> None:
    pattern = {"source": ["aws.states"], "detail": {"status": ["SUCCEEDED", "FAILED"]}}
    url = queue_of_events(small, "ends", pattern)
    done = execute(
        small, "ending", {"StartAt": "Stop", "States": {"Stop": {"Type": "Fail", "Error": "JobStopped"}}}
    )
    [event] = wait(lambda: receive(small, url) or None)
    assert event["detail-type"] == "Step Functions Execution Status Change"
    assert event["detail"]["executionArn"] == done["executionArn"]
    assert event["detail"]["status"] == "FAILED"


def test_a_queue_calls_its_function_and_keeps_what_failed(small: Small) -> None:
    mapping = {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {
            "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
            "FunctionName": {"Ref": "Batch"},
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        },
    }
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"DelaySeconds": 1, "VisibilityTimeout": 60}}
    names = deploy(
        small.cloud, "poll", {"Queue": queue, "Batch": function("handlers.batch"), "Mapping": mapping}
    )
    sqs, log = small.cloud.client("sqs"), small.cloud.logs / "functions" / f"{names['Batch']}.log"
    start = time.monotonic()
    for body in ({"bad": False}, {"bad": True}):
        sqs.send_message(QueueUrl=names["Queue"], MessageBody=json.dumps(body))

    def left() -> list[int] | None:
        which = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = sqs.get_queue_attributes(QueueUrl=names["Queue"], AttributeNames=which)["Attributes"]
        counts = [int(found[name]) for name in which]
        return counts if log.exists() and "batch" in log.read_text() and counts == [0, 1] else None

    assert wait(left)
    assert time.monotonic() - start >= 1  # the queue's delay


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({}, {"detail-type": "Made", "detail": {"n": 1, "text": 'a "b"', "sub-key": "s"}}),
        ({"Input": '{"sweep": true}'}, {"sweep": True}),
        ({"InputPath": "$.detail.n"}, 1),
        ({"InputTransformer": {"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": '{"n": <n>}'}}, {"n": 1}),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"t": "$.detail.text"},
                    "InputTemplate": '{"t": <t>, "s": "<t>!"}',
                }
            },
            {"t": 'a "b"', "s": 'a "b"!'},
        ),
        ({"InputTransformer": {"InputPathsMap": {"s": "$.detail.sub-key"}, "InputTemplate": "<s>"}}, "s"),
    ],
)
def test_a_target_gets_what_its_rule_says(target: dict[str, Any], expected: Any) -> None:
    event = {"detail-type": "Made", "detail": {"n": 1, "text": 'a "b"', "sub-key": "s"}}
    assert json.loads(transformed({"Arn": "a", **target}, event)) == expected


def test_an_import_is_slow_listed_counted_at_its_end_and_never_repeated(small: Small) -> None:
    s3, dynamodb = small.cloud.client("s3"), small.cloud.client("dynamodb")
    lines = "".join(json.dumps({"Item": {"id": {"S": f"user:{n}"}}}) + "\n" for n in range(200))
    s3.put_object(Bucket=small.names["Bucket"], Key="import/part.json.gz", Body=gzip.compress(lines.encode()))
    request = {
        "S3BucketSource": {"S3Bucket": small.names["Bucket"], "S3KeyPrefix": "import/"},
        "InputFormat": "DYNAMODB_JSON",
        "InputCompressionType": "GZIP",
        "TableCreationParameters": {
            "TableName": "lists",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    }
    first = dynamodb.import_table(**request)["ImportTableDescription"]
    assert (first["ImportStatus"], first["ImportedItemCount"]) == ("IN_PROGRESS", 0)

    def done() -> Any:
        found = dynamodb.describe_import(ImportArn=first["ImportArn"])["ImportTableDescription"]
        return None if found["ImportStatus"] == "IN_PROGRESS" else found

    assert wait(done)["ImportedItemCount"] == 200
    with pytest.raises(dynamodb.exceptions.ResourceInUseException, match="Table already exists: lists"):
        dynamodb.import_table(**request)
    [listed] = dynamodb.list_imports(TableArn=first["TableArn"])["ImportSummaryList"]
    assert listed["ImportStatus"] == "COMPLETED"


def test_quotas_are_listed_page_by_page(small: Small) -> None:
    client = small.cloud.client("service-quotas")
    pages = client.get_paginator("list_service_quotas").paginate(
        ServiceCode="sagemaker", PaginationConfig={"PageSize": 3}
    )
    found = {one["QuotaName"]: one["Value"] for page in pages for one in page["Quotas"]}
    assert found == small.cloud.quotas.applied
    defaults = client.list_aws_default_service_quotas(ServiceCode="sagemaker")["Quotas"]
    assert {one["QuotaName"]: one["Value"] for one in defaults} == small.cloud.quotas.default
