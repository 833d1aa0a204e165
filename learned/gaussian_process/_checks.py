"""What can be wrong with an equation's conditions, before and after it is solved."""

from itertools import combinations
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ._conditions import SIDES, FaceCondition, derivative
from ._mean_equation import smallest_mean_response
from ._pde import PDE
from ._system import System, weighted_jacobian, weights_of

TOLERANCE = 1e-6
"""Difference of two conditions where faces meet, relative to their size."""
RESONANT = 1e-6
"""Response of the equation to a function of unit norm, over the coefficient of u."""
_SAMPLES = 9


def missing_conditions(pde: PDE) -> list[str]:
    """Return a sentence for each axis with fewer conditions than derivatives.

    And for each field to which a constant may be added.

    Observations may stand for conditions, so that with these there is none.
    """
    if pde.observations:
        return []
    sentences = [
        f"equations and conditions have only derivatives of field {field}: of all "
        "constants that may be added the one of least prior norm is chosen; see its "
        "std"
        for field in pde.free_constants
    ]
    for axis in range(pde.num_axes):
        given, wanted = pde.missing(axis)
        if given < wanted:
            sentences.append(
                f"axis {axis} has {given} condition{'' if given == 1 else 's'}, and "
                f"the derivatives along it need {wanted}: of all solutions the one of "
                "least prior norm is returned; add conditions or observations, or see "
                "its std"
            )
    return sentences


def require_real(pde: PDE, parameters: Any) -> None:
    """Raise where equations or conditions are not real numbers at each point."""
    points = pde.corners
    pde.orders(points, parameters)
    for field in range(pde.fields):
        for condition in pde.conditions_of(field):
            side = condition.functional.side
            at = list(points)
            at[condition.axis] = np.take(points[condition.axis], [side], condition.axis)
            shape = np.broadcast_shapes(*(c.shape for c in at))
            # Traced, as the coordinates are where the condition is imposed.
            found = jax.eval_shape(
                lambda x, value=condition.value: value(x, parameters), tuple(at)
            )
            is_real = not jnp.issubdtype(found.dtype, jnp.complexfloating)
            if not (is_real and _fits(found.shape, shape)):
                raise ValueError(
                    f"the condition on the {_face(condition)} must be real numbers of "
                    f"the shape of its coordinates, {shape}, got {found.dtype} of "
                    f"shape {found.shape}"
                )


def _fits(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def require_agreement(pde: PDE, parameters: Any) -> None:
    """Raise where the conditions of two faces disagree on the edge that they share."""
    for field in range(pde.fields):
        pairs = [
            (a, b)
            for a, b in combinations(pde.conditions_of(field), 2)
            if a.axis != b.axis
        ]
        if not pairs:
            continue
        differences = np.asarray(_differences(pde, field, parameters))
        for (a, b), difference in zip(pairs, differences, strict=True):
            # Numbers that are not finite have a status.
            if difference > TOLERANCE:
                raise ValueError(
                    f"the conditions on the {_face(a)} and the {_face(b)} disagree "
                    f"where these meet, by {difference:.1e} of their size; make them "
                    'agree, or take boundary="penalty", which meets neither exactly '
                    "there"
                )


def _face(condition: FaceCondition) -> str:
    side, order = condition.functional
    what = "derivative" if order else "value"
    return f"{SIDES[side]} face of axis {condition.axis} ({what})"


@eqx.filter_jit
def _differences(pde: PDE, field: int, parameters: Any) -> Float[Any, " pairs"]:
    """Of each pair, the functional of the other one's axis applied to either."""
    found = []
    conditions = pde.conditions_of(field)
    for a, b in combinations(conditions, 2):
        if a.axis == b.axis:
            continue
        left, right = _on_edge(pde, a, b, parameters), _on_edge(pde, b, a, parameters)
        size = jnp.maximum(_size(pde, a, b, parameters), _size(pde, b, a, parameters))
        difference = jnp.max(jnp.abs(left - right))
        found.append(difference / jnp.where(size > 0, size, 1))
    return jnp.stack(found)


def _on_edge(pde: PDE, a: FaceCondition, b: FaceCondition, parameters: Any) -> Any:
    """The functional of b applied to the value of a, on the edge of both."""
    value = derivative(a.value, b.axis, b.functional.order)
    end = np.asarray(pde.domain[b.axis][b.functional.side], float)
    return value(_coordinates(pde, a, {b.axis: end}), parameters)


def _size(pde: PDE, a: FaceCondition, b: FaceCondition, parameters: Any) -> Any:
    """The largest value of that on the face of a."""
    value = derivative(a.value, b.axis, b.functional.order)
    return jnp.max(jnp.abs(value(_coordinates(pde, a, {}), parameters)))


def _coordinates(pde: PDE, a: FaceCondition, fixed: dict[int, Any]) -> tuple[Any, ...]:
    vectors = [np.linspace(*interval, _SAMPLES) for interval in pde.domain]
    ends = {a.axis: np.asarray(pde.domain[a.axis][a.functional.side], float), **fixed}
    for axis, end in ends.items():
        vectors[axis] = end[None]
    return tuple(np.meshgrid(*vectors, indexing="ij", sparse=True))


def is_resonant(system: System, z: Any, parameters: Any) -> bool:
    """Return whether the equation nearly vanishes for a function that is not small.

    Only where it has a term in u itself, against which its derivatives can cancel.
    """
    if len(system.sizes) > 1:
        return False
    if not system.is_dense:
        least, size = smallest_mean_response(system, z, parameters)
        return bool(least < RESONANT * size)
    rows, size = _response(system, z, parameters)
    if not (np.all(np.isfinite(rows)) and size > 0):
        return False
    return bool(np.linalg.svd(rows, compute_uv=False)[-1] < RESONANT * size)


@eqx.filter_jit
def _response(system: System, z: Any, parameters: Any) -> Any:
    """R of the Jacobian in functions of unit norm, and the coefficient of u."""
    collocation = system.collocation
    lifted = collocation.lifted(parameters)
    weights = weights_of(system, z, lifted, parameters, jnp.inf, noise=1.0)
    c = collocation.coefficients(z, lifted, parameters)
    sizes = system.sizes[0][0]
    for more in system.sizes[0][1:]:
        sizes = (sizes[:, None] * more[None, :]).ravel()
    R = jnp.linalg.qr(weighted_jacobian(system, weights, c) / sizes[None, :], mode="r")
    zero = (0,) * len(collocation.points)
    return R, weights.equations[0] * jnp.max(jnp.abs(c[0][0][zero]))
