"""A level of a multigrid cycle: its operator, smoother, and transfers to the next."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import add, subtract
from ...operators._field import Field, Structure, describe
from ...operators._materialise import materialise
from ...operators._tags import is_real


def require_part(part: Any, kind: type, name: str) -> None:
    """Raise a `TypeError` where a part of a cycle is not of its kind."""
    if not isinstance(part, kind):
        raise TypeError(
            f"{name} must be an {kind.__name__}, got {type(part).__name__}; subclass "
            f"{kind.__name__}, or apply a factory to the operator"
        )


class AbstractSmoother(eqx.Module):
    """What damps the errors that the coarser levels cannot represent.

    Both methods are linear in the fields that they take, and `after` leaves a solution
    as it is. The level is given to them, so that a smoother need not hold the operator
    a second time; a learned smoother may hold its weights alone.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> class Richardson(kx.solvers.AbstractSmoother):
        ...     step: float
        ...     def before(self, level, b):
        ...         return self.step * b
        ...     def after(self, level, x, b):
        ...         return x + self.step * (b - level.mv(x))
        ...     @property
        ...     def is_adjoint(self):
        ...         return True
    """

    @abstractmethod
    def before(self, level: "AbstractLevel", b: Field) -> Field:
        """Return S b, what smoothing from zero makes of A x = b."""

    @abstractmethod
    def after(self, level: "AbstractLevel", x: Field, b: Field) -> Field:
        """Return x + S' (b - A x), what smoothing makes of x."""

    @property
    def is_adjoint(self) -> bool:
        """Whether S' = Sᴴ for a hermitian A, and S' = Sᵀ for a symmetric one."""
        return False

    @property
    def is_convergent(self) -> bool:
        """Whether `before` reduces the energy norm of every error.

        That is, ‖(I - S A) e‖_A < ‖e‖_A for e ≠ 0 where A is positive definite, and at
        most ‖e‖_A where it is semidefinite.
        """
        return False

    @property
    def T(self) -> "AbstractSmoother | None":
        """The smoother of the transposed level, `None` where it is not known.

        Its `before` is S'ᵀ, and its `after` adds Sᵀ (b - Aᵀ x).
        """
        return None


class AbstractLevel(eqx.Module):
    """A level above the last one, for `MultigridCycle`.

    All maps are linear. Where a grid has cells of different sizes, what is said to be
    hermitian or adjoint may be so in inner products that are weighted by the sizes, of
    which the finest grid's is the plain one.

    Attributes:
        smoother: what damps the errors that the coarser levels cannot represent.
    """

    smoother: eqx.AbstractVar[AbstractSmoother]

    @property
    @abstractmethod
    def in_structure(self) -> Structure:
        """Structure of the fields on this level."""

    @property
    @abstractmethod
    def coarse_structure(self) -> Structure:
        """Structure of the fields on the next level."""

    @abstractmethod
    def mv(self, x: Field) -> Field:
        """Return A x."""

    @abstractmethod
    def restrict(self, r: Field) -> Field:
        """Return the residual on the next level."""

    @abstractmethod
    def prolong(self, e: Field) -> Field:
        """Return the correction on this level from one on the next."""

    def descend(self, b: Field) -> tuple[Any, Field]:
        """Smooth from zero.

        A level whose own smoother leaves residuals of a known form can do with less
        than all of its products.

        Returns:
            What `ascend` needs, and the residual on the next level.
        """
        b = jax.tree.map(materialise, b)
        x = self.smoother.before(self, b)
        r = jax.tree.map(materialise, subtract(b, self.mv(x)))
        return (x, b), self.restrict(r)

    def ascend(self, state: Any, e: Field) -> Field:
        """Return the solution, corrected by one of the next level, and smoothed."""
        x, b = state
        x = jax.tree.map(materialise, add(x, self.prolong(e)))
        return self.smoother.after(self, x, b)

    @property
    def tags(self) -> frozenset[str]:
        """What is known of A, such as `hermitian` or `positive_definite`."""
        return frozenset()

    @property
    def has_adjoint_transfers(self) -> bool:
        """Whether `restrict` is the adjoint of `prolong`, and real if A is symmetric.

        A positive factor between the two is allowed if the cycle below has its
        inverse.
        """
        return False

    @property
    def T(self) -> "AbstractLevel | None":
        """The level of the transposed cycle, `None` where it is not known.

        It has Aᵀ, Pᵀ for the restriction, Rᵀ for the prolongation, and the smoother's
        `T`. The cycle is transposed by reverse-mode derivatives if it is not known.
        """
        return None


class Level(AbstractLevel):
    """A level that is made of linear operators.

    Args:
        operator: A on this level.
        smoother: what damps the errors that the coarser levels cannot represent.
        restriction: R, from this level to the next.
        prolongation: P, from the next level to this; Rᴴ if it is not given.
        is_adjoint: whether a prolongation that is given is Rᴴ.

    Raises:
        TypeError: no smoother, or no operator.
        ValueError: operators whose fields do not fit together.
    """

    operator: AbstractLinearOperator
    smoother: AbstractSmoother
    restriction: AbstractLinearOperator
    prolongation: AbstractLinearOperator | None
    is_adjoint: bool = eqx.field(static=True)

    def __init__(
        self,
        operator: AbstractLinearOperator,
        smoother: AbstractSmoother,
        restriction: AbstractLinearOperator,
        prolongation: AbstractLinearOperator | None = None,
        *,
        is_adjoint: bool = False,
    ) -> None:
        self.operator = operator
        self.smoother = smoother
        self.restriction = restriction
        self.prolongation = prolongation
        self.is_adjoint = is_adjoint

    def __check_init__(self) -> None:
        require_part(self.smoother, AbstractSmoother, "smoother")
        for name in ("operator", "restriction", "prolongation"):
            if name != "prolongation" or self.prolongation is not None:
                require_part(getattr(self, name), AbstractLinearOperator, name)
        fine, coarse = self.in_structure, self.coarse_structure
        expected = [("operator", self.operator, fine, fine)]
        expected += [("restriction", self.restriction, fine, coarse)]
        if self.prolongation is not None:
            expected += [("prolongation", self.prolongation, coarse, fine)]
        for name, A, taken, returned in expected:
            if (A.in_structure, A.out_structure) != (taken, returned):
                raise ValueError(
                    f"the {name} must map {describe(taken)} to {describe(returned)}, "
                    f"as the level's other operators do, got one from "
                    f"{describe(A.in_structure)} to {describe(A.out_structure)}"
                )

    @property
    @override
    def in_structure(self) -> Structure:
        return self.operator.in_structure

    @property
    @override
    def coarse_structure(self) -> Structure:
        return self.restriction.out_structure

    @override
    def mv(self, x: Field) -> Field:
        return self.operator.mv(x)

    @override
    def restrict(self, r: Field) -> Field:
        return self.restriction.mv(r)

    @override
    def prolong(self, e: Field) -> Field:
        P = self.restriction.H if self.prolongation is None else self.prolongation
        return P.mv(e)

    @property
    @override
    def tags(self) -> frozenset[str]:
        tags = self.operator.tags - {"singular"}
        # Complex transfers that are adjoint are not transposed.
        return tags if is_real(self.in_structure) else tags - {"symmetric"}

    @property
    @override
    def has_adjoint_transfers(self) -> bool:
        return self.prolongation is None or self.is_adjoint

    @property
    @override
    def T(self) -> "Level | None":
        smoother = self.smoother.T
        if smoother is None:
            return None
        if self.prolongation is None:
            # Its adjoint is the transposed restriction.
            return Level(self.operator.T, smoother, self.restriction.H.T)
        return Level(
            self.operator.T,
            smoother,
            self.prolongation.T,
            self.restriction.T,
            is_adjoint=self.is_adjoint,
        )
