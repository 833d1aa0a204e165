"""The kernel of an axis, learned by the evidence of a linear equation.

The data y = A u + ε, A the equation on the points of the axis, are normal with the
covariance C = A K Aᵀ + σ² I. The evidence

    -log p(y | θ) = ½ yᵀ C⁻¹ y + ½ log|C| + const

is made least in θ: logarithms of weights and length-scales, frequencies, and log σ, by
L-BFGS-B. Weights that the data do not need go to zero: the determinant charges for
them (automatic relevance determination, M. E. Tipping, JMLR 1 (2001)). A flat prior of
log w is 1/w in w (S. Fang et al., ICLR 2024, arXiv 2311.04465).

The points are uniform, so that every entry of C is one of the 2N - 1 values of a
derivative of the kernel at a lag.

Differs from the sources:
1. σ has a floor that descends in stages. At the last floor alone the evidence has as
   many maxima as there are frequencies between two components.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float
from scipy.optimize import minimize

from ._basis import Axis
from ._kernels import Envelope, SpectralMixture

STAGES = (1e-2, 1e-4, 1e-6)
"""The least σ, over the root mean square of the data, of each stage."""
MAX_STEPS = 120
"""L-BFGS steps of each stage."""
PRUNED = 1e-8
"""Weights below this part of the largest one are left out."""
LOST = 10.0
"""Standard deviation in the data, over that of the last stage's errors, below which a
component is left out."""
SHORTEST, LONGEST = 0.02, 4.0
"""Bounds of the length-scales, in lengths of the axis. A wave in a longer envelope is
the same wave on it."""
VISIBLE = 1e-3
"""Least variance of a component in the data, over that of a stage's errors. A weight
that goes on to zero at one stage has no slope at the next, where it may be needed."""


class AxisData(eqx.Module):
    """Rows y_i = Σ_o a_io ∂^o u(x_i) on the points of an axis.

    Attributes:
        factors: a_o on the points, by order.
        values: y, of unit mean square; several columns are independent fields with
            this kernel.
        spacing: of the points.
    """

    factors: dict[int, Float[Array, " rows"]]
    values: Float[Array, "rows columns"]
    spacing: float


def axis_data(axis: Axis, factors: dict[int, Any], values: Any) -> AxisData:
    """Return the rows of an equation on the points, scaled so that the data are one.

    Args:
        axis: with its points.
        factors: coefficients of the derivatives on the points, by order.
        values: what the equation is to have there, not all zero, one column per field.
    """
    N = axis.num_points
    values = jnp.reshape(jnp.asarray(values), (N, -1))
    scale = jnp.sqrt(jnp.mean(values**2))
    return AxisData(
        factors={o: jnp.broadcast_to(a / scale, (N,)) for o, a in factors.items()},
        values=values / scale,
        spacing=float(axis.points[1] - axis.points[0]),
    )


def covariance(kernel: SpectralMixture, data: AxisData) -> Float[Array, "rows rows"]:
    """Return A K Aᵀ."""
    N = len(data.values)
    lags = data.spacing * jnp.arange(1.0 - N, N)
    places = np.arange(N)[:, None] - np.arange(N)[None, :] + N - 1
    total = jnp.zeros((N, N))
    for a, left in data.factors.items():
        for b, right in data.factors.items():
            table = (-1) ** b * kernel.covariance(lags, a + b)
            total = total + left[:, None] * right[None, :] * table[places]
    return total


def negative_log_evidence(
    kernel: SpectralMixture, data: AxisData, sigma: Any
) -> Float[Array, ""]:
    """Return -log p(y | θ) per column, without its constant."""
    noise = sigma**2 * jnp.eye(len(data.values))
    return _normal(covariance(kernel, data) + noise, data.values)


@jax.custom_vjp
def _normal(C: Any, Y: Any) -> Any:
    """-log of the normal density of the columns of Y, on average.

    Its own derivative is half of the work of that through Cholesky.
    """
    return _normal_forward(C, Y)[0]


def _normal_forward(C: Any, Y: Any) -> Any:
    L = jnp.linalg.cholesky(C)
    white = solve_triangular(L, Y, lower=True)
    value = 0.5 * jnp.sum(white**2) / Y.shape[1] + jnp.sum(jnp.log(jnp.diagonal(L)))
    return value, (L, white)


def _normal_backward(kept: Any, slope: Any) -> Any:
    L, white = kept
    inverse = solve_triangular(L, jnp.eye(len(L)), lower=True)
    alpha = inverse.T @ white
    dC = 0.5 * (inverse.T @ inverse - alpha @ alpha.T / white.shape[1])
    return slope * dC, slope * alpha / white.shape[1]


_normal.defvjp(_normal_forward, _normal_backward)


@eqx.filter_jit
def _gains(kernel: SpectralMixture, data: AxisData) -> Float[Array, " q"]:
    """The mean square of the rows, of each component with unit weight."""

    def gain(frequency: Any, length: Any) -> Any:
        one = SpectralMixture(
            jnp.ones(1), frequency[None], length[None], kernel.envelope
        )
        total = jnp.zeros(())
        for a, left in data.factors.items():
            for b, right in data.factors.items():
                k = one.covariance(jnp.zeros(1), a + b)[0]
                total = total + (-1) ** b * k * jnp.mean(left * right)
        return total

    return jax.vmap(gain)(kernel.frequencies, kernel.lengths)


def learned(
    kernel: SpectralMixture, axis: Axis, data: AxisData, is_log: bool = True
) -> SpectralMixture:
    """Return the kernel of largest evidence, from a start; on concrete values.

    Args:
        kernel: the start.
        axis: bounds frequencies and length-scales.
        data: what is known.
        is_log: whether logarithms of the weights are the variables.

    Cost: about 300 times a Cholesky factorisation of the rows and its derivative.
    """
    count = len(kernel.weights)
    # Weights of the start such that the data have the prior's variance.
    gains = _gains(kernel, data)
    weights = np.asarray(kernel.weights / jnp.sum(gains * kernel.weights))
    start = {
        "weights": np.log(weights) if is_log else weights,
        "frequencies": np.asarray(kernel.frequencies) * axis.length,
        "lengths": np.log(np.asarray(kernel.lengths) / axis.length),
        "sigma": np.asarray(np.log(10 * STAGES[0])),
    }
    flat, unravel = ravel_pytree(start)
    point = np.asarray(flat)
    for floor in STAGES:
        at = _kernel(unravel(jnp.asarray(point)), axis.length, kernel.envelope, is_log)
        least = np.asarray(VISIBLE * floor**2 / _gains(at, data))
        lower, _ = ravel_pytree(
            {
                "weights": np.log(least) if is_log else 0 * least,
                "frequencies": np.zeros(count),
                "lengths": np.full(count, np.log(SHORTEST)),
                "sigma": np.log(floor),
            }
        )
        upper, _ = ravel_pytree(
            {
                "weights": np.full(count, np.inf),
                "frequencies": np.full(count, 0.98 * axis.nyquist * axis.length),
                "lengths": np.full(count, np.log(LONGEST)),
                "sigma": np.asarray(1.0),
            }
        )

        def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
            found, slope = _value_and_slope(
                unravel(jnp.asarray(flat)), data, axis.length, kernel.envelope, is_log
            )
            slope = np.asarray(ravel_pytree(slope)[0])
            if not (np.isfinite(found) and np.all(np.isfinite(slope))):
                return 1e15, np.zeros_like(slope)
            return float(found), slope

        point = minimize(
            value,
            np.clip(point, lower, upper),
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack([np.asarray(lower), np.asarray(upper)], axis=1),
            options={"maxiter": MAX_STEPS, "maxfun": 2 * MAX_STEPS, "maxcor": 20},
        ).x
    found = _kernel(unravel(jnp.asarray(point)), axis.length, kernel.envelope, is_log)
    return pruned(found, found.weights * _gains(found, data) > (LOST * STAGES[-1]) ** 2)


@eqx.filter_jit
def _value_and_slope(
    variables: dict[str, Any],
    data: AxisData,
    length: float,
    envelope: Any,
    is_log: bool,
) -> Any:
    def value(variables: dict[str, Any]) -> Any:
        kernel = _kernel(variables, length, envelope, is_log)
        return negative_log_evidence(kernel, data, jnp.exp(variables["sigma"]))

    return jax.value_and_grad(value)(variables)


def _kernel(
    variables: dict[str, Any], length: float, envelope: Envelope, is_log: bool
) -> SpectralMixture:
    weights = variables["weights"]
    return SpectralMixture(
        jnp.exp(weights) if is_log else weights,
        variables["frequencies"] / length,
        jnp.exp(variables["lengths"]) * length,
        envelope,
    )


def pruned(kernel: SpectralMixture, is_seen: Any) -> SpectralMixture:
    """Return a kernel without negligible components, those of one peak made one.

    Args:
        kernel: with any number of components.
        is_seen: for each, whether it is not lost in the errors.
    """
    is_kept = np.asarray(is_seen) & (kernel.weights > PRUNED * jnp.max(kernel.weights))
    if not np.any(is_kept):
        is_kept = np.asarray(kernel.weights == jnp.max(kernel.weights))
    weights, frequencies, lengths = (
        np.asarray(a)[is_kept]
        for a in (kernel.weights, kernel.frequencies, kernel.lengths)
    )
    peaks: list[_Peak] = []
    for q in np.argsort(-weights):
        own = _Peak(float(weights[q]), float(frequencies[q]), float(lengths[q]))
        for index, other in enumerate(peaks):
            distance = abs(own.frequency - other.frequency)
            if distance < 0.5 * min(own.width, other.width):
                peaks[index] = other.with_neighbour(own)
                break
        else:
            peaks.append(own)
    columns = zip(*peaks, strict=True)
    return SpectralMixture(*map(np.asarray, columns), envelope=kernel.envelope)


class _Peak(NamedTuple):
    """One component."""

    weight: float
    frequency: float
    length: float

    @property
    def width(self) -> float:
        """The standard deviation of its spectral density."""
        return 1 / (2 * np.pi * self.length)

    def with_neighbour(self, other: "_Peak") -> "_Peak":
        """Return one component in place of this one and a lighter one."""
        total = self.weight + other.weight
        part = other.weight / total
        return _Peak(
            total,
            self.frequency + part * (other.frequency - self.frequency),
            min(self.length, other.length) if part > 0.01 else self.length,
        )
