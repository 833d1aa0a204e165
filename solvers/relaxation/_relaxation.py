"""The splitting of the SOR methods, and the step that they share.

With P = D/ω the splitting is A = (P + L) + ((1 - 1/ω) D + U); a step solves with P + L.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact
from typing_extensions import override

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._field import Structure, structure_of
from ..core._recurrence import AbstractRecurrence
from ..core._solver import LinearSystem
from ..sweeps._sweep_orders import AbstractOrder
from ..sweeps._sweeps import AbstractSweeps
from ._omega import as_omega


class Splitting(AbstractLinearOperator):
    """(D/ω + L)⁻¹ of an operator, as `SOR` takes it; made by its `prepare`."""

    sweeps: AbstractSweeps
    sweeps_of_T: AbstractSweeps | None
    pivots: Inexact[Array, "..."]
    omega: Inexact[Array, ""]
    is_symmetric: bool = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return structure_of(self.pivots)

    @property
    @override
    def T(self) -> "Splitting":
        """The splitting of Aᵀ, with which its systems are solved."""
        if self.is_symmetric:
            return self
        if self.sweeps_of_T is None:
            # That of a hermitian A is its conjugate.
            return jax.tree.map(jnp.conj, self)
        return Splitting(
            self.sweeps_of_T, self.sweeps, self.pivots, self.omega, self.is_symmetric
        )

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.sweeps.forward(x / self.pivots)


class Swept(eqx.Module):
    """The result of a sweep for s = P⁻¹r.

    Attributes:
        x: the next iterate; unchanged if the sweep overflows.
        scaled: the next s.
        norm: of the next residual.
    """

    x: Inexact[Array, "..."]
    scaled: Inexact[Array, "..."]
    norm: Float[Array, ""]


class AbstractRelaxation(AbstractRecurrence):
    """A method whose step is a sweep."""

    omega: eqx.AbstractVar[Float[Array, ""] | float]
    order: eqx.AbstractVar[AbstractOrder]

    def prepare(
        self, A: AbstractLinearOperator, preconditioner: AbstractOperator | None
    ) -> Splitting:
        """Make the sweeps, once for the solve and its derivatives.

        Raises:
            ValueError: a preconditioner is given.
        """
        if preconditioner is not None:
            raise ValueError(
                f"{type(self).__name__} takes no preconditioner, its sweeps are one, "
                f"got a {type(preconditioner).__name__}; leave it out, or use SSOR as "
                "the preconditioner of CG"
            )
        return split(A, as_omega(self.omega), self.order)

    def sweep(self, splitting: Splitting, x: Any, scaled: Any) -> Swept:
        """Add d with (I + P⁻¹L) d = s to x."""
        d = splitting.sweeps.forward(scaled)
        scaled = splitting.sweeps.remainder(scaled, d, splitting.omega)
        norm = self.inner_product.norm(lax.stop_gradient(splitting.pivots * scaled))
        return Swept(jnp.where(jnp.isfinite(norm), x + d, x), scaled, norm)


def split(
    A: AbstractLinearOperator, omega: Float[Array, ""], order: AbstractOrder
) -> Splitting:
    """Return the splitting of A with this relaxation factor."""
    diagonal = A.diagonal()
    omega = omega.astype(diagonal.dtype)
    pivots = diagonal / omega
    is_hermitian = bool(A.tags & {"symmetric", "hermitian"})
    return Splitting(
        sweeps=order.sweeps(A, pivots),
        sweeps_of_T=None if is_hermitian else order.T.sweeps(A.T, pivots),
        pivots=pivots,
        omega=omega,
        is_symmetric="symmetric" in A.tags,
    )


def splitting_of(system: LinearSystem) -> Splitting:
    """Return the splitting from `prepare`, which `solve` wraps if A is singular."""
    M: Any = system.preconditioner
    return M if isinstance(M, Splitting) else M.operator
