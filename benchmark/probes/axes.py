"""Principal axes of rows, in which the Hessian of a linear probe is nearly diagonal."""

import torch
from torch import Tensor

AXES_ROWS = 20_000
"""Rows from which axes are estimated: they change the speed of a search, not its result."""


def principal_axes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return orthonormal axes of standardised rows and the variances along them.

    With fewer rows than features the axes span the rows: the best weights lie there, for any part
    outside would cost penalty and change no logit.

    Shape:
        `[n, D] -> [D, r]`, `[r]`, where r is the lesser of n and D.
    """
    if len(rows) >= rows.shape[1]:
        variance, turn = torch.linalg.eigh(rows.T @ rows / len(rows))
        return turn, variance.clamp(min=0.0)
    basis, triangle = torch.linalg.qr(rows.T)
    variance, turn = torch.linalg.eigh(triangle @ triangle.T / len(rows))
    return basis @ turn, variance.clamp(min=0.0)
