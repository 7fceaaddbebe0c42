"""What happens by itself: uploads and deletions start runs, ends of executions are heard."""

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk.aws_s3 import IBucket
from constructs import Construct

from infra.rights import allow
from topx.paths import tests, uploads
from topx.settings import Deploy

READING = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")  # what Lambda does with a queue
ENDS = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]


class Events(Construct):
    """Rules, and the queue in which an upload waits for more files."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        deploy: Deploy,
        bucket: IBucket,
        machine: sfn.IStateMachine,
        trigger: lambda_.Function,
        settle: lambda_.Function,
        lost: sqs.IQueue,
    ) -> None:
        super().__init__(scope, id_)
        assert trigger.timeout is not None
        changes = sqs.Queue(
            self,
            "Changes",
            encryption=sqs.QueueEncryption.SQS_MANAGED,  # under a key of ours EventBridge would need it, too
            enforce_ssl=True,
            delivery_delay=Duration.seconds(deploy.quiet_period_seconds),
            visibility_timeout=Duration.seconds(6 * trigger.timeout.to_seconds()),
            dead_letter_queue=sqs.DeadLetterQueue(queue=lost, max_receive_count=5),
        )
        # Two is the least that SQS takes; without a limit five pollers start, half of a new account.
        trigger.add_event_source_mapping(
            "Changes",
            event_source_arn=changes.queue_arn,
            batch_size=10,
            max_concurrency=2,
            report_batch_item_failures=True,
        )
        # The L2 source would add two rights that Lambda does not use.
        assert trigger.role is not None
        allow(trigger.role, [f"sqs:{verb}" for verb in READING], changes.queue_arn)
        prefixes = [prefix(name) for name in deploy.datasets for prefix in (uploads, tests)]
        events.Rule(
            self,
            "UploadsChanged",
            description="Files of a dataset came or went",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created", "Object Deleted"],
                detail={
                    "bucket": {"name": [bucket.bucket_name]},
                    "object": {"key": [{"prefix": prefix} for prefix in prefixes]},
                },
            ),
            targets=[targets.SqsQueue(changes)],
        )
        events.Rule(
            self,
            "Sweep",
            description="Looks for events that were lost",
            schedule=events.Schedule.rate(Duration.minutes(deploy.sweep_minutes)),
            targets=[targets.SqsQueue(changes, message=events.RuleTargetInput.from_object({"sweep": True}))],
        )
        events.Rule(
            self,
            "ExecutionEnded",
            description="A run succeeded, failed, timed out or was aborted",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [machine.state_machine_arn], "status": ENDS},
            ),
            targets=[targets.LambdaFunction(settle)],
        )
