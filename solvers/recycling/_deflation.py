"""Deflation: a preconditioner that solves exactly in the span of given vectors.

In the balancing form, which is hermitian positive definite if A and M⁻¹ are,

    P⁻¹ = λ Q + (I - Q A) M⁻¹ (I - A Q),    Q = U (UᴴAU)⁻¹ Uᴴ:

J. M. Tang, R. Nabben, C. Vuik, Y. A. Erlangga, Comparison of two-level preconditioners
derived from deflation, domain decomposition and multigrid methods, J. Sci. Comput. 39
(2009), doi:10.1007/s10915-009-9272-6, where it is called BNN. If U spans an invariant
space of M⁻¹A, the eigenvalues that belong to it become λ, and the others stay.

Differs from the paper:
1. λ is not 1, but about the largest eigenvalue of M⁻¹A: 1 may lie far below the others
   where M⁻¹ is not scaled like A⁻¹, and CG then pays for the distance.
2. U is replaced by the basis W with WᴴAW = I, and A W is kept: to apply P⁻¹ takes no
   product with A.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax import lax
from jaxtyping import Array, Float
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._arguments import shown
from ...operators._arithmetic import add, combine, conj, scale, subtract
from ...operators._field import Field, Structure, array_structure, as_field, describe
from ...operators._operator import require_operator
from ...operators._tags import require_complete
from ..core._arguments import require_inner_product, require_maker
from ..core._compilation import compile_modules
from ..core._inner_product import InnerProduct
from ..krylov._spectral_bounds import spectral_bounds
from ._conjugate_basis import ConjugateBasis, conjugate_basis
from ._recycle_space import RecycleSpace

NUM_STEPS = 10
"""Of the Lanczos recurrence for λ, of which only the order of magnitude matters."""

EUCLIDEAN = InnerProduct()


class Deflation(eqx.Module):
    """The factory of a preconditioner that is exact on given vectors.

    For hermitian positive definite operators, by CG. With approximate eigenvectors of
    the smallest eigenvalues of M⁻¹A, CG takes about as many steps as if these
    eigenvalues were not there. For vectors that a sequence of solves finds itself, see
    `DeflatedCG`. The projections have derivative zero.

    Args:
        vectors: U, k fields stacked along a first axis, or a `RecycleSpace`, whose U is
            taken. They need be neither orthogonal nor independent.
        preconditioner: M⁻¹, a linear operator, or a factory that makes one from A;
            `None` for the identity.
        inner_product: how fields are reduced to numbers.

    Returns:
        When called: a `DeflatedInverse`, hermitian positive definite if A and M⁻¹ are.

    Raises:
        ValueError: when called: an operator without the tag `positive_definite` or
            `positive_semidefinite`, vectors that are no stack of its fields, or a
            preconditioner that is not linear.

    Cost: per application one of M⁻¹ and 4 passes over k vectors; at set-up k + 10
    products and 11 calls of M⁻¹. 2k vectors.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Laplacian((100,)), jnp.ones(100)
        >>> lowest = jnp.sin(jnp.pi / 101 * jnp.outer(jnp.arange(1, 11.0),
        ...     jnp.arange(1, 101.0)))
        >>> M = kx.solvers.Deflation(lowest)
        >>> sol = kx.solve(A, b, kx.solvers.CG(rtol=1e-8), preconditioner=M)
        >>> plain = kx.solve(A, b, kx.solvers.CG(rtol=1e-8))
        >>> bool(sol.stats.num_steps < plain.stats.num_steps)
        True
    """

    vectors: Field
    preconditioner: AbstractLinearOperator | Callable[[Any], Any] | None
    inner_product: InnerProduct

    def __init__(
        self,
        vectors: Any,
        preconditioner: AbstractLinearOperator | Callable[[Any], Any] | None = None,
        inner_product: InnerProduct = EUCLIDEAN,
    ):
        vectors = vectors.U if isinstance(vectors, RecycleSpace) else vectors
        self.vectors = as_field(vectors, "vectors")
        if not jax.tree.leaves(self.vectors):
            raise ValueError(
                "vectors must be fields stacked along a first axis, got "
                f"{shown(vectors)}"
            )
        require_maker(preconditioner)
        require_inner_product(inner_product)
        self.preconditioner = preconditioner
        self.inner_product = inner_product

    def __call__(self, A: AbstractLinearOperator) -> "DeflatedInverse":
        """Return the preconditioner of A."""
        require_operator(A)
        require_complete(A)
        if "positive_semidefinite" not in A.tags:
            raise ValueError(
                "Deflation needs an operator tagged positive_definite, got a "
                f"{type(A).__name__} tagged {sorted(A.tags)}; promise it where "
                "the operator is made, or use GCRODR, which deflates any operator"
            )
        _require_stack(self.vectors, A.in_structure)
        M = _made_for(A, self.preconditioner)
        return _deflated_inverse(A, M, self.vectors, self.inner_product)


@compile_modules
def _deflated_inverse(
    A: AbstractLinearOperator,
    M: AbstractLinearOperator | None,
    vectors: Field,
    inner_product: InnerProduct,
) -> "DeflatedInverse":
    # The basis is made by eigenvectors of the identity, to rounding, which have no
    # derivative.
    A, vectors = lax.stop_gradient((A, vectors))
    basis, _ = conjugate_basis(A, vectors, inner_product)
    _, largest = spectral_bounds(
        A, M, key=jax.random.key(0), num_steps=NUM_STEPS, inner_product=inner_product
    )
    kept = A.tags - {"singular"}
    promised = kept if M is None else kept & M.tags
    return DeflatedInverse(basis, M, largest, inner_product, promised)


class DeflatedInverse(AbstractLinearOperator):
    """λ Q + (I - Q A) M⁻¹ (I - A Q); made by `Deflation`."""

    basis: ConjugateBasis
    preconditioner: AbstractLinearOperator | None
    largest: Float[Array, ""]
    inner_product: InnerProduct
    promised: frozenset[str] = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return _row_structure(self.basis.W)

    @property
    @override
    def tags(self) -> frozenset[str]:
        """Those that A and M⁻¹ share."""
        return self.promised

    @property
    @override
    def T(self) -> "DeflatedInverse":
        """That of the conjugate of A, and of the transpose of M⁻¹."""
        if "symmetric" in self.tags:
            return self
        M = None if self.preconditioner is None else self.preconditioner.T
        basis = conj(self.basis)
        return DeflatedInverse(
            basis, M, self.largest, self.inner_product, self.promised
        )

    @override
    def mv(self, x: Field) -> Field:
        """Return P⁻¹ x."""
        basis = self.basis
        along = self.inner_product.block_dot(basis.W, x)
        y = subtract(x, combine(along, basis.Z))
        y = y if self.preconditioner is None else self.preconditioner.mv(y)
        y = basis.project_direction(y, self.inner_product)
        return add(y, scale(self.largest, combine(along, basis.W)))


def _made_for(A: AbstractLinearOperator, preconditioner: Any) -> Any:
    if preconditioner is None or isinstance(preconditioner, AbstractLinearOperator):
        return preconditioner
    M = preconditioner(A) if callable(preconditioner) else preconditioner
    if not isinstance(M, AbstractLinearOperator):
        raise ValueError(
            "preconditioner must be a linear operator or make one from A, such as "
            f"Jacobi(), got {type(M).__name__}"
        )
    return M


def _row_structure(rows: Field) -> Structure:
    return jax.tree.map(lambda row: array_structure(row.shape[1:], row.dtype), rows)


def _require_stack(rows: Field, structure: Structure) -> None:
    counts = {row.shape[:1] for row in jax.tree.leaves(rows)}
    if len(counts) == 1 and counts != {()} and _row_structure(rows) == structure:
        return
    raise ValueError(
        "vectors must be fields of A stacked along one more axis, the first, got "
        f"{describe(jax.eval_shape(lambda: rows))} for fields {describe(structure)}"
    )
