"""The batched search against the solutions of quadratics, and on a loss that is NaN."""

import pytest
import torch
from torch import Tensor

from benchmark.probes.lbfgs import MEMORY, _Memory, minimize
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


def bowl(points: Tensor) -> tuple[Tensor, Tensor]:
    """1 + |x|^2 / 2 and its gradient."""
    return 1 + 0.5 * points.square().sum(2).double(), points.clone()


def test_a_start_at_its_baseline_is_not_converged_while_its_gradient_is_not_zero() -> None:
    """Nothing has been gained yet, so no decrease that is still predicted is small beside it."""
    start, baseline = torch.full((1, 1, 4), 1e-4), bowl(torch.full((1, 1, 4), 1e-4))[0]
    solution = minimize(lambda x, _: bowl(x), start, baseline, tolerance=1e-6)
    assert solution.iterations >= 1
    assert solution.converged.all()
    assert solution.point.abs().max() < 1e-6


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_search_that_finds_no_finite_step_ends_unconverged(bad: float) -> None:
    calls = 0

    def objective(points: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        value, gradient = bowl(points)
        return (value if calls == 1 else torch.full_like(value, bad)), gradient

    start = torch.ones(1, 2, 4)
    solution = minimize(objective, start, torch.full((1, 2), 9.0).double(), tolerance=1e-6)
    assert not solution.converged.any()
    assert solution.iterations < 50
    assert torch.equal(solution.point, start)


def test_a_gradient_that_points_uphill_ends_unconverged() -> None:
    def objective(points: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = bowl(points)
        return value, -gradient

    start, baseline = torch.ones(1, 1, 4), torch.full((1, 1), 9.0).double()
    solution = minimize(objective, start, baseline, tolerance=1e-6)
    assert not solution.converged.any()
    assert solution.iterations < 50


def test_a_misled_search_goes_on_along_the_gradient() -> None:
    """One wrong pair in the memory fails every step along it; without it the minimum is reached."""
    calls = 0

    def objective(points: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        value, gradient = bowl(points)
        return value, gradient + (1e4 * torch.tensor([1.0, -1, 1, -1]) if calls == 2 else 0)

    start, baseline = torch.ones(1, 1, 4) / 3, torch.full((1, 1), 9.0).double()
    solution = minimize(objective, start, baseline, tolerance=1e-9)
    assert solution.converged.all()


def test_a_failed_step_leaves_the_memory_as_it_is_and_old_pairs_go_first() -> None:
    """The direction is that of the last pairs of moves alone, by the inverse BFGS formula."""
    torch.manual_seed(0)
    size, pairs = 5, []
    root, eye = torch.randn(size, size).double(), torch.eye(size).double()
    matrix = eye + root @ root.T
    memory = _Memory(torch.zeros(1, 2, size, dtype=torch.float64))
    for i in range(MEMORY + 4):
        move = torch.randn(1, 2, size, dtype=torch.float64)
        moved = torch.tensor([[True, i % 3 != 1]])
        memory.add(move, move @ matrix, moved)
        pairs.append((move, moved))
    gradient = torch.randn(1, 2, size, dtype=torch.float64)
    direction, slope = memory.direction(gradient)
    for column in range(2):
        kept = [move[0, column] for move, moved in pairs if moved[0, column]][-MEMORY:]
        last = kept[-1]
        inverse = eye * (last @ matrix @ last) / (matrix @ last).square().sum()
        for s in kept:
            y = matrix @ s
            left = eye - torch.outer(s, y) / (s @ y)
            inverse = left @ inverse @ left.T + torch.outer(s, s) / (s @ y)
        torch.testing.assert_close(direction[0, column], -inverse @ gradient[0, column])
        torch.testing.assert_close(slope[0, column], direction[0, column] @ gradient[0, column])


def test_the_search_ends_at_its_limit_and_calls_back_after_every_evaluation() -> None:
    calls: list[int] = []

    def objective(points: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        value = 1 + torch.log1p(1e4 * points.square()).sum(2).double()
        return value, 2e4 * points / (1 + 1e4 * points.square())

    start = torch.ones(2, 3, 4)
    baseline = torch.full((2, 3), 99.0).double()
    solution = minimize(
        objective,
        start,
        baseline,
        tolerance=0.0,
        max_iterations=7,
        callback=lambda: calls.append(0),
    )
    assert solution.iterations == len(calls) == 7
    assert not solution.converged.any()
