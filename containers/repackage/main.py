"""Runs one step over folders: `python -m containers.repackage.main STEP --input DIR --output DIR`.

DIR holds one folder per noun (plan, encoded, matrices, ...). The Repackage job runs this in the image, heavy
functions call the same steps, and on a laptop it is how a step is debugged. It prints the step's summary as
one line of JSON and ends with 0; what topx refuses is told on stderr and in the --message file, which
SageMaker shows as the job's exit message, and it ends with 1.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from topx.encode import encode
from topx.errors import TopxError
from topx.evaluate import evaluate
from topx.rank import rank
from topx.repackage import repackage

STEPS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "encode": encode,
    "repackage": repackage,
    "rank": rank,
    "evaluate": evaluate,
}
_MESSAGE = 1024  # bytes of an exit message that SageMaker keeps


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of one step."""
    parser = argparse.ArgumentParser("containers.repackage.main", description="Runs one step over folders.")
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--input", type=Path, required=True, metavar="DIR", help="a folder per noun")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="made where it is missing")
    parser.add_argument("--message", type=Path, metavar="FILE", help="where the reason of a failure is written")
    given = parser.parse_args(arguments)
    try:
        given.output.mkdir(parents=True, exist_ok=True)
        summary = STEPS[given.step](given.input, given.output)
    except (TopxError, OSError) as error:
        message = f"{type(error).__name__}: {error}"
        print(message, file=sys.stderr)
        if given.message:
            given.message.parent.mkdir(parents=True, exist_ok=True)
            given.message.write_text(message.encode()[:_MESSAGE].decode(errors="ignore"), "utf-8")
        return 1
    print(json.dumps({"step": given.step, **summary}, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
