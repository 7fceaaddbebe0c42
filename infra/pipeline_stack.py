"""What computes, and may be replaced at any time: functions, image, jobs, machine, events, topic."""

from typing import Any

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import assets
from infra.data_stack import Data
from infra.events import Events
from infra.function_rights import FunctionRights
from infra.functions import Functions
from infra.jobs import Jobs
from infra.rights import Rights
from infra.workflow import Workflow
from topx.settings import Deploy


class Pipeline(Stack):
    """Composes the parts, then gives each function its rights."""

    def __init__(self, scope: Construct, id_: str, *, deploy: Deploy, data: Data, **stack: Any) -> None:
        super().__init__(scope, id_, **stack)
        rights = Rights(data, deploy)
        code, image = assets.code(self), assets.image(self)
        lost = sqs.Queue(
            self,
            "Lost",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        topic = sns.Topic(self, "Topic", master_key=data.key, enforce_ssl=True)
        functions = Functions(self, "Functions", deploy=deploy, data=data, code=code, image=image, lost=lost)
        jobs = Jobs(self, "Jobs", deploy=deploy, data=data, image=image, rights=rights)
        machine = Workflow(
            self,
            "Workflow",
            deploy=deploy,
            data=data,
            functions=functions,
            jobs=jobs,
            versions={"code": code.asset_hash, "image": image.image_tag},
        ).machine
        Events(
            self,
            "Events",
            deploy=deploy,
            bucket=data.uploads,
            machine=machine,
            trigger=functions.trigger,
            settle=functions.settle,
            lost=lost,
        )
        for function in (functions.trigger, functions.settle):
            function.add_environment("TOPX_MACHINE", machine.state_machine_arn)
        functions.settle.add_environment("TOPX_TOPIC", topic.topic_arn)
        FunctionRights(
            self,
            "FunctionRights",
            deploy=deploy,
            rights=rights,
            functions=functions,
            machine=machine,
            topic=topic.topic_arn,
        )
        outputs = Construct(self, "Outputs")
        for name, value in {
            "Machine": machine.state_machine_arn,
            "Recommend": functions.recommend.function_name,
            "Topic": topic.topic_arn,
        }.items():
            CfnOutput(outputs, name, value=value).override_logical_id(name)
