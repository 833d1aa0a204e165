"""The published training: values on the grid and kernels at once, by Adam.

S. Fang et al., ICLR 2024 (arXiv 2311.04465); `_joint_objective.py` has the objective.

Differs from the published code: nothing known but that the steps are a compiled loop.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float

from ._basis import Axis, mode_products
from ._joint_objective import (
    JITTER,
    JointEnvelope,
    JointProblem,
    JointState,
    TrainedKernel,
    along,
    joint_problem,
    line_of,
    measured,
)
from ._kernels import SpectralMixture
from ._pde import PDE, Orders

NUM_REPORTS = 20


class JointReport(eqx.Module):
    """How the training went, at the steps that were asked for.

    Attributes:
        steps: that were done.
        objective: NaN once rounding makes a K_d indefinite.
        residual: root mean square on the grid.
        boundary: that of the error of the values on the faces.
        observed: what `observe` returned.
    """

    steps: tuple[int, ...] = eqx.field(static=True)
    objective: Float[np.ndarray, " reports"]
    residual: Float[np.ndarray, " reports"]
    boundary: Float[np.ndarray, " reports"]
    observed: tuple[Any, ...] = ()


class JointSolution(eqx.Module):
    """The mean given the values on the grid, k(x*, X) K⁻¹ U along each axis.

    Attributes:
        states: one, or two whose means are added.
        report: how the training went.
    """

    states: tuple[JointState, ...]
    report: JointReport
    axes: tuple[Axis, ...] = eqx.field(static=True)
    jitter: float = eqx.field(static=True)

    @property
    def values(self) -> Float[Array, "..."]:
        """U, on the grid."""
        return sum(state.values for state in self.states[1:]) + self.states[0].values

    @property
    def kernels(self) -> tuple[SpectralMixture, ...]:
        """The trained mixture of each axis, of the first state."""
        return tuple(kernel.mixture for kernel in self.states[0].kernels)

    def on_grid(self, *axes: Any) -> Float[Array, "..."]:
        """Return u on the tensor grid of coordinates along each axis."""
        vectors = tuple(jnp.asarray(x, float) for x in axes)
        return _on_grid(self.states, self.axes, self.jitter, vectors)

    def mean(self, points: Any) -> Float[Array, " number"]:
        """Return u at points of shape (number, axes)."""
        points = jnp.asarray(points, float)
        return _at_points(self.states, self.axes, self.jitter, points)


def train_joint(
    pde: PDE,
    num_points: int | Sequence[int],
    *,
    envelope: JointEnvelope = "gaussian",
    num_components: int = 30,
    max_frequency: float | None = None,
    boundary_weight: float = 200.0,
    num_steps: int,
    learning_rate: float = 1e-2,
    change_point: float | None = None,
    jitter: float = JITTER,
    parameters: Any = None,
    report_at: Sequence[int] | None = None,
    observe: Callable[[JointSolution], Any] | None = None,
) -> JointSolution:
    """Train values and kernels together, as published, from the published start.

    The start is U = 0, equal weights, frequencies evenly from 0 to `max_frequency`, and
    all logarithms of rates and precisions 0.

    Args:
        pde: of one field, with values on its faces and no other conditions or data.
        num_points: of the grid, per axis or for all.
        envelope: "gaussian", their GP-HM-GM, or "matern52", their GP-HM-StM.
        num_components: Q, of each kernel.
        max_frequency: in cycles per unit; by default 0.95 of what the grid resolves.
        boundary_weight: λ.
        num_steps: of Adam.
        learning_rate: of Adam.
        change_point: part of the steps after which the process is kept, and a second
            one is trained for the rest, of one Matérn component per axis, so that the
            sum meets boundary and equation. `None` for one process alone.
        jitter: on the diagonal of each K_d.
        parameters: of the equation, by default `pde.parameters`.
        report_at: numbers of steps, 1 to `num_steps`, after which the report has an
            entry; by default 20, evenly.
        observe: gets the solution at each of these.

    Returns:
        The solution: `on_grid`, `mean`, `kernels`, `report`. Where rounding has made a
        kernel's matrix indefinite it is NaN, and so is `report.objective`.

    Raises:
        ValueError: float32, several fields, observations, conditions on derivatives, a
            periodic axis, numbers out of range.

    Cost: per step the objective and its derivative, three times the objective.

    References:
        S. Fang et al., Solving High Frequency and Multi-Scale PDEs with Gaussian
        Processes, ICLR 2024, arXiv 2311.04465.
    """
    sizes = [num_points] * pde.num_axes if isinstance(num_points, int) else num_points
    if len(sizes) != pde.num_axes:
        raise ValueError(
            f"num_points must be one number or one per axis, here {pde.num_axes}, got "
            f"{num_points}"
        )
    if jnp.result_type(float) != jnp.float64:
        raise ValueError(
            'joint training needs 64 bits: call jax.config.update("jax_enable_x64", '
            "True)"
        )
    if envelope not in get_args(JointEnvelope):
        raise ValueError(
            f"envelope must be one of {get_args(JointEnvelope)}, got {envelope!r}"
        )
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    if change_point is not None and not 0 <= change_point < 1:
        raise ValueError(f"change_point must lie in [0, 1), got {change_point}")
    axes = tuple(pde.axis(d, n) for d, n in enumerate(sizes))
    problem = joint_problem(pde, axes, boundary_weight, jitter, parameters)
    if report_at is None:
        counts = range(1, NUM_REPORTS + 1)
        report_at = [math.ceil(num_steps * k / NUM_REPORTS) for k in counts]
    run = _Run(problem, learning_rate, sorted({*report_at}), observe)
    first = num_steps
    if change_point is not None:
        # One more, as in the published loop.
        first = min(int(num_steps * change_point) + 1, num_steps)
    state = initial_state(axes, envelope, num_components, max_frequency)
    run.train(state, 0, first)
    if first < num_steps:
        run.begin_second()
        run.train(_second_state(axes, run.states[0].log_tau), first, num_steps)
    return run.solution()


def initial_state(
    axes: Sequence[Axis],
    envelope: JointEnvelope,
    num_components: int = 30,
    max_frequency: float | None = None,
) -> JointState:
    """Return the published start."""
    kernels = []
    for axis in axes:
        highest = 0.95 * axis.nyquist if max_frequency is None else max_frequency
        start = (
            np.full(num_components, -np.log(num_components)),
            np.zeros(num_components),
            np.linspace(0, highest, num_components),
        )
        # Arrays of NumPy have no weak types, which would be other programs.
        w, s, f = map(jnp.asarray, start)
        kernels.append(TrainedKernel(w, s, f, envelope))
    values = jnp.zeros([axis.num_points for axis in axes])
    return JointState(values, tuple(kernels), jnp.zeros(()), jnp.zeros(()))


def _second_state(axes: Sequence[Axis], log_tau: Any) -> JointState:
    """Return the start of the second process."""
    kernel = TrainedKernel(jnp.zeros(1), jnp.zeros(1), None, "matern52")
    values = jnp.zeros([axis.num_points for axis in axes])
    return JointState(values, (kernel,) * len(axes), log_tau, jnp.zeros(()))


class _Run:
    """The states, and the report as it grows."""

    def __init__(
        self,
        problem: JointProblem,
        learning_rate: float,
        report_at: list[int],
        observe: Callable[[JointSolution], Any] | None,
    ) -> None:
        self.problem, self.learning_rate = problem, jnp.asarray(learning_rate)
        self.report_at, self.observe = report_at, observe
        self.before: tuple[JointState, ...] = ()
        self.states: tuple[JointState, ...] = ()
        self.rows: list[tuple[Any, ...]] = []
        self.observed: list[Any] = []

    def train(self, state: JointState, done: int, stop: int) -> None:
        """Train a state from one number of steps to another."""
        # Its moments are zero whatever the rate.
        carry = (state, optax.adam(1.0).init(eqx.filter(state, eqx.is_array)))
        due = [step for step in self.report_at if done < step <= stop]
        for step in sorted({*due, stop}):
            carry, row = _advance(
                self.problem, carry, self.learning_rate, jnp.asarray(step - done)
            )
            done, self.states = step, (*self.before, carry[0])
            if step in due:
                self.rows.append((step, *map(float, row)))
                if self.observe is not None:
                    self.observed.append(self.observe(self.solution()))

    def begin_second(self) -> None:
        """Keep what is trained, to which the next state is added."""
        self.before = self.states
        others = _fixed_field(self.problem, self.states[0])
        self.problem = eqx.tree_at(
            lambda p: p.others, self.problem, others, is_leaf=lambda x: x is None
        )

    def solution(self) -> JointSolution:
        """Return what there is."""
        steps = tuple(row[0] for row in self.rows)
        objective, residual, boundary = (
            np.array([row[1:] for row in self.rows], float).reshape(-1, 3).T
        )
        report = JointReport(steps, objective, residual, boundary, tuple(self.observed))
        jitter = float(self.problem.jitter)
        return JointSolution(self.states, report, self.problem.axes, jitter)


@eqx.filter_jit
def _advance(
    problem: JointProblem, carry: Any, learning_rate: Any, num_steps: Any
) -> tuple[Any, Any]:
    """Return the carry after some steps of Adam, and what is reported of it."""
    optimizer = optax.adam(learning_rate)

    def loss(state: JointState) -> Any:
        return -measured(problem, state)[0].objective

    def step(_: Any, carry: Any) -> Any:
        state, moments = carry
        slope = jax.grad(loss)(state)
        # Optax raises decays to powers of integers, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = optimizer.update(slope, moments)
        return optax.apply_updates(state, updates), moments

    carry = lax.fori_loop(0, num_steps, step, carry)
    terms, unexplained, misfit = measured(problem, carry[0])
    return carry, (terms.objective, jnp.sqrt(unexplained), jnp.sqrt(misfit))


@eqx.filter_jit
def _fixed_field(problem: JointProblem, state: JointState) -> dict[Orders, Any]:
    return problem.field(state)[1]


@eqx.filter_jit
def _on_grid(
    states: tuple[JointState, ...], axes: tuple[Axis, ...], jitter: float, vectors: Any
) -> Any:
    parts = [mode_products(*_mean(s, axes, jitter, vectors)) for s in states]
    return sum(parts[1:], parts[0])


@eqx.filter_jit
def _at_points(
    states: tuple[JointState, ...], axes: tuple[Axis, ...], jitter: float, points: Any
) -> Any:
    parts = []
    for state in states:
        rows, value = _mean(state, axes, jitter, tuple(jnp.moveaxis(points, 1, 0)))
        value = jnp.tensordot(rows[0], value, axes=(1, 0))
        for row in rows[1:]:
            value = jnp.einsum("nr,nr...->n...", row, value)
        parts.append(value)
    return sum(parts[1:], parts[0])


def _mean(
    state: JointState, axes: tuple[Axis, ...], jitter: float, vectors: Sequence[Any]
) -> tuple[list[Any], Any]:
    """Covariances of coordinates with the points of each axis, and (⊗ K_d⁻¹) U."""
    rows, values = [], state.values
    for d, (axis, kernel, x) in enumerate(
        zip(axes, state.kernels, vectors, strict=True)
    ):
        line = line_of(axis, kernel, jitter)
        values = along(line.solve, values, d)
        rows.append(line.kernel.covariance(x[:, None] - axis.points[None, :]))
    return rows, values
