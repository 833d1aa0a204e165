"""Newton's method for v = v₀ + f(v), whose steps are found by GMRES.

    (I − f'(v)) d = r,   v ← v + t d,   r = v₀ + f(v) − v,

with t = 1, 1/2, 1/4, ... until ‖r‖ has fallen. The step is as accurate as it can be of
use: d leaves ‖r‖/‖v‖ of its equation, at most a tenth, and no less than the tolerance
asks for. Any d that GMRES returns is a direction in which ‖r‖ falls.

R. S. Dembo, S. C. Eisenstat, T. Steihaug, Inexact Newton methods, SIAM J. Numer. Anal.
19 (1982), doi:10.1137/0719025; D. A. Knoll, D. E. Keyes, J. Comput. Phys. 193 (2004),
doi:10.1016/j.jcp.2003.08.010.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...operators._arithmetic import add_scaled, select
from ...operators._control_flow import while_loop
from ...solvers import GMRES, solve
from ._fixed_point_equation import Equation, Iterate, jacobian_at

NUM_KRYLOV_STEPS = 30
"""Of GMRES for one step, without a restart."""
LOOSEST = 0.1
"""Relative tolerance of a step."""
DECREASE = 1e-4
"""Part of the decrease that a linear equation would have, that a step must have."""
SHORTEST = 2.0**-10
"""The smallest t."""


class Steps(eqx.Module):
    """Where Newton's method is.

    Attributes:
        iterate: the last one, which is the best.
        num_steps: of Newton's method.
        num_evaluations: of f.
        num_products: with I − f'(v).
        is_stuck: whether no t was short enough.
    """

    iterate: Iterate
    num_steps: Int[Array, ""]
    num_evaluations: Int[Array, ""]
    num_products: Int[Array, ""]
    is_stuck: Bool[Array, ""]


class _Trial(eqx.Module):
    length: Float[Array, ""]
    iterate: Iterate
    num_evaluations: Int[Array, ""]


def newton_krylov(
    equation: Equation, start: Iterate, rtol: float, max_steps: int
) -> Steps:
    """Return what Newton's method makes of an iterate.

    Args:
        equation: what is to be solved.
        start: the first iterate. One that has converged is returned as it is.
        rtol: relative tolerance on the residual.
        max_steps: bound on the number of steps.
    """
    zero = jnp.zeros((), jnp.int32)

    def is_running(s: Steps) -> Array:
        return (
            ~(s.iterate.relative <= rtol)
            & jnp.isfinite(s.iterate.norm)
            & ~s.is_stuck
            & (s.num_steps < max_steps)
        )

    return while_loop(
        is_running,
        lambda s: _advanced(equation, s, rtol),
        Steps(start, zero, zero, zero, jnp.zeros((), bool)),
    )


def _advanced(equation: Equation, s: Steps, rtol: float) -> Steps:
    before = s.iterate
    loosest = jnp.asarray(LOOSEST, before.norm.dtype)
    tightest = jnp.minimum(0.5 * rtol / before.relative, loosest)
    accuracy: Any = jnp.clip(before.relative, tightest, loosest)
    solver = GMRES(accuracy, restart=NUM_KRYLOV_STEPS, max_steps=NUM_KRYLOV_STEPS)
    found = solve(jacobian_at(equation.f, before.v), before.r, solver, throw=False)

    def is_long(trial: _Trial) -> Array:
        sufficient = (1 - DECREASE * trial.length) * before.norm
        return ~(trial.iterate.norm < sufficient) & (trial.length > SHORTEST)

    def halved(trial: _Trial) -> _Trial:
        length = trial.length / 2
        iterate = equation.at(add_scaled(before.v, length, found.value))
        return _Trial(length, iterate, trial.num_evaluations + 1)

    # Half of twice the step is the step.
    trial = _Trial(2 * jnp.ones_like(loosest), before, jnp.zeros((), jnp.int32))
    trial = while_loop(is_long, halved, trial)
    is_better = trial.iterate.norm < before.norm
    return Steps(
        iterate=select(is_better, trial.iterate, before),
        num_steps=s.num_steps + 1,
        num_evaluations=s.num_evaluations + trial.num_evaluations,
        num_products=s.num_products + found.stats.num_matvecs,
        is_stuck=~is_better,
    )
