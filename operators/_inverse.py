"""The inverse of an operator, by a solver."""

from typing import Any

import equinox as eqx
from typing_extensions import override

from ._arguments import require_flag
from ._field import Field, Structure, describe
from ._operator import AbstractLinearOperator, AbstractOperator, require_operator


class Inverse(AbstractLinearOperator):
    """The operator A⁻¹ whose product is a solve.

    It is linear up to the solver's tolerance: with a loose tolerance, use it as a
    preconditioner of a flexible solver only. A direct solver factors A once, when the
    inverse is made.

    Args:
        operator: A, square.
        solver: the method and its tolerances.
        preconditioner: an approximate inverse of A, or a factory that makes one from A.
        throw: whether to raise if a solve fails; otherwise its result is used.

    Raises:
        ValueError: A is not square, or the preconditioner does not fit it.
        TypeError: `solver` is not a solver, or the preconditioner not an operator.

    Cost: a solve per product.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((3,))
        >>> (kx.operators.Inverse(A, kx.solvers.CG(1e-10)) @ jnp.ones(3)).round(6)
        Array([1.5, 2. , 1.5], dtype=float64)
    """

    operator: AbstractLinearOperator
    solver: Any
    preconditioner: AbstractOperator | None
    throw: bool = eqx.field(static=True)

    def __init__(
        self,
        operator: AbstractLinearOperator,
        solver: Any,
        preconditioner: Any = None,
        *,
        throw: bool = True,
    ) -> None:
        require_operator(operator, "operator")
        require_flag(throw, "throw")
        if operator.in_structure != operator.out_structure:
            raise ValueError(
                f"only a square operator has an inverse, got one from "
                f"{describe(operator.in_structure)} to "
                f"{describe(operator.out_structure)}"
            )
        # Operators stand below solvers; an inverse is where the two meet.
        from ..solvers._requirements import require_preconditioner, require_types
        from ..solvers.core._arguments import require_solver

        require_solver(solver)
        require_types(operator, solver, preconditioner)
        self.operator = operator
        self.solver = solver
        if preconditioner is not None and not isinstance(
            preconditioner, AbstractOperator
        ):
            preconditioner = preconditioner(operator)
        require_preconditioner(preconditioner, operator, solver)
        self.preconditioner = solver.prepare(operator, preconditioner)
        self.throw = throw

    @property
    @override
    def in_structure(self) -> Structure:
        return self.operator.in_structure

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.operator.tags

    @property
    @override
    def nullspace(self) -> Field | None:
        return self.operator.nullspace

    @property
    def T(self) -> AbstractLinearOperator:
        """The inverse of Aᵀ."""
        if "symmetric" in self.tags:
            return self
        M = self.preconditioner
        transposed = M.T if isinstance(M, AbstractLinearOperator) else None
        return Inverse(self.operator.T, self.solver, transposed, throw=self.throw)

    def mv(self, x: Field) -> Field:
        """Return the solution of A y = x."""
        from ..solvers import solve

        return solve(
            self.operator,
            x,
            self.solver,
            preconditioner=self.preconditioner,
            throw=self.throw,
        ).value
