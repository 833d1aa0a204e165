"""Fast diagonalisation: separable systems by products with small eigenvector matrices.

With T_i = V_i Λ_i V_iᴴ, the inverse of Σ_i T_i + s is V (Σ_i Λ_i + s)⁻¹ Vᴴ with V the
Kronecker product of the V_i: two matrix products per axis. R. E. Lynch, J. R. Rice, D.
H. Thomas, Numer. Math. 6 (1964), doi:10.1007/BF01386067.

Differs from the paper:
1. Zero eigenvalues are left out, which gives the pseudo-inverse of a singular operator.
2. Operators that are not separable are averaged: `separable` of the operators.
3. With a Kronecker product for the sum eigenvalues multiply.
4. Masses, T_1 ⊗ M_2 + M_1 ⊗ T_2: generalised eigenproblems, by `_masses.py`.
"""

from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._along_axis import multiply_along
from ...operators._field import Structure, array_structure
from ...operators._separable import Separable
from ..core._compilation import compile_factory
from ..core._inner_product import InnerProduct
from ..core._stopping import as_max_steps, require_settings
from ._direct import AbstractDirect
from ._masses import inverse_tags, standard_lines


class FastDiagonalization(AbstractDirect):
    """Direct solver of separable operators, and preconditioner of nearby ones.

    For `Laplacian`, `Diffusion` and `Helmholtz` with a constant coefficient (k² may be
    complex, which damps), `Kronecker` and `KroneckerSum` of hermitian factors, also
    with masses, `Kronecker(S1, M2) + Kronecker(M1, S2)` with M1 and M2 tagged
    `positive_semidefinite`, their real multiples, sums with `Identity` but where there
    are masses, and any operator that answers `separable` by hermitian lines.
    Eigenvalues of a mass below 1e-13 of the largest (5e-5 in 32 bits) are left out:
    the inverse is then a pseudo-inverse. Lines that are not hermitian: `Sylvester`.
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
        if form is None or not form.lines or not form.is_hermitian:
            raise ValueError(
                "fast diagonalisation knows Laplacian, Diffusion, Helmholtz, hermitian "
                "Kronecker and KroneckerSum, with real coefficients, and their real "
                f"multiples and sums with Identity, got {type(A).__name__}; give it a "
                "nearby operator of these: preconditioner=FastDiagonalization()(B), or "
                "use Sylvester for factors that are not hermitian"
            )
        dtype = jnp.result_type(*jax.tree.leaves(A.in_structure))
        return _inverse(form, dtype, inverse_tags(A, form))


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
            x = multiply_along(V.conj().T, x, axis)
        x = self.inverse * x
        for axis, V in enumerate(self.vectors):
            x = multiply_along(V, x, axis)
        return x


def _inverse(
    form: Separable, dtype: jnp.dtype, promised: frozenset[str]
) -> FastDiagonalInverse:
    lines = standard_lines(form)
    values, vectors = zip(*[each.line.eigenpairs() for each in lines], strict=True)
    vectors = tuple(each.expand(V) for each, V in zip(lines, vectors, strict=True))
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
