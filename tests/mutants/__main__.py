"""`make mutants`: each right taken away or damaged in turn: something turns red, or AWS needs it for us."""

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
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


def main() -> int:
    """The exit code: 0 when nothing stays green and reality is as replayed, 1 else."""
    with tempfile.TemporaryDirectory(prefix="topx-mutants-") as temporary:
        folder = Path(temporary)
        with session(folder / "logs", quotas=quotas()) as ready:
            world = World(ready, folder)
            everything(world)
            refused = list(ready.cloud.iam.refused)
            decisions = distinct(list(ready.cloud.iam.decisions))
            wrong = told(list(mutants(documents(world))), decisions)
            for trial in chain(world, decisions):
                action = ", ".join(trial.mutant.actions)
                print(f"really run without {action}: {'; '.join(trial.problems) or trial.refused}")
                wrong += len(trial.problems)
    for text in refused:
        print(f"refused unasked: {text}")
    print("PASSED" if not wrong and not refused else f"FAILED: {wrong + len(refused)} problems, see above")
    return 1 if wrong or refused else 0


def told(made: Sequence[Mutant], decisions: Sequence[Decision]) -> int:
    """Prints what each mutant comes to; returns the number of problems."""
    used, green = Counter[OnBehalf](), 0
    excusing: tuple[Document, int] | None = None  # the statement that stands on the list as a whole
    for mutant in made:
        red, entries = next(all_turned(mutant, decisions), None), excused(mutant)
        used.update(entries)
        green += not red and not entries
        end = f"red: {red.call}" if red else f"on behalf: {entries[0].source}" if entries else "STAYS GREEN"
        if mutant.what == "statement" and not red:
            excusing = (mutant.document, mutant.number)
        if mutant.what == "statement" or (not red and excusing != (mutant.document, mutant.number)):
            where = "" if mutant.what in ("statement", "action") else f" ({mutant.what}"
            where += (
                f" {mutant.resources[0].rpartition(':')[2]})"
                if mutant.what == "resource"
                else ")" * bool(where)
            )
            print(f"{mutant.name:<44} {', '.join(mutant.actions)}{where}\n{'':<44} {end}")
    idle = [entry for entry in ON_BEHALF if not used[entry]]
    for entry in idle:
        actions = ", ".join(sorted(entry.actions))
        print(f"in local/iam/on_behalf.py, but granted nowhere: {actions}, {entry.owners}")
    both = sorted(
        {f"{entry.owners}: {one.action}" for one in decisions for entry in ON_BEHALF if _both(one, entry)}
    )
    for text in both:
        print(f"in local/iam/on_behalf.py, but exercised: {text}")
    print(f"\n{len(made)} mutants against {len(decisions)} kinds of decisions: {green} stay green\n")
    return green + len(idle) + len(both)


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
    sys.exit(main())
