"""Kronecker products and sums of operators on vectors.

On fields with one axis per factor, row-major, (A ⊗ B) U = A U Bᵀ and (A ⊕ B) U = A U +
U Bᵀ: each factor works along its own axis, and the big matrix is never formed (C. F.
Van Loan, The ubiquitous Kronecker product, J. Comput. Appl. Math. 123, 2000).
"""

from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact
from typing_extensions import override

from ._field import Structure, array_structure, describe, size_of
from ._line import DenseLine
from ._operator import AbstractLinearOperator
from ._separable import Separable
from ._tags import as_tags


class Kronecker(AbstractLinearOperator):
    """The Kronecker product A ⊗ B ⊗ ... on fields with one axis per factor.

    Args:
        *factors: linear operators from vectors to vectors, square or rectangular, all
            of one dtype.

    Raises:
        TypeError: a factor that is no linear operator.
        ValueError: no factor, one that does not map vectors to vectors, or factors of
            different dtypes.

    Cost: n/n_i products with factor i for a field of n entries, by its `mm`; factors
    that make the field smaller go first.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Dense(jnp.array([[1.0, 1.0]]))
        >>> B = kx.operators.Diagonal(jnp.array([1.0, 10.0, 100.0]))
        >>> kx.operators.Kronecker(A, B) @ jnp.ones((2, 3))
        Array([[  2.,  20., 200.]], dtype=float64)
    """

    factors: tuple[AbstractLinearOperator, ...]

    def __init__(self, *factors: AbstractLinearOperator) -> None:
        _require_vectors(factors)
        self.factors = factors

    @property
    def in_structure(self) -> Structure:
        """An array with the factors' input lengths as shape."""
        return _grid([factor.in_structure for factor in self.factors])

    @property
    def out_structure(self) -> Structure:
        """An array with the factors' output lengths as shape."""
        return _grid([factor.out_structure for factor in self.factors])

    @property
    def tags(self) -> frozenset[str]:
        """The tags that all factors have; singular if one is and all are square."""
        if any(f.in_structure != f.out_structure for f in self.factors):
            return frozenset()
        return _shared_tags(self.factors) | (
            frozenset({"singular"}) & _united_tags(self.factors)
        )

    @property
    def annihilates_constants(self) -> bool:
        """Whether one factor does."""
        return any(factor.annihilates_constants for factor in self.factors)

    @property
    def T(self) -> "Kronecker":
        """The product Aᵀ ⊗ Bᵀ ⊗ ..."""
        if "symmetric" in self.tags:
            return self
        return Kronecker(*[factor.T for factor in self.factors])

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return x with every factor applied along its axis."""
        growth = [_growth(factor) for factor in self.factors]
        for axis in np.argsort(growth, kind="stable"):
            x = _apply_along(self.factors[axis], x, int(axis))
        return x

    def diagonal(self) -> Inexact[Array, "..."]:
        """The outer product of the factors' diagonals, if all are square."""
        return reduce(jnp.multiply, _along_axes([f.diagonal() for f in self.factors]))

    @property
    @override
    def separable(self) -> Separable | None:
        if any(f.in_structure != f.out_structure for f in self.factors):
            return None
        return Separable(_lines(self.factors), is_product=True)

    @override
    def as_matrix(self) -> Inexact[Array, "rows columns"]:
        return reduce(jnp.kron, [factor.as_matrix() for factor in self.factors])


class KroneckerSum(AbstractLinearOperator):
    """The Kronecker sum A ⊗ I ⊗ ... + I ⊗ B ⊗ ... + ..., one axis per factor.

    Separable operators on a grid are Kronecker sums of operators along its axes. With
    masses, as of finite elements or of kernels, these stand for the identities:
    A ⊗ M_2 ⊗ M_3 + M_1 ⊗ B ⊗ M_3 + M_1 ⊗ M_2 ⊗ C.

    Args:
        *factors: square linear operators on vectors, all of one dtype.
        masses: operators of the same sizes, one per factor, tagged
            `positive_semidefinite` for direct solvers; `None` for identities.

    Raises:
        TypeError: a factor or mass that is no linear operator.
        ValueError: no factor, one that is not square on vectors, factors of different
            dtypes, or masses of other sizes.

    Cost: n/n_i products with factor i for a field of n entries, by its `mm`; with
    masses as many with each factor and mass in each of the terms.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> line = kx.operators.Laplacian((3,))
        >>> A, x = kx.operators.KroneckerSum(line, line), jnp.ones((3, 3))
        >>> bool(jnp.all(A @ x == kx.operators.Laplacian((3, 3)) @ x))
        True
    """

    factors: tuple[AbstractLinearOperator, ...]
    masses: tuple[AbstractLinearOperator, ...] | None

    def __init__(
        self,
        *factors: AbstractLinearOperator,
        masses: Sequence[AbstractLinearOperator] | None = None,
    ) -> None:
        _require_vectors(factors)
        for position, factor in enumerate(factors):
            if factor.in_structure != factor.out_structure:
                raise ValueError(
                    "the factors of a Kronecker sum must be square, got factor "
                    f"{position} from {describe(factor.in_structure)} to "
                    f"{describe(factor.out_structure)}"
                )
        self.factors = factors
        self.masses = None if masses is None else tuple(masses)
        _require_masses(self.masses, factors)

    @property
    def in_structure(self) -> Structure:
        """An array with the factors' lengths as shape."""
        return _grid([factor.in_structure for factor in self.factors])

    @property
    def tags(self) -> frozenset[str]:
        """The tags that all factors have; definite if one is, the rest semidefinite.

        Of these but `singular`, masses have to have them too.
        """
        shared = _shared_tags(self.factors)
        if "positive_semidefinite" in shared:
            shared |= {"positive_definite"} & _united_tags(self.factors)
        if self.masses is not None:
            shared &= _shared_tags(self.masses) | {"singular"}
        return shared

    @property
    def annihilates_constants(self) -> bool:
        """Whether all factors do."""
        return all(factor.annihilates_constants for factor in self.factors)

    @property
    def nullspace(self) -> Inexact[Array, "k ..."] | None:
        """Products of the factors' null vectors, if all are declared.

        Only for semidefinite factors: otherwise an eigenvalue of one may cancel that of
        another, and these are not all the null vectors.
        """
        vectors = [f.nullspace for f in self.factors if f.nullspace is not None]
        is_complete = "positive_semidefinite" in self.tags
        if self.masses is not None:
            is_complete &= "positive_definite" in _shared_tags(self.masses)
        if not is_complete or len(vectors) < len(self.factors):
            return None
        return reduce(_outer_rows, vectors)

    @property
    def T(self) -> "KroneckerSum":
        """The sum of the transposed factors."""
        if "symmetric" in self.tags:
            return self
        masses = self.masses and [mass.T for mass in self.masses]
        return KroneckerSum(*[factor.T for factor in self.factors], masses=masses)

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the sum of the terms."""
        return reduce(jnp.add, [self._term(x, axis) for axis in range(x.ndim)])

    def _term(self, x: Inexact[Array, "..."], axis: int) -> Inexact[Array, "..."]:
        """A factor along its axis, the masses along the others."""
        for other, mass in enumerate(self.masses or ()):
            if other != axis:
                x = _apply_along(mass, x, other)
        return _apply_along(self.factors[axis], x, axis)

    @property
    @override
    def separable(self) -> Separable | None:
        if self.masses is None:
            return Separable(_lines(self.factors))
        if "positive_semidefinite" not in _shared_tags(self.masses):
            return None
        return Separable(_lines(self.factors), masses=_lines(self.masses))

    def diagonal(self) -> Inexact[Array, "..."]:
        """The sum of the diagonals of the terms."""
        along = _along_axes([f.diagonal() for f in self.factors])
        if self.masses is None:
            return reduce(jnp.add, along)
        masses = _along_axes([mass.diagonal() for mass in self.masses])
        terms = [[*masses[:i], d, *masses[i + 1 :]] for i, d in enumerate(along)]
        return reduce(jnp.add, [reduce(jnp.multiply, term) for term in terms])


def _require_vectors(factors: tuple[AbstractLinearOperator, ...]) -> None:
    if not factors:
        raise ValueError("give at least one factor, got none")
    dtypes = set()
    for position, factor in enumerate(factors):
        if not isinstance(factor, AbstractLinearOperator):
            raise TypeError(
                f"factors must be linear operators, got a {type(factor).__name__} as "
                f"factor {position}; wrap a matrix in Dense"
            )
        vectors = [factor.in_structure, factor.out_structure]
        leaves = [v for v in vectors if isinstance(v, jax.ShapeDtypeStruct)]
        if [leaf.ndim for leaf in leaves] != [1, 1]:
            raise ValueError(
                f"factors must map vectors to vectors, got factor {position} from "
                f"{describe(factor.in_structure)} to {describe(factor.out_structure)}"
            )
        dtypes |= {leaf.dtype.name for leaf in leaves}
    if len(dtypes) > 1:
        raise ValueError(
            f"factors must share one dtype, got {', '.join(sorted(dtypes))}; build them"
            " in one"
        )


def _require_masses(
    masses: tuple[AbstractLinearOperator, ...] | None,
    factors: tuple[AbstractLinearOperator, ...],
) -> None:
    if masses is None:
        return
    _require_vectors(masses)
    found = [(mass.in_structure, mass.out_structure) for mass in masses]
    expected = [(factor.in_structure, factor.out_structure) for factor in factors]
    if found != expected:
        raise ValueError(
            "the masses of a Kronecker sum must have the sizes and the dtype of its "
            f"factors, {[describe(size) for size, _ in expected]}, got "
            f"{[describe(size) for size, _ in found]}"
        )


def _lines(factors: tuple[AbstractLinearOperator, ...]) -> tuple[DenseLine, ...]:
    return tuple(DenseLine(factor.as_matrix(), factor.tags) for factor in factors)


def _grid(structures: Sequence[Structure | None]) -> Structure:
    """An array with one axis per vector."""
    vectors = jax.tree.leaves(list(structures))
    return array_structure([v.shape[0] for v in vectors], vectors[0].dtype)


def _shared_tags(factors: tuple[AbstractLinearOperator, ...]) -> frozenset[str]:
    shared = frozenset.intersection(*[factor.tags for factor in factors])
    return as_tags(shared, factors[0].in_structure, factors[0].in_structure)


def _united_tags(factors: tuple[AbstractLinearOperator, ...]) -> frozenset[str]:
    return frozenset.union(*[factor.tags for factor in factors])


def _growth(factor: AbstractLinearOperator) -> float:
    return size_of(factor.out_structure) / size_of(factor.in_structure)


def _apply_along(
    factor: AbstractLinearOperator, x: Inexact[Array, "..."], axis: int
) -> Inexact[Array, "..."]:
    moved = jnp.moveaxis(x, axis, -1)
    rows = factor.mm(moved.reshape(-1, moved.shape[-1]))
    return jnp.moveaxis(rows.reshape(*moved.shape[:-1], rows.shape[-1]), -1, axis)


def _along_axes(vectors: list[Inexact[Array, " n"]]) -> list[Inexact[Array, "..."]]:
    """Turn vector i into an array that varies along axis i, all of one shape."""
    shape = [v.size for v in vectors]
    turned = []
    for axis, vector in enumerate(vectors):
        others = [i for i in range(len(vectors)) if i != axis]
        turned.append(jnp.broadcast_to(jnp.expand_dims(vector, others), shape))
    return turned


def _outer_rows(
    rows: Inexact[Array, "k ..."], vectors: Inexact[Array, "l n"]
) -> Inexact[Array, "kl ..."]:
    """The outer product of each row with each vector, stacked."""
    products = jnp.einsum("k...,ln->kl...n", rows, vectors)
    return products.reshape(-1, *products.shape[2:])
