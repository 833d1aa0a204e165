"""Preconditioners whose kind depends on numbers, chosen while those are known."""

from abc import abstractmethod
from typing import Any

import equinox as eqx

from ...operators import AbstractLinearOperator


class AbstractUnsettled(eqx.Module):
    """A factory that chooses among programs by the numbers of an operator.

    A program cannot, in which they are traced, so that `solve` lets it choose before.
    """

    @abstractmethod
    def settled(self, A: AbstractLinearOperator) -> Any:
        """Return the factory with its choice for A made."""


def settled(preconditioner: Any, A: AbstractLinearOperator) -> Any:
    """Return what to make a preconditioner of A with, all choices made."""
    if isinstance(preconditioner, AbstractUnsettled):
        return preconditioner.settled(A)
    return preconditioner
