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

norm_of = InnerProduct().scaled_norm


class Iterate(eqx.Module):
    """A field v, with r = v₀ + f(v) − v.

    Attributes:
        v: the field.
        r: what it leaves of the equation.
        norm: ‖r‖.
        relative: ‖r‖ / ‖v‖, zero where r and v are, and infinity where v alone is. What
            is below the smallest normal number is not seen of r, which counts as that.
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
        norm, size = norm_of(r), norm_of(v)
        is_nonzero = InnerProduct().max_abs(v) > 0
        least = jnp.where(is_nonzero, jnp.finfo(norm.dtype).tiny, 0)
        seen = jnp.maximum(norm, least)
        return Iterate(v, r, norm, jnp.where(seen > 0, seen / size, seen))


def jacobian_at(f: Callable[[Field], Field], v: Field) -> Function:
    """Return I − f'(v), of what one evaluation of f keeps.

    A product is then a third of one that evaluates f again, and a third to compile.
    """
    _, linear = jax.linearize(f, v)
    return Function(lambda d: subtract(d, linear(d)), structure_of(v))
