"""The nodes of an axis: Chebyshev's, Fourier's, or uniform ones, and their derivatives.

J. A. C. Weideman and S. C. Reddy, ACM TOMS 26 (2000), doi:10.1145/365723.365727.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.interpolate import CubicSpline

MAX_ORDER = 4
Made = tuple[np.ndarray, list[Any], Callable[[np.ndarray], np.ndarray]]
"""Points, derivatives by order, and the matrix of interpolation to other points."""


class Condition(NamedTuple):
    """A derivative at an end of an axis, and its value as a function of the others."""

    axis: int
    side: int
    order: int
    value: Callable[..., Any]


class Line(NamedTuple):
    """The nodes of an axis.

    Attributes:
        points: coordinates.
        derivatives: matrices by order, dense or sparse.
        resampled: the values at other points, of those at the nodes.
        inner: nodes where the equation holds.
        functionals: rows, one per condition.
        extension: E, the values at all nodes of those at the inner ones.
        blending: columns that the conditions map to the identity, zero at inner nodes.
    """

    points: np.ndarray
    derivatives: list[Any]
    resampled: Callable[[np.ndarray], np.ndarray]
    inner: np.ndarray
    functionals: np.ndarray
    extension: np.ndarray
    blending: np.ndarray


def chebyshev(low: float, high: float, number: int) -> Made:
    """Return Chebyshev points, differentiation matrices, and interpolation."""
    angle = np.pi * np.arange(number) / (number - 1)
    half = 0.5 * (high - low)
    points = low + half * (1 - np.cos(angle))
    sums, gaps = angle[:, None] + angle, angle[:, None] - angle
    # Of the angles, as differences of the points lose digits.
    distance = 2 * half * np.sin(sums / 2) * np.sin(gaps / 2)
    np.fill_diagonal(distance, 1)
    weights = (-1.0) ** np.arange(number)
    weights[[0, -1]] /= 2
    ratio = weights / weights[:, None]
    derivatives = [np.eye(number)]
    for order in range(1, MAX_ORDER + 1):
        before = derivatives[-1]
        D = order * (ratio * np.diag(before)[:, None] - before) / distance
        np.fill_diagonal(D, 0)
        np.fill_diagonal(D, -D.sum(axis=1))
        derivatives.append(D)

    def resampled(x: np.ndarray) -> np.ndarray:
        gap = x[:, None] - points
        is_node = np.abs(gap) < 1e-14 * (high - low)
        part = weights / np.where(is_node, 1, gap)
        matrix = part / part.sum(axis=1, keepdims=True)
        at_node = is_node.any(axis=1)
        matrix[at_node] = is_node[at_node]
        return matrix

    return points, derivatives, resampled


def fourier(low: float, high: float, number: int) -> Made:
    """Return equidistant points of a period, and the same for them."""
    length = high - low
    points = low + length * np.arange(number) / number
    k = np.fft.fftfreq(number, 1 / number)
    transform = np.fft.fft(np.eye(number), axis=0)
    derivatives = []
    for order in range(MAX_ORDER + 1):
        factor = (2j * np.pi * k / length) ** order
        if order % 2 and number % 2 == 0:
            factor[number // 2] = 0
        derivatives.append(np.fft.ifft(factor[:, None] * transform, axis=0).real)

    def resampled(x: np.ndarray) -> np.ndarray:
        waves = np.exp(2j * np.pi * (x[:, None] - low) / length * k)
        return (waves @ transform).real / number

    return points, derivatives, resampled


def differences(low: float, high: float, number: int, is_periodic: bool) -> Made:
    """Return uniform points, central differences, one-sided at the ends."""
    points = np.linspace(low, high, number, endpoint=not is_periodic)
    h = points[1] - points[0]
    one = sp.eye_array(number, format="csr")
    after = sp.csr_array(np.roll(np.eye(number), 1, axis=1))
    before = after.T.tocsr()
    first = ((after - before) / (2 * h)).tolil()
    second = ((after - 2 * one + before) / h**2).tolil()
    if not is_periodic:
        for matrix, stencil, sign in (
            (first, np.array([-3, 4, -1]) / (2 * h), -1),
            (second, np.array([2, -5, 4, -1]) / h**2, 1),
        ):
            matrix[[0, -1]] = 0
            matrix[0, : len(stencil)] = stencil
            matrix[-1, -len(stencil) :] = sign * stencil[::-1]

    def resampled(x: np.ndarray) -> np.ndarray:
        if not is_periodic:
            return CubicSpline(points, np.eye(number))(x)
        columns = np.concatenate([np.eye(number), np.eye(number)[:1]])
        return CubicSpline(np.append(points, high), columns, bc_type="periodic")(x)

    return points, [one, first.tocsr(), second.tocsr()], resampled


def eliminated(
    points: np.ndarray, derivatives: list[Any], resampled: Any, own: list[Condition]
) -> Line:
    """Return an axis whose own conditions are eliminated."""
    number = len(points)
    ends: dict[int, list[Condition]] = {side: [] for side in (0, 1)}
    for c in own:
        ends[c.side].append(c)
    low, high = (len(ends[side]) for side in (0, 1))
    outer = np.r_[np.arange(low), np.arange(number - high, number)]
    inner = np.arange(low, number - high)
    rows = np.zeros((len(own), number))
    for index, c in enumerate(own):
        matrix = derivatives[c.order]
        node = [0, number - 1][c.side]
        rows[index] = matrix.toarray()[node] if sp.issparse(matrix) else matrix[node]
    inverse = np.linalg.inv(rows[:, outer]) if own else np.zeros((0, 0))
    blending = np.zeros((number, len(own)))
    blending[outer] = inverse
    extension = np.eye(number)[:, inner] - blending @ rows[:, inner]
    return Line(points, derivatives, resampled, inner, rows, extension, blending)
