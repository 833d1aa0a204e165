"""A least-squares problem, corrected until its residuals meet the tolerance.

A solver's recurrences and factors drift from what they stand for. So every correction
of y begins from the residual r = b − A x of all before it, and r and Aᴴr are computed
anew after it. The solve ends where ‖r‖ ≤ max(rtol ‖b‖, atol) or ‖Aᴴr‖ ≤ rtol ‖A‖ ‖r‖,
with a preconditioner M also ‖MᴴAᴴr‖ ≤ rtol ‖A M‖ ‖r‖, or where a correction halves
neither.
"""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import (
    add,
    all_equal,
    divide,
    ratio,
    scale,
    select,
)
from ...operators._control_flow import fori_loop, while_loop
from ...operators._field import Field, Structure
from ._history import History, history_from
from ._inner_product import InnerProduct
from ._least_squares import (
    AbstractLeastSquares,
    LeastSquaresProblem,
    LeastSquaresSystem,
)
from ._preparation import Measured, measure
from ._residual import USEFUL, residual_of
from ._solution import Statistics
from ._status import RUNNING, Status, first_of
from ._stopping import MARGIN, Tolerance

NUM_PROBES = 3
"""Steps of the power method with AᴴA that estimate ‖A‖ where a solver sees A M only."""


class _Goal(eqx.Module):
    """What is to be met, b measured in its unit."""

    residual: Float[Array, ""]
    normal: Float[Array, ""]  # over ‖A‖ and the residual
    scale: Float[Array, ""]  # ‖b‖, or 1
    size: Float[Array, ""] | None  # ‖A‖, where the solver sees A M


class _State(eqx.Module):
    """Between corrections."""

    y: Field
    x: Field
    r: Field
    residual: Float[Array, ""]
    normal_residual: Float[Array, ""]  # ‖Aᴴr‖ / (‖A‖ ‖r‖)
    normal: Float[Array, ""]  # the larger one of that and the same with A M
    operator_norm: Float[Array, ""]  # of A M
    normal_target: Float[Array, ""]
    num_steps: Int[Array, ""]
    num_matvecs: Int[Array, ""]
    num_checks: Int[Array, ""]
    status: Int[Array, ""]
    history: History


def iterate(
    problem: LeastSquaresProblem, solver: AbstractLeastSquares, tolerance: Tolerance
) -> tuple[Field, tuple[Int[Array, ""], Statistics]]:
    """Return y, the status of x and the statistics."""
    inner_product = solver.inner_product
    measured = measure(problem.b, problem.is_finite, inner_product)
    unit = measured.unit
    x0 = None if problem.x0 is None else divide(problem.x0, unit)
    problem = replace(problem, b=measured.b, x0=x0)
    b_norm = inner_product.norm(problem.b)
    b_scale = jnp.where(b_norm > 0, b_norm, 1)
    threshold = tolerance.threshold(b_norm, unit)
    size = None
    if problem.M is not None:
        size = _norm_of(problem.A, problem.b, inner_product)
    goal = _Goal(threshold, threshold / b_scale, b_scale, size)
    state = while_loop(
        lambda state: state.status == RUNNING,
        lambda state: _correct(problem, solver, goal, state),
        _start(problem, solver, goal, measured.is_finite),
    )
    # Numbers of this size may be beyond the dtype.
    is_exact = all_equal(divide(scale(unit, state.x), unit), state.x)
    is_exact = inner_product.everywhere(is_exact)
    attainable = _attainable(goal, state, b_norm, inner_product)
    status = first_of(
        (~measured.is_finite, Status.nonfinite_input),
        (~measured.is_readable | ~is_exact, Status.nonfinite),
        (state.status == Status.converged, Status.converged),
        (state.status == Status.breakdown, Status.breakdown),
        (_is_attained(state, goal, attainable), Status.attained),
        (jnp.ones((), bool), state.status),
    )
    stats = _statistics(problem, goal, state, measured, inner_product)
    is_limit_needed = measured.is_finite & (status != Status.converged)
    limit = jnp.where(is_limit_needed, attainable / b_scale, 0)
    stats = replace(stats, attainable=limit)
    return scale(unit, state.y), (status, stats)


def _statistics(
    problem: LeastSquaresProblem,
    goal: _Goal,
    state: _State,
    measured: Measured,
    inner_product: InnerProduct,
) -> Statistics:
    residual = state.residual
    if problem.is_damped:
        residual = inner_product.norm(state.r[0])
    residual = jnp.where(measured.is_finite, residual, jnp.nan)
    has_start, has_M = problem.x0 is not None, problem.M is not None
    num_products = state.num_matvecs + 2 * state.num_checks
    # The start is measured before it is used.
    num_others = 2 * int(has_start) + (1 + 2 * NUM_PROBES) * int(has_M)
    return Statistics(
        num_steps=state.num_steps,
        num_matvecs=num_products + num_others,
        # Once more for the x that is returned.
        num_preconditioner_calls=(num_products + 1) * int(has_M),
        residual=measured.unit * residual,
        relative_residual=residual / goal.scale,
        is_start_used=jnp.asarray(has_start),
        attainable=jnp.zeros_like(residual),
        history=state.history.values,
        history_stride=state.history.stride,
        normal_residual=state.normal_residual,
    )


def _start(
    problem: LeastSquaresProblem,
    solver: AbstractLeastSquares,
    goal: _Goal,
    is_finite: Bool[Array, ""],
) -> _State:
    zero = jnp.zeros((), jnp.int32)
    y, x, r = _zeros(problem.B.in_structure), problem.x0, problem.b
    if x is None:
        x = _zeros(problem.A.in_structure)
    else:
        r = residual_of(problem.A, r, x)
    residual = solver.inner_product.norm(r)
    infinite = jnp.full_like(residual, jnp.inf)
    return _State(
        y=y,
        x=x,
        r=r,
        residual=residual,
        normal_residual=infinite,
        normal=infinite,
        operator_norm=jnp.zeros_like(residual),
        normal_target=MARGIN * goal.normal,
        num_steps=zero,
        num_matvecs=zero,
        num_checks=zero,
        status=first_of(
            (~is_finite, Status.nonfinite_input),
            (residual <= goal.residual, Status.converged),
        ),
        history=history_from(residual / goal.scale, solver.max_steps),
    )


def _correct(
    problem: LeastSquaresProblem,
    solver: AbstractLeastSquares,
    goal: _Goal,
    state: _State,
) -> _State:
    inner_product = solver.inner_product
    system = LeastSquaresSystem(
        operator=problem.B,
        inverse=problem.inverse,
        r=state.r,
        target=MARGIN * goal.residual,
        normal_target=state.normal_target,
        scale=goal.scale,
    )
    correction = solver.correct(system, state.num_steps, state.history)
    y = add(state.y, correction.value)
    x = problem.x_of(y)
    r = residual_of(problem.A, problem.b, x)
    residual = inner_product.norm(r)
    operator_norm = jnp.maximum(state.operator_norm, correction.operator_norm)
    normal_residual, normal = _normal_residuals(
        problem, r, residual, operator_norm, goal.size, inner_product
    )
    # Beyond rounding the residual never grows; NaN is not kept either.
    is_kept = (residual <= 2 * state.residual) & (correction.status == RUNNING)
    has_met = (residual <= goal.residual) | (normal <= goal.normal)
    is_halved = (residual <= state.residual / 2) | (normal <= state.normal / 2)
    num_steps = correction.num_steps
    status = first_of(
        (correction.status != RUNNING, correction.status),
        (has_met & is_kept, Status.converged),
        (~jnp.isfinite(residual), Status.nonfinite),
        (~(is_kept & is_halved), Status.stagnated),
        (num_steps >= solver.max_steps, Status.max_steps_reached),
    )
    # With a preconditioner, what is small for A M need not be so for A.
    factor = jnp.clip(ratio(goal.normal, 2 * normal), 1e-3, 0.5)
    corrected = replace(
        state,
        y=y,
        x=x,
        r=r,
        residual=residual,
        normal_residual=normal_residual,
        normal=normal,
        history=correction.history.record(num_steps, residual / goal.scale),
    )
    return replace(
        select(is_kept, corrected, state),
        operator_norm=operator_norm,
        normal_target=factor * state.normal_target,
        num_steps=num_steps,
        num_matvecs=state.num_matvecs + correction.num_matvecs,
        num_checks=state.num_checks + 1,
        status=status,
    )


def _normal_residuals(
    problem: LeastSquaresProblem,
    r: Field,
    residual: Float[Array, ""],
    operator_norm: Float[Array, ""],
    size: Float[Array, ""] | None,
    inner_product: InnerProduct,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return that of A, and the larger one of it and that of A M."""

    def measured(g: Field, size: Float[Array, ""]) -> Float[Array, ""]:
        # In this order, since a product of two lengths may be beyond the dtype.
        return ratio(ratio(inner_product.scaled_norm(g), size), residual)

    g = problem.A.H.mv(r)
    if problem.M is None or size is None:
        of_A = measured(g, operator_norm)
        return of_A, of_A
    of_A = measured(g, size)
    return of_A, jnp.maximum(of_A, measured(problem.M.H.mv(g), operator_norm))


def _attainable(
    goal: _Goal,
    state: _State,
    b_norm: Float[Array, ""],
    inner_product: InnerProduct,
) -> Float[Array, ""]:
    """Return 4 eps (‖A‖‖x‖ + ‖b‖), which is rounding."""
    size = state.operator_norm if goal.size is None else goal.size
    size = size * inner_product.scaled_norm(state.x) + b_norm
    return 4 * jnp.finfo(size.dtype).eps * size


def _is_attained(
    state: _State, goal: _Goal, attainable: Float[Array, ""]
) -> Bool[Array, ""]:
    is_small = state.residual <= jnp.minimum(attainable, USEFUL * goal.scale)
    normal = ratio(attainable, state.residual)
    return is_small | (state.normal <= jnp.minimum(normal, USEFUL))


def _norm_of(
    A: AbstractLinearOperator, b: Field, inner_product: InnerProduct
) -> Float[Array, ""]:
    """Estimate ‖A‖ from below, by the power method from Aᴴb."""

    def unit_of(x: Field) -> tuple[Field, Float[Array, ""]]:
        size = inner_product.scaled_norm(x)
        return divide(x, jnp.where(size > 0, size, 1)), size

    def grow(_: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        u, size = unit_of(A.mv(unit_of(state[0])[0]))
        return A.H.mv(u), size

    v = A.H.mv(b)
    start = v, jnp.zeros_like(inner_product.max_abs(v))
    return fori_loop(0, NUM_PROBES, grow, start)[1]


def _zeros(structure: Structure) -> Field:
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), structure)
