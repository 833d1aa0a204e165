"""The solution of an equation, anywhere in its domain."""

import warnings
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ...solvers import Status
from ._basis import Axis, GridBasis, mode_products
from ._collocation import Collocation, collocate
from ._conditions import derivative
from ._kernels import AbstractKernel
from ._lift import lift
from ._pde import PDE, Orders

CHUNK = 8192
"""Points that are evaluated at once: 10⁶ of them take less than 1 GB."""


class Report(eqx.Module):
    """How a solution was found.

    Attributes:
        status: a `kx.Status` code.
        num_steps: Gauss-Newton steps of the last round.
        num_rounds: how often frequencies were looked for.
        residual: the largest residual on the grid, over the largest term.
        residual_off_grid: that on points between those of the grid.
        num_points: of the grid, per axis.
        ranks: functions per axis.
        warnings: sentences.
    """

    status: Int[Array, ""]
    num_steps: Int[Array, ""]
    residual: Float[Array, ""]
    residual_off_grid: Float[Array, ""]
    num_rounds: int = eqx.field(static=True)
    num_points: tuple[int, ...] = eqx.field(static=True)
    ranks: tuple[int, ...] = eqx.field(static=True)
    warnings: tuple[str, ...] = eqx.field(static=True)

    def __str__(self) -> str:
        lines = [
            str(Status(self.status)),
            f"grid {' x '.join(map(str, self.num_points))}, functions "
            f"{' x '.join(map(str, self.ranks))}, {int(self.num_steps)} Gauss-Newton "
            f"steps in the last of {self.num_rounds} rounds",
            f"largest residual {float(self.residual):.1e} of the largest term, "
            f"{float(self.residual_off_grid):.1e} between the points",
            *(f"warning: {sentence}" for sentence in self.warnings),
        ]
        return "\n".join(lines)


class Spectrum(eqx.Module):
    """The kernel of each axis, and the grid.

    Attributes:
        kernels: one per axis.
        num_points: of the grid, per axis.
    """

    kernels: tuple[AbstractKernel, ...]
    num_points: tuple[int, ...] = eqx.field(static=True)


class PDESolution(eqx.Module):
    """u = m + (⊗ Φ_d) z, and how it was found.

    Attributes:
        spectrum: what was chosen from data; `solve_pde(..., spectrum=)` takes it.
        report: how it was found.
    """

    z: Float[Array, "..."]
    bases: tuple[GridBasis, ...]
    spectrum: Spectrum
    parameters: Any
    report: Report
    pde: PDE = eqx.field(static=True)
    axes: tuple[Axis, ...] = eqx.field(static=True)

    def mean(self, points: Any) -> Float[Array, " number"]:
        """Return u at points of shape (number, axes)."""
        return self.derivative((0,) * len(self.axes), points)

    def derivative(self, orders: Sequence[int], points: Any) -> Float[Array, " number"]:
        """Return a derivative of u at points, of these orders along the axes."""
        orders = self.pde.complete(orders)
        points = self._require_points(points)
        return jnp.concatenate(
            [
                _derivative(self, orders, points[i : i + CHUNK])
                for i in range(0, max(len(points), 1), CHUNK)
            ]
        )

    def on_grid(self, *axes: Any) -> Float[Array, "..."]:
        """Return u on the tensor grid of coordinates along each axis."""
        if len(axes) != len(self.axes):
            raise ValueError(
                f"on_grid takes one vector of coordinates per axis, here "
                f"{len(self.axes)}, got {len(axes)}"
            )
        return _on_grid(self, tuple(jnp.asarray(axis, float) for axis in axes))

    def residual_on_grid(self) -> Float[Array, "..."]:
        """Return the residual of the equation on the grid."""
        coordinates = [axis.points for axis in self.axes]
        collocation = collocate(self.pde, self.axes, self.bases, coordinates)
        return _residual(collocation, self.z, self.parameters)

    def _require_points(self, points: Any) -> Any:
        points = jnp.asarray(points, float)
        if points.ndim != 2 or points.shape[1] != len(self.axes):
            raise ValueError(
                f"points must have shape (number, {len(self.axes)}), got {points.shape}"
            )
        return points


@eqx.filter_jit
def _derivative(solution: PDESolution, orders: Orders, points: Any) -> Any:
    m = lift(solution.axes, solution.pde.face_conditions)
    for axis, order in enumerate(orders):
        m = derivative(m, axis, order)
    coordinates = tuple(jnp.moveaxis(points, 1, 0))
    factors = [
        basis.evaluate(x, order)
        for basis, x, order in zip(solution.bases, coordinates, orders, strict=True)
    ]
    value = jnp.tensordot(factors[0], solution.z, axes=(1, 0))
    for factor in factors[1:]:
        value = jnp.einsum("nr,nr...->n...", factor, value)
    return m(coordinates, solution.parameters) + value


@eqx.filter_jit
def _on_grid(solution: PDESolution, vectors: Any) -> Any:
    m = lift(solution.axes, solution.pde.face_conditions)
    factors = [b.evaluate(v) for b, v in zip(solution.bases, vectors, strict=True)]
    coordinates = jnp.meshgrid(*vectors, indexing="ij", sparse=True)
    value = mode_products(factors, solution.z)
    return m(tuple(coordinates), solution.parameters) + value


@eqx.filter_jit
def _residual(collocation: Collocation, z: Any, parameters: Any) -> Any:
    return collocation.residual(z, collocation.lifted(parameters), parameters)


def warn(sentences: Sequence[str]) -> None:
    """Issue warnings that point at the caller of `solve_pde`."""
    for sentence in sentences:
        warnings.warn(sentence, stacklevel=3)
