"""SOR that finds its relaxation factor during the solve.

At ω < ω* the dominant eigenvalue of the iteration is real, residual norms come to fall
by its modulus ρ from step to step, and Young's relation gives the Jacobi radius from
it, which gives a larger ω (L. A. Hageman, D. M. Young, Applied Iterative Methods, 1981,
ch. 9):

    μ = (ρ + ω - 1) / (ω √ρ),  ω ← 2 / (1 + √(1 - μ²)).

Differs from the source:
1. Residual norms, not norms of differences.
2. One test of steadiness, `STEADY`, instead of strategy parameters that grow.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int

from ...operators._control_flow import cond
from ..core._inner_product import InnerProduct
from ..core._recurrence import Step
from ..core._solver import LinearSystem
from ..core._status import RUNNING
from ..core._stopping import as_max_steps, require_settings
from ..sweeps._sweep_orders import AbstractOrder, Natural, require_order
from ._omega import as_omega
from ._relaxation import AbstractRelaxation, Splitting, split, splitting_of
from ._young import jacobi_radius_of, optimal_omega

STEADY = 0.1
"""A ratio of norms counts as ρ once it changes by less than this part of 1 - ρ."""

FRACTION = 0.75
"""ω stays where the norms fall at this fraction of the best rate or faster; the source
recommends its F between 0.65 and 0.85."""

FEWEST = 4
"""Steps with one ω before the ratio is looked at."""


class _Vectors(eqx.Module):
    scaled: Inexact[Array, "..."]  # s = P⁻¹r
    splitting: Splitting
    norm: Float[Array, ""]  # of the last r
    ratio: Float[Array, ""]  # of the last two norms
    num_steps: Int[Array, ""]  # with this ω


class AdaptiveSOR(AbstractRelaxation):
    """Successive overrelaxation that estimates the best ω during the iteration.

    For consistently ordered A, such as the stencils of this library, with positive
    definite hermitian part; for other A the estimate of ω is merely larger than the
    first one. On Poisson problems it takes 1.2 to 2 times the steps of `SOR` at the
    best ω, which it need not know.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        omega: the first ω, in (0, 2), better too small than too large.
        order: as in `SOR`.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `diverged`, or one of the general ones.

    Raises:
        ValueError: as `SOR`.

    Cost: that of `SOR` in products; the triangles are recomputed for each of a few ω
    and are part of the iteration's state, which holds about twice the vectors.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Laplacian((15, 15)), jnp.ones((15, 15))
        >>> sol = kx.solve(A, b, kx.solvers.AdaptiveSOR(rtol=1e-8))
        >>> bool(sol.stats.num_steps < 130)
        True

    References:
        L. A. Hageman, D. M. Young, Applied Iterative Methods (1981), ch. 9.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    omega: Float[Array, ""] | float = 1.0
    order: AbstractOrder = Natural()
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self) -> None:
        require_settings(self)
        as_omega(self.omega)
        require_order(self.order)

    def begin(self, system: LinearSystem, r: Any) -> _Vectors:
        """Begin with the first ω."""
        splitting = splitting_of(system)
        norm = self.inner_product.norm(lax.stop_gradient(r))
        return _Vectors(
            scaled=r / splitting.pivots,
            splitting=splitting,
            norm=norm,
            ratio=jnp.zeros_like(norm),
            num_steps=jnp.zeros((), jnp.int32),
        )

    def step(self, system: LinearSystem, x: Any, vectors: _Vectors) -> Step:
        """Sweep once, and update ω if a better estimate is available."""
        splitting = vectors.splitting
        swept = self.sweep(splitting, x, vectors.scaled)
        ratio = swept.norm / jnp.where(vectors.norm > 0, vectors.norm, 1)
        omega = jnp.real(splitting.omega)
        better = optimal_omega(jacobi_radius_of(ratio, omega))
        is_known = _is_steady(ratio, vectors) & _is_slow(ratio, better)
        after = cond(
            is_known,
            lambda: split(system.operator, better, self.order),
            lambda: splitting,
        )
        return Step(
            x=swept.x,
            vectors=_Vectors(
                scaled=swept.scaled * (after.omega / splitting.omega),
                splitting=after,
                norm=swept.norm,
                ratio=ratio,
                num_steps=jnp.where(is_known, 0, vectors.num_steps + 1),
            ),
            norm=swept.norm,
            status=RUNNING,
            is_taken=jnp.ones((), bool),
        )


def _is_steady(ratio: Float[Array, ""], vectors: _Vectors) -> Bool[Array, ""]:
    """Whether the ratio of norms has settled, at a value below 1."""
    change = jnp.abs(ratio - vectors.ratio)
    return (vectors.num_steps >= FEWEST) & (change <= STEADY * (1 - ratio))


def _is_slow(ratio: Float[Array, ""], omega: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether the norms fall much more slowly than they would at ω."""
    best = jnp.maximum(omega - 1, jnp.finfo(omega.dtype).tiny)
    return jnp.log(ratio) > FRACTION * jnp.log(best)
