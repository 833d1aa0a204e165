"""The square root of a kernel on the points of one axis, and its derivatives.

The integral of the spectral density is a sum over the frequencies n/T, so that

    u(x) = Σ_n √s_n (a_n cos(2π f_n x) + b_n sin(2π f_n x)),    a, b ~ N(0, I),

has the covariance k for lags up to the length of the axis if T is that length plus the
reach of the kernel. With F the matrix of these features on the points, F = U S Wᵀ, the
features times W are few functions, u = Φ z with z ~ N(0, I), of norms S on the points.

The published code (S. Fang et al., ICLR 2024, arXiv 2311.04465) factorises the Gram
matrix K = F Fᵀ, where the relative cut at rounding, 1e-13, is one of 3e-7 in S: half of
the digits are lost.

Conditions that are exact, L_i u = 0, are linear in (a, b): these are kept to the null
space of their features, which is to condition the process on them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...operators._arithmetic import power_of_two
from ._kernels import AbstractKernel

NEGLIGIBLE = 1e-30
"""Prior variance, relative to the largest one, below which a frequency is left out."""


class Functional(NamedTuple):
    """The derivative of `order` at one end of an axis, 0 for the value."""

    side: int  # 0 for the low end, 1 for the high one
    order: int


class Axis(NamedTuple):
    """An interval with its points.

    Attributes:
        low, high: its ends.
        num_points: N; uniform, both ends among them unless it is periodic.
        functionals: what vanishes at the ends.
        is_periodic: whether high is low again.
    """

    low: float
    high: float
    num_points: int
    functionals: tuple[Functional, ...] = ()
    is_periodic: bool = False

    @property
    def length(self) -> float:
        """The distance between the ends."""
        return self.high - self.low

    @property
    def points(self) -> np.ndarray:
        """The N points."""
        return np.linspace(
            self.low, self.high, self.num_points, endpoint=not self.is_periodic
        )

    @property
    def nyquist(self) -> float:
        """The highest frequency that the points resolve, in cycles per unit."""
        intervals = self.num_points - (0 if self.is_periodic else 1)
        return intervals / (2 * self.length)


class GridBasis(eqx.Module):
    """Functions Φ on an axis, u = Φ z with the prior z ~ N(0, I).

    Attributes:
        frequencies: f_n, in cycles per unit.
        amplitudes: √s_n.
        rotation: W, orthonormal columns; Φ is the features, which are √s_n times
            cosines and sines, times W.
        sizes: S, the norms of the functions on the points of the axis, descending.
        low: where the phase is zero.
        clipped: the part of the prior variance above the Nyquist frequency.
    """

    frequencies: Float[np.ndarray, " f"]
    amplitudes: Float[np.ndarray, " f"]
    rotation: Float[np.ndarray, "features rank"]
    sizes: Float[np.ndarray, " rank"]
    low: float = eqx.field(static=True)
    clipped: float = eqx.field(static=True)

    @property
    def rank(self) -> int:
        """The number of functions."""
        return self.sizes.shape[0]

    def evaluate(self, points: Any, order: int = 0) -> Any:
        """Return the derivatives of this order of all functions at a vector of points.

        An array of NumPy for one of NumPy.
        """
        F = features(self.frequencies, self.amplitudes, points - self.low, order)
        return F @ self.rotation


def features(frequencies: Any, amplitudes: Any, points: Any, order: int) -> Any:
    """Return the derivatives of amplitude times cos and sin at points.

    By NumPy where the points are NumPy's: programs of each size would take longer.
    """
    xp = np if isinstance(points, np.ndarray) else jnp
    omega = 2 * np.pi * frequencies[None, :]
    phase = omega * points[:, None] + order * np.pi / 2
    scale = amplitudes[None, :] * omega**order
    return xp.concatenate([scale * xp.cos(phase), scale * xp.sin(phase)], axis=1)


def grid_basis(kernel: AbstractKernel, axis: Axis, cut: float) -> GridBasis:
    """Return the basis of a kernel on an axis, on concrete values.

    Args:
        kernel: stationary.
        axis: the points and what vanishes at the ends.
        cut: functions whose norm is below this part of the largest one are left out.

    Raises:
        ValueError: nothing is left that meets the conditions.

    Cost: a singular value decomposition of N times the number of features, which is
    about 6 to 8 times the cycles that the density covers along the axis.
    """
    frequencies, amplitudes, clipped = _quadrature(kernel, axis)
    kept = _orthogonal_to(_condition_rows(frequencies, amplitudes, axis))
    F = features(frequencies, amplitudes, axis.points - axis.low, 0) @ kept
    _, sizes, Wt = np.linalg.svd(F, full_matrices=False)
    rank = int(np.sum(sizes > cut * sizes[0]))
    if not rank:
        raise ValueError(
            "the kernel has no function that meets the conditions of the axis; give it "
            "more frequencies"
        )
    return GridBasis(
        frequencies=frequencies,
        amplitudes=amplitudes,
        rotation=kept @ Wt[:rank].T,
        sizes=sizes[:rank],
        low=axis.low,
        clipped=clipped,
    )


def _quadrature(
    kernel: AbstractKernel, axis: Axis
) -> tuple[np.ndarray, np.ndarray, float]:
    """Frequencies, the square roots of their variances, and what is above Nyquist."""
    period = axis.length
    if not axis.is_periodic:
        # Where the kernel reaches round the period, it is another kernel, but one.
        period *= 1 + min(max(kernel.reach / axis.length, 1), 9)
    # The highest frequency of a periodic grid is its alternating mode.
    highest = axis.nyquist * (1 if axis.is_periodic else 1 - 1e-9)
    reached = kernel.highest_frequency
    if not (kernel.reach > 0 and reached > 0):
        raise ValueError(
            "the kernel must have length-scales that are positive and finite, got "
            f"{kernel}"
        )
    num_frequencies = int(min(highest, reached) * period) + 1
    frequencies = np.arange(num_frequencies) / period
    variances = kernel.density(frequencies) / period
    is_density = np.all(np.isfinite(variances) & (variances >= 0))
    if not (is_density and np.any(variances > 0)):
        raise ValueError(
            "the kernel's density must be positive and finite on the grid's "
            f"frequencies, 0 to {highest:.3g} cycles per unit; got {kernel}"
        )
    variances[0] /= 2
    beyond = np.arange(num_frequencies, 4 * int(highest * period) + 2) / period
    lost = float(np.sum(kernel.density(beyond)) / period)
    clipped = lost / (lost + float(np.sum(variances)))
    is_kept = variances > NEGLIGIBLE * variances.max()
    return frequencies[is_kept], np.sqrt(variances[is_kept]), clipped


def _condition_rows(
    frequencies: np.ndarray, amplitudes: np.ndarray, axis: Axis
) -> np.ndarray:
    """Each functional of the features, of unit length."""
    rows = [np.zeros((0, 2 * len(frequencies)))]
    for side, order in axis.functionals:
        end = np.array([side * axis.length])
        row = features(frequencies, amplitudes, end, order)
        rows.append(row / np.linalg.norm(row))
    return np.concatenate(rows)


def _orthogonal_to(rows: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what is orthogonal to some rows."""
    if not len(rows):
        return np.eye(rows.shape[1])
    _, values, Vt = np.linalg.svd(rows)
    num_independent = int(np.sum(values > 1e-12 * values[0]))
    return Vt[num_independent:].T


def mode_products(
    factors: Sequence[Float[Array, "n r"]], values: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return (⊗ factors) values, each factor along its own axis."""
    for axis, factor in enumerate(factors):
        values = jnp.moveaxis(jnp.tensordot(factor, values, axes=(1, axis)), 0, axis)
    return values


def norm(a: Float[Array, "..."], axis: int | None = None) -> Float[Array, "..."]:
    """Return the 2-norm of entries whose squares may be beyond the dtype."""
    unit = power_of_two(jnp.max(jnp.abs(a), initial=0.0))
    return unit * jnp.linalg.norm(a / unit, axis=axis)
