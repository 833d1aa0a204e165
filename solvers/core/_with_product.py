"""Preconditioners that compute A z with z, which a solver need not do again."""

from abc import abstractmethod
from typing import Any

from typing_extensions import override

from ...operators import AbstractOperator
from ...operators._field import Field


class AbstractWithProduct(AbstractOperator):
    """A preconditioner r → z that knows A z.

    `FlexibleCG` then makes its product by recurrence, and counts the products that
    `num_products` reports.
    """

    @property
    @abstractmethod
    def num_products(self) -> int:
        """How many products with A one call takes."""

    @abstractmethod
    def with_product(self, r: Field) -> tuple[Field, Field]:
        """Return z and A z."""

    @property
    @override
    def out_structure(self) -> Any:
        return self.in_structure

    @override
    def __call__(self, x: Field) -> Field:
        return self.with_product(x)[0]
