"""The solution of an equation in slabs of time, anywhere in its domain."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from ...operators._field import is_traced
from ._basis import norm
from ._collocation import Unknowns
from ._pde import PDE
from ._slab_equation import ends_of, no_state, on_functions, state_rows
from ._slab_posterior import (
    SlabDraws,
    SlabPosterior,
    slab_draws,
    slab_posterior,
)
from ._solution import (
    CHUNK,
    KEYS,
    NUM_SAMPLES,
    OUTSIDE,
    PDESolution,
    Report,
    Spectrum,
    in_a_column,
)


class SlabSolution(eqx.Module):
    """Solutions one after the other in time, each from the end of the one before.

    With several fields, what is returned per point has one column for each.

    Attributes:
        slabs: each a solution in its own time, which begins at zero.
        residuals: of each slab, the largest one between the points of its grid, over
            the largest term of the equation up to then.
        spectrum: of one slab; `solve_pde(..., spectrum=, num_slabs=)` takes it.
        report: how it was found; residuals and noise are the largest of all slabs, and
            the steps are those of all.
    """

    slabs: tuple[PDESolution, ...]
    residuals: Float[Array, " slabs"]
    spectrum: Spectrum
    report: Report
    key: Any
    pde: PDE = eqx.field(static=True)

    def __str__(self) -> str:
        return f"{self.num_slabs} slabs, of which the worst: {self.report}"

    @property
    def num_slabs(self) -> int:
        """How many there are."""
        return len(self.slabs)

    @property
    def length(self) -> float:
        """Of a slab, in time."""
        low, high = map(float, self.pde.domain[-1])
        return (high - low) / self.num_slabs

    @property
    def z(self) -> tuple[Unknowns, ...]:
        """The unknowns of each slab."""
        return tuple(slab.z for slab in self.slabs)

    @property
    def parameters(self) -> Any:
        """Of the equation."""
        return self.slabs[0].parameters.theta

    def mean(self, points: Any) -> Float[Array, " number"] | Float[Array, "number f"]:
        """Return u at points of shape (number, axes)."""
        return self.derivative((0,) * self.pde.num_axes, points)

    def derivative(
        self, orders: Sequence[int], points: Any
    ) -> Float[Array, " number"] | Float[Array, "number f"]:
        """Return a derivative of u at points, of these orders along the axes.

        Those in time may jump between slabs, by about the residual.
        """
        return self._by_slab(
            lambda k, x: self.slabs[k].derivative(orders, x), self._points(points)
        )

    def on_grid(self, *axes: Any) -> Float[Array, "..."]:
        """Return u on the tensor grid of coordinates along each axis.

        The times must not be traced.
        """
        if len(axes) != self.pde.num_axes:
            raise ValueError(
                f"on_grid takes one vector of coordinates per axis, here "
                f"{self.pde.num_axes}, got {len(axes)}"
            )
        *others, times = (jnp.asarray(axis, float) for axis in axes)
        if times.ndim != 1:
            raise ValueError(
                f"on_grid takes vectors of coordinates, got times of shape "
                f"{times.shape}"
            )
        along = len(others)
        return self._by_slab(
            lambda k, t: jnp.moveaxis(
                self.slabs[k].on_grid(*others, t[:, 0]), along, 0
            ),
            times[:, None],
            along,
        )

    def std(self, points: Any) -> Float[Array, " number"] | Float[Array, "number f"]:
        """Return the standard deviation of u at points of shape (number, axes).

        That of the posterior in its slab, with estimated scales, and that which the
        errors of the slabs before have there, which add up: a wave that lags in one
        slab lags in the next. Where the unknowns are too many for their joint
        distribution, of 32 samples.

        Cost: that of a Gauss-Newton step per slab, and per point the square of the
        number of unknowns; or 64 solutions of the linearised equation per slab.
        """
        x = self._points(points)
        if self.slabs[0].system.is_dense:
            posteriors = list(self._posteriors())
            return self._by_slab(
                lambda k, at: _in_chunks(
                    lambda part: _std(self.slabs[k], posteriors[k], part), at
                ),
                x,
            )
        draws = list(self._draws())

        def spread(k: int, at: Any) -> Any:
            return _in_chunks(lambda part: _spread(self.slabs[k], draws[k], part), at)

        return self._by_slab(spread, x)

    def _posteriors(self) -> Iterator[SlabPosterior]:
        system, ends = self.slabs[0].system, self._ends()
        size = sum(a.size for own in self._no_state() for a in own)
        initial = jnp.zeros((size, size))
        for slab in self.slabs:
            posterior, initial = slab_posterior(
                system,
                slab.z,
                slab.parameters,
                slab.report.noise,
                initial,
                ends,
                self.length,
            )
            yield posterior

    def _draws(self) -> Iterator[SlabDraws]:
        system, ends = self.slabs[0].system, self._ends()
        initial: Any = jax.tree.map(
            lambda a: jnp.zeros((NUM_SAMPLES, *a.shape)), self._no_state()
        )
        key = jax.random.wrap_key_data(self.key, impl=KEYS)
        for own_key, slab in zip(
            jax.random.split(key, self.num_slabs), self.slabs, strict=True
        ):
            draws, initial = slab_draws(
                system,
                slab.z,
                slab.parameters,
                slab.report.noise,
                initial,
                jax.random.split(own_key, NUM_SAMPLES),
                ends,
                self.length,
            )
            yield draws

    def _ends(self) -> Any:
        return ends_of(self.slabs[0].bases, self.length)

    def _no_state(self) -> Any:
        return no_state(self.pde, self.slabs[0].bases)

    def _points(self, points: Any) -> Any:
        points = jnp.asarray(points, float)
        if points.ndim != 2 or points.shape[1] != self.pde.num_axes:
            raise ValueError(
                f"points must have shape (number, {self.pde.num_axes}), got "
                f"{points.shape}{in_a_column(self.pde, points)}"
            )
        return points

    def _require_inside(self, times: np.ndarray) -> None:
        low, high = map(float, self.pde.domain[-1])
        slack = OUTSIDE * (high - low)
        outside = ~((times >= low - slack) & (times <= high + slack))
        if np.any(outside):
            raise ValueError(
                f"coordinates along axis {self.pde.num_axes - 1} must be in its "
                f"interval [{low:g}, {high:g}], got {times[outside][0]:g}"
            )

    def _by_slab(
        self, function: Callable[[int, Any], Any], points: Any, along: int = 0
    ) -> Any:
        """Return values at points of which the last coordinate is the time.

        Args:
            function: of a slab's index and points in its time.
            points: in any order.
            along: the axis of the values that is to be that of the points.
        """
        low = float(self.pde.domain[-1][0])
        times = points[:, -1] - low
        index = jnp.clip(times // self.length, 0, self.num_slabs - 1)
        within = times - index * self.length
        # Those at an end keep their slope, which that of a clip has half of.
        within = jnp.where(within < 0, 0.0, within)
        within = jnp.where(within > self.length, self.length, within)
        local = points.at[:, -1].set(within)
        if is_traced(points):
            found: Any = 0.0
            for k in range(self.num_slabs):
                # A point in its own slab and the others at the start of this one.
                inside = jnp.where(index == k, local[:, -1], 0.0)
                values = function(k, local.at[:, -1].set(inside))
                own = (index == k).reshape(-1, *[1] * (values.ndim - 1))
                found = found + jnp.where(own, values, 0.0)
            return jnp.moveaxis(found, 0, along)
        self._require_inside(np.asarray(points[:, -1]))
        order = np.argsort(index, kind="stable")
        counts = np.bincount(np.asarray(index, int), minlength=self.num_slabs)
        # Slabs have the same program where they have the same number of points.
        most = 1 << int(max(counts.max(initial=1) - 1, 0)).bit_length()
        found, start = [], 0
        for k, count in enumerate(counts):
            own = order[start : start + count]
            start += count
            if count or (not len(points) and not k):
                mode = "edge" if count else "constant"
                padded = jnp.pad(local[own], ((0, most - count), (0, 0)), mode=mode)
                found.append(function(k, padded)[:count])
        values = jnp.concatenate(found)
        back = np.empty(len(order), int)
        back[order] = np.arange(len(order))
        return jnp.moveaxis(values[back], 0, along)


def _in_chunks(function: Callable[[Any], Any], points: Any) -> Any:
    starts = range(0, max(len(points), 1), CHUNK)
    return jnp.concatenate([function(points[i : i + CHUNK]) for i in starts])


@eqx.filter_jit
def _std(slab: PDESolution, posterior: SlabPosterior, points: Any) -> Any:
    coordinates = tuple(jnp.moveaxis(points, 1, 0))
    others, rows = [], []
    for bases in slab.bases:
        product = jnp.ones((len(points), 1))
        for basis, x in zip(bases[:-1], coordinates[:-1], strict=True):
            product = _row_products(product, basis.evaluate(x))
        others.append(product)
        rows.append(_row_products(product, bases[-1].evaluate(coordinates[-1])))
    of_state = state_rows(slab.parameters.state, others, coordinates[-1])
    found, start = [], 0
    for own, c in zip(rows, of_state, strict=True):
        end = start + own.shape[1]
        padded = jnp.pad(own, ((0, 0), (start, len(posterior.own) - end)))
        start = end
        here = solve_triangular(posterior.own, padded.T, trans=1)
        before = posterior.initial.T @ (c + padded @ posterior.response).T
        found.append(norm(here, axis=0) + norm(before, axis=0))
    return found[0] if len(found) == 1 else jnp.stack(found, axis=-1)


def _row_products(left: Any, right: Any) -> Any:
    """All products of two numbers in the same row."""
    return (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)


@eqx.filter_jit
def _spread(slab: PDESolution, draws: SlabDraws, points: Any) -> Any:
    """The same of one field, from draws."""
    coordinates = tuple(jnp.moveaxis(points, 1, 0))
    (bases,), (*x, times) = slab.bases, coordinates

    def of_state(own: tuple[Any, ...]) -> Any:
        values = [on_functions(bases[:-1], tuple(x), a) for a in own]
        return sum(v * times**order for order, v in enumerate(values))

    def of_z(z: Any) -> Any:
        return on_functions(bases, coordinates, z)

    here = jax.vmap(of_z)(draws.own[0])
    before = jax.vmap(of_z)(draws.response[0]) + jax.vmap(of_state)(draws.initial[0])
    return (norm(here, axis=0) + norm(before, axis=0)) / math.sqrt(len(here))
