"""LU factorisation with partial pivoting of a general square operator, P A = L U."""

import equinox as eqx
from jax.scipy.linalg import lu_factor, lu_solve
from jaxtyping import Array, Inexact, Int
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ..core._compilation import compile_factory
from ..core._inner_product import InnerProduct
from ..core._stopping import as_max_steps, require_settings
from ._direct import AbstractDirect
from ._factored import FactoredInverse, factored_inverse, regular_matrix


class LU(AbstractDirect):
    """Dense LU with partial pivoting, for small general square systems.

    `LU()(A)` is the inverse as an operator: a preconditioner for neighbours of A.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        max_steps: bound on the number of refinements.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `breakdown` for a singular matrix,
        `stagnated`, `max_steps_reached`, or one of the general ones. Counts leave out
        the products that form the matrix.

    Raises:
        ValueError: tolerances or max_steps out of range.

    Cost: n products with A unless its matrix is known, 2n³/3 operations, 2n² numbers;
    then 2n² operations and 1 matvec per step.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Dense(jnp.array([[0.0, 2.0], [3.0, 1.0]]))
        >>> kx.solve(A, jnp.array([4.0, 5.0]), kx.solvers.LU()).value
        Array([1., 2.], dtype=float64)

    References:
        N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002),
        ch. 9.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self) -> None:
        require_settings(self)

    @compile_factory
    @override
    def __call__(self, A: AbstractLinearOperator) -> FactoredInverse:
        return factored_inverse(A, lu_factor(regular_matrix(A)), _solve_vector)


def _solve_vector(
    factors: tuple[Inexact[Array, "n n"], Int[Array, " n"]], b: Inexact[Array, " n"]
) -> Inexact[Array, " n"]:
    return lu_solve(factors, b)
