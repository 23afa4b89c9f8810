"""Losses against values worked out by hand and against loops."""

import math

import pytest
import torch

from pretrain.methods.losses import cosine_loss, infonce


def test_cosine_loss_is_zero_two_four_for_same_orthogonal_opposite():
    same, across = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.5]])
    assert float(cosine_loss(same, 7 * same)) == pytest.approx(0)
    assert float(cosine_loss(same, across)) == pytest.approx(2)
    assert float(cosine_loss(same, -same)) == pytest.approx(4)


def test_infonce_equals_its_definition_in_a_loop():
    torch.manual_seed(0)
    queries, keys = torch.randn(5, 7), torch.randn(5, 7)
    total = 0.0
    for i in range(5):
        cosines = [float(torch.cosine_similarity(queries[i], keys[j], dim=0)) for j in range(5)]
        total -= cosines[i] / 0.2 - math.log(sum(math.exp(c / 0.2) for c in cosines))
    assert float(infonce(queries, keys, 0.2)) == pytest.approx(total / 5, rel=1e-5)


def test_infonce_of_equal_keys_is_log_of_the_batch():
    assert float(infonce(torch.randn(8, 4), torch.ones(8, 4), 0.1)) == pytest.approx(math.log(8))
