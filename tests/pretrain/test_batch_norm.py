"""Two views in one pass give what two passes give, running statistics included."""

import copy

import torch
from torch import nn

from pretrain.batch_norm import SplitBatchNorm2d, split_views


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
