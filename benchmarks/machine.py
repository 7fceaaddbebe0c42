"""What the machine itself costs on one computer: every state of the demo, engines aside."""

from collections.abc import Iterator

from benchmarks.measure import Measure, machine_run

LIMIT_SECONDS = 6.0


def measure() -> Iterator[Measure]:
    """The whole beside its limit, then each state (jobs with their engines)."""
    ran, _ = machine_run("demo")
    own = ran["seconds"] - ran["engine_seconds"]
    yield Measure(what="all states, engines aside, beside the limit", ours=own, peer=LIMIT_SECONDS, unit="s")
    yield Measure(what="engines", ours=ran["engine_seconds"], peer=None, unit="s")
    for state in ran["states"]:
        if state["seconds"] is not None and not state["state"].endswith("?"):
            yield Measure(what=f"state {state['state']}", ours=state["seconds"], peer=None, unit="s")
