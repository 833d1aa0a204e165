"""A learned direction of any quality, with CG beside it as a guarantee.

What flexible CG does with it, and the theorem: solvers/krylov/_beside_cg.py.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from typing_extensions import override

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._arithmetic import divide, power_of_two, select
from ...operators._field import Field
from ...solvers import InnerProduct
from ...solvers.core._arguments import require_inner_product
from ._masked import Masked


class SafeguardedDirection(AbstractOperator):
    """f(r) scaled to entries near 1, or r where that is not finite."""

    direction: AbstractOperator
    inner_product: InnerProduct

    @property
    @override
    def in_structure(self) -> Any:
        return self.direction.in_structure

    @override
    def __call__(self, x: Field) -> Field:
        f = self.direction(x)
        # By a power of two, which is exact, as squares may overflow.
        largest = self.inner_product.max_abs(f)
        return select(jnp.isfinite(largest), divide(f, power_of_two(largest)), x)

    @property
    @override
    def is_safeguarded(self) -> bool:
        return True


class Safeguarded(eqx.Module):
    """The factory of a preconditioner for `FlexibleCG` that converges for any weights.

    CG runs beside flexible CG, with a product of its own, and the iterate is that of
    the two with the error of the lesser A-norm. So no solve takes more steps than CG,
    nor than f without CG, whatever f returns, NaN and infinity included; where rounding
    ends them above the tolerance, as `attained`, it may take some more. f is masked as
    `Masked` does. `truncation=2` is the setting of the Deep Conjugate Direction Method.
    Other solvers get f(r) alone, without a guarantee.

    Args:
        operator: f, a learned operator or another one, or a factory of it; a plain
            function of residuals through `from_callable`.
        inner_product: how fields are reduced to numbers, that of the solver.

    Raises:
        TypeError: it is no operator and no factory, or inner_product something else.
        ValueError: on use, for an operator that is not tagged positive definite or
            semidefinite.

    Cost: per step of `FlexibleCG` two products with A instead of one, one call of f,
    and 6 reductions instead of 3.
    """

    operator: Any
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self) -> None:
        Masked(self.operator)  # which looks at it
        require_inner_product(self.inner_product)

    def __call__(self, A: AbstractLinearOperator) -> AbstractOperator:
        """Return the preconditioner of A."""
        if not A.tags & {"positive_definite", "positive_semidefinite"}:
            raise ValueError(
                "Safeguarded is for operators tagged positive definite or "
                f"semidefinite, got a {type(A).__name__} with the tags "
                f"{sorted(A.tags)}; declare what holds, as by tags=, or use FGMRES "
                "with the bare preconditioner"
            )
        return SafeguardedDirection(Masked(self.operator)(A), self.inner_product)
