"""The state machine's role: jobs of its own names, on allowed instance types, under exact roles."""

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.job_roles import JobRoles
from infra.nag import accept
from infra.rights import allow, arn
from topx.settings import Deploy

ENDS = "StepFunctionsGetEventsForSageMaker{}JobsRule"  # by these `.sync` hears that a job ended


class MachineRole(iam.Role):
    """Everything but the invocation of functions, which their states add."""

    def __init__(self, scope: Construct, id_: str, *, deploy: Deploy, roles: JobRoles) -> None:
        ours = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
        super().__init__(scope, id_, assumed_by=iam.ServicePrincipal("states.amazonaws.com", conditions=ours))
        accept(self, "IAM5[Resource::*]", "Log delivery and X-Ray have no resources to name.")
        self._deploy = deploy
        self._job("Training", "factors", "train_factors")
        self._job("Processing", "matrices", "repackage")
        self._job("Training", "neighbors", "train_neighbors")
        self._job("Transform", "matches", "match_users")
        models = arn(self, "sagemaker", f"model/topx-{deploy.stage}-neighbors-*")
        allow(self, ["sagemaker:CreateModel", "sagemaker:AddTags", "sagemaker:ListTags"], models)
        allow(
            self,
            ["iam:PassRole"],
            *(role.role_arn for role in roles.all),
            when={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )
        allow(
            self,
            ["events:PutTargets", "events:PutRule", "events:DescribeRule"],
            *(
                arn(self, "events", f"rule/{ENDS.format(kind)}")
                for kind in ("Training", "Processing", "Transform")
            ),
        )

    def _job(self, kind: str, noun: str, job: str) -> None:
        jobs = arn(self, "sagemaker", f"{kind.lower()}-job/topx-{self._deploy.stage}-{noun}-*")
        types = list(self._deploy.instance_types[job])
        allow(
            self,
            [f"sagemaker:Create{kind}Job"],
            jobs,
            when={
                "ForAllValues:StringEquals": {"sagemaker:InstanceTypes": types},
                "Null": {"sagemaker:InstanceTypes": "false"},  # "for all values" holds where there is none
            },
        )
        # `.sync` tags the job as its own, and stops it when the execution ends before the job.
        actions = [f"sagemaker:{verb}{kind}Job" for verb in ("Describe", "Stop")]
        allow(self, [*actions, "sagemaker:AddTags", "sagemaker:ListTags"], jobs)
