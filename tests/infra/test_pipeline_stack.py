"""Functions, queues, rules, topic and logs of the pipeline stack."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from drawn import of_type

LIGHT = {"Preflight", "Publish", "Trigger", "Settle", "Recommend"}
HEAVY = {"Encode", "Rank", "Evaluate"}


def functions(pipeline: dict[str, Any]) -> dict[str, dict[str, Any]]:
    made = of_type(pipeline, "AWS::Lambda::Function")
    return {name.removeprefix("Functions"): one for name, one in made.items()}


def test_only_the_machines_log_group_has_a_name_of_its_own(
    data: dict[str, Any], pipeline: dict[str, Any]
) -> None:
    names = (
        "BucketName",
        "TableName",
        "FunctionName",
        "QueueName",
        "TopicName",
        "RoleName",
        "StateMachineName",
    )
    for stack in (data, pipeline):
        for logical, one in stack["Resources"].items():
            if one["Type"] not in {"AWS::Lambda::Permission", "AWS::Lambda::EventSourceMapping"}:
                assert not set(names) & set(one.get("Properties", {})), logical
    named = [group for group in of_type(pipeline, "AWS::Logs::LogGroup").values() if "LogGroupName" in group]
    assert [group["LogGroupName"] for group in named] == ["/aws/vendedlogs/states/topx-dev-pipeline"]


def test_there_are_no_custom_resources_and_nothing_but_plain_types(
    data: dict[str, Any], pipeline: dict[str, Any]
) -> None:
    types = {one["Type"] for stack in (data, pipeline) for one in stack["Resources"].values()}
    assert types == {
        "AWS::DynamoDB::Table",
        "AWS::Events::Rule",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::KMS::Key",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Function",
        "AWS::Lambda::Permission",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::Queue",
        "AWS::SQS::QueuePolicy",
        "AWS::StepFunctions::StateMachine",
    }


def test_each_function_names_a_handler_that_exists(pipeline: dict[str, Any]) -> None:
    made = functions(pipeline)
    assert set(made) == LIGHT | HEAVY
    for name, one in made.items():
        handler = one["Handler"] if name in LIGHT else one["ImageConfig"]["Command"][0]
        assert handler == f"lambdas.{name.lower()}.handler"
        spec = importlib.util.find_spec(f"lambdas.{name.lower()}")
        assert spec is not None
        assert spec.origin is not None
        assert "\ndef handler(event" in Path(spec.origin).read_text("utf-8"), handler


def test_light_functions_come_from_the_zip_and_heavy_ones_from_the_image(pipeline: dict[str, Any]) -> None:
    for name, one in functions(pipeline).items():
        assert one["Architectures"] == ["x86_64"]
        assert one["TracingConfig"] == {"Mode": "Active"}
        assert one["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": f"<Functions{name}Logs>"}
        if name in LIGHT:
            assert (one["Runtime"], one["MemorySize"]) == ("python3.13", 512)
            assert one["Code"]["S3Key"] == "<hash>.zip"
        else:
            assert (one["PackageType"], one["MemorySize"], one["Timeout"]) == ("Image", 3008, 900)
            assert one["EphemeralStorage"] == {"Size": 10_240}
            assert one["Code"]["ImageUri"].endswith(":<hash>")


def test_functions_and_jobs_share_one_image(pipeline: dict[str, Any], machine: dict[str, Any]) -> None:
    uris = {one["Code"].get("ImageUri") for one in functions(pipeline).values()} - {None}
    uris.add(machine["States"]["Repackage"]["Parameters"]["AppSpecification"]["ImageUri"])
    assert len(uris) == 1


def test_each_function_is_told_what_it_needs_and_no_more(pipeline: dict[str, Any]) -> None:
    told = {
        name: {key.removeprefix("TOPX_"): value for key, value in one["Environment"]["Variables"].items()}
        for name, one in functions(pipeline).items()
    }
    assert {one.pop("STAGE") for one in told.values()} == {"dev"}
    uploads, runs, ledger = ({"UPLOADS": "<Uploads>"}, {"RUNS": "<Runs>"}, {"LEDGER": "<Ledger>"})
    datasets = {"DATASETS": "ratings"}
    assert told == {
        "Preflight": uploads | runs | ledger,
        "Encode": uploads | runs,
        "Rank": runs,
        "Evaluate": runs | ledger,
        "Publish": runs | ledger,
        "Trigger": uploads | ledger | datasets | {"MACHINE": "<WorkflowMachine>"},
        "Settle": runs | ledger | datasets | {"MACHINE": "<WorkflowMachine>", "TOPIC": "<Topic>"},
        "Recommend": ledger | datasets,
    }


def test_logs_are_kept_as_long_as_the_stage_says_and_encrypted(pipeline: dict[str, Any]) -> None:
    groups = of_type(pipeline, "AWS::Logs::LogGroup")
    assert set(groups) == {f"Functions{name}Logs" for name in LIGHT | HEAVY} | {"WorkflowLogs"}
    for group in groups.values():
        assert (group["RetentionInDays"], group["KmsKeyId"]) == (90, "<Key.Arn>")
    for one in pipeline["Resources"].values():
        if one["Type"] == "AWS::Logs::LogGroup":
            assert one["DeletionPolicy"] == "Delete"  # else the name would be taken after a destroy


def test_changes_wait_in_a_queue_that_loses_nothing(pipeline: dict[str, Any]) -> None:
    queues = of_type(pipeline, "AWS::SQS::Queue")
    assert set(queues) == {"EventsChanges", "Lost"}
    assert {queue["SqsManagedSseEnabled"] for queue in queues.values()} == {True}
    changes = queues["EventsChanges"]
    assert changes["DelaySeconds"] == 60
    assert changes["VisibilityTimeout"] == 6 * functions(pipeline)["Trigger"]["Timeout"]
    assert changes["RedrivePolicy"] == {"deadLetterTargetArn": "<Lost.Arn>", "maxReceiveCount": 5}
    (source,) = of_type(pipeline, "AWS::Lambda::EventSourceMapping").values()
    assert source["FunctionName"] == "<FunctionsTrigger>"
    assert source["EventSourceArn"] == "<EventsChanges.Arn>"
    assert source["ScalingConfig"] == {"MaximumConcurrency": 2}
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert functions(pipeline)["Settle"]["DeadLetterConfig"] == {"TargetArn": "<Lost.Arn>"}


def test_uploads_and_deletions_of_a_dataset_reach_the_queue(pipeline: dict[str, Any]) -> None:
    rule = of_type(pipeline, "AWS::Events::Rule")["EventsUploadsChanged"]
    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created", "Object Deleted"],
        "detail": {
            "bucket": {"name": ["<Uploads>"]},
            "object": {"key": [{"prefix": "uploads/ratings/"}, {"prefix": "tests/ratings/"}]},
        },
    }
    assert [target["Arn"] for target in rule["Targets"]] == ["<EventsChanges.Arn>"]


def test_a_sweep_looks_for_what_events_missed(pipeline: dict[str, Any]) -> None:
    rule = of_type(pipeline, "AWS::Events::Rule")["EventsSweep"]
    assert rule["ScheduleExpression"] == "rate(1 hour)"
    (target,) = rule["Targets"]
    assert target["Arn"] == "<EventsChanges.Arn>"
    assert json.loads(target["Input"]) == {"sweep": True}


def test_every_end_of_an_execution_is_heard(pipeline: dict[str, Any]) -> None:
    rule = of_type(pipeline, "AWS::Events::Rule")["EventsExecutionEnded"]
    assert rule["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "stateMachineArn": ["<WorkflowMachine>"],
            "status": ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"],
        },
    }
    assert [target["Arn"] for target in rule["Targets"]] == ["<FunctionsSettle.Arn>"]
    (permission,) = of_type(pipeline, "AWS::Lambda::Permission").values()
    assert permission["SourceArn"] == "<EventsExecutionEnded.Arn>"
    assert permission["FunctionName"] == "<FunctionsSettle.Arn>"


def test_topic_and_queues_speak_tls_only(pipeline: dict[str, Any]) -> None:
    assert of_type(pipeline, "AWS::SNS::Topic") == {"Topic": {"KmsMasterKeyId": "<Key.Arn>"}}
    for kind, guarded in (("AWS::SQS::QueuePolicy", 2), ("AWS::SNS::TopicPolicy", 1)):
        policies = of_type(pipeline, kind).values()
        assert len(policies) == guarded
        for policy in policies:
            deny = policy["PolicyDocument"]["Statement"][0]
            assert deny["Effect"] == "Deny"
            assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
