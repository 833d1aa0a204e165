"""Young's theory of successive overrelaxation.

For consistently ordered A whose Jacobi matrix I - D⁻¹A has real eigenvalues and the
spectral radius μ < 1, the spectral radius ρ of the iteration matrix obeys Young's
relation at its largest eigenvalues, (ρ + ω - 1)² = ω² μ² ρ, so that

    ρ(ω) = ¼ (ωμ + √(ω²μ² - 4(ω - 1)))²  for ω < ω*,  ω - 1 from there on,
    ω* = 2 / (1 + √(1 - μ²)).

The 3-, 5- and 7-point stencils are consistently ordered, in natural order as well as in
red and black (D. M. Young, Iterative Solution of Large Linear Systems, 1971, ch. 6).
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...operators._arguments import as_reals, shown
from ...operators._field import is_traced

Number = float | Float[Array, "..."]


def optimal_omega(jacobi_radius: Number) -> Float[Array, "..."]:
    """Return Young's optimal relaxation factor, in [1, 2).

    Args:
        jacobi_radius: μ, the spectral radius of I - D⁻¹A, in [0, 1).

    Returns:
        2 / (1 + √(1 - μ²)).

    Raises:
        ValueError: no real numbers, or some out of range.

    Examples:
        >>> import krylax as kx
        >>> float(kx.solvers.optimal_omega(0.6))
        1.1111111111111112

    References:
        D. M. Young, Iterative Solution of Large Linear Systems (1971), ch. 6.
    """
    jacobi_radius = _checked(jacobi_radius, "jacobi_radius", 0, 1)
    return 2 / (1 + jnp.sqrt(1 - jnp.asarray(jacobi_radius) ** 2))


def sor_radius(omega: Number, jacobi_radius: Number) -> Float[Array, "..."]:
    """Return the spectral radius ρ of the SOR iteration.

    Args:
        omega: ω, in (0, 2).
        jacobi_radius: μ, in [0, 1).

    Raises:
        ValueError: no real numbers, or some out of range.

    Examples:
        >>> import krylax as kx
        >>> [round(float(kx.solvers.sor_radius(w, 0.6)), 3) for w in (1.0, 1.5)]
        [0.36, 0.5]

    References:
        D. M. Young, Iterative Solution of Large Linear Systems (1971), ch. 6.
    """
    omega = _checked(omega, "omega", 0, 2)
    jacobi_radius = _checked(jacobi_radius, "jacobi_radius", 0, 1)
    product = omega * jacobi_radius
    below = product**2 - 4 * (omega - 1)
    root = (product + jnp.sqrt(jnp.maximum(below, 0))) / 2
    return jnp.where(below > 0, root**2, jnp.abs(omega - 1))


def jacobi_radius_of(sor_radius: Number, omega: Number) -> Float[Array, "..."]:
    """Return the μ of Young's relation, (ρ + ω - 1) / (ω √ρ).

    From a measured ρ at ω < ω*. From ω* on ρ = ω - 1 whatever μ is, and what comes out
    is the largest μ for which that holds.

    Args:
        sor_radius: ρ, in (0, 1).
        omega: ω, in [1, 2).

    Raises:
        ValueError: no real numbers, or some out of range.

    Examples:
        >>> import krylax as kx
        >>> round(float(kx.solvers.jacobi_radius_of(0.36, 1.0)), 6)
        0.6
    """
    sor_radius = _checked(sor_radius, "sor_radius", 0, math.inf)
    omega = _checked(omega, "omega", 0, 2)
    tiny = jnp.finfo(jnp.result_type(float, sor_radius)).tiny
    # Between 0 and ω - 1 there is no ρ of Young's relation.
    rho = jnp.clip(sor_radius, jnp.maximum(omega - 1, tiny), 1)
    return jnp.clip((rho + omega - 1) / (omega * jnp.sqrt(rho)), 0, 1)


def sor_steps_bound(
    omega: Number, jacobi_radius: Number, rtol: Number, tau: Number = 0.0
) -> Float[Array, "..."]:
    """Return the surrogate U(ω) that bounds the steps of SOR to a relative residual.

    U(ω) = 1 + log ε / log(ρ + τ (1 - ρ)) bounds them if the iteration matrix C obeys
    ‖Cᵏ‖ ≤ (ρ + τ (1 - ρ))ᵏ at the last k before convergence, which no theorem gives:
    τ is an assumption on A, b and ε (Khodak et al., Assumption 2.1). Measured values
    for ε ≥ 1e-8 are mostly above 1/e² = 0.135.

    Args:
        omega: ω, in (0, 2).
        jacobi_radius: μ, in [0, 1).
        rtol: ε, in (0, 1).
        tau: τ, in [0, 1); 0 for the asymptotic rate.

    Raises:
        ValueError: no real numbers, or some out of range.

    Examples:
        >>> import krylax as kx
        >>> round(float(kx.solvers.sor_steps_bound(1.0, 0.6, 1e-8)), 2)
        19.03

    References:
        M. Khodak, E. Chow, M. F. Balcan, A. Talwalkar, Learning to Relax: Setting
        Solver Parameters Across a Sequence of Linear System Instances, ICLR 2024,
        arXiv:2310.02246, Lemma 2.1.
    """
    rtol = _checked(rtol, "rtol", 0, 1)
    tau = _checked(tau, "tau", 0, 1)
    rho = sor_radius(omega, jacobi_radius)
    rate = rho + tau * (1 - rho)
    return 1 + jnp.log(rtol) / jnp.log(rate)


def _checked(value: Any, name: str, low: int | float, high: int | float) -> Any:
    """Return numbers, checked to be of a closed interval as far as they are known."""
    if not is_traced(value):
        numbers = as_reals(value, name)
        if not np.all((low <= numbers) & (numbers <= high)):
            raise ValueError(f"{name} must be from {low} to {high}, got {shown(value)}")
    # A Python number has no precision of its own.
    return jnp.asarray(value) if isinstance(value, list | tuple) else value
