"""`check`: what a run would do with files, in seconds and without one. The same code reads them in Encode."""

import json
from pathlib import Path

from local.run import asked_for, named
from local.screen import Screen
from topx import encode
from topx.errors import SettingsRejected, join
from topx.ratings import Source


def check(files: list[Path], test: Path | None, given: list[str], screen: Screen, *, as_json: bool) -> int:
    """Shows the summary, or prints it as JSON; 0. Raises SettingsRejected or InputRejected as a run would."""
    tests = [test] if test else []
    problems, _, run = asked_for([*files, *tests], given)
    if problems:
        raise SettingsRejected(join(list(dict.fromkeys(problems))))
    sources = [Source(name, path) for name, path in named(files).items()]
    screen.doing(f"reading {len(files) + len(tests)} files")
    summary = encode.check([*sources, *(Source(path.name, path, given=True) for path in tests)], run)
    screen.done()
    if as_json:
        print(json.dumps(summary, ensure_ascii=False, indent=2))
    else:
        screen.summary(summary)
    return 0
