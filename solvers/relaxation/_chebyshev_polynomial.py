"""The Chebyshev polynomial preconditioner, in the diagonally scaled operator.

M⁻¹ = q(D⁻¹A) D⁻¹, with D the diagonal of A and q the polynomial for which 1 - λ q(λ) is
the smallest possible on [b / ratio, b] (Y. Saad, Iterative Methods for Sparse Linear
Systems, 2nd ed., 2003, §12.3 and Alg. 12.1; M. Adams, M. Brezina, J. Hu, R. Tuminaro,
Parallel multigrid smoothing, J. Comput. Phys. 188, 2003,
doi:10.1016/S0021-9991(03)00194-3).

1 - λ q(λ) is a Chebyshev polynomial T_{k+1} of a falling function of λ, over a positive
number, k the degree of q. It is below 1 on (0, b], above 1 for λ < 0, and for λ > b it
has the sign of (-1)^{k+1}: with an even k, q is positive on the whole real axis, so
that a hermitian M⁻¹ is definite for any b, even a wrong bound.

Differs from the sources:
1. The degree has to be even, for that reason.
2. b is not a multiple of a Ritz value, but a bound (see `spectral_bounds`).
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._arguments import number_of, require_integer, require_number, shown
from ...operators._arithmetic import add, add_scaled, scale, subtract
from ...operators._control_flow import scan
from ...operators._field import Field, Structure, as_scalar, real_dtype
from ..core._compilation import compile_factory
from ..krylov._spectral_bounds import spectral_bounds
from ._jacobi import Jacobi

NUM_STEPS = 10
"""Of the Lanczos recurrence: the bound is then within some per cent of b."""


class ChebyshevPolynomial(eqx.Module):
    """The factory of a Chebyshev polynomial of fixed degree, for hermitian operators.

    For fields of any structure; needs products with A and its diagonal alone. It
    reduces the steps of CG by about degree + 1, and so the inner products, but not the
    number of products with A.

    Args:
        degree: number of products with A, even, at least 2.
        largest: the largest eigenvalue b of D⁻¹A, or a bound; it may be traced. `None`
            estimates it by 10 Lanczos steps at set-up.
        ratio: b over the smallest eigenvalue to be damped well, above 1. Below it q
            levels off; about the condition number of D⁻¹A over (degree + 1)² is best.

    Returns:
        When called: an operator with the symmetry of A, positive definite for hermitian
        A with a positive diagonal.

    Raises:
        ValueError: an odd degree or one below 2, a ratio of 1 or less, a largest that
            is not positive, or, when called without `largest`, an operator that is not
            tagged hermitian.

    Cost: degree products with A and 3 vectors per application; at set-up 10 products.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Laplacian((64, 64)), jnp.ones((64, 64))
        >>> M = kx.solvers.ChebyshevPolynomial(4)
        >>> sol = kx.solve(A, b, kx.solvers.CG(rtol=1e-8), preconditioner=M)
        >>> bool(sol.stats.num_steps < 40)
        True
    """

    degree: int = eqx.field(static=True)
    largest: Float[Array, ""] | None
    ratio: float = eqx.field(static=True)

    def __init__(self, degree: int, largest: Any = None, ratio: float = 30) -> None:
        require_integer(degree, "degree")
        if degree < 2 or degree % 2:
            raise ValueError(
                f"degree must be even and at least 2, got {degree}; odd ones may make "
                "the  preconditioner indefinite"
            )
        if not 1 < number_of(ratio) < math.inf:
            raise ValueError(f"ratio must be above 1 and finite, got {shown(ratio)}")
        self.degree, self.ratio = degree, float(ratio)
        self.largest = None if largest is None else _as_bound(largest)

    @compile_factory
    def __call__(self, A: AbstractLinearOperator) -> "PolynomialInverse":
        """Return the preconditioner of A."""
        inverse = Jacobi()(A).diagonal()
        largest = self._estimate(A) if self.largest is None else self.largest
        largest = largest.astype(real_dtype(A.in_structure))
        return PolynomialInverse(A, inverse, largest, self.degree, self.ratio)

    def _estimate(self, A: AbstractLinearOperator) -> Float[Array, ""]:
        if "hermitian" not in A.tags:
            raise ValueError(
                "ChebyshevPolynomial estimates eigenvalues of hermitian operators, got "
                f"a {type(A).__name__} tagged {sorted(A.tags)}; give largest= if its "
                "spectrum is near the positive real axis"
            )
        key = jax.random.key(0)
        return spectral_bounds(A, Jacobi()(A), key=key, num_steps=NUM_STEPS)[1]


class PolynomialInverse(AbstractLinearOperator):
    """q(D⁻¹A) D⁻¹ as a linear operator; made by `ChebyshevPolynomial`."""

    operator: AbstractLinearOperator
    inverse_diagonal: Field
    largest: Float[Array, ""]
    degree: int = eqx.field(static=True)
    ratio: float = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return self.operator.in_structure

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.operator.tags - {"singular"}

    @property
    def T(self) -> "PolynomialInverse":
        """The polynomial in D⁻¹Aᵀ."""
        if "symmetric" in self.tags:
            return self
        return eqx.tree_at(lambda M: M.operator, self, self.operator.T)

    @override
    def mv(self, x: Field) -> Field:
        # Saad's Alg. 12.1 with σ = θ/δ; d and r are preconditioned by D⁻¹.
        sigma = (self.ratio + 1) / (self.ratio - 1)
        theta = self.largest * (1 + 1 / self.ratio) / 2

        def step(state: Any, _: None) -> tuple[Any, None]:
            y, r, d, rho = state
            r = subtract(r, self._scaled(self.operator.mv(d)))
            following = 1 / (2 * sigma - rho)
            d = add_scaled(scale(following * rho, d), 2 * sigma * following / theta, r)
            return (add(y, d), r, d, following), None

        r = self._scaled(x)
        d = scale(1 / theta, r)
        rho = jnp.full_like(theta, 1 / sigma)
        (y, *_), _ = scan(step, (d, r, d, rho), length=self.degree)
        return y

    def _scaled(self, x: Field) -> Field:
        return jax.tree.map(jnp.multiply, self.inverse_diagonal, x)


def _as_bound(largest: Any) -> Float[Array, ""]:
    wanted = "a positive bound on the eigenvalues"
    require_number(largest, "largest", 0, math.inf, wanted)
    return as_scalar(largest, jnp.result_type(float, largest))
