"""The solution of an equation, anywhere in its domain."""

import inspect
import math
import warnings
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Int
from scipy.stats.qmc import Sobol

from ...operators import AbstractLinearOperator
from ...operators._arguments import require_key
from ...operators._arithmetic import power_of_two
from ...operators._field import is_traced
from ...solvers import Status
from ._basis import Axis, GridBasis, mode_products, norm
from ._collocation import Collocation, Unknowns, collocate
from ._conditions import derivative
from ._gauss_newton import inverse_operator
from ._kernels import AbstractKernel
from ._lift import lift
from ._mean_equation import perturbed
from ._measurements import contract, measurements_of
from ._pde import PDE, Orders
from ._posterior import posterior_factor
from ._system import MOST_ENTRIES, System, needs_dense

CHUNK = 8192
"""Points that are evaluated at once: 10⁶ of them take less than 1 GB."""
NUM_SAMPLES = 32
"""Of which the standard deviation is taken where there are too many unknowns for that
of their joint distribution; its relative error is 1/√64, 13 %."""
KEYS = "threefry2x32"
"""The generator whose raw keys a solution holds, as arrays can be written to files."""
OUTSIDE = 1e-9
"""Part of an axis by which coordinates may be outside of it, by rounding."""
NUM_CANDIDATES = 512
"""Points among which `suggest` chooses."""


_MEANINGS = {
    Status.converged: "the residual between the points is below rtol",
    Status.attained: "the residual between the points is above rtol, and below 1e-3",
    Status.stagnated: "the residual between the points is above 1e-3",
    Status.max_steps_reached: "the Gauss-Newton steps did not settle",
}
"""What a status says of an equation; the others say it of any solve."""


class Report(eqx.Module):
    """How a solution was found.

    Attributes:
        status: a `kx.Status` code: `kx.Status(report.status).name` is its name.
        num_steps: Gauss-Newton steps of the last round.
        residual: the largest residual on the grid, over the largest term.
        residual_off_grid: that on points between those of the grid, which is what tells
            whether the grid and the kernels suffice.
        noise: standard deviation of the equations' errors, over the largest term, on
            which the error bars rest.
        num_rounds: how often frequencies were looked for; 0 with `spectrum=`.
        num_points: of the grid, per axis.
        ranks: functions per axis; per field and axis where there are several fields.
        warnings: sentences.
    """

    status: Int[Array, ""]
    num_steps: Int[Array, ""]
    residual: Float[Array, ""]
    residual_off_grid: Float[Array, ""]
    noise: Float[Array, ""]
    num_rounds: int = eqx.field(static=True)
    num_points: tuple[int, ...] = eqx.field(static=True)
    ranks: tuple[Any, ...] = eqx.field(static=True)
    warnings: tuple[str, ...] = eqx.field(static=True)

    def __str__(self) -> str:
        status = Status(self.status)
        per_field = [r if isinstance(r, tuple) else self.ranks for r in self.ranks]
        own = per_field if isinstance(self.ranks[0], tuple) else per_field[:1]
        functions = " and ".join(" x ".join(map(str, ranks)) for ranks in own)
        rounds = f" in the last of {self.num_rounds} rounds" if self.num_rounds else ""
        lines = [
            f"{status.name}: {_MEANINGS.get(status, status.sentence)}",
            f"grid {' x '.join(map(str, self.num_points))}, functions {functions}, "
            f"{int(self.num_steps)} Gauss-Newton steps{rounds}",
            f"largest residual {float(self.residual):.1e} of the largest term, "
            f"{float(self.residual_off_grid):.1e} between the points",
            *(f"warning: {sentence}" for sentence in self.warnings),
        ]
        return "\n".join(lines)


class Spectrum(eqx.Module):
    """The kernel of each axis, and the grid.

    Attributes:
        kernels: one per axis, those of all fields. A found one is a `SpectralMixture`,
            whose `frequencies` are in cycles per unit: sin(100 x) has 15.9.
        num_points: of the grid, per axis.
    """

    kernels: tuple[AbstractKernel, ...]
    num_points: tuple[int, ...] = eqx.field(static=True)


class PDESolution(eqx.Module):
    """u = m + (⊗ Φ_d) z per field, how it was found, and how sure it is.

    Points have shape (number, axes), with one axis too: `t[:, None]`. With several
    fields, what is returned per point has one column for each. Outside of the domain
    there is no solution, but for periodic axes, and an error. `print` shows the report.

    Attributes:
        spectrum: what was chosen from data; `solve_pde(..., spectrum=)` takes it.
        report: how it was found.
    """

    z: Unknowns
    bases: tuple[tuple[GridBasis, ...], ...]
    spectrum: Spectrum
    parameters: Any
    report: Report
    key: Any
    pde: PDE = eqx.field(static=True)
    axes: tuple[tuple[Axis, ...], ...] = eqx.field(static=True)
    is_lifted: bool = eqx.field(static=True)

    def __str__(self) -> str:
        return str(self.report)

    def mean(self, points: Any) -> Float[Array, " number"] | Float[Array, "number f"]:
        """Return u at points of shape (number, axes)."""
        return self.derivative((0,) * self.pde.num_axes, points)

    def derivative(
        self, orders: Sequence[int], points: Any
    ) -> Float[Array, " number"] | Float[Array, "number f"]:
        """Return a derivative of u at points, of these orders along the axes.

        Args:
            orders: one per axis, each at most 4: (0, 2) is ∂²u/∂y².
            points: of shape (number, axes).
        """
        orders = self.pde.complete(orders)
        return self._in_chunks(lambda x: _derivative(self, orders, x), points)

    def on_grid(self, *axes: Any) -> Float[Array, "..."]:
        """Return u on the tensor grid of coordinates along each axis.

        Cost: a product of matrices per axis.
        """
        if len(axes) != self.pde.num_axes:
            raise ValueError(
                f"on_grid takes one vector of coordinates per axis, here "
                f"{self.pde.num_axes}, got {len(axes)}"
            )
        vectors = tuple(jnp.asarray(axis, float) for axis in axes)
        if any(vector.ndim != 1 for vector in vectors):
            raise ValueError(
                "on_grid takes vectors of coordinates, got shapes "
                f"{[vector.shape for vector in vectors]}"
            )
        for index, vector in enumerate(vectors):
            self._require_inside(index, vector)
        return _on_grid(self, vectors)

    def std(self, points: Any) -> Float[Array, " number"] | Float[Array, "number f"]:
        """Return the standard deviation of u at points of shape (number, axes).

        Of the posterior that prior, equations and observations have, with the scales of
        the first two estimated. Where the unknowns are too many for their joint
        distribution it is that of 32 samples. Rounding errors are not in it: below
        1e-12 of u the error is larger.

        Cost: that of a Gauss-Newton step, and per point the square of the number of
        unknowns; or 32 solutions of the linearised equation.
        """
        if self.system.is_dense:
            R = self._factor()
            return self._in_chunks(lambda x: _std(self, R, x), points)
        key = jax.random.wrap_key_data(self.key, impl=KEYS)
        samples = self._samples(key, NUM_SAMPLES)

        def spread(x: Any) -> Any:
            zero = (0,) * self.pde.num_axes
            found = jax.vmap(lambda z: _derivative(self._at(z), zero, x))(samples)
            changes = found - _derivative(self, zero, x)
            return norm(changes, axis=0) / math.sqrt(len(changes))

        return self._in_chunks(spread, points)

    def sample(
        self, key: Any, points: Any, num_samples: int = 1
    ) -> Float[Array, "samples number"] | Float[Array, "samples number f"]:
        """Return draws of u from the posterior, at points of shape (number, axes).

        Args:
            key: a `jax.random.key`.
            points: where.
            num_samples: how many draws, each of one function at all points.
        """
        require_key(key)
        samples = self._samples(key, num_samples)
        zero = (0,) * self.pde.num_axes
        return jax.vmap(
            lambda z: self._at(z).derivative(zero, points)  # one draw at all points
        )(samples)

    def suggest(
        self, num_points: int, noise: float = 0.0, field: int = 0
    ) -> Float[Array, "number axes"]:
        """Return points where measurements lower the mean variance of a field most.

        They are chosen one after the other among 512 quasi-random points of the domain,
        over which the mean is taken.

        Args:
            num_points: how many.
            noise: standard deviation of the measurements.
            field: that is measured.

        Raises:
            ValueError: the unknowns are too many for their joint distribution; a field
                that does not exist.

        References:
            D. J. C. MacKay, Neural Computation 4 (1992),
            doi:10.1162/neco.1992.4.4.590.
        """
        if not self.system.is_dense:
            raise ValueError(
                "suggest needs the joint distribution of the unknowns, of which there "
                "are too many; take a kernel of fewer functions"
            )
        if not noise >= 0:
            raise ValueError(f"noise must be at least 0, got {noise}")
        if not 0 < num_points <= NUM_CANDIDATES:
            raise ValueError(
                f"num_points must be between 1 and {NUM_CANDIDATES}, got {num_points}"
            )
        if not 0 <= field < len(self.z):
            raise ValueError(
                f"there are {len(self.z)} fields, counted from 0, got field {field}"
            )
        low, high = np.asarray(self.pde.domain, float).T
        unit = Sobol(len(low), rng=0).random(NUM_CANDIDATES)
        candidates = jnp.asarray(low + (high - low) * unit)
        rows = _white_rows(self, self._factor(), candidates)[field]
        # In units of the largest, whose square may be beyond the dtype.
        unit = power_of_two(jnp.max(jnp.abs(rows)))
        rows, error = rows / unit, noise / unit
        return candidates[_greedy(rows.T @ rows, error**2, num_points)]

    @property
    def inverse(self) -> AbstractLinearOperator:
        """The operator from a source on the grid to the solution on it.

        A u = f for the linearised equation A and conditions that are zero. Many
        unknowns and variable coefficients: with the mean of each coefficient. It is
        linear, and so is its transpose, and its rank is the number of functions. As a
        preconditioner of another discretisation it is not symmetric, and for the smooth
        part alone: add a Jacobi step for the rest.

        Raises:
            ValueError: several fields.
        """
        if len(self.z) > 1:
            raise ValueError("inverse is that of one field, here there are several")
        return inverse_operator(self.system, self.z, self.parameters)

    def residual_on_grid(self) -> Float[Array, "..."]:
        """Return the residual of the equation on the grid."""
        coordinates = [axis.points for axis in self.axes[0]]
        collocation = collocate(
            self.pde, self.axes, self.bases, coordinates, self.is_lifted
        )
        return _residual(collocation, self.z, self.parameters)

    @property
    def system(self) -> System:
        """The equations and measurements on the grid."""
        return system_of(self.pde, self.axes, self.bases, self.is_lifted)

    def _factor(self) -> Any:
        return posterior_factor(self.system, self.z, self.parameters, self.report.noise)

    def _samples(self, key: Any, num_samples: int) -> Unknowns:
        system = self.system
        if system.is_dense:
            flat, unravel = ravel_pytree(self.z)
            draws = jax.random.normal(key, (len(flat), num_samples))
            # Cov(R⁻¹ξ) = (RᵀR)⁻¹.
            moved = flat[:, None] + solve_triangular(self._factor(), draws)
            return jax.vmap(unravel, in_axes=1)(moved)
        keys = jax.random.split(key, num_samples)
        return perturbed(system, self.z, self.parameters, self.report.noise, keys)

    def _require_inside(self, index: int, coordinates: Any) -> None:
        """Raise where coordinates of an axis are known to be outside of the domain."""
        if is_traced(coordinates) or index in self.pde.periodic:
            return
        axis, own = self.axes[0][index], np.asarray(coordinates)
        slack = OUTSIDE * axis.length
        outside = ~((own >= axis.low - slack) & (own <= axis.high + slack))
        if np.any(outside):
            raise ValueError(
                f"coordinates along axis {index} must be in its interval "
                f"[{axis.low:g}, {axis.high:g}], got {own[outside].ravel()[0]:g}"
            )

    def _at(self, z: Unknowns) -> "PDESolution":
        return eqx.tree_at(lambda s: s.z, self, z)

    def _in_chunks(self, function: Any, points: Any) -> Any:
        points = jnp.asarray(points, float)
        if points.ndim != 2 or points.shape[1] != self.pde.num_axes:
            raise ValueError(
                f"points must have shape (number, {self.pde.num_axes}), got "
                f"{points.shape}{in_a_column(self.pde, points)}"
            )
        for index in range(self.pde.num_axes):
            self._require_inside(index, points[:, index])
        if not len(points):
            return jnp.zeros((0, len(self.z)) if len(self.z) > 1 else 0)
        starts = range(0, len(points), CHUNK)
        return jnp.concatenate([function(points[i : i + CHUNK]) for i in starts])


def in_a_column(pde: PDE, points: Any) -> str:
    """Return what to do with points of one axis that are a vector."""
    is_vector = pde.num_axes == 1 and points.ndim == 1
    return "; take points[:, None]" if is_vector else ""


def system_of(
    pde: PDE,
    axes: Sequence[Sequence[Axis]],
    bases: Sequence[Sequence[GridBasis]],
    is_lifted: bool,
) -> System:
    """Return the equations and measurements on the grid of some axes."""
    coordinates = _coordinates(pde, is_lifted, axes, bases)
    return System(
        collocate(pde, axes, bases, coordinates, is_lifted),
        measurements_of(pde, bases, coordinates, is_exact=is_lifted),
        tuple(tuple(basis.sizes for basis in field) for field in bases),
    )


def _coordinates(
    pde: PDE,
    is_exact: bool,
    axes: Sequence[Sequence[Axis]],
    bases: Sequence[Sequence[GridBasis]],
) -> list[Any]:
    """The points of the grid, fewer of them where the matrix would be too large.

    Twice as many as functions determine these; the others are left to check them.
    """
    full = [axis.points for axis in axes[0]]
    most = [max(field[d].rank for field in bases) for d in range(len(full))]
    unknowns = sum(math.prod(basis.rank for basis in field) for field in bases)
    entries = unknowns * math.prod(map(len, full))
    if entries <= MOST_ENTRIES or not needs_dense(pde, is_exact):
        return full
    return [
        axis._replace(num_points=min(axis.num_points, 2 * rank + 8)).points
        for axis, rank in zip(axes[0], most, strict=True)
    ]


@eqx.filter_jit
def _derivative(solution: PDESolution, orders: Orders, points: Any) -> Any:
    coordinates = tuple(jnp.moveaxis(points, 1, 0))
    found = []
    for field, (bases, z) in enumerate(zip(solution.bases, solution.z, strict=True)):
        m = _lift_of(solution, field)
        for axis, order in enumerate(orders):
            m = derivative(m, axis, order)
        factors = _factors(bases, coordinates, orders)
        found.append(m(coordinates, solution.parameters) + contract(factors, z))
    return _by_field(found)


@eqx.filter_jit
def _std(solution: PDESolution, R: Any, points: Any) -> Any:
    rows = _white_rows(solution, R, points)
    return _by_field([norm(white, axis=0) for white in rows])


def _white_rows(solution: PDESolution, R: Any, points: Any) -> list[Any]:
    """R⁻ᵀ φ per field, one column per point: products are covariances."""
    coordinates = tuple(jnp.moveaxis(points, 1, 0))
    found, start = [], 0
    for bases, z in zip(solution.bases, solution.z, strict=True):
        rows = jnp.ones((len(points), 1))
        for factor in _factors(bases, coordinates, (0,) * len(bases)):
            rows = (rows[:, :, None] * factor[:, None, :]).reshape(len(points), -1)
        padded = jnp.pad(rows, ((0, 0), (start, len(R) - start - z.size)))
        found.append(solve_triangular(R, padded.T, trans=1))
        start += z.size
    return found


@eqx.filter_jit
def _greedy(covariance: Any, noise: Any, num_points: int) -> Any:
    """Indices of the measurements that lower the trace most, one after the other."""
    variance = jnp.diagonal(covariance)
    # Of a point that is known nothing is learned.
    least = 1e-12 * jnp.max(variance) + 1e-300

    def step(covariance: Any, _: Any) -> Any:
        variance = jnp.diagonal(covariance)
        gain = jnp.sum(covariance**2, axis=0) / (variance + noise + least)
        best = jnp.argmax(gain)
        column = covariance[best]
        lowered = jnp.outer(column, column) / (column[best] + noise + least)
        return covariance - lowered, best

    return jax.lax.scan(step, covariance, length=num_points)[1]


@eqx.filter_jit
def _on_grid(solution: PDESolution, vectors: Any) -> Any:
    coordinates = tuple(jnp.meshgrid(*vectors, indexing="ij", sparse=True))
    found = []
    for field, (bases, z) in enumerate(zip(solution.bases, solution.z, strict=True)):
        factors = _factors(bases, vectors, (0,) * len(vectors))
        m = _lift_of(solution, field)
        found.append(m(coordinates, solution.parameters) + mode_products(factors, z))
    return _by_field(found)


def _lift_of(solution: PDESolution, field: int) -> Any:
    conditions = solution.pde.conditions_of(field) if solution.is_lifted else []
    return lift(solution.axes[field], conditions)


def _factors(bases: Any, coordinates: Any, orders: Orders) -> list[Any]:
    return [
        basis.evaluate(x, order)
        for basis, x, order in zip(bases, coordinates, orders, strict=True)
    ]


def _by_field(found: list[Any]) -> Any:
    return found[0] if len(found) == 1 else jnp.stack(found, axis=-1)


@eqx.filter_jit
def _residual(collocation: Collocation, z: Any, parameters: Any) -> Any:
    lifted = collocation.lifted(parameters)
    return _by_field(list(collocation.residual(z, lifted, parameters)))


def warn(sentences: Sequence[str]) -> None:
    """Issue warnings that point at the caller of this package."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and __package__ in frame.f_globals.get("__name__", ""):
        level, frame = level + 1, frame.f_back
    for sentence in sentences:
        warnings.warn(sentence, stacklevel=level)
