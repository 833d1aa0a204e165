"""Restarted GMRES: GCRO-DR that recycles nothing, through the same code."""

from typing import Any

import equinox as eqx

from ._gcrodr import GCRODR
from ._inner_product import InnerProduct
from ._solver import AbstractSolver, LinearSystem, Outcome
from ._stopping import require_settings


class GMRES(AbstractSolver):
    """GMRES(m), for general square systems.

    Minimises the residual over a Krylov space of m dimensions, then starts again from
    the result. The preconditioner is linear and acts from the right, so that residuals
    are true ones. For a sequence of systems, or where restarts stall, use `GCRODR`.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        restart: m, the number of steps between restarts.
        max_steps: bound on the number of steps, over all cycles.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `breakdown`, or one of the general ones.

    Raises:
        ValueError: a setting out of range.

    Cost: per step 1 matvec, 1 preconditioner call and 4 products with a block of m+1
    vectors; per cycle, and once per solve, 1 matvec and 1 preconditioner call more.
    m + 5 vectors.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Dense(jnp.array([[1.0, 2.0], [-3.0, 1.0]]))
        >>> kx.solve(A, jnp.array([3.0, -2.0]), kx.solvers.GMRES(rtol=1e-12)).value
        Array([1., 1.], dtype=float64)

    References:
        Y. Saad, M. H. Schultz, SIAM J. Sci. Stat. Comput. 7 (1986),
        doi:10.1137/0907058.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    restart: int = eqx.field(static=True, default=30)
    max_steps: int = eqx.field(static=True, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        if self.restart < 1:
            raise ValueError(f"restart must be at least 1, got {self.restart}")

    def run(self, system: LinearSystem, carry: Any) -> Outcome:
        """Iterate; see the class."""
        del carry
        # Tolerances are in the system's target already.
        solver = GCRODR(
            restart=self.restart,
            num_recycled=0,
            max_steps=self.max_steps,
            inner_product=self.inner_product,
        )
        return solver.run(system, None)
