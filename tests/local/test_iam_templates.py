"""Policies of templates: refused before anything is created, or when their references are filled in."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import moto_seams as moto
from local.assembly import NotEmulated, Stack, read
from local.cloud import NotDeployed
from local.iam.templates import DOCUMENTS, MOST_MANAGED
from tests.local.conftest import Small, deploy, function, machine, policy, trust

ACCOUNT, REGION = moto.ACCOUNT, moto.REGION
LISTING = policy({"Action": "s3:ListBucket", "Resource": "*"})
KEYS = {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
LONG = [f"arn:aws:s3:::bucket/{number:0>50}" for number in range(130)]  # 9,000 characters
BUCKET = {"Type": "AWS::S3::Bucket"}


def role(**more: Any) -> dict[str, Any]:
    properties = {"AssumeRolePolicyDocument": trust("lambda", "states"), **more}
    return {"Type": "AWS::IAM::Role", "Properties": properties}


def given_to(document: dict[str, Any], *roles: str, name: str = "x") -> dict[str, Any]:
    properties = {"PolicyName": name, "PolicyDocument": document, "Roles": [{"Ref": one} for one in roles]}
    return {"Type": "AWS::IAM::Policy", "Properties": properties}


def managed(document: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document, **more}}


def of(kind: str, document: Any, **more: Any) -> dict[str, Any]:
    return {"Type": kind, "Properties": {DOCUMENTS[kind][0]: document, **more}}


def told(resources: dict[str, Any]) -> list[str]:
    return list(Stack(name="one", template={"Resources": resources}, zips={}).problems())


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_policies_of_every_type_are_read_before_anything_is_created(kind: str) -> None:
    wrong = policy({"Action": "GetObject", "Resource": "*"})
    for document, problem in ((wrong, "is not service:Name"), (None, "the document is None"), ("{}", "give {")):
        (text, *_) = told({"Guarded": of(kind, document)})
        assert text.startswith(f"one/Guarded: {DOCUMENTS[kind][0]}: ")
        assert problem in text


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        (
            {"Policies": [{"PolicyName": "a", "PolicyDocument": {"Statement": 1}}]},
            "Policies[0]: statement 0 is 1",
        ),
        ({"Policies": ["a"]}, "Policies[0]: the document is a"),
        ({"Policies": {"PolicyDocument": {}}}, "Policies[0]: the document is {}"),
        ({"ManagedPolicyArns": ["x"] * 11}, "ManagedPolicyArns has 11 policies; the most is 10"),
        ({"ManagedPolicyArns": [{"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/A"}]}, "AWS's own managed"),
        ({"PermissionsBoundary": "arn:aws:iam::aws:policy/A"}, "permission boundaries are not evaluated"),
        ({"AssumeRolePolicyDocument": trust("lambda", Resource="*")}, "a trust policy has no Resource"),
    ],
)
def test_what_a_role_has_beside_its_trust_is_read_too(properties: dict[str, Any], problem: str) -> None:
    (text,) = told({"Worker": role(**properties)})
    assert problem in text


def test_a_permission_that_would_not_be_heeded_is_refused() -> None:
    properties = {"Action": "lambda:InvokeFunction", "FunctionName": "x", "Principal": "*"}
    permission = {
        "Type": "AWS::Lambda::Permission",
        "Properties": {**properties, "FunctionUrlAuthType": "NONE"},
    }
    (text,) = told({"Permission": permission})
    assert "FunctionUrlAuthType is not emulated; allowed: Action, FunctionName" in text


def test_a_template_in_which_something_stands_twice_is_refused(tmp_path: Path) -> None:
    artifact = {"type": "aws:cloudformation:stack", "properties": {"templateFile": "one.json"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": {"one": artifact}}))
    (tmp_path / "one.assets.json").write_text("{}")
    statement = '{"Effect": "Deny", "Action": "s3:*", "Effect": "Allow"}'
    for text, problem in ((f'{{"Resources": {statement}}}', "Effect stands twice"), ("{", "cannot be read")):
        (tmp_path / "one.json").write_text(text)
        with pytest.raises(NotEmulated, match=problem):
            read(tmp_path)


SIZES: list[tuple[str, dict[str, Any], str]] = [  # name of a stack, resources, problem
    (
        "inline",
        {"A": given_to(policy({"Action": "s3:GetObject", "Resource": LONG * 2}), "Worker")},
        r"PolicyDocument has 1\d{4} characters; the most is 10240",
    ),
    (
        "together",
        {
            "A": given_to(policy({"Action": "s3:GetObject", "Resource": LONG}), "Worker"),
            "B": given_to(policy({"Action": "s3:GetObject", "Resource": LONG}), "Worker", name="y"),
        },
        r"characters of its own; the most is 10240",
    ),
    (
        "managed",
        {"A": managed(policy({"Action": "s3:GetObject", "Resource": LONG}))},
        r"PolicyDocument has 9\d{3} characters; the most is 6144",
    ),
    (
        "trusting",
        {"A": role(AssumeRolePolicyDocument=trust(*(f"service-number-{number}" for number in range(60))))},
        r"AssumeRolePolicyDocument has 2\d{3} characters; the most is 2048",
    ),
    (
        "eleventh",
        {
            **{
                f"M{number:0>2}": managed(LISTING, Roles=[{"Ref": "Worker"}])
                for number in range(MOST_MANAGED + 1)
            }
        },
        "has 10 managed policies already",
    ),
    ("nobody", {"A": given_to(LISTING)}, "it is given to nobody"),
]
FILLED: list[tuple[str, dict[str, Any], str]] = [
    (
        "name",
        {"Data": BUCKET, "A": given_to(policy({"Action": "s3:*", "Resource": {"Ref": "Data"}}), "Worker")},
        "resource 'name-data-.*' is no ARN",
    ),
    (
        "none",
        {"A": given_to(policy({"Action": "s3:*", "Resource": [{"Ref": "AWS::NoValue"}]}), "Worker")},
        "Resource holds None",
    ),
    (
        "stranger",
        {
            "A": of(
                "AWS::KMS::Key",
                policy(
                    KEYS, {**KEYS, "Principal": {"AWS": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:role/no"}}}
                ),
            )
        },
        "invalid principal arn:aws:iam::123456789012:role/no, which is not there",
    ),
    (
        "elsewhere",
        {
            "Data": BUCKET,
            "A": of(
                "AWS::S3::BucketPolicy",
                policy(
                    {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::other/*"}
                ),
                Bucket={"Ref": "Data"},
            ),
        },
        "invalid resource arn:aws:s3:::other/",
    ),
    (
        "locked",
        {"A": of("AWS::KMS::Key", policy({**KEYS, "Action": ["kms:Decrypt", "kms:Encrypt"]}))},
        "will not allow you to update the key policy",
    ),
    (
        "unrooted",
        {"A": of("AWS::KMS::Key", policy(KEYS, {**KEYS, "Effect": "Deny", "Action": "kms:Put*"}))},
        "will not allow you to update the key policy",
    ),
]


@pytest.mark.parametrize(("name", "resources", "problem"), [*SIZES, *FILLED], ids=lambda one: str(one)[:12])
def test_what_only_shows_when_references_are_filled_in_ends_the_deployment(
    small: Small, name: str, resources: dict[str, Any], problem: str
) -> None:
    assert told(resources) == []
    with pytest.raises(NotDeployed, match=f"the policy of .* is malformed: .*{problem}"):
        deploy(small.cloud, name, {"Worker": role(), **resources})


def test_policies_at_their_limits_are_created(small: Small) -> None:
    most = {f"M{number}": managed(LISTING) for number in range(MOST_MANAGED)}
    holder = role(ManagedPolicyArns=[{"Ref": name} for name in most])
    bypassed = of(
        "AWS::KMS::Key", policy({**KEYS, "Action": "kms:Decrypt"}), BypassPolicyLockoutSafetyCheck=True
    )
    names = deploy(small.cloud, "limits", {**most, "Holder": holder, "Key": bypassed})
    small.cloud.client("s3", f"arn:aws:iam::{ACCOUNT}:role/{names['Holder']}").list_objects_v2(
        Bucket=small.names["Bucket"]
    )


def test_an_own_and_a_managed_policy_of_one_name_both_count(small: Small) -> None:
    denied = policy({"Effect": "Deny", "Action": "s3:ListBucket", "Resource": "*"})
    resources = {
        "Worker": role(Policies=[{"PolicyName": "same", "PolicyDocument": denied}]),
        "Same": managed(LISTING, ManagedPolicyName="same", Roles=[{"Ref": "Worker"}]),
    }
    worker = deploy(small.cloud, "same", resources)["Worker"]
    client = small.cloud.client("s3", f"arn:aws:iam::{ACCOUNT}:role/{worker}")
    with pytest.raises(ClientError, match="with an explicit deny in an identity-based policy"):
        client.list_objects_v2(Bucket=small.names["Bucket"])
    small.cloud.iam.refused.clear()


TRACED = {"TracingConfig": {"Mode": "Active"}}
LOST = {"DeadLetterConfig": {"TargetArn": {"Fn::GetAtt": ["Lost", "Arn"]}}}
LOGGED = {"LoggingConfiguration": {"Level": "ERROR"}}


@pytest.mark.parametrize(
    ("name", "more", "action", "text"),
    [
        ("traced", TRACED, "xray:PutTraceSegments", "to call PutTraceSegments on XRAY"),
        ("lost", LOST, "sqs:SendMessage", "to call SendMessage on SQS"),
        ("logged", LOGGED, "logs:CreateLogDelivery", "not authorized to access the Log Destination"),
        ("listed", LOGGED, "logs:DescribeLogGroups", "not authorized to access the Log Destination"),
    ],
)
def test_a_role_without_what_its_service_tries_has_no_function_or_machine(
    small: Small, name: str, more: dict[str, Any], action: str, text: str
) -> None:
    made = machine({"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}})
    made = made if more == LOGGED else function("handlers.answer")
    own = {"RoleArn" if more == LOGGED else "Role": {"Fn::GetAtt": ["Worker", "Arn"]}}
    made["Properties"] |= {**more, **own}
    for lacking in (True, False):
        allowed = {"NotAction" if lacking else "Action": action if lacking else "*", "Resource": "*"}
        worker = role(Policies=[{"PolicyName": "own", "PolicyDocument": policy(allowed)}])
        resources = {"Lost": {"Type": "AWS::SQS::Queue"}, "Worker": worker, "Made": made}
        if lacking:
            with pytest.raises(
                NotDeployed, match=f"{text} .*is not authorized to perform: {action} on resource: "
            ):
                deploy(small.cloud, name, resources)
        else:
            deploy(small.cloud, f"{name}-right", resources)
    small.cloud.iam.refused.clear()


def test_a_permission_to_an_account_or_for_one_counts_as_such(small: Small) -> None:
    def permission(**more: str) -> dict[str, Any]:
        given = {"Action": "lambda:InvokeFunction", "FunctionName": {"Ref": "Hears"}, **more}
        return {"Type": "AWS::Lambda::Permission", "Properties": given}

    resources = {
        "Hears": function("handlers.answer"),
        "Everybody": permission(Principal="*", SourceAccount="210987654321"),
        "Number": permission(Principal=ACCOUNT),
    }
    name = deploy(small.cloud, "numbers", resources)["Hears"]
    (document,) = small.cloud.iam.world.of_resource(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
    everybody, number = json.loads(document.text)["Statement"]
    assert everybody["Condition"] == {"StringEquals": {"AWS:SourceAccount": "210987654321"}}
    assert number["Principal"] == {"AWS": ACCOUNT}


@pytest.mark.parametrize(
    ("service", "call", "given", "text"),
    [
        (
            "iam",
            "put_role_permissions_boundary",
            {"RoleName": "x", "PermissionsBoundary": "y" * 20},
            "boundaries",
        ),
        (
            "iam",
            "create_role",
            {"RoleName": "x", "AssumeRolePolicyDocument": "{}", "PermissionsBoundary": "y" * 20},
            "boundaries",
        ),
        (
            "sts",
            "assume_role",
            {"RoleArn": "x" * 20, "RoleSessionName": "yy", "PolicyArns": [{"arn": "z" * 20}]},
            "session policies",
        ),
        ("s3", "put_bucket_policy", {"Bucket": "x", "Policy": "{}"}, "of its template alone"),
    ],
)
def test_the_operator_cannot_ask_for_what_would_be_ignored(
    small: Small, service: str, call: str, given: dict[str, Any], text: str
) -> None:
    with pytest.raises(ClientError, match=f"{text}.* locally"):
        getattr(small.cloud.client(service), call)(**given)
