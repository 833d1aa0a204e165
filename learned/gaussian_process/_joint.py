"""The published training: values on the grid and kernels at once, by Adam.

S. Fang et al., ICLR 2024 (arXiv 2311.04465). U is the solution on a tensor grid of M
points, N_d along axis d, and K_d the kernel of that axis on its points, with a jitter
on the diagonal. What is made largest over U, the kernels, τ and v is

    - ½ Σ_d (M/N_d) log|K_d| - ½ ⟨U, (⊗ K_d⁻¹) U⟩                            (prior)
    + λ (½ N_b log τ - ½ τ Σ_faces (U - g)²)                              (boundary)
    + ½ M log v - ½ v Σ_grid residual².                                   (equation)

A derivative of u on the grid is that of the mean given U, (⊗ K_d^(m) K_d⁻¹) U. N_b
counts the points of all faces that have values, an edge once for each of its faces.

Differs from the published code:
1. K_d and its derivatives come from their first columns, and one Cholesky factor of K_d
   serves all that is solved with it, and its determinant. The numbers are the same.
2. Any number of axes, and equations whose derivatives are along several axes at once.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float

from ._basis import Axis, mode_products
from ._kernels import SpectralMixture
from ._pde import PDE, Orders

JointEnvelope = Literal["gaussian", "matern52"]
JITTER = 1e-6
NUM_REPORTS = 20


class Terms(NamedTuple):
    """The three terms of the objective."""

    prior: Float[Array, ""]
    boundary: Float[Array, ""]
    equation: Float[Array, ""]

    @property
    def objective(self) -> Float[Array, ""]:
        """Their sum, which is made largest."""
        return self.prior + self.boundary + self.equation


class TrainedKernel(eqx.Module):
    """The kernel of an axis, in the parameters that are trained.

    Attributes:
        log_weights: log w_q.
        log_rates: s_q, with envelopes exp(-e^s d²), or Matérn of length-scale e^-s.
        frequencies: in cycles per unit; `None` where they are zero and not trained.
    """

    log_weights: Float[Array, " q"]
    log_rates: Float[Array, " q"]
    frequencies: Float[Array, " q"] | None
    envelope: JointEnvelope = eqx.field(static=True)

    @property
    def mixture(self) -> SpectralMixture:
        """The kernel with our length-scales."""
        if self.envelope == "gaussian":
            lengths = math.sqrt(0.5) * jnp.exp(-0.5 * self.log_rates)
        else:
            lengths = jnp.exp(-self.log_rates)
        frequencies = 0 * lengths if self.frequencies is None else self.frequencies
        return SpectralMixture(
            jnp.exp(self.log_weights), frequencies, lengths, self.envelope
        )


class JointState(eqx.Module):
    """What is trained.

    Attributes:
        values: U.
        kernels: one per axis.
        log_tau: of the precision of the boundary values.
        log_v: of that of the equation.
    """

    values: Float[Array, "..."]
    kernels: tuple[TrainedKernel, ...]
    log_tau: Float[Array, ""]
    log_v: Float[Array, ""]


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


class _Lines(NamedTuple):
    """The matrices of one axis."""

    kernel: SpectralMixture
    lags: Any
    column: Float[Array, " n"]
    K: Float[Array, "n n"]
    factor: Float[Array, "n n"]

    def derivative(self, order: int) -> Float[Array, "n n"]:
        return toeplitz(self.kernel.covariance(self.lags, order), order)

    def solve(self, rhs: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return lax.custom_linear_solve(
            lambda x: self.K @ x,
            rhs,
            lambda _, b: cho_solve((self.factor, True), b),
            symmetric=True,
        )


class _Field:
    """u with its derivatives on the grid, given U."""

    def __init__(self, axes: Sequence[Axis], state: JointState, jitter: float) -> None:
        self.U = state.values
        self.lines = [
            _lines(axis, kernel, jitter)
            for axis, kernel in zip(axes, state.kernels, strict=True)
        ]
        # K_d⁻¹ U along each axis: for the prior, and for derivatives along one axis.
        self.solved = [
            along(line.solve, self.U, d) for d, line in enumerate(self.lines)
        ]

    def derivative(self, orders: Orders) -> Float[Array, "..."]:
        value, is_solved = self.U, True
        for d, (line, order) in enumerate(zip(self.lines, orders, strict=True)):
            if order:
                value = self.solved[d] if is_solved else along(line.solve, value, d)
                value = along(line.derivative(order).__matmul__, value, d)
                is_solved = False
        return value

    def log_prior(self) -> Float[Array, ""]:
        left = self.U if len(self.lines) == 1 else self.solved[0]
        for d, line in enumerate(self.lines[1:-1], start=1):
            left = along(line.solve, left, d)
        logs = [
            self.U.size / line.lags.size * log_determinant(line.column, line.factor)
            for line in self.lines
        ]
        return -0.5 * (sum(logs[1:], logs[0]) + jnp.sum(left * self.solved[-1]))


def joint_objective(
    pde: PDE,
    axes: Sequence[Axis],
    state: JointState,
    *,
    boundary_weight: Any = 200.0,
    jitter: float = JITTER,
    others: dict[Orders, Any] | None = None,
    parameters: Any = None,
) -> Terms:
    """Return the terms of the objective.

    Args:
        pde: with values on its faces, and no other conditions.
        axes: of the grid.
        state: what is trained.
        boundary_weight: λ.
        jitter: on the diagonal of each K_d.
        others: derivatives on the grid of a function that is added to u, by their
            orders, and not trained.
        parameters: of the equation, by default `pde.parameters`.

    Raises:
        ValueError: conditions on derivatives, or a periodic axis.

    Cost: per axis two factors' worth of N_d³ operations, and 2 N_d M for each solve
    with K_d and each product.
    """
    return _measured(
        _problem(pde, axes, boundary_weight, jitter, parameters, others), state
    )[0]


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
        pde: with values on its faces, and no other conditions.
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
        report_at: numbers of steps after which the report has an entry; by default 20,
            evenly.
        observe: gets the solution at each of these.

    Returns:
        The solution: `on_grid`, `mean`, `kernels`, `report`. Nothing is NaN but
        `report.objective` and all after it where the training fails.

    Raises:
        ValueError: float32, conditions on derivatives, a periodic axis, numbers out of
            range.

    Cost: per step that of the objective, three times.

    References:
        S. Fang et al., Solving High Frequency and Multi-Scale PDEs with Gaussian
        Processes, ICLR 2024, arXiv 2311.04465.
    """
    sizes = [num_points] * pde.num_axes if isinstance(num_points, int) else num_points
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
    problem = _problem(pde, axes, boundary_weight, jitter, parameters)
    if report_at is None:
        report_at = [math.ceil(num_steps * k / NUM_REPORTS) for k in range(1, 21)]
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
        kernels.append(TrainedKernel(*map(jnp.asarray, start), envelope))
    values = jnp.zeros([axis.num_points for axis in axes])
    return JointState(values, tuple(kernels), jnp.zeros(()), jnp.zeros(()))


def _second_state(axes: Sequence[Axis], log_tau: Any) -> JointState:
    """Return the start of the second process."""
    kernel = TrainedKernel(jnp.zeros(1), jnp.zeros(1), None, "matern52")
    values = jnp.zeros([axis.num_points for axis in axes])
    return JointState(values, (kernel,) * len(axes), log_tau, jnp.zeros(()))


class _Problem(eqx.Module):
    """What the objective is of, beside the state."""

    boundary_weight: Any
    jitter: Any
    others: dict[Orders, Any] | None
    parameters: Any
    pde: PDE = eqx.field(static=True)
    axes: tuple[Axis, ...] = eqx.field(static=True)

    def __check_init__(self) -> None:
        for index, axis in enumerate(self.axes):
            if axis.is_periodic or any(f.order for f in axis.functionals):
                raise ValueError(
                    "joint training is for values on faces alone, but axis "
                    f"{index} is periodic or has a condition on a derivative; take "
                    'another learn= of solve_pde, such as "auto"'
                )

    @property
    def points(self) -> list[np.ndarray]:
        """The coordinates, shaped so that they broadcast."""
        vectors = (axis.points for axis in self.axes)
        return list(np.meshgrid(*vectors, indexing="ij", sparse=True))

    def field(self, state: JointState) -> tuple[_Field, dict[Orders, Any]]:
        """Return u, and its values and the derivatives that the equation asks for."""
        orders = {(0,) * len(self.axes)}
        orders.update(self.pde.orders(self.points, self.parameters))
        field = _Field(self.axes, state, self.jitter)
        found = {o: field.derivative(o) for o in sorted(orders)}
        if self.others is not None:
            found = {o: value + self.others[o] for o, value in found.items()}
        return field, found

    def face_errors(self, values: Any) -> list[Any]:
        """Return u - g on each face that has values."""
        errors = []
        for index, functional, g in self.pde.face_conditions:
            axis, x = self.axes[index], list(self.points)
            x[index] = np.asarray((axis.low, axis.high)[functional.side])
            place = functional.side * (axis.num_points - 1)
            on_face = lax.slice_in_dim(values, place, place + 1, axis=index)
            errors.append(on_face - g(tuple(x), self.parameters))
        return errors


def _problem(
    pde: PDE,
    axes: Sequence[Axis],
    boundary_weight: Any,
    jitter: Any,
    parameters: Any,
    others: dict[Orders, Any] | None = None,
) -> _Problem:
    if parameters is None:
        parameters = pde.parameters
    # Arrays, so that other numbers are the same program.
    weight, jitter, parameters = jax.tree.map(
        jnp.asarray, (boundary_weight, jitter, parameters)
    )
    return _Problem(weight, jitter, others, parameters, pde, tuple(axes))


@eqx.filter_jit
def _measured(problem: _Problem, state: JointState) -> tuple[Terms, Any, Any]:
    """The terms, and the mean squares of the residual and of the error on the faces."""
    field, values = problem.field(state)
    residual = problem.pde.residual_of(problem.points, values, problem.parameters)
    errors = problem.face_errors(values[(0,) * len(problem.axes)])
    num_boundary = sum(error.size for error in errors)
    misfit = sum((jnp.sum(error**2) for error in errors), start=jnp.zeros(()))
    unexplained = jnp.sum(residual**2)
    boundary = _log_likelihood(state.log_tau, num_boundary, misfit)
    equation = _log_likelihood(state.log_v, residual.size, unexplained)
    terms = Terms(field.log_prior(), problem.boundary_weight * boundary, equation)
    return terms, unexplained / residual.size, misfit / max(num_boundary, 1)


def _log_likelihood(log_precision: Any, count: int, squares: Any) -> Any:
    return 0.5 * count * log_precision - 0.5 * jnp.exp(log_precision) * squares


@eqx.filter_jit
def _advance(
    problem: _Problem, carry: Any, learning_rate: Any, num_steps: Any
) -> tuple[Any, Any]:
    """Return the carry after some steps of Adam, and what is reported of it."""
    optimizer = optax.adam(learning_rate)

    def loss(state: JointState) -> Any:
        return -_measured(problem, state)[0].objective

    def step(_: Any, carry: Any) -> Any:
        state, moments = carry
        slope = jax.grad(loss)(state)
        # Optax raises decays to powers of integers, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = optimizer.update(slope, moments)
        return optax.apply_updates(state, updates), moments

    carry = lax.fori_loop(0, num_steps, step, carry)
    terms, unexplained, misfit = _measured(problem, carry[0])
    return carry, (terms.objective, jnp.sqrt(unexplained), jnp.sqrt(misfit))


@eqx.filter_jit
def _fixed_field(problem: _Problem, state: JointState) -> dict[Orders, Any]:
    return problem.field(state)[1]


class _Run:
    """The states, and the report as it grows."""

    def __init__(
        self,
        problem: _Problem,
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
        columns = np.asarray([row[1:] for row in self.rows]).reshape(-1, 3).T
        report = JointReport(
            tuple(row[0] for row in self.rows), *columns, tuple(self.observed)
        )
        jitter = float(self.problem.jitter)
        return JointSolution(self.states, report, self.problem.axes, jitter)


def _lines(axis: Axis, kernel: TrainedKernel, jitter: Any) -> _Lines:
    mixture = kernel.mixture
    lags = axis.points - axis.low
    column = mixture.covariance(lags).at[0].add(jitter)
    K = toeplitz(column, 0)
    factor = lax.linalg.cholesky(lax.stop_gradient(K), symmetrize_input=False)
    return _Lines(mixture, lags, column, K, factor)


def toeplitz(column: Float[Array, " n"], order: int) -> Float[Array, "n n"]:
    """Return the matrix of k^(order)(x_i - x_j), of which the first column is given.

    A derivative of odd order is odd.
    """
    number = jnp.arange(column.shape[0])
    lag = number[:, None] - number[None, :]
    entries = column[jnp.abs(lag)]
    return entries if order % 2 == 0 else jnp.where(lag < 0, -entries, entries)


@jax.custom_jvp
def log_determinant(column: Float[Array, " n"], factor: Float[Array, "n n"]) -> Any:
    """Return log|K| of a Toeplitz matrix, given its first column and Cholesky factor.

    Its derivative in the entries of a diagonal is the sum of the inverse's diagonal. By
    the formula of Gohberg and Semencul (1972) the inverse is

        K⁻¹ = (L(x) L(x)ᵀ - L(y) L(y)ᵀ) / x_0,    K x = e_0,    y = (0, x_{n-1}, ..., x_1),

    with L(x) the lower triangular Toeplitz matrix with first column x, so that the sum
    of its diagonal k is Σ_p (n - k - 2p) x_p x_{p+k} / x_0: one solve for n.
    """
    del column
    return 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))


@log_determinant.defjvp
def _log_determinant_jvp(primals: Any, tangents: Any) -> Any:
    column, factor = primals
    n = column.shape[0]
    number = jnp.arange(n)
    order = number.astype(column.dtype)
    x = cho_solve((factor, True), jnp.zeros(n).at[0].set(1))
    # Row k is x from its entry k on.
    shifted = jnp.pad(x, (0, n))[number[:, None] + number[None, :]]
    sums = ((n - order) * (shifted @ x) - 2 * (shifted @ (order * x))) / x[0]
    counts = jnp.full(n, 2.0).at[0].set(1.0)
    return log_determinant(column, factor), jnp.sum(counts * sums * tangents[0])


def along(function: Any, values: Any, axis: int) -> Any:
    """Return a function of matrices, of their columns, along an axis of values."""
    moved = jnp.moveaxis(values, axis, 0)
    found = function(moved.reshape(moved.shape[0], -1))
    return jnp.moveaxis(found.reshape(-1, *moved.shape[1:]), 0, axis)


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
        line = _lines(axis, kernel, jitter)
        values = along(line.solve, values, d)
        rows.append(line.kernel.covariance(x[:, None] - axis.points[None, :]))
    return rows, values
