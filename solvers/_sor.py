"""Successive overrelaxation as a solver.

For A = D + L + U and the residual r = b - A x a step is

    x ← x + d,  (D/ω + L) d = r,

the third normal form (W. Hackbusch, Iterative Solution of Large Sparse Systems of
Equations, 2nd ed., 2016, §3.2). With pivots P = D/ω and s = P⁻¹r,

    d = (I + P⁻¹L)⁻¹ s,    s ← (1 - ω) d - P⁻¹U d,

so that a step and its residual cost one product with A together. For symmetric positive
definite A it converges for every ω in (0, 2) (Ostrowski, Reich).

Differs from the source:
1. Residual replacement: _recurrence.py.
2. A residual that grows without bound ends the solve.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact, Int

from ..operators import AbstractLinearOperator, AbstractOperator
from ..operators._field import Structure, structure_of
from ._inner_product import InnerProduct
from ._omega import as_omega
from ._recurrence import AbstractRecurrence, Step
from ._solver import LinearSystem
from ._status import Status, first_of
from ._stopping import require_settings
from ._sweep_orders import AbstractOrder, Natural
from ._sweeps import AbstractSweeps


class Splitting(AbstractLinearOperator):
    """(D/ω + L)⁻¹ of an operator, as `SOR` takes it; made by its `prepare`."""

    sweeps: AbstractSweeps
    sweeps_of_T: AbstractSweeps | None
    pivots: Inexact[Array, "..."]
    omega: Inexact[Array, ""]

    @property
    def in_structure(self) -> Structure:
        """That of A."""
        return structure_of(self.pivots)

    @property
    def T(self) -> "Splitting":
        """That of the transpose of A, which `SOR` needs for derivatives."""
        if self.sweeps_of_T is None:
            # That of a hermitian A is its conjugate.
            return jax.tree.map(jnp.conj, self)
        return Splitting(self.sweeps_of_T, self.sweeps, self.pivots, self.omega)

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return (D/ω + L)⁻¹ x."""
        return self.sweeps.forward(x / self.pivots)


class _Vectors(eqx.Module):
    scaled: Inexact[Array, "..."]  # s = P⁻¹r
    norm: Float[Array, ""]  # of the first r


class SOR(AbstractRecurrence):
    """Successive overrelaxation, a stationary method: Gauss-Seidel at ω = 1.

    For symmetric positive definite A and any ω in (0, 2), for other A where it happens
    to converge; a residual that grows is told as `stagnated`. On a grid of n cells
    along each axis it takes about n²/2 steps per digit at ω = 1 and n/2 at the best
    one, `optimal_omega`, the same in natural order and in colours. A baseline, a
    smoother and what `krylax.solvers.tuning` tunes: `CG` with a preconditioner is
    faster where it applies.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        omega: relaxation factor ω in (0, 2); may be traced, and another value compiles
            nothing.
        order: `Natural()`, `Multicolour()` or `Neumann(num_terms)`; for `Sparse` with
            its pattern, `Multicolour().of(A)`.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`, or one of
        the general ones.

    Raises:
        ValueError: a setting out of range, a preconditioner, an operator that the order
            does not know.

    Cost: per step 1 matvec, as half a product and one sweep, and 1 reduction; natural
    order as many steps in sequence as there are wavefronts. 4 vectors besides b and
    the weights of the triangles.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Laplacian((15, 15)), jnp.ones((15, 15))
        >>> steps = lambda solver: int(kx.solve(A, b, solver).stats.num_steps)
        >>> omega = kx.solvers.optimal_omega(jnp.cos(jnp.pi / 16))
        >>> steps(kx.solvers.SOR(rtol=1e-8)), steps(kx.solvers.SOR(1e-8, omega=omega))
        (473, 60)

    References:
        D. M. Young, Iterative Solution of Large Linear Systems (1971).
    """

    rtol: float = 1e-5
    atol: float = 0.0
    omega: Float[Array, ""] | float = 1.0
    order: AbstractOrder = Natural()
    max_steps: int = eqx.field(static=True, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        as_omega(self.omega)

    def prepare(
        self, A: AbstractLinearOperator, preconditioner: AbstractOperator | None
    ) -> Splitting:
        """Make the sweeps, once for the solve and its derivatives."""
        require_none(preconditioner)
        return split(A, as_omega(self.omega), self.order)

    def begin(self, system: LinearSystem, r: Any) -> _Vectors:
        """Nothing but the residual is kept."""
        norm = self.inner_product.norm(lax.stop_gradient(r))
        return _Vectors(r / splitting_of(system).pivots, norm)

    def step(self, system: LinearSystem, x: Any, vectors: _Vectors) -> Step:
        """Sweep once."""
        splitting = splitting_of(system)
        d = splitting.sweeps.forward(vectors.scaled)
        scaled = splitting.sweeps.remainder(vectors.scaled, d, splitting.omega)
        r = splitting.pivots * scaled
        norm = self.inner_product.norm(lax.stop_gradient(r))
        return Step(
            x=jnp.where(jnp.isfinite(norm), x + d, x),
            vectors=_Vectors(scaled, vectors.norm),
            norm=norm,
            status=diverged(norm, vectors.norm),
            is_taken=jnp.ones((), bool),
        )


def split(
    A: AbstractLinearOperator, omega: Float[Array, ""], order: AbstractOrder
) -> Splitting:
    """Return the splitting of A with this relaxation factor."""
    diagonal = A.diagonal()
    omega = omega.astype(diagonal.dtype)
    pivots = diagonal / omega
    is_hermitian = bool(A.tags & {"symmetric", "hermitian"})
    return Splitting(
        sweeps=order.sweeps(A, pivots),
        sweeps_of_T=None if is_hermitian else order.T.sweeps(A.T, pivots),
        pivots=pivots,
        omega=omega,
    )


def splitting_of(system: LinearSystem) -> Splitting:
    """Return what `prepare` made, which `solve` wraps where A is singular."""
    M: Any = system.preconditioner
    return M if isinstance(M, Splitting) else M.operator


def diverged(norm: Float[Array, ""], first: Float[Array, ""]) -> Int[Array, ""]:
    """Return `stagnated` for a residual that has grown beyond all use."""
    has_grown = norm * jnp.sqrt(jnp.finfo(norm.dtype).eps) > first
    return first_of((has_grown, Status.stagnated))


def require_none(preconditioner: AbstractOperator | None) -> None:
    """Raise a `ValueError` where a preconditioner is given."""
    if preconditioner is not None:
        raise ValueError(
            "SOR takes no preconditioner, its sweeps are one, got a "
            f"{type(preconditioner).__name__}; leave it out, or use SSOR as the "
            "preconditioner of CG"
        )
