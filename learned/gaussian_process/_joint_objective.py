"""The published objective, of values on the grid and kernels at once.

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
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float

from ._basis import Axis
from ._kernels import SpectralMixture
from ._pde import PDE, Orders
from ._toeplitz import log_determinant, toeplitz

JointEnvelope = Literal["gaussian", "matern52"]
JITTER = 1e-6


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
        pde: of one field, with values on its faces and no other conditions or data.
        axes: of the grid.
        state: what is trained.
        boundary_weight: λ.
        jitter: on the diagonal of each K_d.
        others: derivatives on the grid of a function that is added to u, by their
            orders, and not trained.
        parameters: of the equation, by default `pde.parameters`.

    Raises:
        ValueError: several fields, observations, conditions on derivatives, or a
            periodic axis.

    Cost: per axis N_d³/3 operations for the factor, and 2 N_d M for each solve with K_d
    and each product.
    """
    return measured(
        joint_problem(pde, axes, boundary_weight, jitter, parameters, others), state
    )[0]


class Line(NamedTuple):
    """The kernel of an axis on its points, K_d and its Cholesky factor."""

    kernel: SpectralMixture
    lags: Any
    column: Float[Array, " n"]
    K: Float[Array, "n n"]
    factor: Float[Array, "n n"]

    def derivative(self, order: int) -> Float[Array, "n n"]:
        """Return K_d^(m)."""
        return toeplitz(self.kernel.covariance(self.lags, order), order)

    def solve(self, rhs: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """Return K_d⁻¹ rhs, whose derivative is another solve with the factor."""
        return lax.custom_linear_solve(
            lambda x: self.K @ x,
            rhs,
            lambda _, b: cho_solve((self.factor, True), b),
            symmetric=True,
        )


class Field:
    """u with its derivatives on the grid, given U."""

    def __init__(self, axes: Sequence[Axis], state: JointState, jitter: float) -> None:
        self.U = state.values
        self.lines = [
            line_of(axis, kernel, jitter)
            for axis, kernel in zip(axes, state.kernels, strict=True)
        ]
        # K_d⁻¹ U along each axis: for the prior, and for derivatives along one axis.
        self.solved = [
            along(line.solve, self.U, d) for d, line in enumerate(self.lines)
        ]

    def derivative(self, orders: Orders) -> Float[Array, "..."]:
        """Return a derivative of the mean on the grid; axes of order 0 cancel."""
        value, is_solved = self.U, True
        for d, (line, order) in enumerate(zip(self.lines, orders, strict=True)):
            if order:
                value = self.solved[d] if is_solved else along(line.solve, value, d)
                value = along(line.derivative(order).__matmul__, value, d)
                is_solved = False
        return value

    def log_prior(self) -> Float[Array, ""]:
        """Return the first term."""
        left = self.U if len(self.lines) == 1 else self.solved[0]
        for d, line in enumerate(self.lines[1:-1], start=1):
            left = along(line.solve, left, d)
        logs = [
            self.U.size / line.lags.size * log_determinant(line.column, line.factor)
            for line in self.lines
        ]
        return -0.5 * (sum(logs[1:], logs[0]) + jnp.sum(left * self.solved[-1]))


def line_of(axis: Axis, kernel: TrainedKernel, jitter: Any) -> Line:
    """Return the matrices of an axis."""
    mixture = kernel.mixture
    lags = jnp.asarray(axis.points - axis.low)
    column = mixture.covariance(lags).at[0].add(jitter)
    K = toeplitz(column, 0)
    factor = lax.linalg.cholesky(lax.stop_gradient(K), symmetrize_input=False)
    return Line(mixture, lags, column, K, factor)


def along(function: Any, values: Any, axis: int) -> Any:
    """Return a function of matrices, of their columns, along an axis of values."""
    moved = jnp.moveaxis(values, axis, 0)
    found = function(moved.reshape(moved.shape[0], -1))
    return jnp.moveaxis(found.reshape(-1, *moved.shape[1:]), 0, axis)


class JointProblem(eqx.Module):
    """What the objective is of, beside the state."""

    boundary_weight: Any
    jitter: Any
    others: dict[Orders, Any] | None
    parameters: Any
    pde: PDE = eqx.field(static=True)
    axes: tuple[Axis, ...] = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.pde.fields > 1 or self.pde.observations:
            raise ValueError(
                "joint training is for one field without observations, got "
                f"{self.pde.fields} fields and {len(self.pde.observations)} sets of "
                'them; take another learn= of solve_pde, such as "auto"'
            )
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

    def field(self, state: JointState) -> tuple[Field, dict[Orders, Any]]:
        """Return u, and its values and the derivatives that the equation asks for."""
        orders = {(0,) * len(self.axes)}
        orders.update(*self.pde.orders(self.points, self.parameters))
        field = Field(self.axes, state, self.jitter)
        found = {o: field.derivative(o) for o in sorted(orders)}
        if self.others is not None:
            found = {o: value + self.others[o] for o, value in found.items()}
        return field, found

    def face_errors(self, values: Any) -> list[Any]:
        """Return u - g on each face that has values."""
        errors = []
        for index, functional, g in self.pde.conditions_of(0):
            axis, x = self.axes[index], list(self.points)
            x[index] = np.asarray((axis.low, axis.high)[functional.side])
            place = functional.side * (axis.num_points - 1)
            on_face = lax.slice_in_dim(values, place, place + 1, axis=index)
            errors.append(on_face - g(tuple(x), self.parameters))
        return errors


def joint_problem(
    pde: PDE,
    axes: Sequence[Axis],
    boundary_weight: Any,
    jitter: Any,
    parameters: Any,
    others: dict[Orders, Any] | None = None,
) -> JointProblem:
    """Return the problem of `joint_objective`."""
    if parameters is None:
        parameters = pde.parameters
    # Arrays, so that other numbers are the same program.
    weight, jitter, parameters = jax.tree.map(
        jnp.asarray, (boundary_weight, jitter, parameters)
    )
    return JointProblem(weight, jitter, others, parameters, pde, tuple(axes))


@eqx.filter_jit
def measured(problem: JointProblem, state: JointState) -> tuple[Terms, Any, Any]:
    """Return the terms, and mean squares of the residual and of the errors on faces."""
    field, values = problem.field(state)
    equations = problem.pde.residual_of(problem.points, [values], problem.parameters)
    residual = jnp.stack(equations)
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
