"""The equation v = v₀ + f(v), and how far a field is from a solution."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...operators import Function
from ...operators._arithmetic import add, subtract
from ...operators._field import Field, structure_of
from ...solvers import InnerProduct

norm_of = InnerProduct().norm


class Iterate(eqx.Module):
    """A field v, with r = v₀ + f(v) − v.

    Attributes:
        v: the field.
        r: what it leaves of the equation.
        norm: ‖r‖.
        relative: ‖r‖ / ‖v‖, zero where r is, and infinity where v alone is.
    """

    v: Field
    r: Field
    norm: Float[Array, ""]
    relative: Float[Array, ""]


class Equation(eqx.Module):
    """v = v₀ + f(v)."""

    f: Callable[[Field], Field]
    v0: Field

    def at(self, v: Field) -> Iterate:
        """Return a field with its residual, for one evaluation of f."""
        r = subtract(add(self.v0, self.f(v)), v)
        norm = norm_of(r)
        return Iterate(v, r, norm, jnp.where(norm > 0, norm / norm_of(v), norm))


def jacobian_at(f: Callable[[Field], Field], v: Field) -> Function:
    """Return I − f'(v), of what one evaluation of f keeps.

    A product is then a third of one that evaluates f again, and a third to compile.
    """
    _, linear = jax.linearize(f, v)
    return Function(lambda d: subtract(d, linear(d)), structure_of(v))
