"""Stationary kernels of one axis, given by their spectral density.

k(d) = Σ_q w_q g_q(d) cos(2π μ_q d), the spectral mixture of A. G. Wilson and R. P.
Adams, ICML 2013 (arXiv 1302.4245), with a Gaussian envelope g, or a Matérn one as in S.
Fang et al., ICLR 2024 (arXiv 2311.04465). By Bochner's theorem it is

    k(d) = ∫_0^∞ S(f) cos(2π f d) df,    S(f) = Σ_q w_q (p_q(f - μ_q) + p_q(f + μ_q)),

with p_q the density of the envelope: a normal one, or Student's t.

Differs from the sources:
1. Envelopes have the length-scale of the usual kernels: exp(-d²/(2ℓ²)) for the first
   paper's exp(-2π²σ²d²), where σ = 1/(2πℓ), and the second one's exp(-ρ²d²), where
   ρ² = 1/(2ℓ²).
"""

import math
from abc import abstractmethod
from math import comb, gamma, pi, sqrt
from typing import Any, Literal, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from typing_extensions import override

Envelope = Literal["gaussian", "matern52", "matern72", "matern92"]
SMOOTHNESS: dict[str, float] = {"matern52": 2.5, "matern72": 3.5, "matern92": 4.5}


class AbstractKernel(eqx.Module):
    """A stationary kernel of one axis.

    The solver asks for the density, and for how far the kernel reaches, so that a
    kernel of one's own is given by these.
    """

    @abstractmethod
    def density(self, frequencies: np.ndarray) -> np.ndarray:
        """Return S(f) at frequencies in cycles per unit, f ≥ 0, on the host."""

    @property
    @abstractmethod
    def highest_frequency(self) -> float:
        """Beyond it the density is below rounding; infinity where it never is."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """The lag beyond which the kernel is below rounding."""


class SpectralMixture(AbstractKernel):
    """k(d) = Σ_q w_q g(d/ℓ_q) cos(2π μ_q d).

    With one component of frequency zero it is the squared exponential, or a Matérn
    kernel.

    Args:
        weights: w_q, the variance of each component.
        frequencies: μ_q, in cycles per unit of the axis.
        lengths: ℓ_q, the length-scale of each envelope, in units of the axis; one
            number for all.
        envelope: g, "gaussian" exp(-r²/2), or Matérn of smoothness 5/2, 7/2 or 9/2.

    Raises:
        ValueError: an unknown envelope, or arrays of different lengths.

    Examples:
        >>> import jax.numpy as jnp
        >>> from krylax.learned.gaussian_process import SpectralMixture
        >>> kernel = SpectralMixture([1.0, 0.5], [0.0, 3.0], 0.2)
        >>> kernel.covariance(jnp.zeros(1))
        Array([1.5], dtype=float64)
    """

    weights: Float[Array, " q"]
    frequencies: Float[Array, " q"]
    lengths: Float[Array, " q"]
    envelope: Envelope = eqx.field(static=True)

    def __init__(
        self,
        weights: Any,
        frequencies: Any,
        lengths: Any,
        envelope: Envelope = "gaussian",
    ) -> None:
        self.weights = jnp.atleast_1d(jnp.asarray(weights, float))
        self.frequencies = jnp.atleast_1d(jnp.asarray(frequencies, float))
        lengths = jnp.asarray(lengths, float)
        if lengths.shape not in ((), self.frequencies.shape):
            raise ValueError(
                "lengths must be one number or as many as frequencies, here "
                f"{self.frequencies.shape}, got {lengths.shape}"
            )
        self.lengths = jnp.broadcast_to(lengths, self.frequencies.shape)
        self.envelope = envelope

    def __check_init__(self) -> None:
        if self.envelope not in get_args(Envelope):
            raise ValueError(
                f"envelope must be one of {get_args(Envelope)}, got {self.envelope!r}"
            )
        if self.weights.ndim != 1 or self.weights.shape != self.frequencies.shape:
            raise ValueError(
                "weights and frequencies must be vectors of one length, got shapes "
                f"{self.weights.shape} and {self.frequencies.shape}"
            )

    @override
    def density(self, frequencies: np.ndarray) -> np.ndarray:
        f, mu = frequencies[:, None], np.asarray(self.frequencies)
        both = self._spread(f - mu) + self._spread(f + mu)
        return both @ np.asarray(self.weights)

    @property
    @override
    def highest_frequency(self) -> float:
        if self.envelope != "gaussian":
            return math.inf
        # exp(-z²/2) is 1e-30 at z = 11.8.
        widths = 11.8 / (2 * pi * np.asarray(self.lengths))
        return float(np.max(np.asarray(self.frequencies) + widths))

    @property
    @override
    def reach(self) -> float:
        longest = float(np.max(np.asarray(self.lengths)))
        if self.envelope == "gaussian":
            return 8.6 * longest
        return 40 * longest / sqrt(2 * SMOOTHNESS[self.envelope])

    @property
    def num_derivatives(self) -> int | None:
        """The highest order of a derivative of `covariance`, `None` for any."""
        if self.envelope == "gaussian":
            return None
        return 2 * int(SMOOTHNESS[self.envelope])

    @eqx.filter_jit
    def covariance(
        self, lags: Float[Array, "..."], order: int = 0
    ) -> Float[Array, "..."]:
        """Return the derivative of k of this order, at signed lags, in closed form.

        cov(∂^m u(x), ∂^n u(y)) is (-1)^n times that of order m + n at x - y.

        Raises:
            ValueError: the kernel has no derivative of this order.
        """
        most = self.num_derivatives
        if order < 0 or (most is not None and order > most):
            raise ValueError(
                f"a kernel with envelope {self.envelope} has derivatives of orders 0 "
                f"to {most}, got {order}; take a smoother envelope"
            )
        # Of one rank with the lags, as strict rank promotion asks for.
        d = jnp.asarray(lags)[..., None]
        omega, lengths, weights = (
            parameter.reshape((1,) * (d.ndim - 1) + (-1,))
            for parameter in (2 * pi * self.frequencies, self.lengths, self.weights)
        )
        terms = [
            comb(order, j)
            * self._envelope_derivative(d, lengths, j)
            * omega ** (order - j)
            * _turned_cosine(omega * d, order - j)
            for j in range(order + 1)
        ]
        return jnp.sum(sum(terms[1:], terms[0]) * weights, axis=-1)

    def _spread(self, f: np.ndarray) -> np.ndarray:
        """The density of each envelope around its frequency."""
        lengths = np.asarray(self.lengths)
        if self.envelope == "gaussian":
            size = sqrt(2 * pi) * lengths
            return size * np.exp(-0.5 * (2 * pi * lengths * f) ** 2)
        nu = SMOOTHNESS[self.envelope]
        constant = 2 * sqrt(pi) * gamma(nu + 0.5) / gamma(nu)
        rate = sqrt(2 * nu) / lengths
        return constant / rate * (1 + (2 * pi * f / rate) ** 2) ** -(nu + 0.5)

    def _envelope_derivative(
        self, d: Float[Array, "... 1"], lengths: Float[Array, "... q"], order: int
    ) -> Float[Array, "... q"]:
        if self.envelope == "gaussian":
            r = d / lengths
            before, hermite = jnp.zeros_like(r), jnp.ones_like(r)
            for n in range(order):
                before, hermite = hermite, r * hermite - n * before
            return (-1 / lengths) ** order * hermite * jnp.exp(-0.5 * r**2)
        nu = SMOOTHNESS[self.envelope]
        rate = sqrt(2 * nu) / lengths
        r = rate * jnp.abs(d)
        powers = _matern_polynomial(int(nu))
        for _ in range(order):
            # Of exp(-r) q(r) it is exp(-r) (q' - q).
            slopes = [(n + 1) * c for n, c in enumerate(powers[1:])] + [0.0]
            powers = [slope - c for slope, c in zip(slopes, powers, strict=True)]
        value = sum(c * r**n for n, c in enumerate(powers))
        side = jnp.where(d < 0, -1.0, 1.0) ** order
        return side * rate**order * jnp.exp(-r) * value


def _turned_cosine(phase: Float[Array, "..."], quarters: int) -> Float[Array, "..."]:
    """Return cos(phase + quarters π/2), without the rounding of π/2.

    What is even in a frequency then has the derivative zero at zero, and not one of
    rounding errors, of which Adam would make full steps.
    """
    value = jnp.cos(phase) if quarters % 2 == 0 else jnp.sin(phase)
    return value if quarters % 4 in (0, 3) else -value


def _matern_polynomial(p: int) -> list[float]:
    """The coefficients of the polynomial in r of the Matérn kernel with ν = p + ½."""
    factorial = [gamma(n + 1.0) for n in range(2 * p + 1)]
    scale = factorial[p] / factorial[2 * p]
    return [
        scale * factorial[2 * p - n] / (factorial[p - n] * factorial[n]) * 2.0**n
        for n in range(p + 1)
    ]
