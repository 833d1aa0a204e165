"""Cholesky factorisation of a hermitian positive definite operator, A = L Lᴴ."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Inexact
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ..core._compilation import compile_factory
from ..core._inner_product import InnerProduct
from ..core._status import Status
from ..core._stopping import as_max_steps, require_settings
from ._direct import AbstractDirect
from ._factored import FactoredInverse, factored_inverse, regular_matrix


class Cholesky(AbstractDirect):
    """Dense Cholesky, for small hermitian positive definite systems.

    `Cholesky()(A)` is the inverse as an operator: a preconditioner for neighbours of A.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        max_steps: bound on the number of refinements.
        inner_product: the inner product of fields.

    Returns:
        Through `solve`: status `converged`, `indefinite_operator`, `stagnated`,
        `max_steps_reached`, or a status of any solver. The counts do not include the
        products that form the matrix.

    Raises:
        ValueError: tolerances or max_steps out of range.

    Cost: n products with A unless its matrix is known, n³/3 operations, 2n² numbers,
    n² more where the matrix is not known; then 2n² operations and 1 matvec per step.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Dense(jnp.array([[2.0, 1.0], [1.0, 3.0]]))
        >>> kx.solve(A, jnp.array([4.0, 7.0]), kx.solvers.Cholesky()).value
        Array([1., 2.], dtype=float64)

    References:
        N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002),
        ch. 10.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10)
    inner_product: InnerProduct = InnerProduct()

    failure: ClassVar[Status] = Status.indefinite_operator

    def __check_init__(self) -> None:
        require_settings(self)

    @compile_factory
    @override
    def __call__(self, A: AbstractLinearOperator) -> FactoredInverse:
        factor = jnp.linalg.cholesky(regular_matrix(A))
        # NaN says that A is indefinite; a solve with zeros says it again, as a status.
        factor = jnp.where(jnp.all(jnp.isfinite(factor)), factor, 0)
        return factored_inverse(A, factor, _solve_vector)


def _solve_vector(
    factor: Inexact[Array, "n n"], b: Inexact[Array, " n"]
) -> Inexact[Array, " n"]:
    return cho_solve((factor, True), b)
