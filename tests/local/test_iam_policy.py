"""IAM's language: documents read strictly, conditions, variables, and who wins."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.iam.policy import (
    FIELDS,
    IDENTITY,
    RESOURCE,
    TRUST,
    Asked,
    Document,
    PolicyMalformed,
    decide,
    problems,
    read,
)
from topx.errors import TopxError

ROLE = "arn:aws:iam::123456789012:role/path/Reader"
BUCKET = "arn:aws:s3:::data"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"


def document(*statements: dict[str, Any], kind: str = IDENTITY, version: str | None = "2012-10-17") -> Document:
    content: dict[str, Any] = {"Version": version} if version else {}
    full = [
        {
            "Effect": "Allow",
            **({} if "NotAction" in one else {"Action": "s3:GetObject"}),
            **({} if kind == TRUST or "NotResource" in one else {"Resource": "*"}),
            **({} if kind == IDENTITY else {"Principal": "*"}),
            **one,
        }
        for one in statements
    ]
    return Document(owner=ROLE, name="one", kind=kind, text=json.dumps({**content, "Statement": full}))


def asked(
    action: str = "s3:GetObject", resource: str = f"{BUCKET}/a/b.csv", who: str = ROLE, **context: Any
) -> Asked:
    about = {key.replace("__", ":").replace("_", "-"): value for key, value in context.items()}
    return Asked(principal=who, action=action, resource=resource, context=about)


def how(request: Asked, *mine: Document, resource: tuple[Document, ...] = ()) -> str:
    return decide(request, mine, resource).how


def holds(condition: dict[str, Any], **context: Any) -> bool:
    return how(asked(**context), document({"Condition": condition})) == "allowed"


def test_nothing_is_allowed_without_a_statement_that_does() -> None:
    assert how(asked()) == "implicit"
    assert how(asked(), document({"Action": "s3:PutObject"})) == "implicit"


def test_a_deny_wins_wherever_it_stands() -> None:
    allow, deny = document({}), document({"Effect": "Deny"})
    assert how(asked(), allow) == "allowed"
    assert how(asked(), allow, deny) == "explicit"
    assert how(asked(), allow, resource=(document({"Effect": "Deny"}, kind=RESOURCE),)) == "explicit"


def test_a_verdict_names_the_statements_that_decided() -> None:
    both = document({"Action": "s3:PutObject"}, {})
    assert decide(asked(), [both], []).because == (f"{ROLE} one[1]",)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("s3:GetObject", True),
        ("S3:getobject", True),
        ("s3:Get*", True),
        ("s3:GetObjec?", True),
        ("*", True),
        ("s3:*", True),
        ("s3:GetObjectVersion", False),
        ("s3:Get", False),
        ("dynamodb:*", False),
    ],
)
def test_actions_fit_without_regard_to_case(pattern: str, fits: bool) -> None:
    assert (how(asked(), document({"Action": pattern})) == "allowed") == fits
    assert (how(asked(), document({"NotAction": pattern})) == "allowed") != fits


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*", True),
        (f"{BUCKET}/*", True),
        (f"{BUCKET}/a/?.csv", True),
        ("arn:aws:s3:::*", True),
        ("arn:*:s3:*:*:data/a/b.csv", True),
        (BUCKET, False),
        (f"{BUCKET}/A/b.csv", False),
        (f"{BUCKET}/a/b.csvx", False),
        ("arn:aws:s3::123456789012:data/*", False),
        ("arn:aws:s3:us-east-1::data/*", False),
        ("arn:aws:s3:*", True),  # a last star reaches over the colons that are left out
        ("arn:aws:s3::*", True),
        ("arn:aws:sqs:*", False),
        ("arn:aws:s3:us-*", False),
    ],
)
def test_resources_fit_part_by_part(pattern: str, fits: bool) -> None:
    assert (how(asked(), document({"Resource": pattern})) == "allowed") == fits
    assert (how(asked(), document({"NotResource": pattern})) == "allowed") != fits


@pytest.mark.parametrize(
    ("operator", "wanted", "have", "expected"),
    [
        ("StringEquals", "a/", "a/", True),
        ("StringEquals", "a/", "A/", False),
        ("StringEquals", ["b", "a/"], "a/", True),
        ("StringEquals", "a*", "a/", False),
        ("StringNotEquals", ["b", "a/"], "a/", False),
        ("StringNotEquals", ["b", "c"], "a/", True),
        ("StringEqualsIgnoreCase", "A/", "a/", True),
        ("StringNotEqualsIgnoreCase", "A/", "a/", False),
        ("StringLike", ["b", "a*"], "a/b/c", True),
        ("StringLike", "a", "a/b/c", False),
        ("StringNotLike", "a*", "a/b/c", False),
    ],
)
def test_texts_are_compared(operator: str, wanted: Any, have: str, expected: bool) -> None:
    assert holds({operator: {"s3:Prefix": wanted}}, s3__prefix=have) == expected


@pytest.mark.parametrize(
    ("operator", "wanted", "have", "expected"),
    [
        ("NumericEquals", "3600", "3600.0", True),
        ("NumericNotEquals", 3600, "3600", False),
        ("NumericLessThan", 3600, "3600", False),
        ("NumericLessThanEquals", 3600, "3600", True),
        ("NumericGreaterThan", "3599", "3600", True),
        ("NumericGreaterThanEquals", "3601", "3600", False),
        ("NumericLessThan", "3600", "many", False),  # no number fits nothing
    ],
)
def test_numbers_are_compared(operator: str, wanted: Any, have: str, expected: bool) -> None:
    condition = {operator: {"sagemaker:MaxRuntimeInSeconds": wanted}}
    assert holds(condition, sagemaker__maxruntimeinseconds=have) == expected


@pytest.mark.parametrize(
    ("operator", "wanted", "expected"),
    [
        ("DateLessThan", "2026-07-01T00:00:00Z", True),
        ("DateGreaterThan", "2026-07-01T00:00:00Z", False),
        ("DateLessThanEquals", "2026-06-30", True),
        ("DateEquals", "2026-06-30T02:00:00+02:00", True),
        ("DateNotEquals", "1782777600", False),  # epoch seconds
    ],
)
def test_times_are_compared(operator: str, wanted: str, expected: bool) -> None:
    now = "2026-06-30T00:00:00Z"
    assert holds({operator: {"aws:CurrentTime": wanted}}, aws__currenttime=now) == expected


@pytest.mark.parametrize(
    ("operator", "wanted", "expected"),
    [
        ("IpAddress", "127.0.0.0/8", True),
        ("IpAddress", ["10.0.0.0/8", "127.0.0.1"], True),
        ("IpAddress", "203.0.113.0/24", False),
        ("NotIpAddress", "203.0.113.0/24", True),
        ("IpAddress", "::/0", False),
    ],
)
def test_addresses_lie_in_networks(operator: str, wanted: Any, expected: bool) -> None:
    assert holds({operator: {"aws:SourceIp": wanted}}, aws__sourceip="127.0.0.1") == expected


@pytest.mark.parametrize("operator", ["ArnEquals", "ArnLike"])
def test_arns_are_compared_part_by_part(operator: str) -> None:
    rule = "arn:aws:events:us-east-1:123456789012:rule/one"
    for wanted, expected in ((rule, True), (rule.replace("one", "*"), True), ("arn:aws:events:*", None)):
        if expected is None:
            assert list(
                problems(
                    json.loads(document({"Condition": {operator: {"aws:SourceArn": wanted}}}).text), IDENTITY
                )
            )
            continue
        assert holds({operator: {"aws:SourceArn": wanted}}, aws__sourcearn=rule) == expected
    assert not holds({operator: {"aws:SourceArn": rule + "x"}}, aws__sourcearn=rule)
    assert holds({operator.replace("Arn", "ArnNot"): {"aws:SourceArn": rule + "x"}}, aws__sourcearn=rule)


def test_an_absent_key_fails_but_where_it_may_be_absent() -> None:
    wanted = {"s3:prefix": "a"}
    assert not holds({"StringEquals": wanted})
    assert holds({"StringNotEquals": wanted})
    assert holds({"StringEqualsIfExists": wanted})
    assert not holds({"StringEqualsIfExists": wanted}, s3__prefix="b")
    assert holds({"Null": {"s3:prefix": "true"}})
    assert not holds({"Null": {"s3:prefix": "false"}})
    assert holds({"Null": {"s3:prefix": "false"}}, s3__prefix="b")
    assert holds({"Bool": {"aws:SecureTransport": True}}, aws__securetransport="true")


def test_keys_of_many_values_are_asked_for_all_or_any() -> None:
    def allowed(operator: str, *have: str) -> bool:
        condition = {operator: {"sagemaker:InstanceTypes": ["ml.m5.large", "ml.m5.xlarge"]}}
        return holds(condition, sagemaker__instancetypes=have)

    assert allowed("ForAllValues:StringEquals", "ml.m5.large", "ml.m5.xlarge")
    assert not allowed("ForAllValues:StringEquals", "ml.m5.large", "ml.p4d.24xlarge")
    assert allowed("ForAllValues:StringEquals")  # why ours also asks for Null
    assert allowed("ForAnyValue:StringEquals", "ml.m5.large", "ml.p4d.24xlarge")
    assert not allowed("ForAnyValue:StringEquals", "ml.p4d.24xlarge")
    assert not allowed("ForAnyValue:StringEquals")
    assert allowed("ForAllValues:StringNotEquals", "ml.p4d.24xlarge")
    assert not allowed("ForAllValues:StringNotEquals", "ml.p4d.24xlarge", "ml.m5.large")


def test_all_operators_and_keys_of_a_condition_must_hold() -> None:
    both = {"StringLike": {"s3:prefix": "a*", "s3:delimiter": "/"}, "Bool": {"aws:SecureTransport": "true"}}
    assert holds(both, s3__prefix="a", s3__delimiter="/", aws__securetransport="true")
    assert not holds(both, s3__prefix="a", s3__delimiter="-", aws__securetransport="true")
    assert not holds(both, s3__prefix="a", s3__delimiter="/", aws__securetransport="false")


def test_variables_stand_for_values_and_are_taken_literally() -> None:
    home = document({"Resource": f"{BUCKET}/${{aws:PrincipalType}}/*"})
    assert how(asked(resource=f"{BUCKET}/AssumedRole/x", aws__principaltype="AssumedRole"), home) == "allowed"
    assert how(asked(resource=f"{BUCKET}/Other/x", aws__principaltype="*"), home) == "implicit"
    assert how(asked(resource=f"{BUCKET}/x/x"), home) == "implicit"  # a variable without a value
    role = "arn:aws:iam::123456789012:role/x"
    own = {"ArnLike": {"iam:AssociatedResourceArn": "arn:aws:iam::${aws:PrincipalAccount}:role/*"}}
    assert holds(own, iam__associatedresourcearn=role, aws__principalaccount="123456789012")
    assert not holds(own, iam__associatedresourcearn=role, aws__principalaccount="210987654321")
    assert holds({"StringEquals": {"s3:prefix": "${aws:username, 'none'}"}}, s3__prefix="none")
    assert holds({"StringLike": {"s3:prefix": "a${*}"}}, s3__prefix="a*")
    assert not holds({"StringLike": {"s3:prefix": "a${*}"}}, s3__prefix="ab")


def test_variables_are_plain_text_in_the_old_version() -> None:
    old = document({"Resource": f"{BUCKET}/${{aws:PrincipalType}}"}, version=None)
    text = "${aws:PrincipalType}"
    assert how(asked(resource=f"{BUCKET}/{text}", aws__principaltype="x"), old) == "allowed"
    assert how(asked(resource=f"{BUCKET}/x", aws__principaltype="x"), old) == "implicit"


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ({"AWS": ROLE}, "allowed"),
        ("*", "allowed"),
        ({"AWS": "*"}, "allowed"),
        (
            {"AWS": "arn:aws:iam::123456789012:root"},
            "implicit",
        ),  # the account's own policies must allow it, too
        ({"AWS": "123456789012"}, "implicit"),
        ({"AWS": "arn:aws:iam::210987654321:root"}, "implicit"),
        ({"Service": "lambda.amazonaws.com"}, "implicit"),
    ],
)
def test_the_policy_of_a_resource_may_allow_a_principal_alone(principal: Any, expected: str) -> None:
    theirs = document({"Principal": principal}, kind=RESOURCE)
    assert how(asked(), resource=(theirs,)) == expected


def test_a_key_lets_the_account_whose_policies_then_decide() -> None:
    use = asked("kms:Decrypt", KEY)
    mine = document({"Action": "kms:Decrypt", "Resource": KEY})
    root = {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*"}
    account = (document(root, kind=RESOURCE),)
    assert how(use, mine, resource=account) == "allowed"
    assert how(use, resource=account) == "implicit"
    assert how(use, mine) == "implicit"  # no other service's policy is needed that much
    assert decide(use, [mine], []).lacks == RESOURCE
    other = document(
        {**root, "Condition": {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}}, kind=RESOURCE
    )
    assert how(use, mine, resource=(other,)) == "implicit"


def test_a_service_is_let_in_by_the_resource_alone() -> None:
    trust = {"Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    request = asked("sts:AssumeRole", ROLE, "lambda.amazonaws.com", aws__sourceaccount="123456789012")
    assert how(request, resource=(document(trust, kind=TRUST),)) == "allowed"
    condition = {"StringEquals": {"aws:SourceAccount": "210987654321"}}
    assert how(request, resource=(document({**trust, "Condition": condition}, kind=TRUST),)) == "implicit"
    assert (
        how(asked("sts:AssumeRole", ROLE, "states.amazonaws.com"), resource=(document(trust, kind=TRUST),))
        == "implicit"
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"Effect": "allow"}, "Effect is 'allow'"),
        ({"Effect": None}, "Effect is None"),
        ({"Action": "GetObject"}, "is not service:Name"),
        ({"Action": "s3:"}, "is not service:Name"),
        ({"Action": "s3:GetObject", "NotAction": "s3:PutObject"}, "one of Action, NotAction"),
        ({"Action": "s3:Get Object"}, "is not service:Name"),
        ({"Action": "s3:GetObject "}, "is not service:Name"),
        ({"Action": "s3 :GetObject"}, "is not service:Name"),
        ({"Action": "*:*"}, "is not service:Name"),
        ({"Action": "s3*:GetObject"}, "is not service:Name"),
        ({"Action": "?"}, "is not service:Name"),
        ({"Action": "s3:${aws:username}"}, "is not service:Name"),
        ({"Action": 5}, "Action holds 5"),
        ({"Action": None}, "Action holds None"),
        ({"Action": ["s3:GetObject", ["s3:PutObject"]]}, "Action holds ['s3:PutObject']"),
        ({"Action": {"Ref": "Action"}}, "Action holds {'Ref': 'Action'}"),
        ({"Action": []}, "Action is empty"),
        ({"Resource": []}, "Resource is empty"),
        ({"Resource": {"Fn::GetAtt": ["Bucket", "Arn"]}}, "Resource holds {'Fn::GetAtt'"),
        ({"Resource": "data/*"}, "is no ARN"),
        ({"Resource": ""}, "is no ARN"),
        ({"Resource": "**"}, "is no ARN"),
        ({"Resource": "?"}, "is no ARN"),
        ({"Resource": " *"}, "is no ARN"),
        ({"Resource": "ARN:aws:s3:::data/*"}, "is no ARN"),
        ({"Resource": "arn:aws:s3:::"}, "is no ARN"),
        ({"Resource": "arn:aws:*:*:*:*"}, "is no ARN"),  # the service must be spelled out
        ({"Resource": "arn:aws:s*:::data/*"}, "is no ARN"),
        ({"Resource": "arn:aws:S3:::data/*"}, "is no ARN"),
        ({"Resource": "arn:aws:dynamodb:*:table/Ledger"}, "is no ARN"),
        ({"Resource": "arn:aws:lambda:*:function:x:y"}, "is no ARN"),  # the star would have to reach further
        ({"Resource": "arn:aws:iam::${aws:PrincipalAccount}:role/*"}, "is no ARN"),
        ({"Sid": 1}, "Sid is 1"),
        ({"Sid": "with space"}, "Sid is 'with space'"),
        ({"NotPrincipal": {"AWS": "*"}}, "a policy of a role has no Principal"),
        ({"Resource": "arn:aws:s3:data"}, "is no ARN"),
        ({"Resource": "ar:aws:s3:::data"}, "is no ARN"),
        ({"NotResource": "*", "Resource": "*"}, "one of Resource, NotResource"),
        ({"Resources": "*"}, "unknown Resources"),
        ({"Principal": "*"}, "a policy of a role has no Principal"),
        ({"Condition": {"StringEqual": {"s3:prefix": "a"}}}, "operator StringEqual is not emulated"),
        ({"Condition": {"ForSomeValues:StringEquals": {"s3:prefix": "a"}}}, "operator ForSomeValues"),
        ({"Condition": {"BinaryEquals": {"s3:prefix": "a"}}}, "operator BinaryEquals"),
        ({"Condition": {"NullIfExists": {"s3:prefix": "true"}}}, "operator NullIfExists"),
        ({"Condition": {"StringEquals": "s3:prefix"}}, "give {operator: {key: values}}"),
        ({"Condition": {"StringEquals": {}}}, "give {operator: {key: values}}"),
        ({"Condition": None}, "give {operator: {key: values}}"),
        ({"Condition": []}, "give {operator: {key: values}}"),
        ({"Condition": {"stringequals": {"s3:prefix": "a"}}}, "operator stringequals is not emulated"),
        ({"Condition": {"ForAllValues:Null": {"s3:prefix": "true", "x": "y"}}}, "the value of x is not known"),
        ({"Condition": {"StringEquals": {"s3:prefix": []}}}, "s3:prefix has no value"),
        ({"Condition": {"StringNotEquals": {"s3:prefix": []}}}, "s3:prefix has no value"),
        ({"Condition": {"StringEquals": {"s3:prefix": None}}}, "which is no text, number or truth"),
        ({"Condition": {"StringEquals": {"s3:prefix": ["a", ["b"]]}}}, "which is no text, number or truth"),
        ({"Condition": {"StringEquals": {"s3:prefix": {"Ref": "x"}}}}, "which is no text, number or truth"),
        ({"Condition": {"StringEquals": {"aws:PrincipalTag/team": "a"}}}, "aws:PrincipalTag/team is not known"),
        ({"Condition": {"StringEquals": {"aws:ResourceTag/team": "a"}}}, "aws:ResourceTag/team is not known"),
        ({"Condition": {"NumericLessThan": {"s3:max-keys": "nan"}}}, "no value for this operator"),
        ({"Condition": {"NumericLessThan": {"s3:max-keys": "1_000"}}}, "no value for this operator"),
        ({"Condition": {"NumericLessThan": {"s3:max-keys": "${aws:EpochTime}"}}}, "no value for this operator"),
        (
            {"Condition": {"Bool": {"aws:SecureTransport": "${aws:ViaAWSService}"}}},
            "no value for this operator",
        ),
        ({"Condition": {"StringEquals": {"s3:prefx": "a"}}}, "the value of s3:prefx is not known"),
        ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, "aws:PrincipalOrgID is not known"),
        ({"Condition": {"StringEquals": {"sagemaker:InstanceTypes": "ml.m5.large"}}}, "has many values"),
        ({"Condition": {"Bool": {"aws:SecureTransport": "yes"}}}, "no value for this operator"),
        ({"Condition": {"Null": {"s3:prefix": "maybe"}}}, "no value for this operator"),
        ({"Condition": {"NumericEquals": {"s3:max-keys": "ten"}}}, "no value for this operator"),
        ({"Condition": {"DateLessThan": {"aws:CurrentTime": "tomorrow"}}}, "no value for this operator"),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "300.1.1.1"}}}, "no value for this operator"),
        ({"Condition": {"ArnEquals": {"aws:SourceArn": "rule/one"}}}, "no value for this operator"),
        ({"Resource": f"{BUCKET}/${{aws:PrincipalTag/team}}"}, "has no value locally"),
        ({"Condition": {"StringEquals": {"s3:prefix": "${ec2:SourceInstanceARN}"}}}, "has no value locally"),
    ],
)
def test_what_aws_refuses_or_we_cannot_evaluate_is_a_problem(change: dict[str, Any], problem: str) -> None:
    made = document(change)
    if change.get("Effect", "") is None:
        made = Document(owner=ROLE, name="one", kind=IDENTITY, text=made.text.replace('"Effect": null, ', ""))
    found = list(problems(json.loads(made.text), IDENTITY))
    assert any(problem in one for one in found), found
    with pytest.raises(PolicyMalformed, match="policy one of arn:aws:iam"):
        decide(asked(), [made], [])


@pytest.mark.parametrize(
    ("change", "kind", "problem"),
    [
        ({"Resource": "*"}, TRUST, "a trust policy has no Resource"),
        ({"NotPrincipal": "*"}, RESOURCE, "NotPrincipal is not emulated"),
        ({"Action": "*"}, TRUST, "actions of sts only"),
        ({"Action": "lambda:InvokeFunction"}, TRUST, "actions of sts only"),
        ({"NotAction": "sts:AssumeRole"}, TRUST, "a trust policy has no NotAction"),
        ({"Principal": ROLE}, RESOURCE, "Principal is 'arn:"),
        ({"Principal": {}}, RESOURCE, "Principal is {}"),
        ({"Principal": None}, RESOURCE, "Principal is None"),
        ({"Principal": ["*"]}, RESOURCE, "Principal is ['*']"),
        ({"Principal": {"AWS": []}}, RESOURCE, "AWS is empty"),
        ({"Principal": {"AWS": 123456789012}}, RESOURCE, "AWS holds 123456789012"),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:role/*"}}, RESOURCE, "or a pattern"),
        ({"Principal": {"AWS": "arn:aws:iam::*:root"}}, RESOURCE, "or a pattern"),
        ({"Principal": {"AWS": "AIDAEXAMPLE"}}, RESOURCE, "is no account"),
        ({"Principal": {"AWS": "arn:aws:sts::123456789012:assumed-role/a/b"}}, RESOURCE, "is no account"),
        ({"Principal": {"AWS": "lambda.amazonaws.com"}}, RESOURCE, "is no account"),
        ({"Principal": {"Service": ROLE}}, RESOURCE, "principal Service 'arn:"),
        ({"Principal": {"Service": "*"}}, TRUST, "principal Service '*'"),
        ({"Principal": {"Service": "lambda"}}, TRUST, "principal Service 'lambda'"),
        ({"Principal": {"Federated": "x"}}, TRUST, "a principal of kind Federated is not emulated"),
    ],
)
def test_principals_are_read_as_strictly(change: dict[str, Any], kind: str, problem: str) -> None:
    found = list(problems(json.loads(document(change, kind=kind).text), kind))
    assert any(problem in one for one in found), found


@pytest.mark.parametrize(
    "text",
    [
        *(
            "{",
            "[]",
            "{}",
            '{"Statement": []}',
            '{"Statement": ["x"], "Version": "2012"}',
            '"x"',
            "[" * 100_000,
        ),
        *('{"Statement": null}', '{"Statement": {}, "Statement": {}}', '{"Statement": {"Effect": "Deny"}}'),
        '{"Version": ["2012-10-17"], "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}',
        '{"Id": 1, "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}',
        '{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Effect": "Deny"}}',
    ],
)
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(TopxError, match="policy one of"):
        read(Document(owner=ROLE, name="one", kind=IDENTITY, text=text))


def test_every_problem_is_told_at_once() -> None:
    made = document({"Effect": "yes", "Action": "x"}, {"Resource": "y"})
    assert len(list(problems(json.loads(made.text), IDENTITY))) == 3


def test_templates_may_hold_what_is_filled_in_later() -> None:
    reference = {"Fn::GetAtt": ["Bucket", "Arn"]}
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": reference}
    condition = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert (
        list(
            problems(
                {"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]},
                IDENTITY,
                later=True,
            )
        )
        == []
    )
    for later in ({"Ref": "a", "Fn::GetAtt": "b"}, {"Fn": "x"}, {}, {"fn::Join": []}):
        content = {"Version": "2012-10-17", "Statement": {**statement, "Resource": later}}
        assert list(problems(content, IDENTITY, later=True)) == [
            f"statement 0: Resource holds {later}; give a text"
        ]


def test_a_sid_stands_once() -> None:
    content = json.loads(document({"Sid": "a"}, {"Sid": "b"}, {"Sid": "a"}).text)
    assert list(problems(content, IDENTITY)) == ["statement 2: Sid a stands twice; it must be unique"]


def test_a_list_of_values_fits_where_one_does_even_if_others_are_of_another_kind() -> None:
    assert holds({"IpAddress": {"aws:SourceIp": ["::/0", "127.0.0.0/8"]}}, aws__sourceip="127.0.0.1")
    assert not holds({"NotIpAddress": {"aws:SourceIp": ["::/0", "127.0.0.0/8"]}}, aws__sourceip="127.0.0.1")
    assert holds({"NotIpAddress": {"aws:SourceIp": "::/0"}}, aws__sourceip="127.0.0.1")
    assert holds({"Null": {"s3:prefix": ["true", "false"]}})
    assert holds({"Null": {"s3:prefix": ["false", "true"]}})


def test_a_statement_that_is_split_spread_or_inverted_allows_as_much() -> None:
    request = asked("s3:PutObject")
    both = document({"Action": ["s3:GetObject", "s3:PutObject"], "Resource": [BUCKET, f"{BUCKET}/*"]})
    split = (document({}), document({"Action": "S3:PUTOBJECT", "Resource": f"{BUCKET}/*"}))
    for policies in (
        (both,),
        split,
        (document({"NotAction": ["s3:Delete*", "dynamodb:*"]}),),
        (document({"Action": "*", "NotResource": f"{BUCKET}/other/*"}),),
        (document({"Action": "s3:*Object", "Resource": "arn:aws:s3:::*/a/?.csv"}),),
        (Document(owner=ROLE, name="one", kind=IDENTITY, text=single("s3:PutObject")),),
    ):
        assert how(request, *policies) == "allowed", policies


def single(action: str) -> str:
    return json.dumps({"Statement": {"Effect": "Allow", "Action": action, "Resource": "*"}})


def test_the_service_of_machines_may_be_named_with_its_region() -> None:
    def trusting(service: str) -> tuple[Document]:
        principal = {"Service": f"{service}.amazonaws.com"}
        return (document({"Action": "sts:AssumeRole", "Principal": principal}, kind=TRUST),)

    states = asked("sts:AssumeRole", ROLE, "states.amazonaws.com", aws__requestedregion="us-east-1")
    assert how(states, resource=trusting("states.us-east-1")) == "allowed"
    assert how(states, resource=trusting("states.eu-west-1")) == "implicit"
    other = asked("sts:AssumeRole", ROLE, "lambda.amazonaws.com", aws__requestedregion="us-east-1")
    assert how(other, resource=trusting("lambda.us-east-1")) == "implicit"


def test_everybody_is_everybody_and_a_deny_to_the_account_is_one_to_its_roles() -> None:
    allow = document({"Principal": {"AWS": "*"}}, kind=RESOURCE)
    for who in (ROLE, "events.amazonaws.com"):
        assert how(asked(who=who), resource=(allow,)) == "allowed"
    root = {"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}
    assert how(asked(), document({}), resource=(document(root, kind=RESOURCE),)) == "explicit"


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["", "*", "s3:GetObject", "${", "a:b", "2012-10-17"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Ref", "Fn::Sub", "AWS", "Service", "StringEquals", "Null", "s3:prefix", "Effect"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
ELEMENTS = st.sampled_from([*FIELDS, "Version", "Statement", "Id"])


@given(
    changes=st.dictionaries(ELEMENTS, JUNK, min_size=1, max_size=3),
    kind=st.sampled_from([IDENTITY, RESOURCE, TRUST]),
)
def test_whatever_stands_in_a_policy_is_decided_or_refused_by_name(changes: dict[str, Any], kind: str) -> None:
    content = json.loads(document({}, kind=kind).text)
    whole = {name: changes.pop(name) for name in ("Version", "Statement", "Id") if name in changes}
    content["Statement"][0] |= changes
    text = json.dumps(content | whole)
    found = list(problems(json.loads(text), kind))
    try:
        decide(asked(), [], [Document(owner=ROLE, name="one", kind=kind, text=text)])
    except PolicyMalformed:
        assert found
    else:
        assert not found
    list(problems(json.loads(text), kind, later=True))
