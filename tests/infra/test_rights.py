"""Least privilege: what every role may do, read from the synthesized policies."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from drawn import of_type

from tests.definitions import problems
from topx.settings import JOBS, load_deploy

ARN = "arn:<AWS::Partition>:{}:<AWS::Region>:<AWS::AccountId>:{}"
RUNS = "<Runs.Arn>/runs/ratings/*/"
TABLES = ARN.format("dynamodb", "table/topx-dev-ratings-2???????-??????-????????")
UNNAMED = {  # AWS gives these calls no resource
    "cloudwatch:PutMetricData",
    "dynamodb:ListImports",
    "dynamodb:ListTables",
    "ecr:GetAuthorizationToken",
    "logs:DescribeLogGroups",
    "sagemaker:ListModels",
    "servicequotas:ListAWSDefaultServiceQuotas",
    "servicequotas:ListServiceQuotas",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
MACHINE_UNNAMED = UNNAMED | {
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
}
S3 = {  # role -> action -> where
    "FunctionsPreflight": {"s3:ListBucketVersions": ["<Uploads.Arn>"], "s3:PutObject": ["plan.json"]},
    "FunctionsEncode": {
        "s3:GetObject": ["plan.json"],
        "s3:GetObjectVersion": ["<Uploads.Arn>/uploads/ratings/*", "<Uploads.Arn>/tests/ratings/*"],
        "s3:PutObject": ["encoded/*"],
    },
    "FunctionsRank": {
        "s3:ListBucket": ["<Runs.Arn>"],
        "s3:GetObject": ["plan.json", "encoded/*", "matrices/*", "matches/*"],
        "s3:PutObject": ["lists/*", "import/*", "evaluated/*"],
    },
    "FunctionsEvaluate": {
        "s3:ListBucket": ["<Runs.Arn>"],
        "s3:GetObject": ["plan.json", "encoded/*", "evaluated/*", "lists/*", "factors/*", "report.json"],
        "s3:PutObject": ["report.json", "report.html"],
    },
    "FunctionsPublish": {
        "s3:ListBucket": ["<Runs.Arn>"],
        "s3:GetObject": ["import/*"],
        "s3:PutObject": ["published.json"],
    },
    "FunctionsTrigger": {"s3:ListBucketVersions": ["<Uploads.Arn>"]},
    "FunctionsSettle": {},
    "FunctionsRecommend": {},
    "JobsRolesTrainFactors": {
        "s3:ListBucket": ["<Runs.Arn>"],
        "s3:GetObject": ["encoded/train/*", "encoded/test/*"],
        "s3:PutObject": ["factors/*"],
    },
    "JobsRolesRepackage": {
        "s3:ListBucket": ["<Runs.Arn>"],
        "s3:GetObject": ["plan.json", "factors/*", "encoded/items.parquet"],
        "s3:PutObject": ["matrices/*"],
    },
    "JobsRolesTrainNeighbors": {
        "s3:ListBucket": ["<Runs.Arn>"],
        "s3:GetObject": ["matrices/items/*"],
        "s3:PutObject": ["neighbors/*"],
    },
    "JobsRolesMatchUsers": {
        "s3:ListBucket": ["<Runs.Arn>"],
        "s3:GetObject": ["neighbors/*", "matrices/users/*"],
        "s3:PutObject": ["matches/*"],
    },
    "Workflow": {},
}
NAMED = {  # what stands in ARNs of the plain template -> an example of it
    "<AWS::Partition>": "aws",
    "<AWS::Region>": "us-east-1",
    "<AWS::AccountId>": "123456789012",
    "<AWS::URLSuffix>": "amazonaws.com",
    "<Algorithms of AWS::Region: Account>": "382416733822",
    "<Uploads.Arn>": "arn:aws:s3:::uploads",
    "<Runs.Arn>": "arn:aws:s3:::runs",
    "<AccessLogs.Arn>": "arn:aws:s3:::logs",
    "<Ledger.Arn>": "arn:aws:dynamodb:us-east-1:123456789012:table/ledger",
    "<Key.Arn>": "arn:aws:kms:us-east-1:123456789012:key/1234",
    "<Topic>": "arn:aws:sns:us-east-1:123456789012:topic",
    "<Lost.Arn>": "arn:aws:sqs:us-east-1:123456789012:lost",
    "<EventsChanges.Arn>": "arn:aws:sqs:us-east-1:123456789012:changes",
    "<WorkflowMachine>": "arn:aws:states:us-east-1:123456789012:stateMachine:machine",
    "<WorkflowMachine.Name>": "machine",
}
NO_RESOURCE_SERVES = {  # AWS's definitions name a resource, but who lists must be allowed to see them all
    "logs:DescribeLogGroups",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "sqs:*",
}
OTHER = {  # role -> action, logs of its own and X-Ray aside -> where
    "FunctionsPreflight": {
        "dynamodb:GetItem": ["<Ledger.Arn>"],
        "dynamodb:UpdateItem": ["<Ledger.Arn>"],
        "servicequotas:ListAWSDefaultServiceQuotas": ["*"],
        "servicequotas:ListServiceQuotas": ["*"],
        "states:DescribeExecution": [ARN.format("states", "execution:<WorkflowMachine.Name>:*")],
    },
    "FunctionsEncode": {},
    "FunctionsRank": {},
    "FunctionsEvaluate": {"dynamodb:GetItem": ["<Ledger.Arn>"]},
    "FunctionsPublish": {
        "dynamodb:DeleteTable": [TABLES],
        "dynamodb:DescribeImport": [f"{TABLES}/import/*"],
        "dynamodb:GetItem": ["<Ledger.Arn>", TABLES],
        "dynamodb:ImportTable": [TABLES],
        "dynamodb:ListImports": ["*"],
        "dynamodb:ListTables": ["*"],
        "dynamodb:UpdateItem": ["<Ledger.Arn>"],
        "sagemaker:DeleteModel": [ARN.format("sagemaker", "model/topx-dev-neighbors-*")],
        "sagemaker:ListModels": ["*"],
        "states:DescribeExecution": [ARN.format("states", "execution:<WorkflowMachine.Name>:*")],
    },
    "FunctionsTrigger": {
        "dynamodb:GetItem": ["<Ledger.Arn>"],
        "dynamodb:UpdateItem": ["<Ledger.Arn>"],
        "sqs:DeleteMessage": ["<EventsChanges.Arn>"],
        "sqs:GetQueueAttributes": ["<EventsChanges.Arn>"],
        "sqs:ReceiveMessage": ["<EventsChanges.Arn>"],
        "states:DescribeExecution": [ARN.format("states", "execution:<WorkflowMachine.Name>:*")],
        "states:StartExecution": ["<WorkflowMachine>"],
    },
    "FunctionsSettle": {
        "dynamodb:GetItem": ["<Ledger.Arn>"],
        "dynamodb:UpdateItem": ["<Ledger.Arn>"],
        "sns:Publish": ["<Topic>"],
        "sqs:SendMessage": ["<Lost.Arn>"],
        "states:DescribeExecution": [ARN.format("states", "execution:<WorkflowMachine.Name>:*")],
        "states:GetExecutionHistory": [ARN.format("states", "execution:<WorkflowMachine.Name>:*")],
        "states:StartExecution": ["<WorkflowMachine>"],
    },
    "FunctionsRecommend": {"dynamodb:GetItem": ["<Ledger.Arn>", TABLES]},
}


def statements(pipeline: dict[str, Any], role: str) -> Iterator[dict[str, Any]]:
    for policy in of_type(pipeline, "AWS::IAM::Policy").values():
        if f"<{role}>" in policy["Roles"]:
            yield from policy["PolicyDocument"]["Statement"]


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def rights(pipeline: dict[str, Any], name: str) -> dict[str, list[str]]:
    """Action -> resources of one role, sorted."""
    made: dict[str, set[str]] = {}
    for role in (name, f"{name}Role"):
        for statement in statements(pipeline, role):
            for action in listed(statement["Action"]):
                made.setdefault(action, set()).update(listed(statement["Resource"]))
    return {action: sorted(resources) for action, resources in sorted(made.items())}


@pytest.mark.parametrize("name", S3)
def test_a_role_reaches_its_own_nouns_in_s3(pipeline: dict[str, Any], name: str) -> None:
    held = {action: where for action, where in rights(pipeline, name).items() if action.startswith("s3:")}
    held.pop("s3:AbortMultipartUpload", None)
    assert held == {
        action: sorted(one if one.startswith("<") else RUNS + one for one in where)
        for action, where in S3[name].items()
    }


@pytest.mark.parametrize("name", OTHER)
def test_a_function_may_call_what_it_calls(pipeline: dict[str, Any], name: str) -> None:
    aside = ("s3:", "kms:", "xray:", "logs:")
    held = {a: where for a, where in rights(pipeline, name).items() if not a.startswith(aside)}
    assert held == {action: sorted(where) for action, where in OTHER[name].items()}


def test_every_role_is_looked_at(pipeline: dict[str, Any]) -> None:
    roles = {name.removesuffix("Role") for name in of_type(pipeline, "AWS::IAM::Role")}
    assert roles == set(S3)


def test_lists_of_a_bucket_are_limited_to_the_datasets(pipeline: dict[str, Any]) -> None:
    seen = 0
    for policy in of_type(pipeline, "AWS::IAM::Policy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Action"] in ("s3:ListBucket", "s3:ListBucketVersions"):
                seen += 1
                wanted = (
                    ["runs/ratings/*"]
                    if statement["Resource"] == "<Runs.Arn>"
                    else ["uploads/ratings/*", "tests/ratings/*"]
                )
                assert statement["Condition"] == {"StringLike": {"s3:prefix": wanted}}
    assert seen == 9


def test_no_role_holds_a_managed_policy_or_a_wildcard_action(pipeline: dict[str, Any]) -> None:
    for role in of_type(pipeline, "AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role
    for name, policy in of_type(pipeline, "AWS::IAM::Policy").items():
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            assert "NotAction" not in statement
            assert not [action for action in listed(statement["Action"]) if "*" in action], name
            if "*" in listed(statement["Resource"]):
                unnamed = MACHINE_UNNAMED if name.startswith("Workflow") else UNNAMED
                assert set(listed(statement["Action"])) <= unnamed, name


def test_the_key_is_used_through_a_service_only(pipeline: dict[str, Any]) -> None:
    for name, policy in of_type(pipeline, "AWS::IAM::Policy").items():
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = set(listed(statement["Action"]))
            if not any(action.startswith("kms:") for action in actions):
                continue
            assert statement["Resource"] == "<Key.Arn>"
            if actions == {"kms:CreateGrant"}:
                assert statement["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
            elif actions == {"kms:Encrypt", "kms:DescribeKey"}:
                assert name.startswith("JobsRoles")  # SageMaker itself encrypts a job's output
            else:
                via = statement["Condition"]["StringEquals"]["kms:ViaService"]
                assert re.fullmatch(r"(s3|dynamodb|sns)\.<AWS::Region>\.<AWS::URLSuffix>", via)


def test_roles_are_assumed_by_one_service_for_this_account(pipeline: dict[str, Any]) -> None:
    ours = {"StringEquals": {"aws:SourceAccount": "<AWS::AccountId>"}}
    for name, role in of_type(pipeline, "AWS::IAM::Role").items():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        service = {"Jobs": "sagemaker", "Work": "states"}.get(name[:4], "lambda")
        assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"}
        assert trust.get("Condition") == (None if service == "lambda" else ours), name


def test_the_machine_makes_jobs_of_its_own_names_on_allowed_types(pipeline: dict[str, Any]) -> None:
    nouns = {
        "train_factors": "factors",
        "repackage": "matrices",
        "train_neighbors": "neighbors",
        "match_users": "matches",
    }
    creates = {
        statement["Resource"]: statement
        for statement in statements(pipeline, "WorkflowRole")
        if re.fullmatch(r"sagemaker:Create\w+Job", str(statement["Action"]))
    }
    for job, noun in nouns.items():
        kind = JOBS[job].split()[0]
        statement = creates.pop(ARN.format("sagemaker", f"{kind}-job/topx-dev-{noun}-*"))
        assert statement["Action"] == f"sagemaker:Create{kind.title()}Job"
        assert statement["Condition"] == {
            "ForAllValues:StringEquals": {"sagemaker:InstanceTypes": list(load_deploy({}).instance_types[job])},
            "Null": {"sagemaker:InstanceTypes": "false"},
        }
    assert not creates


def test_the_machine_passes_exactly_the_job_roles_to_sagemaker(
    pipeline: dict[str, Any], machine: dict[str, Any]
) -> None:
    (passed,) = (one for one in statements(pipeline, "WorkflowRole") if one["Action"] == "iam:PassRole")
    assert passed["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    used = {
        parameters[key]
        for state in machine["States"].values()
        for parameters in [state.get("Parameters", {})]
        for key in ("RoleArn", "ExecutionRoleArn")
        if key in parameters
    }
    assert set(passed["Resource"]) == used
    assert len(used) == 4


def test_the_machine_hears_sees_and_stops_its_jobs(pipeline: dict[str, Any]) -> None:
    held = rights(pipeline, "Workflow")
    rules = [
        ARN.format("events", f"rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule")
        for kind in ("Processing", "Training", "Transform")
    ]
    for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
        assert held[action] == rules
    jobs = {
        "Training": ["training-job/topx-dev-factors-*", "training-job/topx-dev-neighbors-*"],
        "Processing": ["processing-job/topx-dev-matrices-*"],
        "Transform": ["transform-job/topx-dev-matches-*"],
    }
    arns = {kind: [ARN.format("sagemaker", one) for one in names] for kind, names in jobs.items()}
    for kind, names in arns.items():
        assert held[f"sagemaker:Describe{kind}Job"] == held[f"sagemaker:Stop{kind}Job"] == names
    model = ARN.format("sagemaker", "model/topx-dev-neighbors-*")
    everything = sorted([model, *(arn for names in arns.values() for arn in names)])
    assert held["sagemaker:AddTags"] == held["sagemaker:ListTags"] == everything
    assert held["sagemaker:CreateModel"] == [model]


def test_the_machine_invokes_its_own_functions_only(pipeline: dict[str, Any]) -> None:
    own = [f"<Functions{name}.Arn>" for name in ("Preflight", "Encode", "Rank", "Evaluate", "Publish")]
    wanted = sorted([*own, *(f"{arn}:*" for arn in own)])
    assert rights(pipeline, "Workflow")["lambda:InvokeFunction"] == wanted


def test_jobs_log_measure_and_pull_one_image(pipeline: dict[str, Any]) -> None:
    pulled = {
        "JobsRolesTrainFactors": "<Algorithms of AWS::Region: Account>:repository/factorization-machines",
        "JobsRolesRepackage": (
            "<AWS::AccountId>:repository/cdk-hnb659fds-container-assets-<AWS::AccountId>-<AWS::Region>"
        ),
        "JobsRolesTrainNeighbors": "<Algorithms of AWS::Region: Account>:repository/knn",
        "JobsRolesMatchUsers": "<Algorithms of AWS::Region: Account>:repository/knn",
    }
    for name, repository in pulled.items():
        held = rights(pipeline, name)
        assert held["ecr:BatchGetImage"] == [f"arn:<AWS::Partition>:ecr:<AWS::Region>:{repository}"]
        assert {
            group.split("/aws/sagemaker/")[1].removesuffix(":*") for group in held["logs:PutLogEvents"]
        } <= {
            "TrainingJobs",
            "ProcessingJobs",
            "TransformJobs",
        }
        others = {a for a in held if not a.startswith(("s3:", "kms:", "ecr:", "logs:"))}
        assert others == {"cloudwatch:PutMetricData"}


def example(text: str) -> list[str]:
    """ARNs that a pattern of the plain template stands for."""
    for token, value in NAMED.items():
        text = text.replace(token, value)
    text = re.sub(r"<(Functions\w+)Logs\.Arn>", r"arn:aws:logs:us-east-1:123456789012:log-group:\1:*", text)
    text = re.sub(r"<(Functions\w+)\.Arn>", r"arn:aws:lambda:us-east-1:123456789012:function:\1", text)
    text = re.sub(r"<(JobsRoles\w+)\.Arn>", r"arn:aws:iam::123456789012:role/\1", text)
    assert "<" not in text, text
    return [text.replace("*", "x") if text != "*" else text, text.replace(":*", ":log-stream:x")]


def granted(*stacks: dict[str, Any]) -> Iterator[tuple[str, str, str, set[str]]]:
    """(policy, action, resource, condition keys) of everything that roles are allowed."""
    for stack in stacks:
        for name, policy in of_type(stack, "AWS::IAM::Policy").items():
            for statement in policy["PolicyDocument"]["Statement"]:
                keys = {key for test in statement.get("Condition", {}).values() for key in test}
                for action in listed(statement["Action"]):
                    for resource in listed(statement["Resource"]):
                        yield name, action, resource, keys


def test_actions_resources_and_conditions_are_such_as_aws_knows(pipeline: dict[str, Any]) -> None:
    wrong = []
    for name, action, resource, keys in granted(pipeline):
        if action in NO_RESOURCE_SERVES and resource == "*":
            continue
        if action == "lambda:InvokeFunction" and resource.endswith(":*"):
            continue  # versions, which the CDK grants beside each function
        found = [list(problems(action, one, keys)) for one in example(resource)]
        if all(found):
            wrong.append(f"{name}: {found[0][0]}")
    assert wrong == []


@pytest.mark.parametrize(
    ("action", "resource", "key"),
    [
        ("s3:GetObjekt", "arn:aws:s3:::runs/x", ""),
        ("s3:getobject", "arn:aws:s3:::runs/x", ""),
        ("s3:ListBucket", "arn:aws:s3:::runs/x", ""),
        ("s3:GetObject", "arn:aws:s3:::runs", ""),
        ("dynamodb:ImportTable", "arn:aws:dynamodb:us-east-1:123456789012:table/x/import/y", ""),
        ("dynamodb:ListTables", "arn:aws:dynamodb:us-east-1:123456789012:table/x", ""),
        ("sagemaker:CreateModel", "arn:aws:sagemaker:us-east-1:123456789012:training-job/x", ""),
        (
            "sagemaker:CreateModel",
            "arn:aws:sagemaker:us-east-1:123456789012:model/x",
            "sagemaker:InstanceTypes",
        ),
        ("states:DescribeExecution", "arn:aws:states:us-east-1:123456789012:stateMachine:x", ""),
        ("kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:alias/x", ""),
        ("s3:PutObject", "arn:aws:s3:::runs/x", "s3:prefix"),
        ("sqs:SendMessage", "arn:aws:sns:us-east-1:123456789012:x", ""),
        ("s3:PutObject", "*", ""),
    ],
)
def test_a_wrong_right_would_be_told(action: str, resource: str, key: str) -> None:
    assert list(problems(action, resource, {key} - {""}))
