"""Separable systems that are not hermitian, by the Schur forms of their lines.

With T_i = U_i S_i U_iᴴ, S_i upper triangular, (Σ_i T_i + c)⁻¹ is U (Σ_i S_i + c)⁻¹ Uᴴ
with U the Kronecker product of the U_i. For two axes this is the Sylvester equation
T_1 X + X T_2ᵀ + c X = F. R. H. Bartels, G. W. Stewart, Commun. ACM 15 (1972),
doi:10.1145/361573.361582; the triangular system is in `_triangular_form.py`.

Differs from the paper:
1. Any number of axes, products, and masses: `_masses.py`.
2. Derivatives are by the implicit rule, since a Schur form has none here.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Inexact
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._along_axis import multiply_along
from ...operators._field import FrozenStructure, Structure, freeze, thaw
from ...operators._separable import Separable
from ..core._compilation import compile_modules
from ..core._inner_product import InnerProduct
from ..core._stopping import as_max_steps, require_settings
from ._direct import AbstractDirect
from ._masses import inverse_tags, standard_lines
from ._triangular_form import TriangularForm, triangular_form


class Sylvester(AbstractDirect):
    """Direct solver of separable operators, hermitian or not, on one axis or more.

    For `KroneckerSum` of any square factors, also with masses, square `Kronecker`, the
    sum `Kronecker(S1, M2) + Kronecker(M1, S2)` with M1 and M2 tagged
    `positive_semidefinite`, their multiples, sums with `Identity` but where there are
    masses, and any operator that answers `separable`. `Sylvester()(B)` of such a B near
    A is a preconditioner. Hermitian lines are faster with `FastDiagonalization`.

    Eigenvalues of a mass below 1e-13 of the largest (5e-5 in 32 bits) are left out.
    What they stand for is then no part of the solution, nor of what is solved: where it
    is needed, the residual says so. Derivatives of the inverse are those of an inverse.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        max_steps: bound on the number of refinements.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `breakdown` where eigenvalues add up to
        zero and no null space is declared, `stagnated`, `max_steps_reached`, or one of
        the general ones.

    Raises:
        ValueError: tolerances or max_steps out of range; an operator without a known
            separable form; a backend that is not a CPU, since JAX has Schur forms
            there only.

    Cost: per axis a complex Schur form, 25 n_i³ complex operations, once. Then per step
    4 n Σ n_i complex operations, of which half in n/n_d triangular solves one after the
    other, n_d the longest axis, and 1 matvec; 3 Σ n_i² complex numbers. Two axes of 64,
    128 and 256 points take 1, 7 and 50 ms per step on one core, and 6, 40 and 150 ms
    once; SciPy's `solve_sylvester` takes 2.5, 17 and 140 ms for both
    (benchmarks/sylvester.py).

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Dense(jnp.array([[1.0, 2.0], [0.0, 3.0]]))
        >>> S, F = kx.operators.KroneckerSum(A, A), jnp.array([[6.0, 10.0], [8.0, 6.0]])
        >>> kx.solve(S, F, kx.solvers.Sylvester()).value.round(6)
        Array([[1., 1.],
               [1., 1.]], dtype=float64)

    References:
        R. H. Bartels, G. W. Stewart, Algorithm 432: solution of the matrix equation
        AX + XB = C, Commun. ACM 15 (1972).
    """

    rtol: float = 1e-5
    atol: float = 0.0
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self) -> None:
        require_settings(self)

    @compile_modules
    @override
    def __call__(self, A: AbstractLinearOperator) -> "SylvesterInverse":
        form = A.separable
        if form is None or not form.lines:
            raise ValueError(
                "Sylvester knows operators with one square matrix per axis: "
                "KroneckerSum, whose masses are tagged positive_semidefinite, square "
                "Kronecker, Kronecker(S1, M2) + Kronecker(M1, S2) with M1 and M2 so "
                "tagged, Laplacian, Diffusion, Helmholtz, their multiples and sums "
                f"with Identity, got {type(A).__name__}; give it a nearby operator of "
                "these: preconditioner=Sylvester()(B)"
            )
        _require_schur_forms()
        return _inverse(A, form)


class SylvesterInverse(AbstractLinearOperator):
    """U (Σ S_i + c)⁻¹ Uᴴ as an operator; made by `Sylvester`."""

    form: Separable
    triangular: TriangularForm
    vectors: tuple[Complex[Array, "_ _"], ...]
    frozen: FrozenStructure = eqx.field(static=True)
    promised: frozenset[str] = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return thaw(self.frozen)

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.promised

    @property
    @override
    def T(self) -> "SylvesterInverse":
        if "symmetric" in self.promised:
            return self
        return self._transpose()

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return lax.custom_linear_solve(
            self.form.mv,
            x,
            solve=lambda _, b: self._solve(b),
            transpose_solve=lambda _, b: self._transpose()._solve(b),
        )

    def _transpose(self) -> "SylvesterInverse":
        return SylvesterInverse(
            self.form.T,
            self.triangular.T,
            tuple(U.conj()[:, ::-1] for U in self.vectors),
            self.frozen,
            self.promised,
        )

    def _solve(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        y = b.astype(self.vectors[0].dtype)
        for axis, U in enumerate(self.vectors):
            y = multiply_along(U.conj().T, y, axis)
        y = self.triangular.solve(y)
        for axis, U in enumerate(self.vectors):
            y = multiply_along(U, y, axis)
        return y if jnp.iscomplexobj(b) else y.real


def _inverse(A: AbstractLinearOperator, form: Separable) -> SylvesterInverse:
    dtype = jnp.result_type(*jax.tree.leaves(A.in_structure))
    dtype = np.promote_types(dtype, np.complex64)
    # JAX has no derivative of a Schur form; those of the inverse need none.
    constant = lax.stop_gradient(form)
    triangles, vectors = [], []
    for standard in standard_lines(constant):
        matrix = standard.line.as_matrix().astype(dtype)
        S, U = jax.scipy.linalg.schur(matrix, output="complex")
        triangles.append(S)
        vectors.append(standard.expand(U))
    shift = constant.shift
    shift = jnp.zeros((), dtype) if shift is None else shift.astype(dtype)
    is_regularised = A.nullspace is not None
    triangular = triangular_form(
        tuple(triangles), shift, form.is_product, is_regularised
    )
    promised = inverse_tags(A, form)
    return SylvesterInverse(
        form, triangular, tuple(vectors), freeze(A.in_structure), promised
    )


def _require_schur_forms() -> None:
    """Raise a `ValueError` where JAX cannot compute a Schur form."""
    config: Any = jax.config
    device = config.jax_default_device
    platform = jax.default_backend() if device is None else device
    platform = getattr(platform, "platform", platform)
    if platform != "cpu":
        raise ValueError(
            "Sylvester needs Schur forms, which JAX has on CPUs only, not on "
            f"{platform}; use FastDiagonalization for hermitian factors, GMRES or "
            "BiCGStab for others, or jax.default_device(jax.devices('cpu')[0])"
        )
