"""Two views in one pass give what two passes give; the processes' parts make up the batch."""

import copy
import sys

import pytest
import torch
from torch import nn

from pretrain.distributed import (
    SplitBatchNorm2d,
    keep_freed_memory,
    maxima,
    mean_over_processes,
    share,
    split_views,
)


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 9, 3),
        nn.BatchNorm1d(3),
    )


def test_one_pass_with_views_apart_equals_two_passes():
    apart, plain = net(), net()
    split_views(apart)
    a, b = torch.randn(6, 2, 5, 5), torch.randn(6, 2, 5, 5) * 3 + 1
    together = apart(torch.cat([a, b]))
    torch.testing.assert_close(together, torch.cat([plain(a), plain(b)]))
    for (name, got), want in zip(
        apart.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(got, want, msg=name)


def test_views_mixed_differ_so_that_the_test_above_can_fail():
    plain = net()
    a, b = torch.randn(6, 2, 5, 5), torch.randn(6, 2, 5, 5) * 3 + 1
    mixed = copy.deepcopy(plain)(torch.cat([a, b]))
    assert (mixed - torch.cat([plain(a), plain(b)])).abs().max() > 0.1


def test_evaluation_is_that_of_a_plain_norm_and_keys_stay():
    apart, plain = net(), net()
    keys = list(plain.state_dict())
    split_views(apart)
    assert isinstance(apart[1], SplitBatchNorm2d)
    assert list(apart.state_dict()) == keys
    x = torch.randn(4, 2, 5, 5)
    torch.testing.assert_close(apart.eval()(x), plain.eval()(x))


def test_one_process_is_all_there_is():
    assert maxima(0, 7, device=torch.device("cpu")) == [0, 7]
    assert float(mean_over_processes(torch.tensor(2.5))) == 2.5
    assert share(6) == slice(0, 6)


@pytest.mark.parametrize(("rank", "part"), [(0, slice(0, 4)), (1, slice(4, 8)), (2, slice(8, 12))])
def test_each_process_gets_its_own_part_of_the_batch(monkeypatch, rank, part):
    monkeypatch.setattr("pretrain.distributed.rank", lambda: rank)
    monkeypatch.setattr("pretrain.distributed.world", lambda: 3)
    assert share(12) == part
    with pytest.raises(ValueError, match="a batch of 13 cannot be shared by 3 processes"):
        share(13)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_glibc_keeps_freed_memory():
    assert keep_freed_memory()
