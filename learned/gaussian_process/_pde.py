"""A partial differential equation on a box, as a function of u and its derivatives."""

import inspect
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
    Initial,
    Observations,
    Periodic,
    face_conditions,
    periodic_axes,
)

MAX_ORDER = 4
"""The highest derivative along one axis."""
MAX_AXES = 3
"""The most axes of a domain."""

Orders = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PDE:
    """residual(x, u) = 0 on a box, with conditions on its faces.

    Args:
        domain: an interval per axis, (low, high); by custom time is the last one.
        residual: what is to vanish, a function of x and u. x is a tuple of coordinate
            arrays, one per axis, that broadcast: x[0] is the first coordinate. `u()` is
            the unknown on the grid and `u(2, 0)` its derivative of these orders, one
            per axis, each at most 4. It works point by point. With several fields it
            gets one such function for each, `residual(x, u, v)`, and returns one array
            per equation, at least as many as fields.
        conditions: a sequence of `Dirichlet`, `Neumann`, `Initial`, `Periodic`.
        parameters: a pytree of arrays; residual, and each function in a condition, then
            gets it as its last argument.
        data: `Observations`, or several.
        fields: how many unknown functions there are.

    Raises:
        ValueError: an interval that is none, more than three of them, or a field that
            does not exist.
        TypeError: a condition or data of another kind, or a function of another number
            of arguments.

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
    data: Observations | Sequence[Observations] = ()
    fields: int = 1

    def __post_init__(self) -> None:
        if np.ndim(self.domain) != 2 or np.shape(self.domain)[1] != 2:
            raise ValueError(
                "domain must be a sequence of intervals (low, high), one per axis, got "
                f"{self.domain!r}"
            )
        if len(self.domain) > MAX_AXES:
            raise ValueError(
                f"domain must have one to {MAX_AXES} axes, got {len(self.domain)}"
            )
        for index, interval in enumerate(self.domain):
            low, high = np.asarray(interval, float)
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise ValueError(
                    f"axis {index} of the domain must be an interval (low, high) with "
                    f"low < high, got {interval}"
                )
        # A condition is itself a tuple.
        is_one = isinstance(self.conditions, Condition)
        for condition in [self.conditions] if is_one else self.conditions:
            if is_one or not isinstance(condition, Condition):
                raise TypeError(
                    "conditions must be a list of Dirichlet, Neumann, Initial or "
                    f"Periodic, got {'one' if is_one else 'in it a'} "
                    f"{type(condition).__name__}"
                )
        if not isinstance(self.fields, int) or self.fields < 1:
            raise ValueError(f"fields must be a positive integer, got {self.fields!r}")
        for data in self.observations:
            if not isinstance(data, Observations):
                raise TypeError(f"data must be Observations, got {type(data).__name__}")
            data.require_in(self.domain)
        for part in (*self.conditions, *self.observations):
            field = getattr(part, "field", 0)
            is_integer = isinstance(field, int | np.integer)
            if not (is_integer and 0 <= field < self.fields):
                raise ValueError(
                    f"there are {self.fields} fields, counted from 0, got a "
                    f"{type(part).__name__} of field {field!r}"
                )
        fields = ["u"] if self.fields == 1 else [f"u_{f}" for f in range(self.fields)]
        self._require_arguments("residual", self.residual, ["x", *fields])
        coordinates = [f"x_{axis}" for axis in range(self.num_axes)]
        for condition in self.conditions:
            if not isinstance(condition, Periodic):
                own = list(coordinates)
                if isinstance(condition, Initial) and self.num_axes > 0:
                    del own[condition.axis % self.num_axes]
                name = f"g of {type(condition).__name__}"
                self._require_arguments(name, condition.g, own)

    def _require_arguments(
        self, name: str, function: Any, arguments: list[str]
    ) -> None:
        """Raise where a function cannot be called with what it gets."""
        given = [*arguments, *(["parameters"] if self.has_parameters else [])]
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            # A number, or a function that does not say what it takes.
            return
        try:
            signature.bind(*given)
        except TypeError as error:
            remedy = (
                "" if self.has_parameters else ", and parameters if the PDE has any"
            )
            raise TypeError(
                f"{name} is called with ({', '.join(given)}){remedy}, and takes "
                f"{signature}"
            ) from error

    @property
    def num_axes(self) -> int:
        """The number of axes."""
        return len(self.domain)

    @property
    def corners(self) -> tuple[np.ndarray, ...]:
        """The smallest grid, of floats where the domain has integers."""
        ends = np.asarray(self.domain, float)
        return tuple(np.meshgrid(*ends, indexing="ij", sparse=True))

    @property
    def has_parameters(self) -> bool:
        """Whether functions get `parameters`."""
        return self.parameters is not None

    @property
    def observations(self) -> tuple[Observations, ...]:
        """The data."""
        is_one = isinstance(self.data, Observations)
        return (self.data,) if is_one else tuple(self.data)  # type: ignore[return-value]

    def conditions_of(self, field: int) -> list[FaceCondition]:
        """The conditions of a field, face by face."""
        return face_conditions(
            self.conditions, self.num_axes, self.has_parameters, field
        )

    @property
    def periodic(self) -> set[int]:
        """The axes that are."""
        return periodic_axes(self.conditions, self.num_axes)

    def missing(self, axis: int) -> tuple[int, int]:
        """Return how many conditions an axis has, and how many its derivatives want."""
        asked = self.orders(self.corners, self.parameters)
        wanted = sum(max((o[axis] for o in own), default=0) for own in asked)
        faces = [c for f in range(self.fields) for c in self.conditions_of(f)]
        given = sum(c.axis == axis for c in faces)
        return (wanted, wanted) if axis in self.periodic else (given, wanted)

    @property
    def is_determined(self) -> bool:
        """Whether every axis has enough conditions, so that data are not needed."""
        counts = [self.missing(axis) for axis in range(self.num_axes)]
        return not self.free_constants and all(
            given >= wanted for given, wanted in counts
        )

    @property
    def free_constants(self) -> list[int]:
        """Fields of which equations and conditions have derivatives alone."""
        asked = self.orders(self.corners, self.parameters)
        return [
            field
            for field, own in enumerate(asked)
            if (0,) * self.num_axes not in own
            and all(c.functional.order for c in self.conditions_of(field))
        ]

    def axis(
        self, index: int, num_points: int, field: int = 0, is_exact: bool = True
    ) -> Axis:
        """Return an axis with this number of points, and what vanishes at its ends.

        Args:
            index: of the axis.
            num_points: on it.
            field: of which the conditions are.
            is_exact: whether they are exact; else nothing vanishes.
        """
        low, high = map(float, self.domain[index])
        functionals = tuple(
            c.functional for c in self.conditions_of(field) if c.axis == index
        )
        return Axis(
            low,
            high,
            num_points,
            functionals if is_exact else (),
            index in self.periodic,
        )

    def residual_of(
        self, x: Sequence[Any], values: Sequence[dict[Orders, Any]], parameters: Any
    ) -> tuple[Any, ...]:
        """Return the residual of each equation, given the derivatives on the points."""

        def function(own: dict[Orders, Any]) -> Any:
            return lambda *orders: own[self.complete(orders)]

        arguments = (parameters,) if self.has_parameters else ()
        found = self.residual(tuple(x), *map(function, values), *arguments)
        return tuple(found) if isinstance(found, tuple | list) else (found,)

    def orders(self, x: Sequence[Any], parameters: Any) -> list[set[Orders]]:
        """Return the derivatives that the equations ask for, per field.

        Raises:
            ValueError: an order above 4, a residual that is complex or has another
                shape than the grid, or fewer equations than fields.
        """
        asked: list[set[Orders]] = [set() for _ in range(self.fields)]
        shape = jnp.broadcast_shapes(*(jnp.shape(c) for c in x))

        def function(own: set[Orders]) -> Any:
            def u(*orders: int) -> Any:
                own.add(self.complete(orders))
                return jnp.zeros(shape)

            return u

        arguments = (parameters,) if self.has_parameters else ()
        try:
            found = jax.eval_shape(
                lambda: self.residual(tuple(x), *map(function, asked), *arguments)
            )
        except TypeError as error:
            orders = ", ".join(["2", *["0"] * (self.num_axes - 1)])
            error.add_note(
                "residual gets a tuple of coordinates, whose first one is x[0], and "
                "a function per field: u() is the field itself, and "
                f"u({orders}) a second derivative."
            )
            raise
        equations = tuple(found) if isinstance(found, tuple | list) else (found,)
        for equation in equations:
            got = getattr(equation, "shape", None)
            if got != shape:
                raise ValueError(
                    f"residual must return an array of the grid's shape {shape}, or "
                    f"one per equation, got {got}"
                )
            if not jnp.issubdtype(equation.dtype, jnp.floating):
                raise ValueError(
                    f"residual must be real, got {equation.dtype}; write a complex "
                    "field as two real ones, PDE(..., fields=2)"
                )
        if len(equations) < self.fields:
            raise ValueError(
                f"{self.fields} fields need as many equations, got {len(equations)}; "
                "return one array for each from residual"
            )
        return asked

    def complete(self, orders: Sequence[int]) -> Orders:
        """Return orders with one entry per axis.

        Raises:
            ValueError: too many of them, or one that is not available.
        """
        if np.ndim(orders) != 1:
            raise ValueError(f"orders must be one per axis, as in (2,), got {orders!r}")
        if not len(orders):
            return (0,) * self.num_axes
        if len(orders) != self.num_axes:
            raise ValueError(
                f"u takes one order per axis, here {self.num_axes}, or none, got "
                f"u{tuple(orders)}"
            )
        is_available = (
            isinstance(order, int | np.integer) and 0 <= order <= MAX_ORDER
            for order in orders
        )
        if not all(is_available):
            raise ValueError(
                f"derivatives of orders 0 to {MAX_ORDER} along each axis are "
                f"available, got u{tuple(orders)}"
            )
        return tuple(orders)
