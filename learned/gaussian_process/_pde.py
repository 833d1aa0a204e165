"""A partial differential equation on a box, as a function of u and its derivatives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._basis import Axis
from ._conditions import (
    Condition,
    FaceCondition,
    face_conditions,
    periodic_axes,
)

MAX_ORDER = 4
"""The highest derivative along one axis."""

Orders = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PDE:
    """residual(x, u) = 0 on a box, with conditions on its faces.

    Args:
        domain: an interval per axis, (low, high); by custom time is the last one.
        residual: of coordinate arrays x, one per axis, that broadcast, and of u:
            `u()` is the unknown on the grid and `u(2, 0)` its derivative of these
            orders, one per axis, each at most 4. It works point by point.
        conditions: `Dirichlet`, `Neumann`, `Initial`, `Periodic`.
        parameters: a pytree of arrays; residual, and each function in a condition, then
            gets it as its last argument.

    Raises:
        ValueError: an interval that is none.
        TypeError: a condition of another kind.

    Examples:
        >>> import jax.numpy as jnp
        >>> from krylax.learned.gaussian_process import PDE, Dirichlet
        >>> pde = PDE(
        ...     domain=((0.0, 1.0), (0.0, 1.0)),
        ...     residual=lambda x, u: u(2, 0) + u(0, 2) + u() ** 3 - x[0] * x[1],
        ...     conditions=[Dirichlet(0.0)],
        ... )
        >>> pde.num_axes
        2
    """

    domain: Sequence[tuple[float, float]]
    residual: Callable[..., Any]
    conditions: Sequence[Condition]
    parameters: Any = None

    def __post_init__(self) -> None:
        if np.ndim(self.domain) != 2 or np.shape(self.domain)[1] != 2:
            raise ValueError(
                "domain must be a sequence of intervals (low, high), one per axis, got "
                f"{self.domain!r}"
            )
        for index, interval in enumerate(self.domain):
            low, high = np.asarray(interval, float)
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise ValueError(
                    f"axis {index} of the domain must be an interval (low, high) with "
                    f"low < high, got {interval}"
                )
        for condition in self.conditions:
            if not isinstance(condition, Condition):
                raise TypeError(
                    "a condition is a Dirichlet, Neumann, Initial or Periodic, got "
                    f"{type(condition).__name__}"
                )

    @property
    def num_axes(self) -> int:
        """The number of axes."""
        return len(self.domain)

    @property
    def has_parameters(self) -> bool:
        """Whether functions get `parameters`."""
        return self.parameters is not None

    @property
    def face_conditions(self) -> list[FaceCondition]:
        """The conditions, face by face."""
        return face_conditions(self.conditions, self.num_axes, self.has_parameters)

    def axis(self, index: int, num_points: int) -> Axis:
        """Return an axis with this number of points, and what vanishes at its ends."""
        low, high = map(float, self.domain[index])
        functionals = [c.functional for c in self.face_conditions if c.axis == index]
        is_periodic = index in periodic_axes(self.conditions, self.num_axes)
        return Axis(low, high, num_points, tuple(functionals), is_periodic)

    def residual_of(
        self, x: Sequence[Any], values: dict[Orders, Any], parameters: Any
    ) -> Any:
        """Return the residual, given the derivatives that it asks for."""

        def u(*orders: int) -> Any:
            return values[self.complete(orders)]

        arguments = (parameters,) if self.has_parameters else ()
        return self.residual(tuple(x), u, *arguments)

    def orders(self, x: Sequence[Any], parameters: Any) -> list[Orders]:
        """Return the derivatives that the residual asks for.

        Raises:
            ValueError: an order above 4, or a residual of another shape than the grid.
        """
        asked: list[Orders] = []
        shape = jnp.broadcast_shapes(*(jnp.shape(c) for c in x))

        def u(*orders: int) -> Any:
            asked.append(self.complete(orders))
            return jnp.zeros(shape)

        arguments = (parameters,) if self.has_parameters else ()
        found = jax.eval_shape(lambda: self.residual(tuple(x), u, *arguments))
        got = getattr(found, "shape", None)
        if got != shape:
            raise ValueError(
                f"residual must return an array of the grid's shape {shape}, got {got}"
            )
        return sorted(set(asked))

    def complete(self, orders: Sequence[int]) -> Orders:
        """Return orders with one entry per axis.

        Raises:
            ValueError: too many of them, or one that is not available.
        """
        if not orders:
            return (0,) * self.num_axes
        if len(orders) != self.num_axes:
            raise ValueError(
                f"u takes one order per axis, here {self.num_axes}, or none, got "
                f"u{tuple(orders)}"
            )
        if not all(0 <= order <= MAX_ORDER for order in orders):
            raise ValueError(
                f"derivatives of orders 0 to {MAX_ORDER} along each axis are "
                f"available, got u{tuple(orders)}"
            )
        return tuple(orders)
