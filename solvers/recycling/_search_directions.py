"""What CG found hardest, gathered from its search directions as it goes.

With W of k vectors, WᴴAW = I, Z = A W, and l directions P of CG on the deflated
operator (I - Z Wᴴ) A, the vectors P - W ZᴴP are beside those kept so far a basis S of a
space that was searched. The k smallest Ritz values of M⁻¹A in it,

    SᴴAS y = θ SᴴMS y,

give what is kept: first instead of W, then after every l steps anew. Y. Saad, M. Yeung,
J. Erhel, F. Guyomarc'h, SIAM J. Sci. Comput. 21 (2000), doi:10.1137/S1064829598339761,
§5; to go on beyond the first l directions as A. Stathopoulos, K. Orginos, Computing and
deflating eigenvalues while solving multiple right-hand side linear systems, SIAM J.
Sci. Comput. 32 (2010), doi:10.1137/080725532.

Differs from the papers:
1. The small problem is Rayleigh's, not the harmonic one of Saad et al., which would
   need M⁻¹A S. M P is known, since M p = r + β M p_before.
2. It is not assumed that S is conjugate, which rounding spoils: all its products are
   computed.
3. Stathopoulos and Orginos also keep the Ritz vectors of one step before, which saved
   no steps here: 1024 unknowns, k = 8 and 20, l = 24 and 40, sequences of five systems.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int

from ...operators._arithmetic import (
    add_scaled,
    matmul,
    recombine,
    scale,
    select,
    subtract,
    zeros_like,
)
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._recurrence import RecurrenceState
from ._conjugate_basis import ConjugateBasis
from ._recycle_space import whitening


class Block(eqx.Module):
    """Vectors along a first axis, and their products; zero where there is none.

    Attributes:
        S: the vectors, of A-norm 1.
        AS: A times them.
        MS: M times them, `None` without a preconditioner.
    """

    S: Field
    AS: Field
    MS: Field | None


class SearchDirections(eqx.Module):
    """What is kept, and the directions since.

    Attributes:
        kept: k vectors.
        latest: l directions, with the deflated operator's products.
        num_latest: how many of them are known.
        Mp: M times the last one as CG scales it, `None` without a preconditioner.
    """

    kept: Block
    latest: Block
    num_latest: Int[Array, ""]
    Mp: Field | None


def no_directions(kept: Block, num_directions: int) -> SearchDirections:
    """Room for l directions beside what is kept."""

    def rows(block: Array) -> Array:
        return jnp.zeros((num_directions, *block.shape[1:]), block.dtype)

    return SearchDirections(
        kept=kept,
        latest=jax.tree.map(rows, kept),
        num_latest=jnp.zeros((), jnp.int32),
        Mp=jax.tree.map(lambda block: jnp.zeros_like(block[0]), kept.MS),
    )


def record(
    known: SearchDirections,
    before: RecurrenceState,
    after: RecurrenceState,
    inner_product: InnerProduct,
) -> SearchDirections:
    """Add the direction of a step of CG.

    Args:
        known: what was recorded before, with room for one more.
        before: the state before the step.
        after: the state after it, whose x is the step α p itself.
        inner_product: how fields are reduced to numbers.
    """
    p, step = after.vectors.p, after.x
    image = subtract(before.vectors.r, after.vectors.r)  # α A p
    # α pᴴAp and α² pᴴAp, of which α and the A-norm of p follow.
    products = inner_product.dots((p, image), (step, image))
    once, twice = (jnp.real(product) for product in products)
    is_sound = (once > 0) & (twice > 0) & jnp.isfinite(once) & jnp.isfinite(twice)
    length = jnp.sqrt(jnp.where(is_sound, twice, 1))
    to_unit = length / jnp.where(is_sound, once, 1)

    def write(rows: Field, factor: Float[Array, ""], x: Field) -> Field:
        return write_row(rows, known.num_latest, is_sound, scale(factor, x))

    S, AS = write(known.latest.S, to_unit, p), write(known.latest.AS, 1 / length, image)
    MS = Mp = None
    if known.Mp is not None:
        rz = before.vectors.rz
        beta = jnp.where(rz > 0, after.vectors.rz / jnp.where(rz > 0, rz, 1), 0)
        Mp = add_scaled(before.vectors.r, beta, known.Mp)
        MS = write(known.latest.MS, to_unit, Mp)
    return SearchDirections(known.kept, Block(S, AS, MS), known.num_latest + 1, Mp)


def gather(
    known: SearchDirections,
    basis: ConjugateBasis,
    Y: Field | None,
    inner_product: InnerProduct,
) -> SearchDirections:
    """Keep the k smallest Ritz vectors, and make room for l new directions.

    Args:
        known: what is kept and the directions since.
        basis: W, which deflates the operator.
        Y: M W, `None` without a preconditioner.
        inner_product: how fields are reduced to numbers.
    """
    latest = known.latest
    along = inner_product.gram(basis.Z, latest.S)
    deflated = Block(
        subtract(latest.S, recombine(along, basis.W)),
        latest.AS,
        None if Y is None else subtract(latest.MS, recombine(along, Y)),
    )
    joint = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), known.kept, deflated)
    MS = joint.S if joint.MS is None else joint.MS
    y = _ritz_vectors(
        inner_product.gram(joint.S, joint.AS),
        inner_product.gram(joint.S, MS),
        num_kept=along.shape[0],
    )
    return SearchDirections(
        kept=jax.tree.map(lambda rows: recombine(y, rows), joint),
        latest=zeros_like(latest),
        num_latest=jnp.zeros((), jnp.int32),
        Mp=known.Mp,
    )


def write_row(
    rows: Field, place: Int[Array, ""], is_sound: Bool[Array, ""], x: Field
) -> Field:
    """Return the rows with x at a place, or zero there."""
    # Fused with what it writes, XLA's CPU backend rewrites all rows: 700 against 80 µs
    # for 3000 rows of 4096 numbers.
    x = lax.optimization_barrier(select(is_sound, x, zeros_like(x)))
    return jax.tree.map(
        lambda block, row: lax.dynamic_update_index_in_dim(block, row, place, 0),
        rows,
        x,
    )


def _ritz_vectors(
    SAS: Inexact[Array, "m m"], SMS: Inexact[Array, "m m"], num_kept: int
) -> Inexact[Array, "m k"]:
    """The y of the largest yᴴSMS y / yᴴSAS y, zero beyond the rank of SAS."""
    T, rank = whitening(SAS)
    _, vectors = jnp.linalg.eigh(matmul(T.conj().T, matmul(SMS, T)))
    is_kept = jnp.arange(num_kept, dtype=jnp.int32) < rank
    return jnp.where(is_kept, matmul(T, vectors[:, ::-1][:, :num_kept]), 0)
