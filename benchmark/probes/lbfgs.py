"""L-BFGS for many convex problems of one shape at once, each with its own step and history."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.probes.rows import ProbeError

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(points [F, S', N], active problems [S']) -> values float64 [F, S'], gradients [F, S', N]."""

MEMORY = 6
"""Pairs of moves and gradient changes kept: each costs two arrays of the points' size."""
SUFFICIENT = 1e-4
"""Armijo's constant: the share of the predicted decrease that a step must reach."""
ROUNDING = 1e-6
"""Relative error of a loss summed in float32: a rise this small is no failed step."""
MIN_STEP = 1e-6
"""A search whose steps fail down to this one, also along the gradient itself, is stuck."""


@dataclass
class Solution:
    """Where a batch of problems ended."""

    point: Tensor  #: the variables, `[F, S, N]`
    converged: Tensor  #: whether a problem met the tolerance before the last iteration, `[F, S]`
    iterations: int  #: evaluations of the batch


def minimize(
    objective: Objective,
    start: Tensor,
    baseline: Tensor,
    *,
    tolerance: float,
    max_iterations: int = 500,
    callback: Callable[[], object] = lambda: None,
) -> Solution:
    """Minimize a batch of convex, positive functions that are evaluated together.

    An iteration evaluates every problem once. A problem whose step lowered its value enough goes
    on to its next direction; another stays and halves its step. So none waits for another's line
    search. A column of problems leaves the batch when it is done, or stuck, in all folds.

    Args:
        objective: values and gradients at points, for the active columns.
        start: first points `[F, S, N]`, scaled so that the Hessian is near a multiple of 1.
        baseline: values `[F, S]` from which decreases count, wherever the search starts.
        tolerance: decrease still predicted at which a problem is done, as a share of the decrease
            from the baseline or of the value, whichever is less.
        max_iterations: evaluations after which the search ends, done or not.
        callback: called after every evaluation, for a progress bar.

    Raises:
        ProbeError: a value is NaN or infinite where the search starts.
    """
    converged = torch.zeros(start.shape[:2], dtype=torch.bool, device=start.device)
    solution = Solution(start.clone(), converged, 0)
    search = _Search(objective, start, baseline)
    while True:
        # Little is left to gain of what has been gained, or of the value.
        scale = torch.minimum(search.value, (search.baseline - search.value).clamp(min=0.0))
        done = -0.5 * search.slope <= tolerance * scale
        active = ~(done | search.stuck).all(dim=0)
        converged[:, search.columns] = done
        if not active.any() or solution.iterations == max_iterations:
            solution.point[:, search.columns] = search.point
            return solution
        # Leaving costs a copy of the memory: it pays for a quarter of the batch at a time.
        if 4 * int(active.sum()) <= 3 * len(active):
            solution.point[:, search.columns[~active]] = search.point[:, ~active]
            search.keep(active)
        search.try_steps()
        solution.iterations += 1
        callback()


class _Search:
    """The state of each problem of the batch, and the step that it tries next."""

    def __init__(self, objective: Objective, start: Tensor, baseline: Tensor) -> None:
        self.objective, self.baseline = objective, baseline
        self.columns = torch.arange(start.shape[1], device=start.device)
        self.point = start.clone()
        self.value, self.gradient = objective(self.point, self.columns)
        if not (self.value.isfinite().all() and baseline.isfinite().all()):
            raise ProbeError("the loss is not finite before the first step: features are too large")
        self.memory = _Memory(start)
        self.direction, self.slope = self.memory.direction(self.gradient)
        self.step = torch.ones_like(self.slope)
        self.stuck = torch.zeros_like(self.slope, dtype=torch.bool)

    def keep(self, active: Tensor) -> None:
        """Drop the columns that are done."""
        self.columns = self.columns[active]
        names = "baseline value step slope stuck point gradient direction"
        for name in names.split():
            setattr(self, name, getattr(self, name)[:, active])
        for name, value in vars(self.memory).items():
            setattr(self.memory, name, value[:, active])

    def try_steps(self) -> None:
        """Evaluate every problem once; go on where the value fell enough, else halve the step."""
        move = self.direction.mul_(self.step[..., None].to(self.point.dtype))
        value, gradient = self.objective(self.point + move, self.columns)
        enough = self.value + SUFFICIENT * self.step * self.slope + ROUNDING * self.value.abs()
        better = value <= enough
        moved = better[..., None]
        self.memory.add(move, gradient - self.gradient, better)
        self.point = torch.where(moved, self.point + move, self.point)
        self.gradient = torch.where(moved, gradient, self.gradient)
        self.value = torch.where(better, value, self.value)
        self.step = torch.where(better, 1.0, 0.5 * self.step)
        # No step helps: the search goes on along the gradient alone, and ends if that fails, too.
        failed = self.step < MIN_STEP
        self.stuck |= failed & (self.memory.count == 0)
        self.memory.count[failed], self.memory.scale[failed] = 0, 1.0
        self.step[failed] = 1.0
        self.direction, self.slope = self.memory.direction(self.gradient)


class _Memory:
    """The last moves and gradient changes of each problem, and their inner products.

    With those products the two-loop recursion runs on coefficients instead of long vectors
    (W. Chen et al., "Large-scale L-BFGS using MapReduce", 2014): a direction then costs two passes
    over the memory.
    """

    def __init__(self, like: Tensor) -> None:
        folds, columns, size = like.shape
        self.vectors = like.new_zeros(folds, columns, 2 * MEMORY, size)
        self.products = like.new_zeros(folds, columns, 2 * MEMORY, 2 * MEMORY, dtype=torch.float64)
        self.scale = like.new_ones(folds, columns, dtype=torch.float64)
        # Pairs that each problem has stored: the newest lies at slot (count - 1) % MEMORY.
        self.count = torch.zeros(folds, columns, dtype=torch.int64, device=like.device)

    def add(self, move: Tensor, change: Tensor, moved: Tensor) -> None:
        """Store a pair of each problem that moved along positive curvature; others keep theirs."""
        curvature = (move * change).sum(2, dtype=torch.float64)
        fold, column = (moved & (curvature > 0)).nonzero(as_tuple=True)
        slot = self.count[fold, column] % MEMORY
        pair = ((slot, move), (MEMORY + slot, change))
        for first, vector in pair:
            self.vectors[fold, column, first] = vector[fold, column]
        for first, vector in pair:
            products = self._times(vector[:, :, None])[fold, column, :, 0]
            self.products[fold, column, :, first] = products
            self.products[fold, column, first] = products
        energy = self.products[fold, column, MEMORY + slot, MEMORY + slot]
        self.scale[fold, column] = curvature[fold, column] / energy
        self.count[fold, column] += 1

    def direction(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return minus the inverse Hessian's estimate times the gradient, and the slope along it.

        The direction is `[F, S, N]` as the gradient, the slope `[F, S]` float64.
        """
        along = self._times(gradient[:, :, None])[..., 0]
        share = torch.zeros_like(along)
        weights = []
        for age in range(MEMORY):  # newest first
            slot = ((self.count - 1 - age) % MEMORY)[..., None]
            products = torch.take_along_dim(self.products, slot[..., None], 2)[:, :, 0]
            # A pair that is not there divides by infinity: it changes nothing.
            curvature = products.gather(2, MEMORY + slot)
            divisor = torch.where(age < self.count[..., None], curvature, torch.inf)
            inner = along.gather(2, slot) + (share * products).sum(2, keepdim=True)
            share.scatter_add_(2, MEMORY + slot, -inner / divisor)
            weights.append((slot, inner / divisor, divisor))
        share *= self.scale[..., None]
        for slot, weight, divisor in reversed(weights):
            products = torch.take_along_dim(self.products, MEMORY + slot[..., None], 2)[:, :, 0]
            inner = self.scale[..., None] * along.gather(2, MEMORY + slot)
            inner += (share * products).sum(2, keepdim=True)
            share.scatter_add_(2, slot, weight - inner / divisor)
        square = gradient.square().sum(2, dtype=torch.float64)
        slope = -(self.scale * square + (share * along).sum(2))
        direction = -self.scale[..., None].to(gradient.dtype) * gradient
        mix = share.to(gradient.dtype).flatten(0, 1)[:, None]
        flat = direction.flatten(0, 1)[:, None].baddbmm_(
            mix, self.vectors.flatten(0, 1), alpha=-1.0
        )
        return flat.view_as(gradient), slope

    def _times(self, others: Tensor) -> Tensor:
        """Return the inner products with all vectors kept, `[F, S, M, N] -> [F, S, 2 m, M]`."""
        products = torch.bmm(self.vectors.flatten(0, 1), others.flatten(0, 1).transpose(1, 2))
        return products.double().unflatten(0, self.scale.shape)
