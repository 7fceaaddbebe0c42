"""What AWS's services do with our roles that nothing can exercise locally, each with its source.

`make mutants` takes every granted right away in turn. Something must turn red, or the right stands here; and
what stands here must be granted, and must not be exercised. So a right that nothing needs is on neither side.
"""

import re
from dataclasses import dataclass

LAMBDA_DG = "https://docs.aws.amazon.com/lambda/latest/dg"
STATES_DG = "https://docs.aws.amazon.com/step-functions/latest/dg"
SAGEMAKER_DG = "https://docs.aws.amazon.com/sagemaker/latest/dg"
DYNAMODB_DG = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide"
FUNCTIONS, JOBS, MACHINE = r"-Functions\w+Role", r"-JobsRoles", r"-WorkflowRole"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBehalf:
    """Rights that a service uses by itself; `owners` and `resources` are patterns, searched for."""

    owners: str  # of ARNs of roles, or of things with a policy
    actions: frozenset[str]
    why: str
    source: str
    resources: str = ""
    condition: str = ""  # a text in the statement's condition

    def covers(self, owner: str, action: str, resource: str, condition: str) -> bool:
        """Whether this is about one action on one resource of a statement."""
        return (
            bool(re.search(self.owners, owner))
            and action in self.actions
            and bool(re.search(self.resources, resource))
            and self.condition in condition
        )


def _all(service: str, *names: str) -> frozenset[str]:
    return frozenset(f"{service}:{name}" for name in names)


ON_BEHALF = (
    OnBehalf(
        owners=FUNCTIONS,
        actions=_all("logs", "CreateLogStream", "PutLogEvents"),
        why="Lambda writes what a function prints; locally that is a file",
        source=f"Lambda Developer Guide, Source function ARN: {LAMBDA_DG}/permissions-source-function-arn.html",
        resources=r":log-group:",
    ),
    OnBehalf(
        owners=FUNCTIONS,
        actions=_all("xray", "PutTelemetryRecords"),
        why="Lambda sends traces of functions with active tracing; it tries xray:PutTraceSegments alone before",
        source=f"Lambda Developer Guide, Visualize invocations using AWS X-Ray: {LAMBDA_DG}/services-xray.html",
    ),
    OnBehalf(
        owners=r"-FunctionsPublishRole",
        actions=_all(
            *("logs", "CreateLogGroup", "CreateLogStream", "DescribeLogGroups", "DescribeLogStreams"),
            *("PutLogEvents", "PutRetentionPolicy"),
        ),
        why="an import writes its log in the name of who asked for it; locally it has none",
        source=(
            "DynamoDB Developer Guide, Requesting a table import: "
            f"{DYNAMODB_DG}/S3DataImport.Requesting.html; the :* of the group: "
            "https://github.com/hashicorp/terraform-provider-aws/issues/38946"
        ),
    ),
    OnBehalf(
        owners=FUNCTIONS,
        actions=_all("kms", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo"),
        why="DynamoDB's least for a table under a customer key; when it asks is not documented but for Decrypt",
        source=f"DynamoDB Developer Guide, Encryption usage notes: {DYNAMODB_DG}/encryption.usagenotes.html",
        condition="dynamodb.",
    ),
    OnBehalf(
        owners=JOBS,
        actions=_all("logs", "CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents"),
        why="SageMaker writes what a job prints; locally that is a file",
        source=f"SageMaker Developer Guide, How to use execution roles: {SAGEMAKER_DG}/sagemaker-roles.html",
    ),
    OnBehalf(
        owners=JOBS,
        actions=_all("cloudwatch", "PutMetricData"),
        why="SageMaker publishes a job's metrics",
        source=f"SageMaker Developer Guide, How to use execution roles: {SAGEMAKER_DG}/sagemaker-roles.html",
    ),
    OnBehalf(
        owners=JOBS,
        actions=_all("kms", "DescribeKey"),
        why="SageMaker looks at the key of output and disks before it uses it",
        source=(
            "SageMaker Developer Guide, Encrypt output data and storage volume with AWS KMS: "
            f"{SAGEMAKER_DG}/sms-security-kms-permissions.html"
        ),
    ),
    OnBehalf(
        owners=MACHINE,
        actions=_all("sagemaker", "ListTags"),
        why="in AWS's own policy for each call of SageMaker; what reads the tags is not said",
        source=f"Step Functions Developer Guide, Jobs of SageMaker: {STATES_DG}/connect-sagemaker.html",
    ),
    OnBehalf(
        owners=MACHINE,
        actions=_all(
            *("xray", "GetSamplingRules", "GetSamplingTargets", "PutTelemetryRecords", "PutTraceSegments"),
        ),
        why="Step Functions sends traces of executions",
        source=f"Step Functions Developer Guide, Tracing: {STATES_DG}/concepts-xray-tracing.html",
    ),
    OnBehalf(
        owners=MACHINE,
        actions=_all("lambda", "InvokeFunction"),
        resources=r":\*$",
        why="versions and aliases: the CDK's LambdaInvoke grants them with the function, which alone is called",
        source="AWS CDK, class LambdaInvoke: https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_stepfunctions_tasks.LambdaInvoke.html",
    ),
    OnBehalf(
        owners=r":sqs:.*Changes",
        actions=_all("sqs", "GetQueueAttributes", "GetQueueUrl"),
        why="the CDK's SqsQueue target grants them with sqs:SendMessage, which alone EventBridge uses",
        source="AWS CDK, class SqsQueue: https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_events_targets.SqsQueue.html",
    ),
    OnBehalf(
        owners=r":s3:::.*accesslogs",
        actions=_all("s3", "PutObject"),
        why="S3 delivers the access logs of the other buckets",
        source="S3 User Guide, Enabling server access logging: "
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html",
    ),
)
