"""Work on successive parts by threads, a few parts ahead, for what is done without Python's lock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

THREADS = 2  # beside the caller's; more wait for Python's lock

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_order(
    pool: Executor, function: Callable[[Part], Result], parts: Iterable[Part], most: int
) -> Iterator[Result]:
    """`function(part)` of each part in order; at most so many are begun, however slowly they are taken.

    What the function raises is raised in its part's turn.
    """
    begun: deque[Future[Result]] = deque()
    for part in parts:
        begun.append(pool.submit(function, part))
        if len(begun) == most:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def ahead(function: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
    """The same by THREADS threads, of which one part alone needs none."""
    parts = iter(parts)
    some = list(islice(parts, 2))
    if len(some) < 2:
        yield from map(function, some)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        yield from in_order(pool, function, chain(some, parts), THREADS + 1)
