"""Anderson acceleration of v ← v₀ + f(v).

With r_k = v₀ + f(v_k) − v_k, and the last m differences Δv_i of iterates and Δr_i of
residuals,

    v_{k+1} = v_k + r_k − Σ_i γ_i (Δv_i + Δr_i),   γ = argmin ‖r_k − Σ_i γ_i Δr_i‖:

for a linear f and as many differences as steps it is GMRES. One evaluation of f each.

D. G. Anderson, Iterative procedures for nonlinear integral equations, J. ACM 12 (1965),
doi:10.1145/321296.321305; H. F. Walker, P. Ni, Anderson acceleration for fixed-point
iterations, SIAM J. Numer. Anal. 49 (2011), doi:10.1137/10078356X.

Differs from the papers:
1. The small problem is solved by its normal equations, of differences of unit length,
   with a ridge at the rounding of their entries.
2. It ends where some steps have brought nothing, and returns the best iterate.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ...operators._arithmetic import (
    add,
    block_dot,
    combine,
    divide,
    gram,
    power_of_two,
    reciprocal,
    select,
    subtract,
)
from ...operators._control_flow import while_loop
from ...operators._field import Field
from ...solvers import InnerProduct
from ._fixed_point_equation import Equation, Iterate

NUM_DIFFERENCES = 5
"""m."""
PATIENCE = 6
"""Steps without a better iterate after which it ends."""
RIDGE = 10
"""In units of rounding."""


class _State(eqx.Module):
    last: Iterate
    best: Iterate
    steps: Field  # Δv, a row each, in units of the Δr beside it
    changes: Field  # Δr, likewise: squares of it are then neither lost nor infinite
    num_steps: Int[Array, ""]
    best_step: Int[Array, ""]


def accelerated(
    equation: Equation, start: Iterate, rtol: float, max_steps: int
) -> tuple[Iterate, Int[Array, ""]]:
    """Return the best iterate, and how many steps were taken.

    Args:
        equation: what is to be solved.
        start: the first iterate.
        rtol: relative tolerance on the residual.
        max_steps: bound on the number of steps.
    """
    rows = jax.tree.map(
        lambda a: jnp.zeros((NUM_DIFFERENCES, *a.shape), a.dtype), start.v
    )
    zero = jnp.zeros((), jnp.int32)

    def is_running(s: _State) -> Array:
        return (
            ~(s.best.relative <= rtol)
            & jnp.isfinite(s.last.norm)
            & (s.num_steps < max_steps)
            & (s.num_steps - s.best_step < PATIENCE)
        )

    end = while_loop(
        is_running,
        lambda s: _advanced(equation, s),
        _State(start, start, rows, rows, zero, zero),
    )
    return end.best, end.num_steps


def _advanced(equation: Equation, s: _State) -> _State:
    weights = _fitted(s.changes, s.last.r)
    mixed = add(combine(weights, s.steps), combine(weights, s.changes))
    step = subtract(s.last.r, mixed)
    last = equation.at(add(s.last.v, step))
    row = s.num_steps % NUM_DIFFERENCES
    change = subtract(last.r, s.last.r)
    unit = _unit_of(change)
    is_better = last.relative < s.best.relative
    num_steps = s.num_steps + 1
    return _State(
        last=last,
        best=select(is_better, last, s.best),
        steps=_with_row(s.steps, row, divide(step, unit)),
        changes=_with_row(s.changes, row, divide(change, unit)),
        num_steps=num_steps,
        best_step=jnp.where(is_better, num_steps, s.best_step),
    )


def _fitted(rows: Field, r: Field) -> Float[Array, " m"]:
    """The coefficients of rows that are closest to r; of rows of zeros they are 0."""
    products = gram(rows, rows)
    inverse = reciprocal(jnp.sqrt(jnp.diagonal(products)))
    ridge = RIDGE * len(inverse) * jnp.finfo(inverse.dtype).eps
    scaled = products * (inverse[:, None] * inverse[None])
    # Of rows of zeros the diagonal is the ridge alone.
    scaled = scaled + ridge * jnp.eye(len(inverse), dtype=inverse.dtype)
    unit = _unit_of(r)
    heights = inverse * block_dot(rows, divide(r, unit))
    return unit * (inverse * jnp.linalg.solve(scaled, heights))


def _unit_of(x: Field) -> Float[Array, ""]:
    return power_of_two(InnerProduct().max_abs(x))


def _with_row(rows: Field, i: Int[Array, ""], row: Field) -> Field:
    return jax.tree.map(lambda a, b: a.at[i].set(b), rows, row)
