"""Work on successive parts by a few threads, for what NumPy does without Python's lock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

THREADS = 2  # beside the caller's; more wait for Python's lock

Part = TypeVar("Part")
Result = TypeVar("Result")


def ahead(function: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[tuple[Part, Result]]:
    """Each part and `function(part)`, in order; a part more than there are threads is begun at most.

    What the function raises is raised in its part's turn. One part alone needs no thread.
    """
    parts = iter(parts)
    some = list(islice(parts, 2))
    if len(some) < 2:
        yield from ((part, function(part)) for part in some)
        return
    begun: deque[tuple[Part, Future[Result]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for part in chain(some, parts):
            begun.append((part, pool.submit(function, part)))
            if len(begun) > THREADS:
                first, result = begun.popleft()
                yield first, result.result()
        for first, result in begun:
            yield first, result.result()
