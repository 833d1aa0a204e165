"""The Chebyshev semi-iteration, preconditioned.

For M⁻¹A with real eigenvalues in [a, b], 0 < a: G. H. Golub and R. S. Varga, Chebyshev
semi-iterative methods, Numer. Math. 3 (1961), doi:10.1007/BF01386013, in the form of Y.
Saad, Iterative Methods for Sparse Linear Systems, 2nd ed. (2003), Alg. 12.1. With
θ = (b + a)/2 and δ = (b - a)/2,

    d = ρρ' d' + 2ρ/δ M⁻¹r,    ρ = 1/(2θ/δ - ρ'),    first d = M⁻¹r/θ, ρ = δ/θ.

Differs from the source:
1. τ = ρ/δ instead of ρ, which allows a = b.
2. A residual that grows as the method cannot within its bounds ends the solve.
3. Residual replacement: _recurrence.py.
"""

import math

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float
from typing_extensions import override

from ...operators._arguments import is_unknown_number, number_of, require_count
from ...operators._arithmetic import add_scaled, scale, subtract, zeros_like
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._recurrence import AbstractRecurrence, Step
from ..core._solver import LinearSystem
from ..core._status import RUNNING
from ..core._stopping import as_max_steps, require_settings
from ._spectral_bounds import ritz_bounds

Bound = float | Float[Array, ""] | None


class _Vectors(eqx.Module):
    r: Field
    d: Field
    tau: Float[Array, ""]  # zero before the first step
    centre: Float[Array, ""]
    radius: Float[Array, ""]


class Chebyshev(AbstractRecurrence):
    """The Chebyshev iteration, for systems whose spectrum is known and positive.

    M⁻¹A has real positive eigenvalues, as for hermitian positive definite A and M. The
    residual falls as 2 ((√κ-1)/(√κ+1))^steps with κ = largest/smallest; no inner
    product steers it, so that a step does the same for every right-hand side, and the
    one reduction only measures the residual. Eigenvalues below `smallest` are reduced
    more slowly; one above `largest` makes the iteration grow, which is reported as
    `diverged`. `spectral_bounds` estimates both.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        smallest: a, the least eigenvalue of M⁻¹A; may be traced.
        largest: b, the largest one.
        num_bound_steps: instead of bounds: measure them where the iteration begins, by
            that many Lanczos steps from the residual, for hermitian A and M.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `diverged`, or one of the general ones.

    Raises:
        ValueError: a setting out of range, or neither bounds nor `num_bound_steps`.

    Cost: per step 1 matvec, 1 preconditioner call and 1 reduction; 5 vectors besides b,
    6 with a preconditioner. With `num_bound_steps`, as many matvecs and one more
    preconditioner calls wherever the iteration begins (once, and after each residual
    replacement), each step with 2 reductions, and 9 vectors besides b, 12 with a
    preconditioner.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Diagonal(jnp.linspace(1.0, 4.0, 30))
        >>> solver = kx.solvers.Chebyshev(rtol=1e-8, smallest=1.0, largest=4.0)
        >>> int(kx.solve(A, jnp.ones(30), solver).stats.num_steps)
        18

    References:
        G. H. Golub, R. S. Varga, Numer. Math. 3 (1961), doi:10.1007/BF01386013.
        Y. Saad, Iterative Methods for Sparse Linear Systems, 2nd ed. (2003), Alg. 12.1.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    smallest: Bound = None
    largest: Bound = None
    num_bound_steps: int = eqx.field(static=True, default=0)
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        _require_bounds(self.smallest, self.largest, self.num_bound_steps)

    @property
    @override
    def matvecs_per_begin(self) -> int:
        """Those that measure the bounds."""
        return self.num_bound_steps

    @property
    @override
    def calls_per_begin(self) -> int:
        """One more than products."""
        return self.num_bound_steps + 1 if self.num_bound_steps else 0

    @override
    def begin(self, system: LinearSystem, r: Field) -> _Vectors:
        """Place the interval."""
        smallest, largest = self._bounds(system, r)
        return _Vectors(
            r=r,
            d=zeros_like(r),
            tau=jnp.zeros_like(largest),
            centre=(largest + smallest) / 2,
            radius=(largest - smallest) / 2,
        )

    @override
    def step(self, system: LinearSystem, x: Field, vectors: _Vectors) -> Step:
        """Extend the polynomial by one degree."""
        centre, radius = vectors.centre, vectors.radius
        is_first = vectors.tau == 0
        z = (
            vectors.r
            if system.preconditioner is None
            else system.preconditioner(vectors.r)
        )
        rho = radius * vectors.tau
        tau = 1 / jnp.where(is_first, centre, 2 * centre - radius * rho)
        weight = jnp.where(is_first, tau, 2 * tau)
        d = add_scaled(scale(weight, z), radius * tau * rho, vectors.d)
        r = subtract(vectors.r, system.operator.mv(d))
        norm = self.inner_product.norm(lax.stop_gradient(r))
        return Step(
            x=add_scaled(x, jnp.isfinite(norm).astype(norm.dtype), d),
            vectors=_Vectors(r, d, tau, centre, radius),
            norm=norm,
            status=RUNNING,
            is_taken=jnp.ones((), bool),
        )

    def _bounds(
        self, system: LinearSystem, r: Field
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        dtype = system.target.dtype
        if not self.num_bound_steps:
            return jnp.asarray(self.smallest, dtype), jnp.asarray(self.largest, dtype)
        smallest, largest = ritz_bounds(
            system, r, self.num_bound_steps, self.inner_product
        )
        # Of no sense for a zero residual; positive, so that a step divides by them.
        largest = jnp.where(largest > 0, largest, 1)
        return jnp.maximum(smallest, jnp.finfo(dtype).eps * largest), largest


def _require_bounds(smallest: Bound, largest: Bound, num_bound_steps: int) -> None:
    require_count(num_bound_steps, "num_bound_steps", 0)
    if num_bound_steps and not (smallest is None and largest is None):
        raise ValueError(
            "smallest and largest were given and num_bound_steps asks to measure them; "
            "leave one of both out"
        )
    if num_bound_steps:
        return
    if smallest is None or largest is None:
        raise ValueError(
            "Chebyshev needs the bounds of the spectrum of M⁻¹A, got smallest="
            f"{smallest}, largest={largest}; give both, for example by "
            "spectral_bounds(A, key=key), or num_bound_steps=20 to measure them in "
            "each solve"
        )
    if is_unknown_number(smallest) or is_unknown_number(largest):
        return
    if not (0 < number_of(smallest) <= number_of(largest) < math.inf):
        raise ValueError(
            f"smallest and largest must satisfy 0 < smallest <= largest, got {smallest}"
            f" and {largest}; for an indefinite operator use MINRES"
        )
