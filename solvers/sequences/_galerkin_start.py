"""Starts from earlier solutions: POD, and the Galerkin projection on a few fields.

The proper orthogonal decomposition of N snapshots keeps the k directions with most of
their energy, from the eigenvectors of the matrix of inner products: L. Sirovich, Q.
Appl. Math. 45 (1987), doi:10.1090/qam/910462. In their span, x0 = V y solves
VᴴA V y = Vᴴb for a positive definite A, which minimises the error in the A-norm, and
otherwise minimises ‖b - A V y‖.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import PyTree

from ...operators import AbstractLinearOperator
from ...operators._arguments import require_integer
from ...operators._arithmetic import combine, divide, power_of_two, recombine
from ...operators._field import Field, as_field
from ..core._arguments import require_inner_product
from ..core._inner_product import InnerProduct
from ..recycling._recycle_space import whitening


class GalerkinStart(eqx.Module):
    """Starts a solve in the span of given fields, for `start=` of `solve_batch`.

    Args:
        basis: k fields along a first axis, such as `pod_basis` returns.
        inner_product: the inner product of fields.

    Cost: k matvecs per system; once per batch if all systems have the same matrix.

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

    def __call__(
        self, parameters: PyTree, A: AbstractLinearOperator, b: Field
    ) -> Field:
        """Return x0; the parameters are not used."""
        V, images = self.basis, A.mm(self.basis)
        tests = V if "positive_definite" in A.tags else images
        projected = self.inner_product.gram(tests, images)
        T, _ = whitening((projected + projected.conj().T) / 2)
        y = T @ (T.conj().T @ self.inner_product.block_dot(tests, b))
        return combine(y, V)


def pod_basis(
    solutions: PyTree, num_modes: int, inner_product: InnerProduct | None = None
) -> Field:
    """Return the leading POD modes of solutions, orthonormal.

    Those whose singular value is below √(N eps) of the first are zero: inner products
    do not resolve them.

    Args:
        solutions: fields along a first axis.
        num_modes: k, at most the number of solutions.
        inner_product: the inner product of fields.

    Raises:
        ValueError: num_modes out of range, or solutions that are no fields along a
            first axis.

    Cost: N² + k² inner products, and two passes over the solutions per mode.
    """
    solutions = as_field(solutions, "solutions")
    num_solutions = _count_rows(solutions)
    require_integer(num_modes, "num_modes")
    inner_product = InnerProduct() if inner_product is None else inner_product
    require_inner_product(inner_product)
    if not 1 <= num_modes <= num_solutions:
        raise ValueError(
            f"num_modes must be from 1 to the number of solutions, {num_solutions}, "
            f"got {num_modes}"
        )
    # Of any size: their squares may be beyond the dtype.
    unit = power_of_two(inner_product.max_abs(solutions))
    solutions = divide(solutions, unit)
    values, vectors = jnp.linalg.eigh(inner_product.gram(solutions, solutions))
    leading = values[::-1][:num_modes]
    # The eigenvalues are squared singular values; below this they are rounding.
    is_kept = leading > num_solutions * jnp.finfo(leading.dtype).eps * leading[0]
    factors = jnp.where(is_kept, 1 / jnp.sqrt(jnp.where(is_kept, leading, 1)), 0)
    modes = vectors[:, ::-1][:, :num_modes] * factors[None, :].astype(vectors.dtype)
    # Once more, as the least of them are orthogonal only to √eps.
    modes = recombine(modes, solutions)
    empty = jnp.diag(~is_kept).astype(vectors.dtype)
    factor = jnp.linalg.cholesky(inner_product.gram(modes, modes) + empty)
    identity = jnp.eye(num_modes, dtype=factor.dtype)
    inverse = solve_triangular(factor, identity, lower=True)
    return recombine(inverse.conj().T, modes)


def _count_rows(fields: Field) -> int:
    """Return the number of fields along a first axis.

    Raises:
        ValueError: there is no such axis.
    """
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(fields)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(
            "solutions must be fields along a first axis, got first axes "
            f"{sorted(sizes)}"
        )
    return sizes.pop()[0]
