"""The order of the data: every clip once an epoch, another order each epoch."""

import pytest
import torch

from pretrain.data.data_order import batch_of_step, step_seed


def test_an_epoch_visits_every_clip_once_but_for_the_rest_that_fills_no_batch():
    seen = torch.cat([batch_of_step(s, clips=23, batch=5, seed=1) for s in range(4)])
    assert len(seen) == len(set(seen.tolist())) == 20
    assert set(seen.tolist()) < set(range(23))


def test_epochs_and_seeds_differ_and_steps_repeat():
    first = batch_of_step(0, 100, 10, seed=0)
    assert torch.equal(first, batch_of_step(0, 100, 10, seed=0))
    assert not torch.equal(first, batch_of_step(10, 100, 10, seed=0))
    assert not torch.equal(first, batch_of_step(0, 100, 10, seed=1))


def test_a_store_smaller_than_a_batch_is_named():
    with pytest.raises(ValueError, match="3 clips, fewer than a batch of 4"):
        batch_of_step(0, 3, 4, seed=0)


def test_steps_seeds_and_processes_draw_different_numbers():
    drawn = {
        float(torch.rand(1, generator=torch.Generator().manual_seed(step_seed(s, t, p))))
        for s in (0, 1, 2)
        for t in (0, 1, 10**6)
        for p in (0, 1, 63)
    }
    assert len(drawn) == 27
