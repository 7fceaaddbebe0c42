"""The functions, each with its own role and log group; what they may do stands in function_rights.py."""

from typing import Any

from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from aws_cdk.aws_ecr_assets import DockerImageAsset
from aws_cdk.aws_s3_assets import Asset
from constructs import Construct

from infra.data_stack import Data
from infra.nag import accept
from infra.rights import allow
from topx.settings import Deploy


class Functions(Construct):
    """All functions: light ones from the zip, heavy ones from the image with a command of their own."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        deploy: Deploy,
        data: Data,
        code: Asset,
        image: DockerImageAsset,
        lost: sqs.IQueue,
    ) -> None:
        super().__init__(scope, id_)
        self.roles: dict[str, iam.Role] = {}
        self._deploy, self._data, self._image = deploy, data, image
        self._code = lambda_.Code.from_bucket_v2(code.bucket, code.s3_object_key)
        self.preflight = self._light("Preflight", 180, "UPLOADS", "RUNS", "LEDGER")
        self.encode = self._heavy("Encode", "UPLOADS", "RUNS")
        self.rank = self._heavy("Rank", "RUNS")
        self.evaluate = self._heavy("Evaluate", "RUNS", "LEDGER")
        self.publish = self._light("Publish", 300, "RUNS", "LEDGER")
        self.trigger = self._light("Trigger", 60, "UPLOADS", "LEDGER", "DATASETS")
        self.settle = self._light("Settle", 60, "LEDGER", "DATASETS", "RUNS", dead_letter_queue=lost)
        self.recommend = self._light("Recommend", 10, "LEDGER", "DATASETS")

    def _light(self, name: str, seconds: int, *names: str, **more: Any) -> lambda_.Function:
        function = lambda_.Function(
            self,
            name,
            runtime=lambda_.Runtime.PYTHON_3_13,
            code=self._code,
            handler=f"lambdas.{name.lower()}.handler",
            timeout=Duration.seconds(seconds),
            memory_size=512,
            **self._common(name, names),
            **more,
        )
        accept(function, "L1", "Zip and image run the same Python: the image's 3.13.")
        return function

    def _heavy(self, name: str, *names: str) -> lambda_.DockerImageFunction:
        return lambda_.DockerImageFunction(
            self,
            name,
            code=lambda_.DockerImageCode.from_ecr(
                self._image.repository,
                tag_or_digest=self._image.image_tag,
                cmd=[f"lambdas.{name.lower()}.handler"],
            ),
            timeout=Duration.minutes(15),
            memory_size=self._deploy.function_memory_mb,
            ephemeral_storage_size=Size.mebibytes(10_240),
            **self._common(name, names),
        )

    def _common(self, name: str, names: tuple[str, ...]) -> dict[str, Any]:
        group = logs.LogGroup(
            self, f"{name}Logs", encryption_key=self._data.key, removal_policy=RemovalPolicy.DESTROY
        )
        retain(group, self._deploy)
        role = iam.Role(self, f"{name}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        allow(role, ["logs:CreateLogStream", "logs:PutLogEvents"], group.log_group_arn)
        accept(role, "IAM5[Resource::*]", "X-Ray has no resources to name.")
        self.roles[name] = role
        known = {
            "UPLOADS": self._data.uploads.bucket_name,
            "RUNS": self._data.runs.bucket_name,
            "LEDGER": self._data.ledger.table_name,
            "DATASETS": ",".join(self._deploy.datasets),
        }
        return {
            "architecture": lambda_.Architecture.X86_64,
            "environment": {
                "TOPX_STAGE": self._deploy.stage,
                **{f"TOPX_{key}": known[key] for key in names},
            },
            "role": role,
            "log_group": group,
            "logging_format": lambda_.LoggingFormat.JSON,
            "tracing": lambda_.Tracing.ACTIVE,
        }


def retain(group: logs.LogGroup, deploy: Deploy) -> None:
    """Sets a number of days, which the L2 takes as a name only."""
    child = group.node.default_child
    assert isinstance(child, logs.CfnLogGroup)
    child.retention_in_days = deploy.log_retention_days
