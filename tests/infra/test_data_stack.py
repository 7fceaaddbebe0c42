"""What holds data is kept, closed, encrypted, versioned and cleaned up after."""

from pathlib import Path
from typing import Any

from drawn import of_type, template


def test_ids_of_what_holds_data_are_frozen(assembly: Path) -> None:
    """Another logical id would make CloudFormation create an empty one beside the full one."""
    kept = {
        name
        for name, one in template(assembly, "topx-dev-data")["Resources"].items()
        if one.get("DeletionPolicy") == "Retain"
    }
    assert kept == {
        "Key961B73FD",
        "AccessLogs8B620ECA",
        "Uploads4F6EB0FD",
        "RunsE45A2291",
        "LedgerB7379752",
    }


def test_everything_but_policies_survives_the_stack(data: dict[str, Any]) -> None:
    for name, one in data["Resources"].items():
        if one["Type"] != "AWS::S3::BucketPolicy":
            assert one["DeletionPolicy"] == one["UpdateReplacePolicy"] == "Retain", name


def test_buckets_are_closed(data: dict[str, Any]) -> None:
    buckets = of_type(data, "AWS::S3::Bucket")
    assert set(buckets) == {"Uploads", "Runs", "AccessLogs"}
    for bucket in buckets.values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    policies = of_type(data, "AWS::S3::BucketPolicy").values()
    assert {policy["Bucket"] for policy in policies} == {f"<{name}>" for name in buckets}
    for policy in policies:
        deny = policy["PolicyDocument"]["Statement"][0]
        assert deny["Effect"] == "Deny"
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        arn = policy["Bucket"].replace(">", ".Arn>")
        assert deny["Resource"] == [arn, f"{arn}/*"]


def test_uploads_and_runs_are_versioned_logged_and_under_our_key(data: dict[str, Any]) -> None:
    for name in ("Uploads", "Runs"):
        bucket = of_type(data, "AWS::S3::Bucket")[name]
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        assert bucket["LoggingConfiguration"]["DestinationBucketName"] == "<AccessLogs>"
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["BucketKeyEnabled"]
        assert rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"] == "<Key.Arn>"


def test_uploads_never_expire_and_runs_do(data: dict[str, Any]) -> None:
    rules = {
        name: bucket["LifecycleConfiguration"]["Rules"]
        for name, bucket in of_type(data, "AWS::S3::Bucket").items()
    }
    unfinished = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}, "Status": "Enabled"}
    old = {"NoncurrentVersionExpiration": {"NoncurrentDays": 90}, "ExpiredObjectDeleteMarker": True}
    expired = {"ExpirationInDays": 30, "NoncurrentVersionExpiration": {"NoncurrentDays": 7}}
    assert rules["Uploads"] == [unfinished, {**old, "Status": "Enabled"}]
    assert rules["Runs"] == [unfinished, {**expired, "Prefix": "runs/", "Status": "Enabled"}]
    assert rules["AccessLogs"] == [unfinished, {"ExpirationInDays": 90, "Status": "Enabled"}]


def test_only_uploads_send_events_and_without_a_custom_resource(data: dict[str, Any]) -> None:
    told = {
        name: bucket["NotificationConfiguration"]
        for name, bucket in of_type(data, "AWS::S3::Bucket").items()
        if "NotificationConfiguration" in bucket
    }
    assert told == {"Uploads": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}}


def test_the_ledger_is_one_item_per_dataset_and_recoverable(data: dict[str, Any]) -> None:
    (ledger,) = of_type(data, "AWS::DynamoDB::Table").values()
    assert ledger["KeySchema"] == [{"AttributeName": "dataset", "KeyType": "HASH"}]
    assert ledger["BillingMode"] == "PAY_PER_REQUEST"
    assert ledger["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert ledger["SSESpecification"] == {
        "KMSMasterKeyId": "<Key.Arn>",
        "SSEEnabled": True,
        "SSEType": "KMS",
    }


def test_the_key_turns_and_serves_the_account_and_our_logs_only(data: dict[str, Any]) -> None:
    (key,) = of_type(data, "AWS::KMS::Key").values()
    assert key["EnableKeyRotation"] is True
    account, logs = key["KeyPolicy"]["Statement"]
    assert account["Principal"] == {"AWS": "arn:<AWS::Partition>:iam::<AWS::AccountId>:root"}
    assert logs["Principal"] == {"Service": "logs.<AWS::Region>.<AWS::URLSuffix>"}
    group = "arn:<AWS::Partition>:logs:<AWS::Region>:<AWS::AccountId>:log-group"
    assert logs["Condition"] == {
        "ArnLike": {
            "kms:EncryptionContext:aws:logs:arn": [
                f"{group}:topx-dev-pipeline-*",
                f"{group}:/aws/vendedlogs/states/topx-dev-pipeline",
            ]
        }
    }


def test_outputs_carry_the_names_that_tools_read(data: dict[str, Any], pipeline: dict[str, Any]) -> None:
    ours = {
        name: one["Value"]
        for stack in (data, pipeline)
        for name, one in stack["Outputs"].items()
        if "Export" not in one
    }
    assert ours == {
        "Uploads": "<Uploads>",
        "Runs": "<Runs>",
        "Ledger": "<Ledger>",
        "Machine": "<WorkflowMachine>",
        "Recommend": "<FunctionsRecommend>",
        "Topic": "<Topic>",
    }
