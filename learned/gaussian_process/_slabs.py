"""Long times: an equation is solved in slabs of time, one after the other.

All slabs have the same length, grid and functions, so that they are one program.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ...solvers import Status
from ...solvers.core._status import first_of
from ._checks import missing_conditions
from ._collocation import Unknowns
from ._kernels import AbstractKernel, SpectralMixture
from ._posterior import UNRESOLVED
from ._search import Search, axes_to_refine, changed, sizes_of
from ._slab_equation import (
    SlabParameters,
    ends_of,
    no_state,
    slab_equation,
    state_after,
)
from ._slab_solution import SlabSolution
from ._solution import PDESolution, Spectrum
from ._solve_spectrum import prepare, solve_prepared
from ._system import System

NumSlabs = int | Literal["auto"]

MOST_SLABS = 256
"""Up to which "auto" halves them."""
MOST_RENEWALS = 4
"""How often frequencies are looked for in later slabs."""
FULL = 0.8
"""Functions per point above which there are too few points."""
GROWTH = 100.0
"""Residual of a later slab over that of the first, above which its frequencies are
looked for again."""


def solve_slabs(
    search: Search,
    num_slabs: NumSlabs,
    num_points: int | Sequence[int] | None,
    max_points: int,
    spectrum: Spectrum | None = None,
) -> SlabSolution:
    """Return the solution in slabs of time, which is the last axis.

    Args:
        search: the equation, and how frequencies are looked for.
        num_slabs: how many, or "auto": halved until the first one has a residual below
            `search.rtol`, or until that no longer helps, and until all have one below
            1e-3.
        num_points: of the grid of one slab, per axis or for all.
        max_points: of the whole grid of one slab.
        spectrum: of one slab; nothing is then chosen from data.

    Raises:
        ValueError: an equation that has no first slab, or numbers that are none.
    """
    _require_marching(search, num_slabs, has_spectrum=spectrum is not None)
    if spectrum is not None:
        assert num_slabs != "auto"
        return _march(search, num_slabs, spectrum)
    if num_slabs != "auto":
        first = _first(search, num_slabs).run(num_points, max_points)
        return _renewed(search, num_slabs, first, num_points, max_points)
    return _automatic(search, num_points, max_points)


def _require_marching(search: Search, num_slabs: Any, *, has_spectrum: bool) -> None:
    pde, last = search.pde, search.pde.num_axes - 1
    is_count = isinstance(num_slabs, int | np.integer) and not isinstance(
        num_slabs, bool
    )
    if num_slabs != "auto" and not (is_count and num_slabs > 0):
        raise ValueError(
            f'num_slabs must be a positive integer or "auto", got {num_slabs!r}'
        )
    if num_slabs == "auto" and has_spectrum:
        raise ValueError(
            "with a spectrum nothing is chosen from data; give num_slabs as a number, "
            "that of the solution which the spectrum is of"
        )
    if not search.is_exact:
        raise ValueError('slabs of time need boundary="exact"')
    if search.learn == "joint":
        raise ValueError(
            'learn="joint" trains on the whole of time; take another with num_slabs'
        )
    if pde.observations:
        raise ValueError(
            "slabs of time are solved one after the other, and data in later ones "
            "would not reach the first; take num_slabs=1 with observations"
        )
    conditions = [
        [c.functional for c in pde.conditions_of(field) if c.axis == last]
        for field in range(pde.fields)
    ]
    if not any(conditions) or last in pde.periodic:
        raise ValueError(
            f"slabs cut the last axis, {last}, in time, which needs an Initial "
            "condition there; put time last"
        )
    for condition in pde.conditions:
        faces = getattr(condition, "faces", None) or ()
        if any(axis % pde.num_axes == last for axis, _ in faces):
            raise ValueError(
                f"slabs need the conditions on time, axis {last}, to be Initial alone, "
                f"got a {type(condition).__name__} on one of its faces; at the low one "
                "give Initial(g), and Initial(g, order=1) for a derivative"
            )
    for field, own in enumerate(conditions):
        if any(side for side, _ in own):
            raise ValueError(
                f"slabs cut the last axis, {last}, and need its conditions to be "
                f"Initial alone; field {field} has one at its end"
            )
        if own and 0 not in {order for _, order in own}:
            raise ValueError(
                f"field {field} has an initial derivative and no initial value; give "
                "Initial(g) too"
            )


def _automatic(
    search: Search, num_points: int | Sequence[int] | None, max_points: int
) -> SlabSolution:
    num_slabs, best = 1, None
    while True:
        num_slabs, first = _halved(search, num_slabs, num_points, max_points)
        solution = _renewed(search, num_slabs, first, num_points, max_points)
        if best is None or not _residual(best) <= _residual(solution):
            best = solution
        # Shorter slabs are for what later ones need more than the first.
        is_first = not _residual(first) <= UNRESOLVED
        if _residual(best) <= UNRESOLVED or is_first or 2 * num_slabs > MOST_SLABS:
            return best
        num_slabs *= 2


def _halved(
    search: Search,
    num_slabs: int,
    num_points: int | Sequence[int] | None,
    max_points: int,
) -> tuple[int, PDESolution]:
    """Halve the slabs, and refine other axes, until the first slab is resolved."""
    num_axes = search.pde.num_axes
    is_free = num_points is None
    sizes = [128 if num_axes == 1 else 64] * num_axes
    if num_points is not None:
        sizes = list(sizes_of(num_points, num_axes))
    best = num_slabs, _first(search, num_slabs).on_grid(tuple(sizes))
    found = best
    while _residual(found[1]) > search.rtol:
        growing = axes_to_refine(found[1])
        if num_axes - 1 in growing:
            num_slabs = min(2 * num_slabs, MOST_SLABS)
        else:
            wanted = [2 * n if d in growing else n for d, n in enumerate(sizes)]
            if is_free and np.prod(wanted) <= max_points:
                sizes = wanted
        size = found[1].spectrum.num_points
        if num_slabs == found[0] and tuple(sizes) == size:
            break
        found = num_slabs, _first(search, num_slabs).on_grid(tuple(sizes))
        before, after = _residual(best[1]), _residual(found[1])
        if after < before:
            best = found
        is_gain = after < before / 2
        if not is_gain and before <= UNRESOLVED and not _is_full(found[1]):
            break
    return best


def _is_full(solution: PDESolution) -> bool:
    """Whether time has nearly as many functions as points; shorter slabs have fewer."""
    num_points = solution.spectrum.num_points[-1]
    return any(own[-1].rank > FULL * num_points for own in solution.bases)


def _renewed(
    search: Search,
    num_slabs: int,
    first: PDESolution,
    num_points: int | Sequence[int] | None,
    max_points: int,
) -> SlabSolution:
    """March, and begin again with frequencies that a later slab has beside."""
    spectrum = first.spectrum
    limit = min(UNRESOLVED, max(search.rtol, GROWTH * _residual(first)))
    best = _march(search, num_slabs, spectrum)
    solution = best
    for _ in range(MOST_RENEWALS):
        above = np.flatnonzero(~(np.asarray(solution.residuals) <= limit))
        if not len(above) or not np.all(np.isfinite(solution.residuals)):
            break
        slab = solution.slabs[above[0]]
        own = _again(search, slab, limit, max_points if num_points is None else 0)
        merged = _merged(spectrum, own.spectrum)
        if merged is None or not _residual(own) < 0.5 * _residual(slab):
            break
        spectrum = merged
        solution = _march(search, num_slabs, spectrum)
        if not _residual(solution) < 0.5 * _residual(best):
            break
        best = solution
    return _with_doubts(best, first)


def _again(
    search: Search, slab: PDESolution, limit: float, max_points: int
) -> PDESolution:
    """Look for frequencies in a slab, and refine its grid as long as that helps."""
    own = dataclasses.replace(search, pde=slab.pde, parameters=slab.parameters, x0=None)
    sizes = slab.spectrum.num_points
    best = own.on_grid(sizes)
    while _residual(best) > limit:
        growing = axes_to_refine(best)
        if len(growing) == len(sizes):
            # No axis in particular: it is not the points that are too few.
            break
        sizes = tuple(2 * n if d in growing else n for d, n in enumerate(sizes))
        if np.prod(sizes) > max_points:
            break
        finer = own.on_grid(sizes)
        if not _residual(finer) < 0.5 * _residual(best):
            break
        best = finer
    return best


def _merged(left: Spectrum, right: Spectrum) -> Spectrum | None:
    """The components of both; none where kernels are of another kind."""
    kernels: list[AbstractKernel] = []
    for a, b in zip(left.kernels, right.kernels, strict=True):
        if not (isinstance(a, SpectralMixture) and isinstance(b, SpectralMixture)):
            return None
        if a.envelope != b.envelope:
            return None
        kernels.append(
            SpectralMixture(
                jnp.concatenate([a.weights, b.weights]) / 2,
                jnp.concatenate([a.frequencies, b.frequencies]),
                jnp.concatenate([a.lengths, b.lengths]),
                a.envelope,
            )
        )
    sizes = tuple(map(max, left.num_points, right.num_points))
    return Spectrum(tuple(kernels), sizes)


def _march(search: Search, num_slabs: int, spectrum: Spectrum) -> SlabSolution:
    """Solve one slab after the other; nothing is chosen."""
    pde = search.pde
    low, high = map(float, pde.domain[-1])
    length = (high - low) / num_slabs
    equation = slab_equation(pde, length)
    prepared = prepare(equation, spectrum, is_exact=True)
    state = no_state(equation, prepared.bases)
    others = tuple(own[:-1] for own in prepared.bases)
    ends = ends_of(prepared.bases, length)
    largest: Any = 0.0
    slabs, residuals = [], []
    for k in range(num_slabs):
        start = low + k * length
        parameters = SlabParameters(
            search.parameters, jnp.asarray(start), others, state
        )
        slab = solve_prepared(
            prepared,
            spectrum,
            parameters,
            search.rtol,
            _start_at(search.x0, start, pde.fields),
            search.key,
        )
        terms = _terms(prepared.system, slab.z, parameters)
        largest = jnp.maximum(largest, terms)
        # Where all has decayed, what is left is small beside what was there.
        residuals.append(slab.report.residual_off_grid * jnp.max(terms / largest))
        slabs.append(slab)
        state = state_after(state, slab.z, ends, length)
    return _joined(search, tuple(slabs), jnp.stack(residuals))


@eqx.filter_jit
def _terms(system: System, z: Unknowns, parameters: SlabParameters) -> Any:
    collocation = system.collocation
    return collocation.largest_terms(z, collocation.lifted(parameters), parameters)


def _start_at(x0: Any, start: float, fields: int) -> Any:
    """A start in the time of a slab."""
    if isinstance(x0, tuple | list):
        return [_start_at(one, start, fields) for one in x0]
    if isinstance(x0, PDESolution | SlabSolution):

        def of_field(field: int) -> Any:
            def values(*x: Any) -> Any:
                vectors = [jnp.ravel(c) for c in x]
                found = x0.on_grid(*vectors[:-1], vectors[-1] + start)
                return found if fields == 1 else found[..., field]

            return values

        return [of_field(field) for field in range(fields)]
    if callable(x0):
        return lambda *x: x0(*x[:-1], x[-1] + start)
    return x0


def _joined(
    search: Search, slabs: tuple[PDESolution, ...], residuals: Any
) -> SlabSolution:
    reports = [slab.report for slab in slabs]
    statuses = jnp.stack([r.status for r in reports])
    worst = jnp.max(residuals)
    codes = [Status.nonfinite_input, Status.nonfinite, Status.max_steps_reached]
    has_failed = jnp.any(jnp.stack([statuses == code for code in codes]), axis=0)
    status = first_of(
        # What a slab fails with is what the later ones are given.
        (jnp.any(has_failed), statuses[jnp.argmax(has_failed)]),
        (worst <= search.rtol, Status.converged),
        (worst <= UNRESOLVED, Status.attained),
        (jnp.ones((), bool), Status.stagnated),
    )
    report = eqx.tree_at(
        lambda r: (r.status, r.num_steps, r.residual, r.residual_off_grid, r.noise),
        reports[0],
        (
            status,
            sum(r.num_steps for r in reports),
            jnp.max(jnp.stack([r.residual for r in reports])),
            worst,
            jnp.max(jnp.stack([r.noise for r in reports])),
        ),
    )
    return SlabSolution(
        slabs, residuals, slabs[0].spectrum, report, slabs[0].key, search.pde
    )


def _with_doubts(solution: SlabSolution, first: PDESolution) -> SlabSolution:
    """With the warnings of the first slab, and those slabs that are not resolved."""
    residuals = np.asarray(solution.residuals)
    bad = np.flatnonzero(~(residuals <= UNRESOLVED))
    sentences = [w for w in first.report.warnings if "between the points" not in w]
    sentences += missing_conditions(solution.pde)
    if len(bad):
        more = f" and {len(bad) - 1} later ones" if len(bad) > 1 else ""
        start = float(solution.slabs[bad[0]].parameters.start)
        sentences.append(
            f"slab {bad[0]} of {len(residuals)}{more}: the residual between the points "
            f"is up to {residuals[bad].max():.1e} of the largest term, so that the "
            f"solution may be wrong from time {start:.3g} on; take more slabs, or more "
            "points"
        )
    report = changed(
        solution.report,
        warnings=tuple(sentences),
        num_rounds=first.report.num_rounds,
    )
    return eqx.tree_at(lambda s: s.report, solution, report)


def _first(search: Search, num_slabs: int) -> Search:
    """The search on the first slab."""
    low, high = map(float, search.pde.domain[-1])
    return dataclasses.replace(
        search,
        pde=slab_equation(search.pde, (high - low) / num_slabs),
        parameters=SlabParameters(search.parameters, jnp.asarray(low)),
        x0=_start_at(search.x0, low, search.pde.fields),
    )


def _residual(solution: PDESolution | SlabSolution) -> float:
    return float(solution.report.residual_off_grid)
