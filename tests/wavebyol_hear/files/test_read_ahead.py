"""Reading ahead: batches of one length, in order, within bounds, and whatever fails is raised."""

import threading
import time
from contextlib import closing

import numpy as np
import pytest

from wavebyol_hear.files.read_ahead import ahead, plan_batches


def test_batches_hold_one_length_and_stay_small() -> None:
    rows = np.arange(101) + 7
    samples = np.array([100 * (i % 5 + 1) for i in range(100)] + [5000])
    lengths = dict(zip(rows.tolist(), samples.tolist(), strict=True))
    batches = list(plan_batches(rows, samples, max_samples=1000))
    assert sorted(row for batch in batches for row in batch) == rows.tolist()
    for batch in batches:
        assert batch == sorted(batch)
        assert len({lengths[row] for row in batch}) == 1
        assert len(batch) * lengths[batch[0]] <= 1000 or len(batch) == 1
    firsts = [lengths[batch[0]] for batch in batches]
    assert firsts == sorted(firsts, reverse=True)
    # No more batches than rows of each length ask for: 20 of 100 samples make two of 10, and so on.
    assert len(batches) == 1 + sum(-(-20 // (1000 // (100 * n))) for n in range(1, 6))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_work_ahead_keeps_its_order_and_its_bounds(workers: int) -> None:
    begun, taken = [], []

    def work(job: int) -> int:
        begun.append(job)
        time.sleep(0.001 * (7 - job % 7))
        return 10 * job

    with closing(ahead(work, range(60), workers)) as results:
        for result in results:
            taken.append(result)
            assert len(begun) <= len(taken) + 2 * workers
            if len(taken) == 40:
                break
    assert taken == [10 * job for job in range(40)]
    after = len(begun)
    time.sleep(0.05)
    assert len(begun) == after  # closed: nothing begins any more
    assert not [t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")]


def test_what_work_raises_is_raised_in_its_place() -> None:
    results = ahead(lambda job: 6 // job, [3, 2, 0, 1], 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_interrupt_waits_for_no_job() -> None:
    start = time.monotonic()
    results = ahead(time.sleep, [0, 5], 1)
    next(results)
    with pytest.raises(KeyboardInterrupt), closing(results):
        raise KeyboardInterrupt
    assert time.monotonic() - start < 4
