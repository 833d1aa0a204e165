"""What a row of the tables is: an equation, its solution, and what is asked of it.

How it is solved is no part of it: `Setting` has the arguments of `solve_pde`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from krylax.learned.gaussian_process import PDE, SpectralMixture

NUM_TEST = {1: 300, 2: 300, 3: 50}
"""Uniform points per axis, both ends among them, at which errors are measured."""


class Logged(NamedTuple):
    """Relative errors and seconds in the authors' logs, `None` where there are none."""

    gaussian: tuple[float, float | None] | None = None
    student: tuple[float, float | None] | None = None
    squared_exponential: tuple[float, float | None] | None = None
    matern: tuple[float, float | None] | None = None


@dataclass(frozen=True)
class Row:
    """An equation with a known solution.

    Attributes:
        name: short, and of this row alone.
        equation: in words.
        domain, residual, conditions: of the `PDE`.
        exact: u as a function of coordinate arrays that broadcast.
        num_points: of the fixed grid, for all axes.
        target: the relative error that counts as solved, `None` where none is asked.
        logged: what the authors' logs have.
        note: what a reader must know.
    """

    name: str
    equation: str
    domain: Sequence[tuple[float, float]]
    residual: Callable[..., Any]
    conditions: Sequence[Any]
    exact: Callable[..., Any]
    num_points: int
    target: float | None = None
    logged: Logged | None = None
    note: str = ""

    def pde(self) -> PDE:
        """Return the equation for `solve_pde`."""
        return PDE(self.domain, self.residual, self.conditions)

    def test_points(self) -> list[np.ndarray]:
        """Return the coordinates of the test grid, per axis."""
        number = NUM_TEST[len(self.domain)]
        return [np.linspace(low, high, number) for low, high in self.domain]

    def error(self, values: Any) -> float:
        """Return the relative error in the 2-norm of values on the test grid."""
        grid = np.meshgrid(*self.test_points(), indexing="ij", sparse=True)
        exact = np.asarray(self.exact(*grid))
        return float(np.linalg.norm(np.asarray(values) - exact) / np.linalg.norm(exact))


@dataclass(frozen=True)
class Setting:
    """How rows are solved, all with the same arguments.

    Attributes:
        title: of the column.
        options: keyword arguments of `solve_pde`.
        is_grid_fixed: whether the grid is the row's, or that of num_points=None.
    """

    title: str
    options: dict[str, Any] = field(default_factory=dict)
    is_grid_fixed: bool = True


def squared_exponential(length: float) -> SpectralMixture:
    """One component at zero frequency."""
    return SpectralMixture([1.0], [0.0], length)


def d(u: Callable[..., Any], *orders: int) -> Callable[..., Any]:
    """Return a derivative of a function that works entry by entry."""
    for axis, order in enumerate(orders):
        for _ in range(order):
            u = _first(u, axis)
    return u


def _first(u: Callable[..., Any], axis: int) -> Callable[..., Any]:
    def derivative(*x: Any) -> Any:
        arrays = jnp.broadcast_arrays(*(jnp.asarray(c, float) for c in x))
        along = [jnp.full_like(c, float(i == axis)) for i, c in enumerate(arrays)]
        return jax.jvp(u, tuple(arrays), tuple(along))[1]

    return derivative


def laplacian(u: Callable[..., Any], num_axes: int) -> Callable[..., Any]:
    """Return the sum of the second derivatives."""
    return lambda *x: sum(d(u, *orders)(*x) for orders in second_orders(num_axes))


def second_orders(num_axes: int) -> list[tuple[int, ...]]:
    """Return (2, 0), (0, 2) and the like."""
    return [tuple(2 * int(i == j) for j in range(num_axes)) for i in range(num_axes)]


def laplacian_of(u: Callable[..., Any], num_axes: int) -> Any:
    """Return the Laplacian of the unknown of a residual."""
    return sum(u(*orders) for orders in second_orders(num_axes))
