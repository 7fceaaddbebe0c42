"""`make mutants`: each right taken away or damaged in turn: something turns red, or AWS needs it for us."""

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from local import moto_seams as moto
from local.iam.authorizer import Decision
from local.iam.on_behalf import ON_BEHALF, OnBehalf
from local.iam.policy import Document
from local.moto_seams import ACCOUNT, REGION
from local.quotas import Quotas, load
from local.session import session
from tests.mutants.reality import chain
from tests.mutants.replay import Mutant, all_turned, distinct, excused, mutants
from tests.mutants.scenarios import World, everything

ONLY_DEFAULT = "ml.m5.xlarge for training job usage"  # so that defaults are asked for, too


PROVES = """\
Is every right that the deployed template grants needed, and would its lack be seen?
A whole operation of the template was recorded: runs, stops, redrives, uploads, reads, lost events, large files.
Each right is now taken away or damaged in turn, and the recorded decisions are made again. One must turn to a
refusal ("refused"), or the right must be on the sourced list of what AWS's services do for us ("on the list").
"""
ROWS = {  # kind of a mutant -> what it lost
    "statement": "whole statements",
    "action": "single actions",
    "resource": "single resources",
    "condition": "values of conditions",
    "principal": "who is let in",
    "effect": "Allow made Deny",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one mutant: the first decision that turned, and the entries of the list that excuse it."""

    mutant: Mutant
    red: Decision | None
    entries: Sequence[OnBehalf]

    @property
    def how(self) -> str:
        """The column that it counts in."""
        return "refused" if self.red else "on the list" if self.entries else "STAY GREEN"

    def __str__(self) -> str:
        one, names = self.mutant, [resource.rpartition(":")[2] for resource in self.mutant.resources]
        about = {"statement": "", "action": "", "resource": f" ({', '.join(names)})"}.get(
            one.what, f" ({one.what})"
        )
        end = f"refused: {self.red.call}" if self.red else self.entries[0].source if self.entries else self.how
        return f"{one.name:<44} {', '.join(one.actions)}{about}\n{'':<44} {end}"


def main(words: Sequence[str]) -> int:
    """The exit code: 0 when nothing stays green and reality is as replayed, 1 else. `--all`: a line each."""
    with tempfile.TemporaryDirectory(prefix="topx-mutants-") as temporary:
        folder = Path(temporary)
        with session(folder / "logs", quotas=quotas()) as ready:
            world = World(ready, folder)
            everything(world)
            refused = list(ready.cloud.iam.refused)
            decisions = distinct(list(ready.cloud.iam.decisions))
            wrong = told(list(mutants(documents(world))), decisions, every="--all" in words)
            print("One right less in the policies themselves, then a real run:", flush=True)
            for trial in chain(world, decisions):
                role = trial.mutant.name.partition("[")[0]
                print(f"  {role:<30} {trial.action:<34} {'; '.join(trial.problems) or 'refused'}", flush=True)
                if trial.problems or "--all" in words:
                    print(f"    {trial.refused or 'nothing was refused'}")
                wrong += len(trial.problems)
    for text in refused:
        print(f"refused unasked: {text}")
    print("PASSED" if not wrong and not refused else f"FAILED: {wrong + len(refused)} problems, see above")
    return 1 if wrong or refused else 0


def told(made: Sequence[Mutant], decisions: Sequence[Decision], *, every: bool = False) -> int:
    """Prints what mutants come to, those that stay green in full; returns the number of problems."""
    outcomes = [
        Outcome(mutant=one, red=next(all_turned(one, decisions), None), entries=excused(one)) for one in made
    ]
    print(PROVES)
    columns = ("refused", "on the list", "STAY GREEN")
    print(f"  {'taken away or damaged':<24} {'tried':>6} " + " ".join(f"{one:>12}" for one in columns))
    for what, name in [*ROWS.items(), ("", "together")]:
        counts = Counter(one.how for one in outcomes if one.mutant.what == what or not what)
        print(f"  {name:<24} {counts.total():>6} " + " ".join(f"{counts[one]:>12}" for one in columns))
    roles, actions = {one.role for one in decisions}, {one.action for one in decisions}
    print(
        f"\n  {len(decisions)} kinds of decisions: {len(actions)} actions of {len(roles)} roles and services\n"
    )
    for one in outcomes:
        if every or one.how == "STAY GREEN":
            print(one)
    used = Counter(entry for one in outcomes for entry in one.entries)
    wrong = [
        f"in local/iam/on_behalf.py, but granted nowhere: {', '.join(sorted(entry.actions))}, {entry.owners}"
        for entry in ON_BEHALF
        if not used[entry]
    ]
    wrong += sorted(
        {
            f"in local/iam/on_behalf.py, but exercised: {entry.owners}: {one.action}"
            for one in decisions
            for entry in ON_BEHALF
            if _both(one, entry)
        }
    )
    print("\n".join(wrong), end="\n" * bool(wrong))
    return sum(one.how == "STAY GREEN" for one in outcomes) + len(wrong)


def _both(one: Decision, entry: OnBehalf) -> bool:
    """Whether a decision is about what the list says cannot be exercised."""
    about = (one.asked.resource, str(one.asked.context.get("kms:viaservice", "")))
    owner = one.role if one.identity else one.asked.resource
    return entry.covers(owner, one.action, *about)


def quotas() -> Quotas:
    """The usual quotas, one of them known as a default only."""
    usual = load(None)
    applied = {name: value for name, value in usual.applied.items() if name != ONLY_DEFAULT}
    return replace(usual, applied=applied, default={**usual.default, ONLY_DEFAULT: 4})


def documents(world: World) -> list[Document]:
    """Every policy of the deployed template: of roles, keys, functions, queues, topics and buckets."""
    know = world.cloud.iam.world
    roles = [role.arn for role in moto.IAM[ACCOUNT]["aws"].roles.values()]
    keys = [key.arn for key in moto.KEYS[ACCOUNT][REGION].keys.values()]
    functions = [one.function_arn for one in moto.FUNCTIONS[ACCOUNT][REGION].list_functions()]
    own = [document for arn in roles for document in know.of_role(arn)]
    guarded = dict.fromkeys([*roles, *keys, *functions, *know.policies])
    return own + [document for arn in guarded for document in know.of_resource(arn)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
