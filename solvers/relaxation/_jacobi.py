"""The Jacobi preconditioner: division by the diagonal."""

import equinox as eqx
import jax
import jax.numpy as jnp

from ...operators import AbstractLinearOperator, Diagonal
from ..core._compilation import compile_factory


class Jacobi(eqx.Module):
    """The factory of M⁻¹ = diag(A)⁻¹.

    Args:
        A: when called: an operator with a diagonal without zeros; with one, a solve
            ends as `nonfinite_input`.

    Returns:
        When called: a `Diagonal` operator, positive definite if A is.

    Cost: one multiplication per unknown and step.

    Examples:
        >>> import krylax as kx
        >>> A = kx.operators.Laplacian((4,))
        >>> kx.solvers.Jacobi()(A).diagonal()
        Array([0.5, 0.5, 0.5, 0.5], dtype=float64)
    """

    @compile_factory
    def __call__(self, A: AbstractLinearOperator) -> Diagonal:
        """Return the preconditioner of A."""
        diagonal = A.diagonal()
        inverse = jax.tree.map(lambda d: jnp.ones((), d.dtype) / d, diagonal)
        return Diagonal(inverse, tags=A.tags - {"singular"})
