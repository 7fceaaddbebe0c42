"""How good the published lists are: the whole machine on a public split, beside popularity on the same users.

P2: MovieLens 100k, ua.base -> ua.test, relevant = rating >= 4, default settings, three seeds.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from benchmarks.measure import Measure, Unmeasured, machine_run

SEEDS = (42, 43, 44)


def measure() -> Iterator[Measure]:
    """nDCG@10 of model, popularity and chance; raises Unmeasured where TOPX_DATA does not lead to the data."""
    folder = Path(os.environ.get("TOPX_DATA", ""), "ml-100k")
    if not (folder / "ua.base").is_file():
        raise Unmeasured(
            "TOPX_DATA is not set to a folder with ml-100k/ua.base and ua.test: MovieLens may not be "
            "redistributed; fetch it from GroupLens and set the variable"
        )
    files = [str(folder / "ua.base"), "--test", str(folder / "ua.test")]
    reports = [machine_run("run", *files, "--set", f"encode.seed={seed}")[1] for seed in SEEDS]

    def over(model: str) -> float:
        return mean(float(report["metrics"][model]["ndcg"]) for report in reports)

    for peer in ("popularity", "random"):
        what = f"P2 nDCG@10, mean of {len(SEEDS)} seeds, beside {peer}"
        yield Measure(what=what, ours=over("model"), peer=over(peer), unit="nDCG")
