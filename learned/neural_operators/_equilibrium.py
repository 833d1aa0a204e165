"""Equilibria: the solution of v = v₀ + f(v), and its derivatives.

Anderson acceleration (`_anderson.py`) costs one evaluation of f per step; where it
comes to no end, Newton's method (`_newton_krylov.py`) goes on from its best iterate.

The derivative of the solution is by the implicit function theorem, with f_θ for the
derivative by all that f depends on,

    (I − f'(v)) dv = dv₀ + f_θ dθ,

one linear system, by GMRES, or in reverse mode its transpose. It needs the solution
and not how that was found.

S. Bai, J. Z. Kolter, V. Koltun, Deep equilibrium models, NeurIPS 2019, arXiv
1909.01377.

Differs from the paper: it has Broyden's method for both; v₀ is added to f(v) instead of
being an argument of f.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ...operators._arguments import require_count, require_flag, require_number
from ...operators._arithmetic import add, all_finite, with_zeros, zeros_like
from ...operators._field import Field, as_field, is_traced, structure_of
from ...operators._traced_function import trace
from ...solvers import GMRES, SolveError, Status, solve
from ...solvers.core._raising import raise_traced
from ...solvers.core._status import first_of, is_solved
from ._anderson import accelerated
from ._fixed_point_equation import Equation, jacobian_at
from ._newton_krylov import newton_krylov

NUM_KRYLOV_STEPS = 30
"""Of GMRES between restarts."""
MAX_KRYLOV_STEPS = 120
"""Of GMRES for a derivative."""
FEWEST_EPS = 10
"""The smallest tolerance, in rounding units."""

_SENTENCES = {
    Status.max_steps_reached: "The solve for an equilibrium reached max_steps and "
    "max_newton_steps before v₀ + f(v) was v to rtol; allow more steps or loosen rtol.",
    Status.stagnated: "The solve for an equilibrium stagnated: no step brings v₀ + "
    "f(v) nearer to v, as where there is no equilibrium; loosen rtol, use a higher "
    "precision, another v₀, or an f of smaller slope.",
    Status.nonfinite: "The solve for an equilibrium overflowed or met NaN although v₀ "
    "and f are finite; use a smaller v₀, or an f of smaller slope.",
    Status.nonfinite_input: "v₀ or an array in f holds infinite or NaN values, so that "
    "there is no equilibrium; nothing was solved.",
}


class Equilibrium(eqx.Module):
    """What a search for an equilibrium found; one entry per equation under `vmap`.

    Attributes:
        value: v, the iterate of least residual.
        status: a `krylax.Status`: `converged`, `max_steps_reached`, `stagnated`,
            `nonfinite` or `nonfinite_input`.
        relative_residual: ‖v₀ + f(v) − v‖ / ‖v‖.
        num_steps: of Anderson acceleration.
        num_newton_steps: of Newton's method, which follows where that has not
            converged.
        num_evaluations: of f.
        num_products: with the Jacobian of f, about one evaluation each.
    """

    value: Field
    status: Int[Array, ""]
    relative_residual: Float[Array, ""]
    num_steps: Int[Array, ""]
    num_newton_steps: Int[Array, ""]
    num_evaluations: Int[Array, ""]
    num_products: Int[Array, ""]


def equilibrium(
    f: Callable[[Any], Any],
    v0: Any,
    *,
    rtol: float | None = None,
    max_steps: int = 40,
    max_newton_steps: int = 20,
    throw: bool = True,
) -> Equilibrium:
    """Solve v = v₀ + f(v), differentiably.

    Converged means ‖v₀ + f(v) − v‖ ≤ rtol ‖v‖, measured on the v that is returned. If
    f is a contraction there is one solution; if it is continuous and bounded, as the
    block of an `IFactFormer` is, at least one, and which is found depends on v₀.

    Works inside `jit`, `vmap`, where each equation ends by itself, and `scan`.
    Derivatives in both modes, with respect to v₀ and all arrays that f closes over or
    holds, are by the implicit function theorem, to the relative tolerance of v.

    Args:
        f: function from a field to one of the same structure, which JAX can
            differentiate in forward mode. An Equinox module is compiled once, a closure
            once per `jit` around the call.
        v0: the field v₀, real, also the start.
        rtol: relative tolerance, by default the root of the rounding unit: 3e-4 in
            float32, 1.5e-8 in float64.
        max_steps: bound on the steps of Anderson acceleration.
        max_newton_steps: bound on the steps of Newton's method that may follow.
        throw: raise on failure, also of the solve for a derivative; otherwise only the
            status reports it, and a derivative whose solve failed is NaN.

    Returns:
        v, the status, and what it has cost. Where it has not converged v is the best
        iterate.

    Raises:
        ValueError: an f of another structure, fields of integers, complex numbers or
            fewer than 32 bits, or an rtol below 10 times the rounding unit.
        SolveError: with `throw`, it has not converged; under `jit` an error of JAX that
            ends with the same sentence.

    Cost: `num_evaluations` of f and `num_products`, of about one evaluation each, and
    15 fields; a derivative some ten to thirty products. Reverse mode keeps what one
    evaluation of f keeps, and while it solves 35 fields like v, however many steps
    were taken.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from krylax.learned import neural_operators as no
        >>> v0 = jnp.array([1.0, 2.0])
        >>> found = no.equilibrium(lambda v: jnp.cos(v) / 2, v0)
        >>> bool(jnp.allclose(found.value, v0 + jnp.cos(found.value) / 2))
        True
        >>> slope = jax.grad(lambda a: no.equilibrium(lambda v: a * v, v0).value[0])
        >>> round(float(slope(0.5)), 6)                 # of 1 / (1 - a)
        4.0

    References:
        S. Bai, J. Z. Kolter, V. Koltun, NeurIPS 2019, arXiv 1909.01377.
    """
    v0 = as_field(v0, "v0")
    rtol = _checked_rtol(rtol, v0)
    require_count(max_steps, "max_steps", 0)
    require_count(max_newton_steps, "max_newton_steps", 0)
    require_flag(throw, "throw")
    f, out_structure = trace(f, structure_of(v0))
    if out_structure != structure_of(v0):
        raise ValueError(
            f"f must return a field like v0, {structure_of(v0)}; got {out_structure}"
        )
    found = _compiled(f, v0, rtol, (max_steps, max_newton_steps), throw)
    return _raised(found) if throw else found


def _checked_rtol(rtol: Any, v0: Field) -> float:
    dtype = jnp.result_type(*jax.tree.leaves(v0))
    if jnp.issubdtype(dtype, jnp.complexfloating) or jnp.finfo(dtype).bits < 32:
        raise ValueError(
            "an equilibrium is one of real fields of 32 or 64 bits, got v0 of "
            f"{dtype.name}; compute it in float32"
        )
    eps = float(jnp.finfo(dtype).eps)
    if rtol is None:
        return math.sqrt(eps)
    least = FEWEST_EPS * eps
    wanted = (
        f"between {FEWEST_EPS} times the rounding unit of {dtype.name}, {least:.1e}, "
        "and 1"
    )
    require_number(rtol, "rtol", least, 1, wanted, closed=True)
    return float(rtol)


def _raised(found: Equilibrium) -> Equilibrium:
    if is_traced(found.status):
        return raise_traced(found, found.status, own=_SENTENCES)
    if is_solved(found.status):
        return found
    sentence = _SENTENCES[Status(found.status)]
    raise SolveError(
        f"{sentence} ({int(found.num_evaluations)} evaluations, relative residual "
        f"{float(found.relative_residual):.2e}); throw=False returns it",
        found,
    )


@eqx.filter_jit
def _compiled(f: Any, v0: Field, rtol: float, max_steps: Any, throw: bool) -> Any:
    value, rest = _solved(f, v0, rtol, max_steps, throw)
    return Equilibrium(value, *rest)


@eqx.filter_custom_jvp
def _solved(
    f: Any, v0: Field, rtol: float, max_steps: tuple[int, int], throw: bool
) -> Any:
    del throw
    equation = Equation(f, v0)
    is_finite = all_finite((f, v0))
    start = equation.at(v0)
    best, num_steps = accelerated(equation, start, rtol, max_steps[0])
    newton = newton_krylov(equation, best, rtol, max_steps[1])
    last = newton.iterate
    status = first_of(
        (~is_finite, Status.nonfinite_input),
        (last.relative <= rtol, Status.converged),
        (~jnp.isfinite(last.norm), Status.nonfinite),
        (newton.is_stuck, Status.stagnated),
        (True, Status.max_steps_reached),
    )
    return last.v, (
        status,
        last.relative,
        num_steps,
        newton.num_steps,
        1 + num_steps + newton.num_evaluations,
        newton.num_products,
    )


@_solved.def_jvp
def _differentiated(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    f, v0, rtol, _, throw = primals
    f_dot, v0_dot, *_ = tangents
    v, rest = _solved(*primals)
    rhs = with_zeros(v0, v0_dot)
    if jax.tree.leaves(f_dot):
        _, change = eqx.filter_jvp(lambda f: f(v), (f,), (f_dot,))
        rhs = add(rhs, with_zeros(v0, change))
    A = jacobian_at(f, v)
    solver = GMRES(rtol, restart=NUM_KRYLOV_STEPS, max_steps=MAX_KRYLOV_STEPS)

    def step(rhs: Field) -> Field:
        return solve(A, rhs, solver, throw=throw).value

    # A derivative of a solve can be transposed, the solve itself cannot.
    _, v_dot = jax.jvp(step, (zeros_like(rhs),), (rhs,))
    return (v, rest), (v_dot, jax.tree.map(lambda _: None, rest))
