"""The inverse of an operator, by a solver."""

from typing import Any

import equinox as eqx

from ._field import Field, Structure, describe
from ._operator import AbstractLinearOperator, AbstractOperator


class Inverse(AbstractLinearOperator):
    """The operator A⁻¹ whose product is a solve.

    It is linear as far as the tolerance goes: as a preconditioner of a loose inner
    solve, give it to a flexible solver. What the solver factors is factored once, when
    the inverse is made.

    Args:
        operator: A, square.
        solver: the method and its tolerances.
        preconditioner: an approximate inverse of A, or a factory that makes one from A.
        throw: raise where a solve fails; otherwise take what it found.

    Raises:
        ValueError: A is not square, or the preconditioner does not fit it.
        TypeError: the solver is none, or the preconditioner no operator.

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
    ):
        if operator.in_structure != operator.out_structure:
            raise ValueError(
                f"only a square operator has an inverse, got one from "
                f"{describe(operator.in_structure)} to "
                f"{describe(operator.out_structure)}"
            )
        # Operators stand below solvers; an inverse is where the two meet.
        from ..solvers._requirements import require_preconditioner, require_types

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
    def in_structure(self) -> Structure:
        """That of A."""
        return self.operator.in_structure

    @property
    def tags(self) -> frozenset[str]:
        """Those of A."""
        return self.operator.tags

    @property
    def nullspace(self) -> Field | None:
        """That of A, of which this is the pseudo-inverse."""
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
