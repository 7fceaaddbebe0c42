"""What holds data: buckets, ledger and their key. Kept when the stack goes."""

from typing import Any

from aws_cdk import Aws, CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from topx.settings import Deploy

_CLOSED: dict[str, Any] = {
    "block_public_access": s3.BlockPublicAccess.BLOCK_ALL,
    "object_ownership": s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
    "enforce_ssl": True,
    "removal_policy": RemovalPolicy.RETAIN,
}


class Data(Stack):
    """Buckets `Uploads`, `Runs`, `AccessLogs`, table `Ledger`, one key for all of them."""

    def __init__(self, scope: Construct, id_: str, *, deploy: Deploy, **stack: Any) -> None:
        super().__init__(scope, id_, **stack)
        self.key = self._key(deploy)
        self.access_logs = s3.Bucket(
            self,
            "AccessLogs",
            **_CLOSED,
            encryption=s3.BucketEncryption.S3_MANAGED,  # log delivery takes no other
            lifecycle_rules=[_unfinished(), s3.LifecycleRule(expiration=_days(deploy.log_retention_days))],
        )
        self.uploads = self._bucket(
            "Uploads",
            s3.LifecycleRule(noncurrent_version_expiration=_days(90), expired_object_delete_marker=True),
        )
        bucket = self.uploads.node.default_child
        assert isinstance(bucket, s3.CfnBucket)
        # The L2 switch would add a custom resource; the property alone does the same.
        bucket.add_property_override(
            "NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", True
        )
        self.runs = self._bucket(
            "Runs",
            s3.LifecycleRule(
                prefix="runs/",
                expiration=_days(deploy.keep_intermediates_days),
                noncurrent_version_expiration=_days(7),
            ),
        )
        self.ledger = dynamodb.Table(
            self,
            "Ledger",
            partition_key=dynamodb.Attribute(name="dataset", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self.key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=deploy.termination_protection,
            removal_policy=RemovalPolicy.RETAIN,
        )
        self._outputs()

    def _key(self, deploy: Deploy) -> kms.Key:
        key = kms.Key(
            self,
            "Key",
            description=f"topx {deploy.stage}: data, ledger, logs and topic",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        group = f"arn:{Aws.PARTITION}:logs:{self.region}:{self.account}:log-group"
        pipeline = f"topx-{deploy.stage}-pipeline"
        ours = [f"{group}:{pipeline}-*", f"{group}:/aws/vendedlogs/states/{pipeline}"]
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal(f"logs.{self.region}.{Aws.URL_SUFFIX}")],
                actions=[
                    "kms:Encrypt",
                    "kms:Decrypt",
                    "kms:ReEncrypt*",
                    "kms:GenerateDataKey*",
                    "kms:DescribeKey",
                ],
                resources=["*"],  # in a key's policy: this key
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": ours}},
            )
        )
        return key

    def _bucket(self, id_: str, rule: s3.LifecycleRule) -> s3.Bucket:
        return s3.Bucket(
            self,
            id_,
            **_CLOSED,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            versioned=True,
            server_access_logs_bucket=self.access_logs,
            server_access_logs_prefix=f"{id_.lower()}/",
            lifecycle_rules=[_unfinished(), rule],
        )

    def _outputs(self) -> None:
        outputs = Construct(self, "Outputs")
        for name, value in {
            "Uploads": self.uploads.bucket_name,
            "Runs": self.runs.bucket_name,
            "Ledger": self.ledger.table_name,
        }.items():
            CfnOutput(outputs, name, value=value).override_logical_id(name)


def _unfinished() -> s3.LifecycleRule:
    return s3.LifecycleRule(abort_incomplete_multipart_upload_after=_days(7))


def _days(count: int) -> Duration:
    return Duration.days(count)
