"""Conditions on the faces of a box."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...operators._arguments import counted
from ._basis import Functional

Side = Literal["low", "high"]
SIDES = ("low", "high")


class Dirichlet(NamedTuple):
    """u = g on faces.

    Args:
        g: a number, or a function of all coordinates, that of the face included, as
            separate arguments: `lambda x, y: x * y`.
        faces: pairs of an axis and "low" or "high", as in `[(0, "low")]`; by default
            all faces of axes that have neither an `Initial` nor a `Periodic` condition.
            A time axis without an `Initial` is one of these.
        field: of which it is, counted from 0.
    """

    g: Any = 0.0
    faces: Sequence[tuple[int, Side]] | None = None
    field: int = 0


class Neumann(NamedTuple):
    """∂u/∂n = g on faces, n the outward normal.

    Args:
        g: as in `Dirichlet`; at the low end of an axis it is minus the derivative.
        faces: as in `Dirichlet`.
        field: of which it is, counted from 0.
    """

    g: Any = 0.0
    faces: Sequence[tuple[int, Side]] | None = None
    field: int = 0


class Initial(NamedTuple):
    """The value, or the first derivative, at the low end of an axis.

    Args:
        g: a number, or a function of the remaining coordinates: without time.
        axis: that of time, by default the last one.
        order: 0 for the value, 1 for the derivative along the axis.
        field: of which it is, counted from 0.
    """

    g: Any = 0.0
    axis: int = -1
    order: int = 0
    field: int = 0


class Periodic(NamedTuple):
    """All fields and their derivatives agree on both faces of an axis."""

    axis: int


class Observations(eqx.Module):
    """Measurements of a field at scattered points, with normal errors.

    Args:
        points: of shape (number, axes), in the domain.
        values: one per point.
        noise: standard deviation of the errors, one number or one per point.
        orders: of the derivative that is measured, one per axis; by default the value.
        field: of which they are, counted from 0.

    Raises:
        ValueError: shapes that do not match, no points, numbers that are not finite,
            noise that is not positive.
    """

    points: Float[np.ndarray, "number axes"]
    values: Float[np.ndarray, " number"]
    noise: Float[np.ndarray, " number"]
    orders: tuple[int, ...] = eqx.field(static=True)
    field: int = eqx.field(static=True)

    def __init__(
        self,
        points: Any,
        values: Any,
        noise: Any = 0.01,
        orders: Sequence[int] = (),
        field: int = 0,
    ) -> None:
        self.points = np.asarray(points, float)
        self.values = np.asarray(values, float)
        if self.points.ndim != 2 or self.values.shape != self.points.shape[:1]:
            raise ValueError(
                "points must have shape (number, axes) and values (number,), got "
                f"{self.points.shape} and {self.values.shape}"
            )
        if not len(self.values):
            raise ValueError(
                "observations need at least one point; without any leave data out"
            )
        if np.shape(noise) not in ((), self.values.shape):
            raise ValueError(
                f"noise must be one number or one per point, got {np.shape(noise)}"
            )
        self.noise = np.broadcast_to(np.asarray(noise, float), self.values.shape)
        if not np.all((self.noise > 0) & np.isfinite(self.noise)):
            raise ValueError("noise must be positive and finite")
        if not (np.all(np.isfinite(self.points)) and np.all(np.isfinite(self.values))):
            raise ValueError("points and values must be finite")
        self.orders = tuple(orders)
        self.field = field

    def require_in(self, domain: Sequence[tuple[float, float]]) -> None:
        """Raise where points are outside of a box, or have another number of axes."""
        low, high = np.asarray(domain, float).T
        if self.points.shape[1] != len(low):
            raise ValueError(
                f"points of observations must have shape (number, {len(low)}), got "
                f"{self.points.shape}"
            )
        outside = np.any((self.points < low) | (self.points > high), axis=1)
        if np.any(outside):
            raise ValueError(
                f"observations must be in the domain; {int(outside.sum())} of "
                f"{len(outside)} points are outside, such as "
                f"{self.points[outside][0].tolist()}"
            )


Condition = Dirichlet | Neumann | Initial | Periodic


class FaceCondition(NamedTuple):
    """One functional of one axis, and what it is to be, as a function of x and θ."""

    axis: int
    functional: Functional
    value: Any  # (coordinates, parameters) -> an array that broadcasts


def face_conditions(
    conditions: Sequence[Condition], num_axes: int, has_parameters: bool, field: int
) -> list[FaceCondition]:
    """Return the conditions of a field face by face, in the order of the axes.

    Raises:
        ValueError: an axis or a side that does not exist, a condition that is left
            without a face, the same one twice on a face, or another one on a face of a
            periodic axis.
    """
    open_axes = set(range(num_axes)) - {
        _axis_of(c.axis, num_axes)
        for c in conditions
        if isinstance(c, Initial | Periodic)
    }
    own = [c for c in conditions if getattr(c, "field", field) == field]
    found: list[FaceCondition] = []
    for condition in own:
        if isinstance(condition, Initial):
            axis = _axis_of(condition.axis, num_axes)
            if condition.order not in (0, 1):
                raise ValueError(f"Initial has order 0 or 1, got {condition.order}")
            value = _of_remaining(condition.g, axis, has_parameters)
            found.append(FaceCondition(axis, Functional(0, condition.order), value))
        elif isinstance(condition, Dirichlet | Neumann):
            faces = condition.faces
            if faces is None:
                faces = [(axis, side) for axis in sorted(open_axes) for side in SIDES]
                if not faces:
                    raise ValueError(
                        f"{type(condition).__name__} has no face left: every axis has "
                        "an Initial or a Periodic condition; leave it out, or name the "
                        'end of an axis with Initial, as in faces=[(0, "high")]'
                    )
            for face in faces:
                found.append(_on_face(condition, face, num_axes, has_parameters))
    _require_distinct(found, own, num_axes)
    return sorted(found, key=lambda c: (c.axis, c.functional))


def periodic_axes(conditions: Sequence[Condition], num_axes: int) -> set[int]:
    """Return the axes with a `Periodic` condition."""
    return {_axis_of(c.axis, num_axes) for c in conditions if isinstance(c, Periodic)}


def _on_face(
    condition: Dirichlet | Neumann, face: Any, num_axes: int, has_parameters: bool
) -> FaceCondition:
    is_pair = isinstance(face, tuple | list) and len(face) == 2
    if not is_pair or face[1] not in SIDES:
        raise ValueError(
            'faces is a list of pairs (axis, "low" or "high"), such as '
            f'[(0, "low")]; got {face!r} in it'
        )
    side = face[1]
    axis = _axis_of(face[0], num_axes)
    is_normal = isinstance(condition, Neumann)
    # The outward normal points down at the low end.
    sign = -1.0 if is_normal and side == "low" else 1.0
    g = as_function(condition.g, has_parameters)
    return FaceCondition(
        axis,
        Functional(SIDES.index(side), int(is_normal)),
        lambda x, parameters: sign * g(x, parameters),
    )


def as_function(g: Any, has_parameters: bool) -> Any:
    """Return (coordinates, parameters) -> values, for a number or a function."""
    if not callable(g):
        constant = jnp.asarray(g, float)
        return lambda x, parameters: constant
    if has_parameters:
        return lambda x, parameters: jnp.asarray(g(*x, parameters))
    return lambda x, parameters: jnp.asarray(g(*x))


def _of_remaining(g: Any, axis: int, has_parameters: bool) -> Any:
    inner = as_function(g, has_parameters)
    return lambda x, parameters: inner((*x[:axis], *x[axis + 1 :]), parameters)


def _axis_of(axis: int, num_axes: int) -> int:
    if not -num_axes <= axis < num_axes:
        raise ValueError(
            f"the domain has {counted(num_axes, 'axis', 'axes')}, got axis {axis}"
        )
    return axis % num_axes


def _require_distinct(
    found: list[FaceCondition], conditions: Sequence[Condition], num_axes: int
) -> None:
    places = [(c.axis, c.functional) for c in found]
    for axis, (side, order) in places:
        what = "derivative" if order else "value"
        if places.count((axis, Functional(side, order))) > 1:
            raise ValueError(
                f"the {what} on the {SIDES[side]} face of axis {axis} is given twice; "
                "give faces=[(axis, side), ...] to all but one of the conditions"
            )
        if axis in periodic_axes(conditions, num_axes):
            raise ValueError(
                f"axis {axis} is periodic, and has no face for a condition on the "
                f"{what}"
            )


def derivative(function: Any, axis: int, order: int) -> Any:
    """Return the derivative of a function of coordinate arrays along one of them.

    The function works entry by entry, so that the derivative along all entries at once
    is that of each.
    """
    for _ in range(order):
        function = _first_derivative(function, axis)
    return function


def _first_derivative(function: Any, axis: int) -> Any:
    def along(x: tuple[Any, ...], parameters: Any) -> Any:
        def moved(coordinate: Any) -> Any:
            return function((*x[:axis], coordinate, *x[axis + 1 :]), parameters)

        coordinate = jnp.asarray(x[axis], float)
        return jax.jvp(moved, (coordinate,), (jnp.ones_like(coordinate),))[1]

    return along
