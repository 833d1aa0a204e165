"""The recycled pair (U, C) of GCRO-DR: A U = C, CᴴC = I, and how it is made.

Notation of M. L. Parks, E. de Sturler, G. Mackey, D. D. Johnson, S. Maiti, Recycling
Krylov subspaces for sequences of linear systems, SIAM J. Sci. Comput. 28 (2006),
doi:10.1137/040607277. Blocks of vectors are stacked along the first axis.
"""

from typing import Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int

from ...operators import AbstractLinearOperator
from ...operators._arguments import require_count
from ...operators._arithmetic import (
    combine,
    power_of_two,
    reciprocal,
    recombine,
    scale_rows,
)
from ...operators._control_flow import cond
from ...operators._field import Field, Structure
from ..core._inner_product import InnerProduct

_DRIFT = 8.0
"""Growth of ‖A U z‖ from one system to the next, z of equal weights in scaled vectors,
above which the space is dropped. In sorted sequences of waves, flows, Darcy's equation
and the operator as released it grows by up to 2.9, from a system to one with permuted
unknowns by 14 to 113 (48 x 48, k = 20).
"""


class RecycleSpace(eqx.Module):
    """What GCRO-DR hands to the next system.

    Attributes:
        U: k fields along a first axis, with A U = C for the A of the solve it came
            from.
        C: k orthonormal fields.
        Y: M U, the same vectors before the preconditioner M⁻¹; U itself without one.
        num_vectors: how many of the k count; the rest are zero.
    """

    U: Field
    C: Field
    Y: Field
    num_vectors: Int[Array, ""]


def empty_space(structure: Structure, num_recycled: int) -> RecycleSpace:
    """A space of no vectors, with room for `num_recycled`."""
    rows = jax.tree.map(
        lambda s: jnp.zeros((num_recycled, *s.shape), s.dtype), structure
    )
    return RecycleSpace(rows, rows, rows, jnp.zeros((), jnp.int32))


def renew(
    A: AbstractLinearOperator, carry: RecycleSpace, inner_product: InnerProduct
) -> tuple[RecycleSpace, Int[Array, ""]]:
    """Return the carried vectors with the pair A U = C of a new operator, or none.

    One product shows whether they have drifted, so that k are not spent on them; the
    number of products is returned too.
    """
    carry = _of_unit_size(carry, carry.Y, inner_product)
    k = jax.tree.leaves(carry.U)[0].shape[0]
    empty = jax.tree.map(jnp.zeros_like, carry)

    def renewed() -> RecycleSpace:
        return orthonormalise_images(carry, A.mm(carry.U), inner_product)

    squares = jax.vmap(lambda y: jnp.real(inner_product.dot(y, y)))(carry.Y)
    factors = reciprocal(jnp.sqrt(squares))
    z = combine(factors.astype(jnp.result_type(*jax.tree.leaves(carry.U))), carry.U)
    image = inner_product.norm(A.mv(z))
    # NaN is no drift: it is reported as input that is not finite.
    has_drifted = image > _DRIFT * jnp.sqrt(jnp.sum(factors**2))
    num_matvecs = jnp.where(has_drifted, 1, k + 1).astype(jnp.int32)
    return cond(has_drifted, lambda: empty, renewed), num_matvecs


def require_counts(solver: Any, plain: str) -> None:
    """Check the counts of a solver that recycles; without recycling it is `plain`.

    Raises:
        ValueError: num_recycled or num_directions is no integer, or below 1.
    """
    for name in ("num_recycled", "num_directions"):
        hint = f"; without recycling it is {plain}"
        require_count(getattr(solver, name), name, hint=hint)


def require_choice(solver: Any, name: str, kind: Any) -> None:
    """Check that a setting is one of the literals of a type.

    Raises:
        ValueError: it is another one.
    """
    value = getattr(solver, name)
    if not isinstance(value, str) or value not in get_args(kind):
        raise ValueError(f"{name} must be one of {get_args(kind)}, got {value!r}")


def orthonormalise_images(
    space: RecycleSpace, images: Field, inner_product: InnerProduct
) -> RecycleSpace:
    """Return the space with C an orthonormal basis of `images` = A U, and U to match.

    By the eigenvectors of the Gram matrix, twice (A. Stathopoulos and K. Wu, A block
    orthogonalization procedure with constant synchronization requirements, SIAM J. Sci.
    Comput. 23 (2002), doi:10.1137/S1064827500370883): it needs inner products only, and
    finds and drops dependent vectors, which end up last and zero. Images that are
    orthonormal to rounding, as they mostly are after the first time, are left alone.
    """

    def whitened(space: RecycleSpace, gram: Array) -> RecycleSpace:
        T, num_vectors = whitening(gram)
        U, C, Y = (recombine(T, rows) for rows in (space.U, space.C, space.Y))
        return RecycleSpace(U, C, Y, num_vectors)

    def twice(space: RecycleSpace, gram: Array) -> RecycleSpace:
        space = whitened(space, gram)
        gram = inner_product.gram(space.C, space.C)
        is_done = _is_identity(gram, space.num_vectors)
        return cond(is_done, lambda s, _: s, whitened, space, gram)

    space = eqx.tree_at(lambda s: s.C, space, images)
    space = _of_unit_size(space, images, inner_product)
    gram = inner_product.gram(space.C, space.C)
    is_done = _is_identity(gram, space.num_vectors)
    return cond(is_done, lambda s, _: s, twice, space, gram)


def _of_unit_size(
    space: RecycleSpace, rows: Field, inner_product: InnerProduct
) -> RecycleSpace:
    """Return the space measured in powers of two near the entries of some rows.

    Their squares would leave the numbers of the dtype where A is very large or small.
    """
    units = jax.vmap(lambda row: power_of_two(inner_product.max_abs(row)))(rows)
    is_one = jnp.all((units >= 2**-20) & (units <= 2**20))

    def measured() -> RecycleSpace:
        U, C, Y = (scale_rows(1 / units, rows) for rows in (space.U, space.C, space.Y))
        return RecycleSpace(U, C, Y, space.num_vectors)

    # Mostly the numbers are of ordinary size, and 3 k vectors need not be copied.
    return cond(is_one, lambda: space, measured)


def _is_identity(
    gram: Inexact[Array, "k k"], num_vectors: Int[Array, ""]
) -> Bool[Array, ""]:
    size = gram.shape[0]
    expected = jnp.diag(jnp.arange(size, dtype=jnp.int32) < num_vectors)
    error = jnp.max(jnp.abs(gram - expected.astype(gram.dtype)))
    # Where none is counted yet, vectors of any length may be to come.
    is_counted = (num_vectors > 0) | (error == 0)
    return is_counted & (error <= 100 * size * jnp.finfo(error.dtype).eps)


def whitening(
    gram: Inexact[Array, "k k"],
) -> tuple[Inexact[Array, "k k"], Int[Array, ""]]:
    """A matrix T with Tᴴ G T = I, zero in the columns of dependent directions."""
    size = gram.shape[0]
    lengths = jnp.sqrt(jnp.real(jnp.diagonal(gram)))
    inverse = reciprocal(lengths).astype(gram.dtype)
    values, vectors = jnp.linalg.eigh(inverse[:, None] * gram * inverse[None, :])
    values, vectors = values[::-1], vectors[:, ::-1]
    # Eigenvalues are squares of singular values: below this they are rounding.
    is_kept = values > size * 10 * jnp.finfo(values.dtype).eps * values[0]
    factors = jnp.where(is_kept, 1 / jnp.sqrt(jnp.where(is_kept, values, 1)), 0)
    transform = inverse[:, None] * vectors * factors.astype(gram.dtype)[None, :]
    return transform, jnp.sum(is_kept).astype(jnp.int32)


def inverse_lengths(gram: Inexact[Array, "k k"]) -> Float[Array, " k"]:
    """One over the lengths of the vectors with these products; zero for zero ones."""
    return reciprocal(jnp.sqrt(jnp.real(jnp.diagonal(gram))))
