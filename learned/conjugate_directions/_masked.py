"""A preconditioner without geometry, kept to the cells that hold unknowns.

On cells that are not fluid `MaskedPoisson` is the identity. What a map that does not
see the geometry writes there enters x and the next residual.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool
from typing_extensions import override

from ...operators import AbstractLinearOperator, AbstractOperator
from ...solvers._requirements import made
from ...solvers.core._arguments import require_maker


class MaskedDirection(AbstractOperator):
    """z = m f(m r) + (1 - m) r, for the cells m that hold unknowns."""

    operator: AbstractOperator
    is_fluid: Bool[Array, "..."]

    @property
    @override
    def in_structure(self) -> Any:
        return self.operator.in_structure

    @override
    def __call__(self, x: Any) -> Any:
        z = self.operator(jnp.where(self.is_fluid, x, 0))
        return jnp.where(self.is_fluid, z, x)

    @property
    @override
    def is_safeguarded(self) -> bool:
        return self.operator.is_safeguarded


class Masked(eqx.Module):
    """The factory of z = m f(m r) + (1 - m) r, where m is 1 in fluid cells, else 0.

    For operators without such cells it is f itself. A map that writes into other cells
    makes solves slow without a word: 1473 steps instead of 20 around a disc.

    Args:
        operator: f, which does not see the geometry, or a factory of such a map; a
            plain function of residuals through `from_callable`.

    Raises:
        TypeError: it is neither, or makes something else.

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> from krylax.learned import conjugate_directions as cd
        >>> A = kx.operators.MaskedPoisson(jnp.array([[1, 2, 2, 3]] * 2))
        >>> net = cd.DeepConjugateDirection("from64", 2, key=jax.random.key(0))
        >>> bool(cd.Masked(net)(A)(jnp.ones((2, 4)))[0, 0] == 1)
        True
    """

    operator: Any

    def __check_init__(self) -> None:
        if self.operator is None:
            raise TypeError("operator must be a map of residuals or a factory of one")
        require_maker(self.operator)

    def __call__(self, A: AbstractLinearOperator) -> AbstractOperator:
        """Return the preconditioner of A."""
        f = made(self.operator, A)
        if not isinstance(f, AbstractOperator):
            raise TypeError(
                "operator must be a map of residuals or a factory of one, got one that "
                f"makes a {type(f).__name__}; wrap a function of residuals in "
                "from_callable"
            )
        return f if A.is_fluid is None else MaskedDirection(f, A.is_fluid)
