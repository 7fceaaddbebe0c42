"""What each function may do: the calls that it makes, and nothing else."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.functions import Functions
from infra.nag import accept_wildcards
from infra.rights import OWN, Rights, allow, arn
from topx.paths import lists_table
from topx.settings import Deploy

ANY_RUN = "2???????-??????-????????"  # a run id; so the pattern of lists tables leaves out the ledger
UNNAMED = "The calls have no resources to name."
LOG = ["CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents", "PutRetentionPolicy"]


class FunctionRights(Construct):
    """Adds to the role of each function; invocation and queue are granted where they are drawn."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        deploy: Deploy,
        rights: Rights,
        functions: Functions,
        machine: sfn.StateMachine,
        topic: str,
    ) -> None:
        super().__init__(scope, id_)
        self._rights, self._roles = rights, functions.roles
        self._machine, self._topic = machine, topic
        self._executions = arn(self, "states", f"execution:{machine.state_machine_name}:*")
        self._lists = [
            arn(self, "dynamodb", f"table/{lists_table(deploy.stage, name, ANY_RUN)}")
            for name in deploy.datasets
        ]
        self._models = arn(self, "sagemaker", f"model/topx-{deploy.stage}-neighbors-*")
        self._preflight()
        self._steps()
        self._publish()
        self._events()
        self._recommend()

    def _preflight(self) -> None:
        role = self._roles["Preflight"]
        self._rights.list_uploads(role)
        self._rights.write_runs(role, "plan.json")
        self._rights.write_ledger(role)
        allow(
            role,
            ["servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"],
            "*",
            because=UNNAMED,
        )
        self._see_executions("Preflight")

    def _steps(self) -> None:
        encode, rank, evaluate = (self._roles[name] for name in ("Encode", "Rank", "Evaluate"))
        self._rights.read_uploads(encode)
        self._rights.read_runs(encode, "plan.json")
        self._rights.write_large(encode, "encoded/*")

        self._rights.list_runs(rank)
        self._rights.read_runs(rank, "plan.json", "encoded/*", "matrices/*", "matches/*")
        self._rights.write_large(rank, "lists/*", "import/*", "evaluated/*")

        self._rights.list_runs(evaluate)
        self._rights.read_runs(evaluate, "plan.json", "encoded/*", "evaluated/*", "lists/*", "factors/*")
        self._rights.read_runs(evaluate, "report.json")  # of the live run, to compare with
        self._rights.write_runs(evaluate, "report.json", "report.html")
        self._rights.read_ledger(evaluate)

    def _publish(self) -> None:
        role = self._roles["Publish"]
        self._rights.write_ledger(role)
        self._rights.list_runs(role)
        self._rights.read_runs(role, "import/*")
        self._rights.write_runs(role, "published.json")
        tables = [f"dynamodb:{verb}" for verb in ("ImportTable", "DeleteTable", "GetItem")]
        allow(role, tables, *self._lists)
        allow(role, ["dynamodb:DescribeImport"], *(f"{table}/import/*" for table in self._lists))
        allow(role, ["sagemaker:DeleteModel"], self._models)
        allow(
            role,
            ["dynamodb:ListImports", "dynamodb:ListTables", "logs:DescribeLogGroups", "sagemaker:ListModels"],
            "*",
            because=UNNAMED,
        )
        # An import writes its log with the caller's rights; a gap shows as a failed import, not as an error.
        allow(
            role,
            [f"logs:{verb}" for verb in LOG],
            arn(self, "logs", "log-group:/aws-dynamodb/*:*"),
            because="DynamoDB names the group and the stream of an import.",
        )
        self._see_executions("Publish")

    def _events(self) -> None:
        trigger, settle = self._roles["Trigger"], self._roles["Settle"]
        self._rights.list_uploads(trigger)
        for role in (trigger, settle):
            self._rights.write_ledger(role)
            allow(role, ["states:StartExecution"], self._machine.state_machine_arn)
        allow(trigger, ["states:DescribeExecution"], self._executions)
        allow(settle, ["states:DescribeExecution", "states:GetExecutionHistory"], self._executions)
        self._rights.notify(settle, self._topic)

    def _recommend(self) -> None:
        self._rights.read_ledger(self._roles["Recommend"])
        allow(self._roles["Recommend"], ["dynamodb:GetItem"], *self._lists)

    def _see_executions(self, name: str) -> None:
        """In a policy of its own: the machine needs its functions, whose own policy must not need it."""
        policy = iam.Policy(
            self,
            f"{name}SeesExecutions",
            roles=[self._roles[name]],
            statements=[
                iam.PolicyStatement(actions=["states:DescribeExecution"], resources=[self._executions])
            ],
        )
        accept_wildcards(policy, [self._executions], OWN)
