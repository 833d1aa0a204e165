"""A cycle of restarted Arnoldi methods: GMRES, FGMRES and GCRO-DR differ around it.

Rows W hold an orthonormal basis C, V; rows S the search directions, of which those
after the first `first` are M⁻¹V. A cycle builds A S = W Ḡ column by column and
minimises the residual over S. GMRES keeps no S: for a linear M it is M⁻¹ times the rows
of W.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int

from ...operators._arithmetic import combine, power_of_two, reciprocal, scale
from ...operators._control_flow import scan, while_loop
from ...operators._field import Field
from ..core._history import History
from ..core._inner_product import InnerProduct
from ..core._lanes import any_lane, in_active_lane
from ..core._solver import LinearSystem
from ._arnoldi import LeastSquares, orthogonalise, start_least_squares


class Cycle(eqx.Module):
    """Within a cycle, whose next column is `j`; what rows hold beyond is not used."""

    W: Field  # m+1 rows: C, then V
    S: Field | None  # m rows: U D, then M⁻¹ V; None where they are not kept
    problem: LeastSquares
    j: Int[Array, ""]
    residual: Float[Array, ""]
    is_exhausted: Bool[Array, ""]
    unit: Float[Array, ""]
    num_steps: Int[Array, ""]
    history: History


def measure_unit(
    system: LinearSystem, norm: Float[Array, ""], inner_product: InnerProduct
) -> Float[Array, ""]:
    """The size of A M⁻¹ on the first residual: no square of it shall overflow."""
    v = scale(1 / jnp.where(norm > 0, norm, 1), system.r0)
    z = v if system.preconditioner is None else system.preconditioner(v)
    return power_of_two(inner_product.max_abs(system.operator.mv(z)))


def start_cycle(
    r: Field,
    W: Field,
    S: Field | None,
    diagonal: Inexact[Array, " m"],
    first: Int[Array, ""],
    unit: Float[Array, ""],
    num_steps: Int[Array, ""],
    history: History,
    inner_product: InnerProduct,
) -> Cycle:
    """Begin with residual r, orthogonal to the `first` rows of W, and Ḡ = diagonal."""
    norm = inner_product.norm(r)
    v = scale(reciprocal(norm), r)
    return Cycle(
        W=set_row(W, first, v),
        S=S,
        problem=start_least_squares(diagonal, norm, first),
        j=first,
        residual=norm,
        is_exhausted=jnp.zeros((), bool),
        unit=unit,
        num_steps=num_steps,
        history=history,
    )


def run_cycle(
    system: LinearSystem, cycle: Cycle, max_steps: int, inner_product: InnerProduct
) -> Cycle:
    """Take Arnoldi steps until the target is met or the rows are full."""
    length = cycle.problem.R.shape[1]

    def is_running(c: Cycle) -> Bool[Array, ""]:
        is_open = (c.j < length) & ~c.is_exhausted & (c.num_steps < max_steps)
        return is_open & (c.residual > system.target)

    return while_loop(
        lambda c: any_lane(is_running(c)),
        lambda c: _step(system, c, inner_product, is_running(c)),
        cycle,
    )


def unroll_cycle(
    system: LinearSystem, cycle: Cycle, num_steps: int, inner_product: InnerProduct
) -> Cycle:
    """Take exactly `num_steps` Arnoldi steps."""

    def body(cycle: Cycle, _: None) -> tuple[Cycle, None]:
        return _step(system, cycle, inner_product, None), None

    return scan(body, cycle, length=num_steps)[0]


def correction(system: LinearSystem, cycle: Cycle) -> Field:
    """The minimiser over the search space; without S, M⁻¹ acts on it as a whole."""
    y = cycle.problem.solve(cycle.j)
    if cycle.S is not None:
        return combine(y, cycle.S)
    # The last row has no coefficient; to leave it out would copy the others.
    found = scale(1 / cycle.unit, combine(jnp.pad(y, (0, 1)), cycle.W))
    return found if system.preconditioner is None else system.preconditioner(found)


def extend_rows(rows: Field, length: int) -> Field:
    """Append zero rows."""
    return jax.tree.map(
        lambda a: jnp.concatenate(
            [a, jnp.zeros((length - a.shape[0], *a.shape[1:]), a.dtype)]
        ),
        rows,
    )


def set_row(rows: Field, i: Int[Array, ""], x: Field) -> Field:
    """Replace row i."""
    return jax.tree.map(
        lambda a, b: lax.dynamic_update_index_in_dim(a, b, i, axis=0), rows, x
    )


def is_stuck(
    norm: Float[Array, ""], before: Float[Array, ""], estimate: Float[Array, ""]
) -> Bool[Array, ""]:
    """Whether a cycle made no progress: none at all, or none where it claimed some.

    The claim is the residual of the small problem; where the true one stays although
    the claim halves, the limit is rounding. GMRES(m) may creep for many cycles on
    indefinite systems, so that small progress must count.
    """
    is_still = norm > (1 - jnp.sqrt(jnp.finfo(norm.dtype).eps)) * before
    is_rounding = (norm > 0.9 * before) & (estimate < norm / 2)
    return is_still | is_rounding


def _step(
    system: LinearSystem,
    cycle: Cycle,
    inner_product: InnerProduct,
    is_active: Bool[Array, ""] | None,
) -> Cycle:
    """One Arnoldi step: column j of A S = W Ḡ, S in units that make Ḡ near 1.

    A lane that is not active stays as it is; None where there are no lanes, as in what
    is differentiated.
    """

    def kept(new: Any, old: Any) -> Any:
        return new if is_active is None else in_active_lane(is_active, new, old)

    j = cycle.j
    v = _row(cycle.W, j)
    z = v if system.preconditioner is None else system.preconditioner(v)
    z = scale(1 / cycle.unit, z)
    S = cycle.S
    if S is not None:
        S = set_row(S, j, kept(z, _row(S, j)))
        # Reading z back makes all that needs row j of W come before row j+1 is
        # written; otherwise XLA copies all of W twice a step, which costs as much
        # as the rest of it (64 x 64, m = 40).
        z = _row(S, j)
    w, h, below = orthogonalise(system.operator.mv(z), cycle.W, j + 1, inner_product)
    w = kept(w, _row(cycle.W, j + 1))
    problem = cycle.problem.add_column(h, below, j)
    residual = problem.residual(j + 1)
    num_steps = cycle.num_steps + 1
    seen = lax.stop_gradient(residual / system.scale)
    small = (problem, j + 1, residual, below == 0, num_steps)
    before = (cycle.problem, j, cycle.residual, cycle.is_exhausted, cycle.num_steps)
    history = cycle.history.record(num_steps, seen)
    small, history = kept((small, history), (before, cycle.history))
    problem, j, residual, is_exhausted, num_steps = small
    return Cycle(
        W=set_row(cycle.W, cycle.j + 1, w),
        S=S,
        problem=problem,
        j=j,
        residual=residual,
        is_exhausted=is_exhausted,
        unit=cycle.unit,
        num_steps=num_steps,
        history=history,
    )


def _row(rows: Field, i: Int[Array, ""]) -> Field:
    return jax.tree.map(
        lambda a: lax.dynamic_index_in_dim(a, i, axis=0, keepdims=False), rows
    )
