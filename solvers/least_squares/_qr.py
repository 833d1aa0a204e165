"""QR factorisation of a dense operator of any shape, for least squares.

A = Q R with orthonormal columns Q gives A⁺ = R⁻¹Qᴴ for a tall A, and Aᴴ = Q R gives A⁺
= Q R⁻ᴴ for a wide one, both of full rank. G. Golub, Numer. Math. 7 (1965),
doi:10.1007/BF01436075; N. J. Higham, Accuracy and Stability of Numerical Algorithms,
2nd ed. (2002), ch. 20 and 21.

Differs from the sources:
1. No pivoting. A diagonal entry of R that is rounding ends the solve as a breakdown.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Inexact, Int
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import conj, divide, matmul, power_of_two
from ...operators._field import (
    Field,
    FrozenStructure,
    Structure,
    freeze,
    ravel,
    size_of,
    thaw,
    unravel,
)
from ..core._compilation import compile_factory
from ..core._history import History
from ..core._inner_product import InnerProduct
from ..core._least_squares import (
    AbstractLeastSquares,
    Correction,
    LeastSquaresSystem,
)
from ..core._status import Status, first_of
from ..core._stopping import as_max_steps, require_damping, require_settings


class PseudoInverse(AbstractLinearOperator):
    """The pseudo-inverse A⁺ of an operator of full rank; made by `QR`.

    Attributes:
        Q: orthonormal columns, of a tall A or of the adjoint of a wide one.
        R: their triangle.
        is_wide: whether it is that of the adjoint.
    """

    Q: Inexact[Array, "long short"]
    R: Inexact[Array, "short short"]
    is_wide: bool = eqx.field(static=True)
    frozen: FrozenStructure = eqx.field(static=True)
    frozen_out: FrozenStructure = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return thaw(self.frozen)

    @property
    @override
    def out_structure(self) -> Structure:
        return thaw(self.frozen_out)

    @property
    @override
    def T(self) -> "PseudoInverse":
        return conj(self.H)

    @property
    @override
    def H(self) -> "PseudoInverse":
        return PseudoInverse(
            self.Q, self.R, not self.is_wide, self.frozen_out, self.frozen
        )

    @override
    def mv(self, x: Field) -> Field:
        vector = ravel(x)
        if self.is_wide:
            found = matmul(self.Q, solve_triangular(self.R, vector, trans="C"))
        else:
            found = solve_triangular(self.R, matmul(conj(self.Q).T, vector))
        return unravel(found, self.out_structure)

    @property
    def is_singular(self) -> Bool[Array, ""]:
        """Whether a diagonal entry of R is rounding."""
        sizes = jnp.abs(jnp.diagonal(self.R))
        rounding = max(self.Q.shape) * jnp.finfo(sizes.dtype).eps * jnp.max(sizes)
        return jnp.min(sizes) <= rounding

    @property
    def operator_norm(self) -> Float[Array, ""]:
        """The longest column of R, a lower bound of ‖A‖."""
        unit = power_of_two(jnp.max(jnp.abs(self.R)))
        return unit * jnp.max(jnp.linalg.norm(divide(self.R, unit), axis=0))


class QR(AbstractLeastSquares):
    """Dense QR, for small least-squares problems of full rank, tall, wide or square.

    `QR()(A)` is the pseudo-inverse A⁺ as an operator, and factors A once. A matrix
    whose rank is not full ends as `breakdown`, unless there is damping; `LSMR` solves
    such problems.

    Args:
        rtol: relative tolerance, as of `LSMR`.
        atol: absolute tolerance on the residual.
        damping: the weight of ‖x‖, zero or positive; the factors are those of (A;
            damping I).
        max_steps: bound on the number of refinements.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `breakdown`, `stagnated`,
        `max_steps_reached`, or one of the general ones. Counts leave out the products
        that form the matrix.

    Raises:
        ValueError: tolerances, damping or max_steps out of range.

    Cost: for m rows and n columns, m ≥ n, n products with A unless its matrix is known,
        4 m n² operations, 2 m n numbers; then 2 m n operations and 2 products per step.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Dense(jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]))
        >>> b = jnp.array([6.0, 0.0, 0.0])
        >>> kx.solve(A, b, kx.solvers.QR(rtol=1e-10)).value.round(6)
        Array([ 5., -3.], dtype=float64)

    References:
        G. Golub, Numer. Math. 7 (1965), doi:10.1007/BF01436075.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    damping: Any = 0.0
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self) -> None:
        require_settings(self)
        require_damping(self)

    @compile_factory
    def __call__(self, A: AbstractLinearOperator) -> PseudoInverse:
        """Return the pseudo-inverse of A, without damping."""
        is_wide = size_of(A.out_structure) < size_of(A.in_structure)
        matrix = A.as_matrix()
        Q, R = jnp.linalg.qr(matrix.conj().T if is_wide else matrix)
        return PseudoInverse(
            Q, R, is_wide, freeze(A.out_structure), freeze(A.in_structure)
        )

    @override
    def prepare(self, B: AbstractLinearOperator) -> PseudoInverse:
        return self(B)

    @override
    def correct(
        self, system: LeastSquaresSystem, num_steps: Int[Array, ""], history: History
    ) -> Correction:
        inverse = system.inverse
        assert isinstance(inverse, PseudoInverse)
        return Correction(
            value=inverse.mv(system.r),
            operator_norm=inverse.operator_norm,
            status=first_of((inverse.is_singular, Status.breakdown)),
            num_steps=num_steps + 1,
            num_matvecs=jnp.zeros((), jnp.int32),
            history=history,
        )
