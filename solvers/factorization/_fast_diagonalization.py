"""Fast diagonalisation: separable systems by products with small eigenvector matrices.

With T_i = V_i Λ_i V_iᴴ, the inverse of Σ_i T_i + s is V (Σ_i Λ_i + s)⁻¹ Vᴴ with V the
Kronecker product of the V_i: two matrix products per axis. R. E. Lynch, J. R. Rice, D.
H. Thomas, Numer. Math. 6 (1964), doi:10.1007/BF01386067.

Differs from the paper:
1. Zero eigenvalues are left out, which gives the pseudo-inverse of a singular operator.
2. Operators that are not separable are averaged: `separable` of the operators.
3. With a Kronecker product for the sum eigenvalues multiply.
"""

from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.lax import Precision
from jaxtyping import Array, Inexact
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._field import Structure, array_structure
from ...operators._separable import Separable
from ..core._compilation import compile_factory
from ..core._inner_product import InnerProduct
from ..core._stopping import as_max_steps, require_settings
from ._direct import AbstractDirect


class FastDiagonalization(AbstractDirect):
    """Direct solver of separable operators, and preconditioner of nearby ones.

    For `Laplacian`, `Diffusion` and `Helmholtz` with a constant coefficient (k² may be
    complex, which damps), `Kronecker` and `KroneckerSum` of hermitian factors, their
    multiples, sums with `Identity`, and any operator that answers `separable`.
    `FastDiagonalization()` as a preconditioner, or `FastDiagonalization()(B)` of a
    separable B near A, is for coefficients that vary moderately. As a solver of an
    operator that is not separable it is a fixed-point iteration, which may not
    converge.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        max_steps: bound on the number of refinements.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `stagnated`, `max_steps_reached`, or one of
        the general ones.

    Raises:
        ValueError: tolerances or max_steps out of range; an operator without a known
            separable form.

    Cost: per axis an eigenproblem of size n_i, which of a `Laplacian` has a closed
    form, and per step 2 matrix products per axis, 4 n Σ n_i operations, and 1 matvec;
    n + Σ n_i² numbers.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((20, 30), spacing=0.1)
        >>> solver = kx.solvers.FastDiagonalization(rtol=1e-12)
        >>> kx.solve(A, jnp.ones((20, 30)), solver).stats.num_steps
        Array(1, dtype=int32)

    References:
        R. E. Lynch, J. R. Rice, D. H. Thomas, Direct solution of partial difference
        equations by tensor product methods, Numer. Math. 6 (1964).
    """

    rtol: float = 1e-5
    atol: float = 0.0
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=20)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self) -> None:
        require_settings(self)

    @compile_factory
    @override
    def __call__(self, A: AbstractLinearOperator) -> "FastDiagonalInverse":
        form = A.separable
        if form is None or not form.lines:
            raise ValueError(
                "fast diagonalisation knows Laplacian, Diffusion, Helmholtz, hermitian "
                "Kronecker and KroneckerSum, with real coefficients, and their real "
                f"multiples and sums with Identity, got {type(A).__name__}; give it a "
                "nearby operator of these:"
                " preconditioner=FastDiagonalization()(B)"
            )
        dtype = jnp.result_type(*jax.tree.leaves(A.in_structure))
        return _inverse(form, dtype, A.tags - {"singular"})


class FastDiagonalInverse(AbstractLinearOperator):
    """V (Σ Λ_i + s)⁻¹ Vᴴ as an operator; made by `FastDiagonalization`."""

    vectors: tuple[Inexact[Array, "_ _"], ...]
    inverse: Inexact[Array, "..."]
    promised: frozenset[str] = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return array_structure(self.inverse.shape, self.inverse.dtype)

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.promised

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        for axis, V in enumerate(self.vectors):
            x = _apply_along(V.conj().T, x, axis)
        x = self.inverse * x
        for axis, V in enumerate(self.vectors):
            x = _apply_along(V, x, axis)
        return x


def _inverse(
    form: Separable, dtype: jnp.dtype, promised: frozenset[str]
) -> FastDiagonalInverse:
    values, vectors = zip(*[line.eigenpairs() for line in form.lines], strict=True)
    combine = jnp.multiply.outer if form.is_product else jnp.add.outer
    sums = reduce(combine, values).astype(dtype)
    sums = sums if form.shift is None else form.shift.astype(dtype) + sums
    size = jnp.max(jnp.abs(sums))
    # Above the rounding of `eigh`, at most 2 eps for 512 points a side, and below the
    # smallest eigenvalue of a Laplacian, (π/n)²/12 of the largest.
    floor = 10 * jnp.finfo(sums.dtype).eps * size
    is_zero = jnp.abs(sums) <= floor
    inverse = jnp.where(is_zero, 0, 1 / jnp.where(is_zero, 1, sums))
    return FastDiagonalInverse(vectors, inverse, promised)


def _apply_along(
    matrix: Inexact[Array, "n n"], x: Inexact[Array, "..."], axis: int
) -> Inexact[Array, "..."]:
    """Multiply every line of x along an axis by a matrix."""
    if jnp.iscomplexobj(x) and not jnp.iscomplexobj(matrix):
        parts = (_apply_along(matrix, part, axis) for part in (x.real, x.imag))
        return lax.complex(*parts)
    shape = x.shape
    if axis == x.ndim - 1:
        flat = x.reshape(-1, shape[axis])
        return jnp.matmul(flat, matrix.T, precision=Precision.HIGHEST).reshape(shape)
    before = 1
    for size in shape[:axis]:
        before *= size
    flat = x.reshape(before, shape[axis], -1)
    product = jax.vmap(
        lambda lines: jnp.matmul(matrix, lines, precision=Precision.HIGHEST)
    )
    return product(flat).reshape(shape)
