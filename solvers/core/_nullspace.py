"""Singular systems: what is orthogonal to the null space of the operator.

With a declared null space N of a hermitian A, or of one whose adjoint has the same, the
range of A is the complement of N: a solution exists where b lies in it, and the one in
it is that of the pseudo-inverse. All that is to know of N is here; for an operator
without one the complement is everything, and its projections are the identity.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float
from typing_extensions import override

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._arithmetic import combine, divide, power_of_two, recombine, subtract
from ...operators._field import Field
from ._inner_product import InnerProduct
from ._solution import Solution
from ._solver import AbstractSolver
from ._status import Status
from ._stopping import Tolerance


class Complement(eqx.Module):
    """The fields orthogonal to a null space.

    Attributes:
        nullspace: orthonormal fields along a first axis; `None` for those of no
            dimension.
        inner_product: how fields are reduced to numbers.
    """

    nullspace: Field | None
    inner_product: InnerProduct

    @property
    def is_everything(self) -> bool:
        """Whether there is nothing to project out."""
        return self.nullspace is None

    def project(self, x: Field) -> Field:
        """Return the part of x in the complement."""
        if self.nullspace is None:
            return x
        along = self.inner_product.block_dot(self.nullspace, x)
        return subtract(x, combine(along, self.nullspace))

    def project_rows(self, rows: Field) -> Field:
        """Return the part of every row in the complement."""
        if self.nullspace is None:
            return rows
        along = self.inner_product.gram(self.nullspace, rows)
        return subtract(rows, recombine(along, self.nullspace))

    def project_preconditioner(
        self, M: AbstractOperator | None
    ) -> AbstractOperator | None:
        """Return the preconditioner followed by the projection."""
        if M is None or self.nullspace is None:
            return M
        return ProjectedPreconditioner(M, self)

    def is_compatible(self, b: Field, solver: AbstractSolver) -> Bool[Array, ""]:
        """Return whether what b has outside is within the solver's tolerance.

        NaN counts as compatible: it has a status of its own.
        """
        tolerance = Tolerance(solver.rtol, solver.atol)
        unit = power_of_two(self.inner_product.max_abs(b))
        b = lax.stop_gradient(divide(b, unit))
        outside = self.inner_product.norm(subtract(b, self.project(b)))
        return ~(outside > tolerance.threshold(self.inner_product.norm(b), unit))


def complement_of(A: AbstractLinearOperator, inner_product: InnerProduct) -> Complement:
    """Return what is orthogonal to the null space of an operator."""
    nullspace = A.nullspace
    if nullspace is not None and inner_product.axis_name is not None:
        # Each part has a length of its own.
        nullspace = inner_product.orthonormalise(nullspace)
    return Complement(nullspace, inner_product)


def as_incompatible(solution: Solution, b_norm: Float[Array, ""]) -> Solution:
    """Return a zero solution as that of an incompatible system, of residual b."""
    code = jnp.asarray(Status.incompatible_rhs.value, jnp.int32)
    return eqx.tree_at(
        lambda s: (s.status, s.stats.residual, s.stats.relative_residual),
        solution,
        (code, lax.stop_gradient(b_norm), jnp.ones_like(b_norm)),
    )


class ProjectedPreconditioner(AbstractOperator):
    """A preconditioner of a singular operator, kept orthogonal to its null space."""

    operator: AbstractOperator
    complement: Complement

    @property
    @override
    def in_structure(self) -> Any:
        return self.operator.in_structure

    @property
    @override
    def out_structure(self) -> Any:
        return self.operator.out_structure

    @override
    def __call__(self, x: Field) -> Field:
        return self.complement.project(self.operator(x))

    @property
    @override
    def is_safeguarded(self) -> bool:
        return self.operator.is_safeguarded
