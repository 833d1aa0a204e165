"""A gate that keeps flexible CG convergent for any weights.

The line search along z lowers the A-norm of the error e, ‖e‖² = e·Ae, by
(z·r)²/(z·Az). The gate takes z = f(r) where this is more than along r itself, else r.

Theorem. Let A be definite on the complement of its null space, and FlexibleCG be exact.
Then each step lowers ‖e‖² by at least what a step of steepest descent does, so that
‖e_k+1‖² ≤ ((κ - 1)/(κ + 1))² ‖e_k‖², κ the condition number of A.

Proof. FlexibleCG makes z conjugate to the last m directions, which are conjugate to
each other and orthogonal to r: p·r = z·r, and p·Ap ≤ z·Az since p is the rest of an
A-orthogonal projection. The step along p lowers ‖e‖² by (p·r)²/(p·Ap), at least
(z·r)²/(z·Az), which is at least (r·r)²/(r·Ar) by the gate.
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
    """f(r) or r, whichever a line search gains more along, and the product with A."""

    operator: AbstractLinearOperator
    direction: AbstractOperator
    inner_product: InnerProduct

    @property
    @override
    def in_structure(self) -> Any:
        return self.operator.in_structure

    @property
    @override
    def num_products(self) -> int:
        return 2

    @override
    def __call__(self, x: Field) -> Field:
        return self.with_product(x)[0]

    @override
    def with_product(self, r: Field) -> tuple[Field, Field]:
        A, r_hat = self.operator, self._unit(r)
        f = self._unit(self.direction(r))
        Af, Ar = A.mv(f), A.mv(r_hat)
        fr, fAf, rr, rAr = self.inner_product.dots(
            (f, r_hat), (f, Af), (r_hat, r_hat), (r_hat, Ar)
        )
        fAf, rAr = jnp.real(fAf), jnp.real(rAr)
        gain, least = jnp.abs(fr) ** 2 / fAf, jnp.abs(rr) ** 2 / rAr
        # False where anything is NaN; infinite where f·Af vanishes or overflows.
        is_better = (fAf > 0) & jnp.isfinite(gain) & (gain > least)
        return select(is_better, (f, Af), (r_hat, Ar))

    def _unit(self, x: Field) -> Field:
        """Scaled by a power of two to entries near 1, as squares may overflow."""
        return divide(x, power_of_two(self.inner_product.max_abs(x)))


class Safeguarded(eqx.Module):
    """The factory of a preconditioner for `FlexibleCG` that converges for any weights.

    In each step z = f(r) where (f·r)²/(f·Af) > (r·r)²/(r·Ar), else z = r. Each step
    then lowers the A-norm of the error at least as much as one of steepest descent,
    whatever f returns, NaN and infinity included; where f is useless throughout, the
    method is CG. f is masked as `Masked` does. `truncation=2` is the setting of the
    Deep Conjugate Direction Method.

    Args:
        operator: f, a learned operator or any map of residuals, or a factory of one.
        inner_product: how fields are reduced to numbers, that of the solver.

    Raises:
        TypeError: it is no operator and no factory, or inner_product something else.
        ValueError: on use, for an operator that is not tagged positive definite or
            semidefinite.

    Cost: per step of `FlexibleCG` two products with A instead of one, one call of f
    and four inner products.
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
        return SafeguardedDirection(A, Masked(self.operator)(A), self.inner_product)
