"""The equations of GP-HM, whose sources are those of a chosen solution."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from krylax.learned.gaussian_process import PDE, Dirichlet

SPEED = 200.0


@dataclass(frozen=True)
class Equation:
    """An equation with its solution on a box of equal sides, from zero.

    Attributes:
        text: the solution.
        u: it as a function of coordinates.
        kind: "Poisson", "Allen-Cahn" or "advection".
        length: of the sides.
        num_axes: 1 or 2.
    """

    text: str
    u: Callable[..., Any]
    kind: str
    length: float
    num_axes: int = 1

    @property
    def pde(self) -> PDE:
        """With the values of the solution on all faces, as published."""
        return PDE(
            domain=[(0.0, self.length)] * self.num_axes,
            residual=lambda x, u: self._operator(u) - self._source(x),
            conditions=[Dirichlet(self.u)],
        )

    def error(self, solution: Any) -> float:
        """The relative error at 300 uniform points per axis, as published."""
        axes = [np.linspace(0, self.length, 300)] * self.num_axes
        exact = np.asarray(self.u(*np.meshgrid(*axes, indexing="ij", sparse=True)))
        difference = np.asarray(solution.on_grid(*axes)) - exact
        return float(np.linalg.norm(difference) / np.linalg.norm(exact))

    def _operator(self, u: Any) -> Any:
        if self.kind == "advection":
            return SPEED * u(1, 0) + u(0, 1)
        orders = [(2,)] if self.num_axes == 1 else [(2, 0), (0, 2)]
        laplacian = sum(u(*o) for o in orders)
        if self.kind == "Allen-Cahn":
            return laplacian + u() * (u() ** 2 - 1)
        return laplacian

    def _source(self, x: Any) -> Any:
        coordinates = tuple(jnp.asarray(c, float) for c in x)

        def u(*orders: int) -> Any:
            function = self.u
            for axis, order in enumerate(orders):
                for _ in range(order):
                    function = _derivative(function, axis)
            return function(*coordinates)

        return self._operator(u)


def _derivative(function: Any, axis: int) -> Any:
    def along(*x: Any) -> Any:
        def moved(c: Any) -> Any:
            return function(*x[:axis], c, *x[axis + 1 :])

        return jax.jvp(moved, (x[axis],), (jnp.ones_like(x[axis]),))[1]

    return along


def _scales(s: Any) -> Any:
    return jnp.sin(s) + 0.1 * jnp.sin(20 * s) + jnp.cos(100 * s)


LONG = 2 * np.pi
EQUATIONS = {
    "p1": Equation("sin 100x", lambda x: jnp.sin(100 * x), "Poisson", LONG),
    "p2": Equation(
        "sin x + 0.1 sin 20x + 0.05 sin 100x",
        lambda x: jnp.sin(x) + 0.1 * jnp.sin(20 * x) + 0.05 * jnp.sin(100 * x),
        "Poisson",
        1.0,
    ),
    "p3": Equation(
        "sin 6x cos 100x",
        lambda x: jnp.sin(6 * x) * jnp.cos(100 * x),
        "Poisson",
        LONG,
    ),
    "p4": Equation("x sin 200x", lambda x: x * jnp.sin(200 * x), "Poisson", LONG),
    "p5": Equation(
        "sin 500x - 2 (x - 0.5)²",
        lambda x: jnp.sin(500 * x) - 2 * (x - 0.5) ** 2,
        "Poisson",
        1.0,
    ),
    "p6": Equation(
        "sin 100x sin 100y",
        lambda x, y: jnp.sin(100 * x) * jnp.sin(100 * y),
        "Poisson",
        LONG,
        2,
    ),
    "p7": Equation(
        "sin 6x cos 20x + sin 6y cos 20y",
        lambda x, y: (
            jnp.sin(6 * x) * jnp.cos(20 * x) + jnp.sin(6 * y) * jnp.cos(20 * y)
        ),
        "Poisson",
        LONG,
        2,
    ),
    "a1": Equation("sin 100x", lambda x: jnp.sin(100 * x), "Allen-Cahn", LONG),
    "a2": Equation(
        "sin 6x cos 100x",
        lambda x: jnp.sin(6 * x) * jnp.cos(100 * x),
        "Allen-Cahn",
        LONG,
    ),
    "a3": Equation(
        "p(x) p(y), p(s) = sin s + 0.1 sin 20s + cos 100s",
        lambda x, y: _scales(x) * _scales(y),
        "Allen-Cahn",
        1.0,
        2,
    ),
    "advection": Equation(
        "sin(x - 200t)", lambda x, t: jnp.sin(x - SPEED * t), "advection", 1.0, 2
    ),
}
