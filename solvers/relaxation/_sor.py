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
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact
from typing_extensions import override

from ..core._inner_product import InnerProduct
from ..core._recurrence import Step
from ..core._solver import LinearSystem
from ..core._status import RUNNING
from ..core._stopping import as_max_steps, require_settings
from ..sweeps._sweep_orders import AbstractOrder, Natural, require_order
from ._omega import as_omega
from ._relaxation import AbstractRelaxation, splitting_of


class SOR(AbstractRelaxation):
    """Successive overrelaxation, a stationary method: Gauss-Seidel at ω = 1.

    For symmetric positive definite A and any ω in (0, 2), for other A if it happens to
    converge; a residual that grows is reported as `diverged`. On a Poisson problem of
    n points along each axis a digit takes n²/4 steps at ω = 1, and 0.4 n at the best ω,
    `optimal_omega`, in natural order as well as in colours. It serves as a baseline, as
    a smoother and for `krylax.solvers.tuning`; where `CG` with a preconditioner
    applies, it is faster.

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
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `diverged`, or one of the general ones.

    Raises:
        ValueError: a setting out of range, a preconditioner, an operator that the order
            does not support.

    Cost: per step 1 matvec, as half a product and one sweep, and 1 reduction; natural
    order as many steps in sequence as there are wavefronts. With the weights of the
    triangles 9 vectors besides b for two colours on a 2-D grid, and in natural order,
    whose storage is skewed, 16 on a square and 25 on a cube.

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
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self) -> None:
        require_settings(self)
        as_omega(self.omega)
        require_order(self.order)

    @override
    def begin(self, system: LinearSystem, r: Any) -> Inexact[Array, "..."]:
        """Return s = P⁻¹r."""
        return r / splitting_of(system).pivots

    def step(self, system: LinearSystem, x: Any, vectors: Any) -> Step:
        """Sweep once."""
        swept = self.sweep(splitting_of(system), x, vectors)
        return Step(
            x=swept.x,
            vectors=swept.scaled,
            norm=swept.norm,
            status=RUNNING,
            is_taken=jnp.ones((), bool),
        )
