"""Starts from what was solved before: POD, and projection on a few solutions.

The proper orthogonal decomposition of N snapshots keeps the k directions that hold
most of them: L. Sirovich, Q. Appl. Math. 45 (1987), doi:10.1090/qam/910462, by the
eigenvectors of their inner products. In its span x0 = V y solves VᴴA V y = Vᴴb for a
positive definite A, which is nearest in the norm of A, and otherwise min ‖b - A V y‖.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import combine, recombine
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..recycling._recycle_space import whitening


class GalerkinStart(eqx.Module):
    """The start of a solve in the span of given fields, for `solve_batch`.

    Args:
        basis: k fields along a first axis, such as `pod_basis` returns.
        inner_product: how fields are reduced to numbers.

    Cost: k matvecs, and for a family with one matrix only once in a batch.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> from krylax.solvers.sequences import GalerkinStart
        >>> A, b = kx.operators.Laplacian((20,)), jnp.ones(20)
        >>> solution = kx.solve(A, b, kx.solvers.CG(rtol=1e-12)).value
        >>> start = GalerkinStart(solution[None])
        >>> bool(jnp.allclose(start(None, A, 3 * b), 3 * solution))
        True
    """

    basis: Field
    inner_product: InnerProduct = InnerProduct()

    def __call__(self, parameters: Any, A: AbstractLinearOperator, b: Field) -> Field:
        """Return x0."""
        V, images = self.basis, A.mm(self.basis)
        tests = V if "positive_definite" in A.tags else images
        small = self.inner_product.gram(tests, images)
        T, _ = whitening((small + small.conj().T) / 2)
        y = T @ (T.conj().T @ self.inner_product.block_dot(tests, b))
        return combine(y, V)


def pod_basis(
    solutions: Any, num_modes: int, inner_product: InnerProduct | None = None
) -> Field:
    """Return the leading orthonormal directions of solutions; zero where none is left.

    Args:
        solutions: fields along a first axis.
        num_modes: k, at most as many as there are solutions.
        inner_product: how fields are reduced to numbers.

    Raises:
        ValueError: num_modes out of range.

    Cost: N² inner products, and one pass over the solutions per mode.
    """
    num_solutions = len(jax.tree.leaves(solutions)[0])
    if not 1 <= num_modes <= num_solutions:
        raise ValueError(
            f"num_modes must be from 1 to the number of solutions, {num_solutions}, "
            f"got {num_modes}"
        )
    solutions = jax.tree.map(jnp.asarray, solutions)
    gram = (inner_product or InnerProduct()).gram(solutions, solutions)
    values, vectors = jnp.linalg.eigh(gram)
    leading = values[::-1][:num_modes]
    # Squares of singular values: what is below this is rounding.
    is_kept = leading > num_solutions * jnp.finfo(leading.dtype).eps * leading[0]
    factors = jnp.where(is_kept, 1 / jnp.sqrt(jnp.where(is_kept, leading, 1)), 0)
    return recombine(_times(vectors[:, ::-1][:, :num_modes], factors), solutions)


def _times(vectors: Array, factors: Array) -> Array:
    return vectors * factors[None, :].astype(vectors.dtype)
