"""One mutant for each role really run: what replay says turns red is refused, for the same action and resource.

One execution goes from state to state: it fails where a role lacks something, the role gets it back, and a
redrive goes on to the next.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from local.iam.authorizer import Decision
from local.iam.policy import Document
from tests.mutants.replay import Mutant, all_turned, mutants
from tests.mutants.scenarios import World, wait

CHAIN = {  # a role that works in the state machine, in order -> the action that it loses
    "FunctionsPreflightRole": "servicequotas:ListServiceQuotas",
    "WorkflowRole": "lambda:InvokeFunction",
    "FunctionsEncodeRole": "s3:GetObjectVersion",
    "JobsRolesTrainFactors": "kms:CreateGrant",
    "JobsRolesRepackage": "s3:ListBucket",
    "JobsRolesTrainNeighbors": "s3:PutObject",
    "JobsRolesMatchUsers": "kms:Encrypt",
    "FunctionsRankRole": "s3:ListBucket",
    "FunctionsEvaluateRole": "dynamodb:GetItem",
    "FunctionsPublishRole": "dynamodb:ImportTable",
}
RUN = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}(-\d+-\d+)?")


@dataclass(slots=True, kw_only=True)
class Trial:
    """A role that lacks something, and the problems of what then came."""

    mutant: Mutant
    action: str
    refused: str = ""
    problems: list[str] = field(default_factory=list)

    def expect(self, seen: str, wanted: str) -> None:
        """Notes where something ended in another way."""
        if seen != wanted:
            self.problems.append(f"ended as {seen} instead of {wanted}")


def chain(world: World, decisions: Sequence[Decision]) -> Iterator[Trial]:
    """A trial for each role."""
    execution = ""
    for role, action in CHAIN.items():
        with lacking(world, role, action, decisions) as trial:
            if execution:
                world.states.redrive_execution(executionArn=execution)
            execution = execution or world.start({})
            trial.expect(world.ended(execution)["status"], "FAILED")
        yield trial
    with lacking(world, "FunctionsSettleRole", "sns:Publish", decisions) as trial:
        world.states.redrive_execution(executionArn=execution)
        trial.expect(world.ended(execution)["status"], "SUCCEEDED")
        wait(lambda: bool(world.cloud.iam.refused) or None)
    yield trial
    with lacking(world, "FunctionsTriggerRole", "s3:ListBucketVersions", decisions) as trial:
        world.upload("uploads/ratings/fourth.csv", crowd=3)
        wait(lambda: bool(world.cloud.iam.refused) or None)
    yield trial
    with lacking(world, "FunctionsRecommendRole", "dynamodb:GetItem", decisions) as trial:
        trial.expect(world.call("Recommend", {"user": "u7"}).get("errorType", "an answer"), "ClientError")
    yield trial


@contextmanager
def lacking(world: World, role: str, action: str, decisions: Sequence[Decision]) -> Iterator[Trial]:
    """Takes an action from a role, and holds what comes beside the replay; gives it back in the end."""
    iam, arn = world.cloud.iam, world.role(role).arn
    candidates = mutants(iam.world.of_role(arn))
    mutant = next(one for one in candidates if action in one.actions and one.what != "resource")
    predicted = {_kind(one) for one in all_turned(mutant, decisions)}
    trial = Trial(mutant=mutant, action=action)
    iam.refused.clear()
    before = len(iam.decisions)
    _put(world, mutant.document, mutant.left)
    try:
        yield trial
    finally:
        _put(world, mutant.document, mutant.document)
    mine = [one for one in list(iam.decisions)[before:] if mutant.left in one.identity or one.role == arn]
    for one in mine:
        if not one.verdict.allowed and _kind(one) not in predicted:
            trial.problems.append(f"refused, but not by the replay: {one.action} on {one.asked.resource}")
        if one.verdict.allowed and _kind(one) in predicted and mutant.left in one.identity:
            trial.problems.append(f"allowed, but not by the replay: {one.action} on {one.asked.resource}")
    trial.refused = next(iter(iam.refused), "")
    if action not in trial.refused:
        trial.problems.append(f"{action} was not refused")


def _kind(one: Decision) -> tuple[str, str, str]:
    """What a decision is about, whichever run it was."""
    via = str(one.asked.context.get("kms:viaservice", ""))
    return one.action, RUN.sub("<run>", one.asked.resource), via


def _put(world: World, document: Document, wanted: Document | None) -> None:
    client = world.cloud.client("iam")
    name = {"RoleName": document.owner.rpartition("/")[2], "PolicyName": document.name}
    if wanted is None:
        client.delete_role_policy(**name)
    else:
        client.put_role_policy(**name, PolicyDocument=wanted.text)
