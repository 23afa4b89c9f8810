"""The sums that a convolution with fewer products needs, for any points (Toom and Cook; Winograd).

A few outputs of a convolution are coefficients of a product of polynomials, which is known by its
values at a few points, infinity (the highest coefficient) among them: the kernel's values times the
inputs', place by place, and sums there and back. Source: Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks (2015), section 4.
"""

import math

import numpy as np

Points = tuple[float, ...]


def input_sums(points: Points) -> np.ndarray:
    """Return what takes inputs to the points and infinity, [P + 1, P + 1].

    Rows are the polynomials that are 0 at all points but one, before they are scaled to 1 there.

    Args:
        points: the P finite ones.
    """
    rows = [np.append(np.poly(_without(points, place))[::-1], 0.0) for place in range(len(points))]
    return np.array([*rows, np.poly(points)[::-1]])


def kernel_sums(points: Points, taps: int) -> np.ndarray:
    """Return what takes a kernel to its values there, [P + 1, taps], and scales the inputs'."""
    rows = [
        np.power(point, range(taps)) / math.prod(point - other for other in _without(points, place))
        for place, point in enumerate(points)
    ]
    return np.array([*rows, np.arange(taps) == taps - 1])


def output_sums(points: Points, taps: int) -> np.ndarray:
    """Return what takes the products to outputs, [P + 2 - taps, P + 1]: powers of the points."""
    outputs = len(points) + 2 - taps
    powers = np.power.outer(points, range(outputs)).T
    return np.column_stack([powers, np.arange(outputs) == outputs - 1])


def _without(points: Points, place: int) -> Points:
    """Return the points but one."""
    return points[:place] + points[place + 1 :]
