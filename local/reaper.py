"""Ends what a killed parent left: reads "+pid" and "-pid" lines, and kills what is left when they stop.

A process of its own, because a parent that dies by SIGKILL can do nothing any more; its end closes the pipe.
"""

import os
import signal
import sys
from collections.abc import Iterable


def left(lines: Iterable[str]) -> set[int]:
    """Process groups that were started ("+") and not ended ("-"), once the lines stop."""
    groups: set[int] = set()
    for line in lines:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    return groups


if __name__ == "__main__":
    for group in left(sys.stdin):
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS answers the second for a group of zombies
            continue
