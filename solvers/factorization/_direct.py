"""The base class of direct solvers: factor A once, then refine iteratively.

x ← x + M⁻¹ (b − A x), where M⁻¹ is the factored inverse: usually one step; an
ill-conditioned system, or factors of a nearby operator, need more. N. J. Higham,
Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), ch. 12.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float
from typing_extensions import override

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._arithmetic import add, select
from ...operators._field import Field
from ..core._recurrence import AbstractRecurrence, Step
from ..core._residual import true_residual
from ..core._solver import LinearSystem
from ..core._status import Status, first_of


class _Residual(eqx.Module):
    r: Field
    norm: Float[Array, ""]


class AbstractDirect(AbstractRecurrence):
    """A solver that is also a factory of inverses, `solver(A)`.

    As a solver it takes factors that exist already, of A or of a nearby operator, as
    `preconditioner=`.
    """

    residual_is_true: ClassVar[bool] = True
    failure: ClassVar[Status] = Status.breakdown

    @abstractmethod
    def __call__(self, A: AbstractLinearOperator) -> AbstractLinearOperator:
        """Return the factored inverse of A, as an operator."""

    @override
    def prepare(
        self, A: AbstractLinearOperator, preconditioner: AbstractOperator | None
    ) -> AbstractOperator:
        return self(A) if preconditioner is None else preconditioner

    @override
    def begin(self, system: LinearSystem, r: Field) -> _Residual:
        del system
        return _Residual(r, self.inner_product.norm(r))

    @override
    def step(self, system: LinearSystem, x: Field, vectors: Any) -> Step:
        assert system.preconditioner is not None
        corrected = add(x, system.preconditioner(vectors.r))
        r = true_residual(system, corrected)
        norm = self.inner_product.norm(r)
        is_better = norm < vectors.norm
        has_met = norm <= system.target
        return Step(
            x=select(is_better, corrected, x),
            vectors=_Residual(r, norm),
            norm=jnp.where(is_better, norm, vectors.norm),
            status=first_of(
                (~jnp.isfinite(norm), self.failure),
                ((norm > vectors.norm / 2) & ~has_met, Status.stagnated),
            ),
            is_taken=is_better,
        )
