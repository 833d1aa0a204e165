"""Solving with a given spectrum: nothing is chosen from data."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...operators._arguments import counted
from ...operators._arithmetic import all_finite
from ...solvers import Status
from ...solvers.core._status import first_of
from ._basis import Axis, GridBasis, grid_basis
from ._collocation import Collocation, Unknowns, collocate
from ._gauss_newton import Found
from ._implicit_derivative import solve_system
from ._pde import PDE
from ._posterior import UNRESOLVED, equation_noise, estimated_scales
from ._solution import PDESolution, Report, Spectrum, system_of
from ._system import MOST_POSSIBLE, System, is_dense, natural_amplitude, needs_dense

CUT = 1e-14
"""Relative size of the smallest function: dense least squares have the prior to keep
their coefficients small."""
ITERATIVE_CUT = 1e-8
"""The same for LSMR, which has no prior. Below it the preconditioner is rounding:
with 1e-10 the 2-D Allen-Cahn row of the validation ends with an error of 7."""
COARSE_CUTS = (1e-12, 1e-10, 1e-8)
"""Where dense least squares are needed, and there are too many functions for them."""


PLACES = (0.5, 0.38, 0.29)
"""Between two points of the grid, where the residual is checked, per axis."""


def solve_spectrum(
    pde: PDE,
    spectrum: Spectrum,
    parameters: Any,
    rtol: float,
    is_exact: bool,
    x0: Any = None,
    key: Any = None,
    found: Found | None = None,
) -> PDESolution:
    """Return the solution for the kernels and the grid of a spectrum.

    Args:
        pde: the equation.
        spectrum: kernels and grid.
        parameters: of the equation.
        rtol: residual off the grid that counts as converged.
        is_exact: whether conditions are.
        x0: a start: a number, a function of all coordinates, or a solution; with
            several fields a sequence of these.
        key: of random numbers for the error bars of many unknowns.
        found: unknowns that something else found, and that are not solved for.
    """
    return solve_prepared(
        prepare(pde, spectrum, is_exact), spectrum, parameters, rtol, x0, key, found
    )


class Prepared(eqx.Module):
    """What depends on the equation's form and on a spectrum, and not on parameters.

    Attributes:
        bases: the functions on the axes of each field.
        system: the equations on the grid.
        check: the equations between its points.
        axes: per field.
    """

    bases: tuple[tuple[GridBasis, ...], ...]
    system: System
    check: Collocation
    axes: tuple[tuple[Axis, ...], ...] = eqx.field(static=True)


def prepare(pde: PDE, spectrum: Spectrum, is_exact: bool) -> Prepared:
    """Return the functions, and the equations on the grid and between its points."""
    if len(spectrum.num_points) != pde.num_axes:
        raise ValueError(
            f"spectrum has {counted(len(spectrum.num_points), 'axis', 'axes')}, and "
            f"the equation {pde.num_axes}; take that of a solution of this equation"
        )
    axes, bases = axes_and_bases(pde, spectrum, is_exact)
    if not can_solve(pde, is_exact, bases):
        counts = [" x ".join(str(b.rank) for b in field) for field in bases]
        raise ValueError(
            f"{' + '.join(counts)} functions are too many for several fields, "
            f'observations or boundary="penalty", at most {MOST_POSSIBLE}; take a '
            "kernel of lower frequencies or longer length-scales"
        )
    between = [_between(axis.points, d) for d, axis in enumerate(axes[0])]
    return Prepared(
        bases=bases,
        system=system_of(pde, axes, bases, is_exact),
        check=collocate(pde, axes, bases, between, is_exact),
        axes=axes,
    )


def solve_prepared(
    prepared: Prepared,
    spectrum: Spectrum,
    parameters: Any,
    rtol: float,
    x0: Any = None,
    key: Any = None,
    found: Found | None = None,
) -> PDESolution:
    """Return the solution for some parameters; see `solve_spectrum`."""
    system, bases = prepared.system, prepared.bases
    if found is None:
        found = _found(system, parameters, _start(system, x0, parameters))
    report = _assessed(system, prepared.check, parameters, found, rtol)
    ranks = tuple(tuple(basis.rank for basis in field) for field in bases)
    return PDESolution(
        z=found.z,
        bases=bases,
        spectrum=spectrum,
        parameters=parameters,
        report=Report(
            *report,
            num_rounds=0,
            num_points=spectrum.num_points,
            ranks=ranks[0] if len(ranks) == 1 else ranks,
            warnings=(),
        ),
        key=np.zeros(2, np.uint32)
        if key is None
        else jax.random.bits(key, (2,), "uint32"),
        pde=system.collocation.pde,
        axes=prepared.axes,
        is_lifted=system.collocation.is_lifted,
    )


@eqx.filter_jit
def _found(system: System, parameters: Any, z0: Unknowns) -> Found:
    if not system.is_dense:
        # LSMR has no prior.
        return solve_system(system, parameters, z0, jnp.inf)
    amplitude = natural_amplitude(system, z0, parameters)
    if system.collocation.pde.is_determined:
        return solve_system(system, parameters, z0, amplitude)
    return solve_system(
        system, parameters, *estimated_scales(system, parameters, z0, amplitude)
    )


@eqx.filter_jit
def _assessed(
    system: System, check: Collocation, parameters: Any, found: Found, rtol: Any
) -> tuple[Array, ...]:
    """Status, steps, residuals, and the error that they show."""
    frozen = jax.lax.stop_gradient((found.z, parameters))
    on_grid, mean_on_grid = system.collocation.relative_residual(*frozen)
    off_grid, mean_off_grid = check.relative_residual(*frozen)
    noise = equation_noise(system, mean_on_grid, mean_off_grid, off_grid)
    lifted = system.collocation.lifted(frozen[1])
    zeros = system.collocation.zeros()
    source = system.collocation.residual(zeros, lifted, frozen[1])
    is_data_finite = all_finite(lifted)
    is_finite = jnp.isfinite(on_grid) & jnp.isfinite(off_grid)
    is_source_finite = all_finite(source)
    status = first_of(
        (~is_data_finite, Status.nonfinite_input),
        (~is_finite & ~is_source_finite, Status.nonfinite_input),
        (~is_finite, Status.nonfinite),
        (~found.is_settled, Status.max_steps_reached),
        (off_grid <= rtol, Status.converged),
        (off_grid <= UNRESOLVED, Status.attained),
        (jnp.ones((), bool), Status.stagnated),
    )
    return status, found.num_steps, on_grid, off_grid, noise


def axes_and_bases(
    pde: PDE, spectrum: Spectrum, is_exact: bool
) -> tuple[tuple[tuple[Axis, ...], ...], tuple[tuple[GridBasis, ...], ...]]:
    """Return the axes of each field, and the functions on them."""
    axes = tuple(
        tuple(
            pde.axis(d, n, field, is_exact) for d, n in enumerate(spectrum.num_points)
        )
        for field in range(pde.fields)
    )
    is_needed = needs_dense(pde, is_exact)
    bases: tuple[tuple[GridBasis, ...], ...] = ()
    for cut in (CUT, *(COARSE_CUTS if is_needed else (ITERATIVE_CUT,))):
        bases = tuple(
            tuple(
                grid_basis(kernel, axis, cut)
                for kernel, axis in zip(spectrum.kernels, field, strict=True)
            )
            for field in axes
        )
        ranks = [[basis.rank for basis in field] for field in bases]
        is_small = is_dense(pde, is_exact, ranks, spectrum.num_points)
        if is_small and can_solve(pde, is_exact, bases):
            break
    return axes, bases


def can_solve(pde: PDE, is_exact: bool, bases: Sequence[Sequence[GridBasis]]) -> bool:
    """Return whether there are few enough functions for what an equation needs."""
    unknowns = sum(math.prod(basis.rank for basis in field) for field in bases)
    return unknowns <= MOST_POSSIBLE or not needs_dense(pde, is_exact)


def _between(points: np.ndarray, axis: int) -> np.ndarray:
    """Points between those of a grid, at another place for each axis.

    Half-way, a wave that the grid takes for a slower one has changed its sign, along
    two axes twice.
    """
    place = PLACES[axis]
    return (1 - place) * points[:-1] + place * points[1:]


def _start(system: System, x0: Any, parameters: Any) -> Unknowns:
    """The unknowns of a function on the grid."""
    if x0 is None:
        return system.collocation.zeros()
    collocation = system.collocation
    starts = x0 if isinstance(x0, tuple | list) else [x0] * len(collocation.shapes)
    if isinstance(x0, PDESolution):
        values = x0.on_grid(*(x.ravel() for x in collocation.points))
        starts = (
            [values]
            if values.ndim == len(collocation.grid)
            else list(jnp.moveaxis(values, -1, 0))
        )
    if len(starts) != len(collocation.shapes):
        raise ValueError(
            f"x0 must have one start per field, here {len(collocation.shapes)}, got "
            f"{len(starts)}"
        )
    found = []
    for field, start in enumerate(starts):
        value = start(*collocation.points) if callable(start) else start
        value = jnp.broadcast_to(jnp.asarray(value, float), collocation.grid)
        m = collocation.lift_of(field)(collocation.points, parameters)
        z = value - m
        for axis, (matrices, sizes) in enumerate(
            zip(collocation.matrices[field], system.sizes[field], strict=True)
        ):
            # Of functions that are small on the grid nothing is known.
            kept = jnp.where(sizes > 1e-8 * sizes[0], 1 / sizes**2, 0.0)
            moved = jnp.tensordot(matrices[0], z, axes=(0, axis))
            z = jnp.moveaxis(moved * kept.reshape(-1, *[1] * (z.ndim - 1)), 0, axis)
        found.append(z)
    return tuple(found)
