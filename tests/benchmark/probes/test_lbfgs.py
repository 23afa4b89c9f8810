"""The batched search against the solutions of quadratics, and on a loss that is NaN."""

import pytest
import torch
from torch import Tensor

from benchmark.probes.lbfgs import minimize
from benchmark.probes.rows import ProbeError


def test_it_finds_the_minimum_of_every_problem() -> None:
    torch.manual_seed(0)
    root = torch.randn(2, 3, 8, 8, dtype=torch.float64) / 4
    matrix = torch.eye(8) + root @ root.mT
    wanted = torch.randn(2, 3, 8, dtype=torch.float64)

    def objective(points: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        away = points - wanted[:, columns]
        gradient = (matrix[:, columns] @ away[..., None])[..., 0]
        return 1 + 0.5 * (away * gradient).sum(2), gradient

    start = torch.zeros_like(wanted)
    baseline, _ = objective(start, torch.arange(3))
    solution = minimize(objective, start, baseline, tolerance=1e-9)
    assert solution.converged.all()
    torch.testing.assert_close(solution.point, wanted, atol=1e-3, rtol=0)


def test_a_loss_that_is_nan_is_an_error_and_no_minimum() -> None:
    def objective(points: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((1, len(columns)), torch.nan, dtype=torch.float64), points

    with pytest.raises(ProbeError, match="not finite before the first step"):
        minimize(objective, torch.ones(1, 2, 4), torch.ones(1, 2).double(), tolerance=1e-6)
