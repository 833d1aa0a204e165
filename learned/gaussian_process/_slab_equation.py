"""The equation of one slab of time, and what it hands to the next.

Time t runs from 0 in each slab, so that all have the same functions. With E the lift of
the conditions on the other axes, a slab that begins at t_k has the initial value

    E(x, t_k) + [g(x) - E(x, t_0)] + Φ_x a_k,

where the first slab has a_0 = 0 and the bracket has the data g of the user. At its end
the process has the value Φ_x (Z φ(τ)), with φ the functions of time at the length τ of
a slab, and the lift that of the initial data; so a_{k+1} = a_k + Z φ(τ). Nothing is
projected, and nothing grows. With initial derivatives in time these have b likewise, a
has τ b more, and the bracket of g the elapsed time times that of its derivative.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._basis import GridBasis
from ._collocation import Unknowns
from ._conditions import Condition, Initial, Periodic, derivative
from ._lift import lift
from ._pde import PDE

State = tuple[tuple[Any, ...], ...]
"""Per field a and, where the equation is of second order in time, b."""


class SlabParameters(eqx.Module):
    """What differs from slab to slab.

    Attributes:
        theta: parameters of the equation.
        start: the time at which the slab begins.
        bases: per field the functions of all axes but time; none in the first slab
            before there are any.
        state: their coefficients in the initial data.
    """

    theta: Any
    start: Any
    bases: tuple[tuple[GridBasis, ...], ...] = ()
    state: State = ()


def slab_equation(pde: PDE, length: float) -> PDE:
    """Return the equation on a slab of this length, with `SlabParameters`."""

    def given(p: SlabParameters) -> tuple[Any, ...]:
        return (p.theta,) if pde.has_parameters else ()

    def residual(x: tuple[Any, ...], *rest: Any) -> Any:
        *fields, p = rest
        return pde.residual((*x[:-1], x[-1] + p.start), *fields, *given(p))

    def moved(condition: Condition) -> Condition:
        is_first = isinstance(condition, Initial)
        if is_first and condition.axis % pde.num_axes == pde.num_axes - 1:
            g = _initial_data(pde, condition.field, condition.order)
            return condition._replace(g=g, axis=-1)
        if isinstance(condition, Periodic) or not callable(condition.g):
            return condition

        def g_then(*arguments: Any) -> Any:
            *x, t, p = arguments
            return condition.g(*x, t + p.start, *given(p))

        return condition._replace(g=g_then)

    low = jnp.asarray(float(pde.domain[-1][0]))
    return PDE(
        domain=[*pde.domain[:-1], (0.0, length)],
        residual=residual,
        conditions=[moved(c) for c in pde.conditions],
        parameters=SlabParameters(pde.parameters, low),
        fields=pde.fields,
    )


def _initial_data(pde: PDE, field: int, order: int) -> Any:
    """The initial value of a slab, or its derivative in time."""
    last = pde.num_axes - 1
    low = jnp.asarray(float(pde.domain[last][0]))
    axes = [pde.axis(d, 2, field) for d in range(pde.num_axes)]
    conditions = pde.conditions_of(field)
    beside = lift(axes, [c for c in conditions if c.axis != last])
    data = {c.functional.order: c.value for c in conditions if c.axis == last}

    def beyond(x: tuple[Any, ...], theta: Any, of_order: int) -> Any:
        first = (*x, low)
        return data[of_order](first, theta) - derivative(beside, last, of_order)(
            first, theta
        )

    def g(*arguments: Any) -> Any:
        *coordinates, p = arguments
        x = tuple(coordinates)
        value = derivative(beside, last, order)((*x, p.start), p.theta)
        value = value + beyond(x, p.theta, order)
        if order == 0 and 1 in data:
            value = value + (p.start - low) * beyond(x, p.theta, 1)
        if p.state:
            value = value + on_functions(p.bases[field], x, p.state[field][order])
        return value

    return g


def on_functions(
    bases: Sequence[GridBasis], x: tuple[Any, ...], coefficients: Any
) -> Any:
    """Return (⊗ Φ_d) c at coordinates that broadcast."""
    value = coefficients
    for index, (basis, coordinate) in enumerate(zip(bases, x, strict=True)):
        c = jnp.asarray(coordinate, float)
        factor = basis.evaluate(c.ravel()).reshape(*c.shape, -1)
        rest = "abcdef"[: len(bases) - index - 1]
        value = jnp.einsum(f"...j,...j{rest}->...{rest}", factor, value)
    return value


def no_state(pde: PDE, bases: Sequence[Sequence[GridBasis]]) -> State:
    """Return the state of the first slab."""
    found = []
    for field, own in enumerate(bases):
        shape = tuple(basis.rank for basis in own[:-1])
        count = sum(c.axis == pde.num_axes - 1 for c in pde.conditions_of(field))
        found.append((jnp.zeros(shape),) * count)
    return tuple(found)


def ends_of(bases: Sequence[Sequence[GridBasis]], length: float) -> Any:
    """Return the functions of time at the end of a slab, and their derivatives."""
    end = jnp.asarray([length])
    return tuple(
        tuple(own[-1].evaluate(end, order)[0] for order in (0, 1)) for own in bases
    )


def state_after(state: State, z: Unknowns, ends: Any, length: float) -> State:
    """Return the state of the next slab; it is linear in the state and in z."""
    found = []
    for own, unknowns, functions in zip(state, z, ends, strict=True):
        after = [a + unknowns @ phi for a, phi in zip(own, functions, strict=False)]
        if len(own) == 2:
            after[0] = after[0] + length * own[1]
        found.append(tuple(after))
    return tuple(found)


def at_state(parameters: SlabParameters, state: State) -> SlabParameters:
    """Return parameters with other initial data."""
    return eqx.tree_at(lambda p: p.state, parameters, state)


def state_rows(state: State, functions: Sequence[Any], times: Any) -> Any:
    """Return the rows of each field's value in the flat state, at points.

    Args:
        state: of which the shape is used.
        functions: per field, the products of all functions but those of time, one row
            per point.
        times: of the points, since the start of the slab.
    """
    sizes = [sum(a.size for a in own) for own in state]
    found = []
    for field, (own, rows) in enumerate(zip(state, functions, strict=True)):
        mine = [rows, times[:, None] * rows][: len(own)]
        columns = jnp.concatenate([jnp.zeros((len(times), 0)), *mine], axis=1)
        before, after = sum(sizes[:field]), sum(sizes[field + 1 :])
        found.append(jnp.pad(columns, ((0, 0), (before, after))))
    return found


def state_sizes(
    state: State, bases: Sequence[Sequence[GridBasis]], length: float
) -> Float[Array, " state"]:
    """Return the norm on the grid of what each number of the flat state stands for.

    Args:
        state: of which the shape is used.
        bases: per field, of all axes but time.
        length: of a slab, which is the time that a derivative has.
    """
    found = [jnp.zeros(0)]
    for own, others in zip(state, bases, strict=True):
        sizes = jnp.ones(1)
        for basis in others:
            sizes = (sizes[:, None] * basis.sizes[None, :]).ravel()
        found += [length**order * sizes for order in range(len(own))]
    return jnp.concatenate(found)
