"""The state machine: from what lies in the bucket to a live list. `_story` is the whole of it."""

from itertools import pairwise
from typing import Any, NamedTuple

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from infra.data_stack import Data
from infra.functions import Functions, retain
from infra.jobs import Jobs
from infra.machine_role import MachineRole
from infra.nag import accept_wildcards
from infra.retries import retry_function, retry_import
from topx.fields import as_json
from topx.settings import Deploy


class _Check(NamedTuple):
    """A choice, and the condition under which the story goes on."""

    choice: sfn.Choice
    done: sfn.Condition


class Workflow(Construct):
    """Holds `machine`."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        deploy: Deploy,
        data: Data,
        functions: Functions,
        jobs: Jobs,
        versions: dict[str, str],
    ) -> None:
        super().__init__(scope, id_)
        self._deploy, self._functions, self._versions = deploy, functions, versions
        group = logs.LogGroup(
            self,
            "Logs",
            # The one physical name: under this prefix the log resource policy cannot overflow.
            log_group_name=f"/aws/vendedlogs/states/topx-{deploy.stage}-pipeline",
            encryption_key=data.key,
            removal_policy=RemovalPolicy.DESTROY,
        )
        retain(group, deploy)
        self._role = MachineRole(self, "Role", deploy=deploy, roles=jobs.roles)
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            definition_body=sfn.DefinitionBody.from_chainable(self._story(jobs)),
            role=self._role,
            timeout=Duration.days(30),  # above the sum of the longest states
            logs=sfn.LogOptions(destination=group, level=sfn.LogLevel.ALL, include_execution_data=False),
            tracing_enabled=True,
        )

    def _story(self, jobs: Jobs) -> sfn.IChainable:
        return _in_order(
            self._preflight(),
            self._encode(),
            jobs.train_factors(),
            self._completed("FactorsTrained?", "FactorsStopped", "train_factors", "factors.reason"),
            jobs.repackage(),
            self._completed("MatricesMade?", "MatricesStopped", "repackage", "matrices.status"),
            jobs.train_neighbors(),
            self._completed("NeighborsTrained?", "NeighborsStopped", "train_neighbors", "neighbors.reason"),
            jobs.register_neighbors(),
            jobs.match_users(),
            self._completed("UsersMatched?", "MatchesStopped", "match_users", "matches.status"),
            self._rank(),
            self._evaluate(),
            self._gate(),
            self._publish(),
        )

    def _preflight(self) -> tasks.LambdaInvoke:
        given = {
            "input": sfn.JsonPath.object_at("$$.Execution.Input"),
            "execution": sfn.JsonPath.string_at("$$.Execution.Id"),
            "started_at": sfn.JsonPath.string_at("$$.Execution.StartTime"),
            "settings": _without_unset(as_json(self._deploy)),
            "versions": self._versions,
        }
        return self._function("Preflight", self._functions.preflight, given, "plan")

    def _encode(self) -> tasks.LambdaInvoke:
        return self._function("Encode", self._functions.encode, _given("plan"), "encoded")

    def _rank(self) -> tasks.LambdaInvoke:
        return self._function("Rank", self._functions.rank, _given("plan"), "lists")

    def _evaluate(self) -> tasks.LambdaInvoke:
        return self._function("Evaluate", self._functions.evaluate, _given("plan", "factors"), "report")

    def _publish(self) -> tasks.LambdaInvoke:
        publish = self._function("Publish", self._functions.publish, _given("plan", "report", "lists"), None)
        retry_import(publish)
        return publish

    def _gate(self) -> _Check:
        outcome = {
            "run_id": sfn.JsonPath.string_at("$.plan.run_id"),
            "dataset": sfn.JsonPath.string_at("$.plan.dataset"),
            "published": False,
            "reasons": sfn.JsonPath.object_at("$.report.reasons"),
            "report": sfn.JsonPath.string_at("$.report.path"),
        }
        gate = sfn.Choice(self, "Gate").otherwise(sfn.Pass(self, "NotPublished", parameters=outcome))
        return _Check(gate, sfn.Condition.boolean_equals("$.report.open", True))

    def _completed(self, question: str, stopped: str, job: str, why: str) -> _Check:
        """A job that was stopped may leave a plausible artifact: only `Completed` goes on."""
        noun = f"$.{why.partition('.')[0]}"
        text = (
            f"{{}} ended as {{}}, not Completed: it was stopped by hand or ran longer than "
            f"run.{job}.max_runtime_seconds, {{}}. Nothing was published. Raise that setting if need be and "
            f"start a new execution; a redrive would only come back to this state."
        )
        values = f"{noun}.name, $.{why}, $.plan.run.{job}.max_runtime_seconds"
        fail = sfn.Fail(self, stopped, error="JobStopped", cause_path=f"States.Format('{text}', {values})")
        choice = sfn.Choice(self, question).otherwise(fail)
        return _Check(choice, sfn.Condition.string_equals(f"{noun}.status", "Completed"))

    def _function(
        self, name: str, function: lambda_.Function, given: dict[str, Any], result: str | None
    ) -> tasks.LambdaInvoke:
        assert function.timeout is not None
        task = tasks.LambdaInvoke(
            self,
            name,
            lambda_function=function,
            payload=sfn.TaskInput.from_object(given),
            payload_response_only=True,
            retry_on_service_exceptions=False,  # its list lacks two names: ours is in retries.py
            result_path=f"$.{result}" if result else None,
            task_timeout=sfn.Timeout.duration(function.timeout.plus(Duration.minutes(1))),
        )
        accept_wildcards(self._role, [f"{function.function_arn}:*"], "Versions of this one function.")
        retry_function(task)
        return task


def _in_order(
    first: tasks.LambdaInvoke, *steps: tasks.LambdaInvoke | sfn.CustomState | _Check
) -> sfn.IChainable:
    """The first step, after each has been told what follows it."""
    for step, following in pairwise((first, *steps)):
        after = following.choice if isinstance(following, _Check) else following
        if isinstance(step, _Check):
            step.choice.when(step.done, after)
        else:
            step.next(after)
    return first


def _given(*fields: str) -> dict[str, Any]:
    return {field: sfn.JsonPath.object_at(f"$.{field}") for field in fields}


def _without_unset(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without those that are unset: unset is their default, and a payload cannot carry null."""
    return {
        key: _without_unset(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if value is not None
    }
