"""Jobs done in threads before their results are asked for: in order, and never many at once."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

JOBS_AHEAD = 2
"""Jobs of each thread that are done or under way before their results are asked for."""

Job = TypeVar("Job")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Generator[Result, None, None]:
    """Do jobs in threads, a few ahead of whoever takes the results, which come in order.

    Closing the generator drops the jobs that have not begun and waits for those that have.

    Args:
        work: done to each job; what it raises is raised where its result would be.
        jobs: to do.
        workers: threads, >= 0; 0 does each job when its result is asked for.
    """
    if workers == 0:
        yield from map(work, jobs)
        return
    pool, begun = ThreadPoolExecutor(workers), deque[Future[Result]]()
    try:
        for job in jobs:
            begun.append(pool.submit(work, job))
            if len(begun) > JOBS_AHEAD * workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
