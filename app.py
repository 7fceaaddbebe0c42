"""Synthesizes both stacks of one stage: `python app.py [-c stage=prod]`, or through the CDK CLI."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from infra.stage import draw
from topx.errors import SettingsRejected
from topx.settings import Deploy, load_deploy

CDK_JSON = Path(__file__).parent / "cdk.json"


def context(arguments: list[str]) -> dict[str, Any]:
    """cdk.json's context, over it what the CDK CLI gives, over both the command line's."""
    parser = argparse.ArgumentParser(prog="app.py", description=__doc__)
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args(arguments).context
    try:
        written = json.loads(CDK_JSON.read_text("utf-8"))["context"]
    except json.JSONDecodeError as error:
        raise SettingsRejected(f"cdk.json is not JSON: {error}; correct it") from error
    return {
        **written,
        **json.loads(os.environ.get("CDK_CONTEXT_JSON", "{}")),
        **dict(pair.partition("=")[::2] for pair in given),
    }


def settings(given: dict[str, Any]) -> Deploy:
    """The chosen stage's settings; raises SettingsRejected with every problem."""
    stages, stage = given["stages"], given.get("stage", "dev")
    if stage not in stages:
        raise SettingsRejected(
            f"stage is {stage}; cdk.json has {', '.join(stages)}: choose one, or add a block for it there"
        )
    return load_deploy({**stages[stage], "stage": stage})


def main(arguments: list[str]) -> int:
    """0, or 2 where the settings cannot be used."""
    try:
        given = context(arguments)
        app = draw(settings(given), outdir=os.environ.get("CDK_OUTDIR", "cdk.out"), context=given)
    except SettingsRejected as problem:
        print(f"SettingsRejected: {problem}", file=sys.stderr)
        return 2
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
