"""A contract for each name of moto that local mode leans on: what stands there, and what it does for us.

`test_every_name_has_a_contract` names what lacks one. Write a test that fails when moto's part is no longer
what we lean on, here or beside what it belongs to, and mark it with `@contract("NAME")`.
"""

import ast
import gzip
import inspect
import json
import runpy
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from local import cloud
from local import moto_seams as moto
from local.cloud import NotDeployed
from tests.local.conftest import Small, deploy, function, machine, wait
from tests.local.contracts import contract, held

SIGNATURES: dict[str, list[str] | str] = {  # of what we replace -> its parameters, or the type of a value
    "MODULES": [],
    "BUFFER": [],
    "CREATE_BUCKET": ["resource_name", "cloudformation_json", "account_id", "region_name", "kwargs"],
    "CREATE_FUNCTION": ["resource_name", "cloudformation_json", "account_id", "region_name", "kwargs"],
    "CREATE_TABLE": ["resource_name", "cloudformation_json", "account_id", "region_name", "kwargs"],
    "MACHINES_OF_TEMPLATES": "BackendDict",
    "TASK_OF_SAGEMAKER": [],
    "CUSTOM_ERROR_NAME": ["self", "error_name"],
    "PARSER_OF_DEFINITIONS": [],
    "PARSER_OF_EXECUTIONS": [],
    "CONTEXT": ["self"],
    "START_EXECUTION": ["self", "state_machine_arn", "name", "execution_input", "trace_header"],
    "EXECUTION_STARTS": ["self"],
    "EXECUTION_ENDS": ["self"],
    "FUNCTION_CLIENT": ["region", "service", "state_credentials"],
    "CALL_FUNCTION": ["env", "parameters", "region", "state_credentials"],
    "TELL": ["self", "context", "event_type", "event_details", "timestamp", "update_source_event_id"],
    "FAILING": ["self", "error"],
    "RETRIER": ["self", "env"],
    "RETRIER_CLOCK": "module",
    "DESCRIBE_EXECUTION": ["self"],
    "LIST_EXECUTIONS": ["self"],
    "STOP_EXECUTION": ["self"],
    "EXECUTION_DESCRIBED": ["self"],
    "AUTHORIZE": ["self", "iam_request_cls", "resource"],
    "MODELS_OF_TEMPLATES": [],
    "CREATE_ROLE": ["resource_name", "cloudformation_json", "account_id", "region_name", "kwargs"],
    "CREATE_TOPIC": ["resource_name", "cloudformation_json", "account_id", "region_name", "kwargs"],
    "CREATE_LOG_GROUP": ["resource_name", "cloudformation_json", "account_id", "region_name", "kwargs"],
    "CREATE_MACHINE": [
        "self",
        "name",
        "definition",
        "roleArn",
        "tags",
        "publish",
        "loggingConfiguration",
        "tracingConfiguration",
        "encryptionConfiguration",
        "version_description",
        "sm_type",
    ],
    "RUN_IMPORT": ["self"],
    "PARSE": ["self", "request"],
    "CALL_SAGEMAKER": ["self"],
    "CALL_STATES": ["self"],
    "CALL_EVENTS": ["self"],
    "CALL_DYNAMODB": ["self"],
    "SEND_MESSAGE": [
        *("self", "queue_name", "message_body", "message_attributes", "delay_seconds", "deduplication_id"),
        *("group_id", "system_attributes", "validate_group_id"),
    ],
    "SEND_MESSAGES": ["self", "queue_name", "entries"],
    "INVOKE": ["self", "body", "request_headers", "response_headers"],
    "CREATE_MAPPING": ["self", "spec"],
    "SEND_TO_TARGETS": ["self", "original_event", "transform_input"],
    "PUT_EVENTS": ["self", "events"],
    "S3_EVENT": ["account_id", "event_name", "bucket", "key"],
    "S3_DELETE": ["self", "bucket_name", "key_name", "version_id", "bypass"],
    "CREATE_MODEL": ["self"],
    "TAGGED": ["self", "arn"],
    "STOP_PROCESSING": ["self"],
    "IMPORT_TABLE": ["self"],
    "DESCRIBE_IMPORT": ["self"],
    "REQUEST_BODY": ["self"],
    "JSON_LINES": ["original"],
    "LIST_DEFAULT_QUOTAS": ["self"],
    "SAGEMAKER_JOBS training": ["self"],
    "SAGEMAKER_JOBS processing": ["self"],
    "SAGEMAKER_JOBS transform": ["self"],
}
SEAMS = dict(moto.seams())
ORIGINALS = {  # looked at before any test starts embedded AWS, which replaces and adds
    name: getattr(seam.owner, seam.name, None) for name, seam in SEAMS.items()
}
SHAPES = dict(moto.shapes())
FUNCTIONS = {
    "Answer": function("handlers.answer"),
    "Break": function("handlers.break_", Timeout=1),
    "Whoami": function("handlers.whoami"),
}


def test_every_name_has_a_contract() -> None:
    names = {name.split()[0] for name in [*SEAMS, *moto.lookups(), *SHAPES]}
    without, unknown = sorted(names - held().keys()), sorted(held().keys() - names)
    assert not without, f"no test is marked @contract for {', '.join(without)}"
    assert not unknown, f"@contract names what moto_seams has not: {', '.join(unknown)}"


def test_every_name_is_leaned_on() -> None:
    local = Path(moto.__file__).parent
    used = {
        one.attr if isinstance(one, ast.Attribute) else one.id
        for path in local.rglob("*.py")
        for one in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(one, (ast.Attribute, ast.Name)) and isinstance(one.ctx, ast.Load)
    }
    names = {name.split()[0] for name in [*SEAMS, *moto.lookups(), *SHAPES]}
    assert names <= used, f"nothing uses {', '.join(sorted(names - used))}"


def test_moto_is_reached_through_one_file() -> None:
    private = {"moto", "py_partiql_parser", "werkzeug"}
    for path in Path(moto.__file__).parent.rglob("*.py"):
        if path == Path(moto.__file__):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        named = {
            name.split(".")[0]
            for one in ast.walk(tree)
            for name in (
                [alias.name for alias in one.names]
                if isinstance(one, ast.Import)
                else [one.module or ""]
                if isinstance(one, ast.ImportFrom)
                else []
            )
        }
        texts = {one.value for one in ast.walk(tree) if isinstance(one, ast.Constant)}
        loaded = {
            text for text in texts if isinstance(text, str) and text.split(".")[0] in private and "." in text
        }
        assert not (named & private) | loaded, f"{path.name} reaches into moto; put the name into moto_seams.py"


@pytest.mark.parametrize("name", [name for name, seam in SEAMS.items() if not seam.added])
def test_moto_has_what_we_replace(name: str) -> None:
    original = ORIGINALS[name]
    found = list(inspect.signature(original).parameters) if callable(original) else type(original).__name__
    assert name in SIGNATURES, f"SIGNATURES lacks {name}: {found}"
    assert found == SIGNATURES[name]


@pytest.mark.parametrize("name", [name for name, seam in SEAMS.items() if seam.added])
def test_moto_lacks_what_we_add(name: str) -> None:
    assert ORIGINALS[name] is None


@contract("TASK", "TASK_OF_SAGEMAKER")
def test_a_sagemaker_task_finds_the_methods_that_it_calls() -> None:
    for name in ("_get_boto_service_action", "_is_integration_pattern", "_get_sfn_resource", "_from_error"):
        assert callable(getattr(moto.TASK, name))
    parameters = ["self", "env", "resource_runtime_part", "normalised_parameters", "state_credentials"]
    assert list(inspect.signature(moto.TASK._eval_service_task).parameters) == parameters
    assert list(inspect.signature(moto.TASK._eval_integration_pattern).parameters) == parameters


def test_what_was_replaced_or_added_is_restored() -> None:
    class Owner:
        def method(self) -> int:
            return 0

    before = Owner.method
    replaced, added = moto.Seam(Owner, "method"), moto.Seam(Owner, "other", added=True)
    with ExitStack() as stack:
        moto.put(stack, replaced, lambda: 1)
        moto.put(stack, added, lambda: 2)
        assert (replaced.original(), added.original()) == (1, 2)
    assert replaced.original is before
    assert not hasattr(Owner, "other")


def test_another_moto_is_refused_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "9.9.9")
    with pytest.raises(ImportError, match=r"moto is 9\.9\.9; local mode is proven with 5\.2\.5"):
        runpy.run_path(str(Path(moto.__file__)))


def test_names_that_moved_are_refused_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("moto.events.models.Rule.send_to_targets")
    monkeypatch.delattr("moto.sqs.models.sqs_backends")
    with pytest.raises(ImportError, match="lacks what local mode leans on") as raised:
        runpy.run_path(str(Path(moto.__file__)))
    for name in ("sqs.models:sqs_backends", "events.models:Rule.send_to_targets"):
        assert name in str(raised.value)


@contract("Pattern", "Rule", "Bucket", "Key", "Function", "Mapping", "Role", "CustomerKey")
@contract("Execution", "Worker", "Environment", "History")
def test_moto_s_objects_have_the_attributes_that_we_use(small: Small) -> None:
    real = objects(small)
    for name, shape in SHAPES.items():
        assert name in real, f"objects() gives no {name}"
        lacks = [one for one in shape.__annotations__ if not hasattr(real[name], one)]
        assert not lacks, f"moto's {name} lacks {', '.join(lacks)}"


def objects(small: Small) -> dict[str, Any]:
    """Protocol in moto_seams -> an object of moto that it describes."""
    names, function = small.names, moto.FUNCTIONS[moto.ACCOUNT][moto.REGION]
    small.cloud.client("s3").put_object(Bucket=names["Bucket"], Key="shape", Body=b"1")
    small.cloud.client("kms").create_key()
    bucket = moto.BUCKETS[moto.ACCOUNT]["aws"].get_bucket(names["Bucket"])
    rule = moto.BUSES[moto.ACCOUNT][moto.REGION].put_rule("shape", event_pattern='{"source": ["us"]}')
    queue = {"Type": "AWS::SQS::Queue"}
    mapping = {"EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]}, "FunctionName": names["Batch"]}
    deploy(
        small.cloud,
        "shapes",
        {"Queue": queue, "Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": mapping}},
    )
    done = execute(small, "shape", {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}})
    execution = moto.MACHINES[moto.ACCOUNT][moto.REGION].describe_execution(done["executionArn"])
    return {
        "Bucket": bucket,
        "Key": bucket.keys["shape"],
        "Rule": rule,
        "Pattern": rule.event_pattern,
        "Function": function.get_function(names["Answer"]),
        "Mapping": next(iter(function.list_event_source_mappings("", names["Batch"]))),
        "Execution": execution,
        "Worker": execution.exec_worker,
        "Environment": execution.exec_worker.env,
        "History": execution.exec_worker.env.event_manager,
        "Role": moto.IAM[moto.ACCOUNT]["aws"].get_role(names["Role"]),
        "CustomerKey": next(iter(moto.KEYS[moto.ACCOUNT][moto.REGION].keys.values())),
    }


@contract("BUCKETS", "FUNCTIONS", "IAM", "KEYS", "QUEUES", "SESSIONS", "TABLES", "TOPICS")
def test_moto_keeps_what_there_is_where_we_look(small: Small) -> None:
    names = deploy(
        small.cloud,
        "places",
        {"Queue": {"Type": "AWS::SQS::Queue"}, "Topic": {"Type": "AWS::SNS::Topic"}},
    )
    key = {"AttributeName": "id", "KeyType": "HASH"}
    small.cloud.client("dynamodb").create_table(
        TableName="places",
        KeySchema=[key],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    made = small.cloud.client("kms").create_key()["KeyMetadata"]
    role = moto.IAM[moto.ACCOUNT]["aws"].get_role(small.names["Role"])
    assumed = small.cloud.client("sts").assume_role(RoleArn=role.arn, RoleSessionName="s")["Credentials"]
    here, of_account = (moto.ACCOUNT, moto.REGION), (moto.ACCOUNT, "aws")

    def of(backends: Any, place: tuple[str, str]) -> Any:
        return backends[place[0]][place[1]]

    assert of(moto.BUCKETS, of_account).get_bucket(small.names["Bucket"]).name == small.names["Bucket"]
    functions = of(moto.FUNCTIONS, here).list_functions()
    assert small.names["Answer"] in {one.function_name for one in functions}
    assert of(moto.KEYS, here).keys[made["KeyId"]].arn == made["Arn"]
    assert names["Queue"].rpartition("/")[2] in of(moto.QUEUES, here).queues
    assert of(moto.TABLES, here).tables["places"].name == "places"
    assert names["Topic"] in of(moto.TOPICS, here).topics
    sessions = of(moto.SESSIONS, of_account).assumed_roles
    assert (assumed["AccessKeyId"], role.arn) in {(one.access_key_id, one.role_arn) for one in sessions}


@contract("SERVER", "MODULES", "REQUEST_BODY")
def test_a_large_body_arrives_whole(small: Small) -> None:
    sent = bytes(range(256)) * 2**12
    s3, where = small.cloud.client("s3"), {"Bucket": small.names["Bucket"], "Key": "large"}
    s3.put_object(**where, Body=sent)
    assert s3.get_object(**where)["Body"].read() == sent
    assert SEAMS["MODULES"].original() is SEAMS["MODULES"].original()  # the folder is read once


@contract("STOP_PROCESSING", "STOP_TRAINING", "STOP_TRANSFORM", "ANSWER")
@pytest.mark.parametrize("kind", ["processing", "training", "transform"])
def test_moto_finds_a_stop_by_its_name(small: Small, kind: str) -> None:
    came: list[str] = []

    def stopped(self: Any) -> Any:
        came.append(self.body)
        return moto.ANSWER(None)

    with ExitStack() as stack:
        moto.put(stack, SEAMS[f"STOP_{kind.upper()}"], stopped)
        stop = getattr(small.cloud.client("sagemaker"), f"stop_{kind}_job")
        stop(**{f"{kind.title()}JobName": "nobody"})
    assert [json.loads(body) for body in came] == [{f"{kind.title()}JobName": "nobody"}]


@contract("BUFFER")
def test_objects_stay_in_memory_until_much_is_held(monkeypatch: pytest.MonkeyPatch, small: Small) -> None:
    monkeypatch.setattr(cloud, "MUCH", 2**50)
    assert SEAMS["BUFFER"].original() == cloud.MUCH
    monkeypatch.setattr(cloud, "MUCH", 2**20)
    assert SEAMS["BUFFER"].original() < 10 * 2**20


@contract("CREATE_BUCKET")
def test_a_bucket_from_a_template_keeps_versions(small: Small) -> None:
    s3 = small.cloud.client("s3")
    versions = {
        s3.put_object(Bucket=small.names["Bucket"], Key="versions", Body=b)["VersionId"] for b in (b"1", b"2")
    }
    assert len(versions) == 2


@contract("CREATE_TABLE")
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


@contract("MACHINES", "MACHINES_OF_TEMPLATES")
def test_the_history_is_what_the_api_answers(small: Small) -> None:
    done = execute(small, "history", {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}})
    client = small.cloud.client("stepfunctions")
    answered = client.get_execution_history(executionArn=done["executionArn"])["events"]
    read = small.cloud.history(done["executionArn"])
    assert [event["type"] for event in read] == [event["type"] for event in answered]
    assert read[1]["stateEnteredEventDetails"]["name"] == "Pass"
    assert abs((read[1]["timestamp"] - answered[1]["timestamp"]).total_seconds()) < 0.01


@contract("CONTEXT", "START_EXECUTION", "USER_CONFIG")
def test_the_context_holds_text_that_may_stand_in_state_data(small: Small) -> None:
    context = {"start.$": "$$.Execution.StartTime", "redrives.$": "$$.Execution.RedriveCount"}
    context |= {"name.$": "$$.Execution.Name", "retries.$": "$$.State.RetryCount"}
    state = {"Type": "Task", "Resource": "ANSWER", "Parameters": context, "OutputPath": "$.event", "End": True}
    done = execute(small, "context", {"StartAt": "Look", "States": {"Look": state}})
    output = json.loads(done["output"])
    assert output["redrives"] == output["retries"] == 0
    assert output["start"].endswith("Z")
    assert output["name"] == done["name"] != "None"


@contract("PARSER_OF_DEFINITIONS", "PARSER_OF_EXECUTIONS")
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


@contract("FUNCTION_CLIENT")
def test_a_machine_calls_functions_with_its_own_role(small: Small) -> None:
    state = {"Type": "Task", "Resource": "WHOAMI", "End": True}
    assert ":assumed-role/" in execute(small, "role", {"StartAt": "Who", "States": {"Who": state}})["output"]
    assert any(role for _, role in small.cloud._clients if role and "role-Role" in role)


@contract("INVOKE")
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


@contract("IMPORT_TABLE", "DESCRIBE_IMPORT", "LIST_IMPORTS", "JSON_LINES")
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


@contract("LIST_QUOTAS", "LIST_DEFAULT_QUOTAS")
def test_quotas_are_listed_page_by_page(small: Small) -> None:
    client = small.cloud.client("service-quotas")
    pages = client.get_paginator("list_service_quotas").paginate(
        ServiceCode="sagemaker", PaginationConfig={"PageSize": 3}
    )
    found = {one["QuotaName"]: one["Value"] for page in pages for one in page["Quotas"]}
    assert found == small.cloud.quotas.applied
    defaults = client.list_aws_default_service_quotas(ServiceCode="sagemaker")["Quotas"]
    assert {one["QuotaName"]: one["Value"] for one in defaults} == small.cloud.quotas.default
