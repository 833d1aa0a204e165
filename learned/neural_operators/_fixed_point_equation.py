"""The equation v = v₀ + f(v), and how far a field is from a solution."""

from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Bool, Float

from ...operators import Jacobian
from ...operators._arithmetic import add, ratio, subtract
from ...operators._field import Field
from ...solvers import InnerProduct

norm_of = InnerProduct().norm


class Iterate(eqx.Module):
    """A field v, with r = v₀ + f(v) − v.

    Attributes:
        v: the field.
        r: what it leaves of the equation.
        norm: ‖r‖.
        relative: ‖r‖ / ‖v‖.
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
        return Iterate(v, r, norm, ratio(norm, norm_of(v)))

    def has_converged(self, iterate: Iterate, rtol: float) -> Bool[Array, ""]:
        """Return whether ‖r‖ ≤ rtol ‖v‖."""
        return iterate.norm <= rtol * norm_of(iterate.v)


class Defect(eqx.Module):
    """v − f(v), whose Jacobian is that of the equation."""

    f: Callable[[Field], Field]

    def __call__(self, v: Field) -> Field:
        """Return v − f(v)."""
        return subtract(v, self.f(v))


def jacobian_at(f: Callable[[Field], Field], v: Field) -> Jacobian:
    """Return I − f'(v)."""
    return Jacobian(Defect(f), v)
