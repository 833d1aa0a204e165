"""Looking for the frequencies of a solution, and for a grid that resolves them."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ._basis import Axis
from ._collocation import Collocation, collocate
from ._evidence import axis_data, learned
from ._gauss_newton import Found
from ._joint import train_joint
from ._kernels import AbstractKernel, Envelope, SpectralMixture
from ._pde import PDE
from ._posterior import UNRESOLVED
from ._solution import PDESolution, Report, Spectrum
from ._solve_spectrum import axes_and_bases, can_solve, solve_spectrum
from ._spectrum import (
    LENGTHS,
    broadband,
    merge,
    mixture,
    peaks,
    with_slow_part,
)

Learn = Literal["auto", "evidence", "peaks", "joint"] | None
KERNELS: dict[str, Envelope] = {"gaussian": "gaussian", "matern": "matern72"}
MAX_ROUNDS = 4
EVIDENCE_ROUNDS = 2
"""The second one at the solution of the first, which is what a nonlinear equation is
linearised at."""
WIDER = (0.1, 0.05, 0.025)
"""Length-scales, in lengths of the axis, where peaks leave too much."""
CROWDED = 0.6
"""Functions per point above which fewer may do better."""
RESOLVED = 1e-5
"""A residual off the grid that needs no shorter ones."""
JOINT_STEPS = 1000
"""Of Adam, of which the published runs have 10⁵ to 3·10⁶."""
FEWEST = 8
"""Points along an axis, of which the periodogram needs a few."""
ITERATIVE_RTOL = 1e-7
"""The same for the frequencies of iterative solves: ten times the size of what is cut.
With 1e-8 3-D Poisson on 64³ points has a second round of 145 800 functions in vain."""
ALIASED = 0.3
"""A residual between the points above which they are too few for any kernel."""
ROUNDING = 1e-11
"""A source below this part of the largest term is zero."""
CLIPPED = 0.01
"""Part of a kernel above the highest frequency of the grid that is a warning."""


class Search(eqx.Module):
    """What is asked for, and how to look for it.

    Attributes:
        pde: the equation.
        kernel: an envelope, or a kernel for all axes.
        learn: how.
        is_exact: whether conditions are.
        max_frequency: per axis, or none.
        parameters: of the equation.
        rtol: residual that counts as converged.
        x0: a start.
        key: of random numbers.
    """

    pde: PDE = eqx.field(static=True)
    kernel: str | AbstractKernel
    learn: Learn
    is_exact: bool
    max_frequency: tuple[float | None, ...]
    parameters: Any
    rtol: float
    x0: Any
    key: Any

    def __check_init__(self) -> None:
        if self.learn not in (*get_args(get_args(Learn)[0]), None):
            raise ValueError(
                'learn must be "auto", "evidence", "peaks", "joint" or None, got '
                f"{self.learn!r}"
            )
        is_named = isinstance(self.kernel, str) and self.kernel in KERNELS
        if not is_named and not isinstance(self.kernel, AbstractKernel):
            raise ValueError(
                f"kernel must be one of {list(KERNELS)} or a kernel, for all axes, got "
                f"{self.kernel!r}; with one per axis give spectrum=Spectrum(kernels, "
                "num_points)"
            )

    def run(
        self, num_points: int | Sequence[int] | None, max_points: int
    ) -> PDESolution:
        """Solve on a given grid, or double the axes that need it."""
        num_axes = self.pde.num_axes
        if num_points is None and self.learn == "joint":
            raise ValueError('learn="joint" needs num_points')
        if num_points is not None:
            return self.on_grid(sizes_of(num_points, num_axes))
        sizes = [128 if num_axes == 1 else 64] * num_axes
        best: PDESolution | None = None
        while True:
            solution = self.on_grid(tuple(sizes))
            if solution.report.residual_off_grid <= self.rtol:
                return solution
            if (
                best is not None
                and best.report.residual_off_grid < UNRESOLVED
                and not _is_better(solution, best, factor=0.5)
            ):
                # Rounding is left.
                return best if _is_better(best, solution) else solution
            best = solution
            growing = axes_to_refine(solution)
            wanted = [2 * n if d in growing else n for d, n in enumerate(sizes)]
            if np.prod(wanted) > max_points:
                return with_warnings(
                    solution,
                    f"the residual between the points is "
                    f"{float(solution.report.residual_off_grid):.1e}; a grid of "
                    f"{' x '.join(map(str, wanted))} would be next, more than "
                    f"max_points={max_points}",
                )
            sizes = wanted

    def on_grid(self, num_points: tuple[int, ...]) -> PDESolution:
        """Solve on a grid, with frequencies from the source and then the solution."""
        axes = [self.pde.axis(d, n) for d, n in enumerate(num_points)]
        if isinstance(self.kernel, AbstractKernel):
            return self._solved([self.kernel] * len(axes), num_points, 1)
        if self.learn is None:
            return self._solved(self._broadband(axes), num_points, 1)
        if self.learn == "evidence":
            return self._by_evidence(axes, num_points)
        if self.learn == "joint":
            return self._by_joint_training(num_points)
        best, frequencies = self._by_peaks(axes, num_points)
        if self.learn == "auto" and best.report.residual_off_grid > UNRESOLVED:
            best = self._other_lengths(best, frequencies, axes, num_points)
        if best.report.residual_off_grid > UNRESOLVED:
            wide = self._solved(self._broadband(axes), num_points, MAX_ROUNDS + 1)
            best = wide if _is_better(wide, best) else best
        is_near = UNRESOLVED < best.report.residual_off_grid < ALIASED
        if self.learn == "auto" and is_near and len(axes) == self.pde.fields == 1:
            # A spectrum without peaks, of which the equation shows the whole.
            by_evidence = self._by_evidence(axes, num_points)
            best = by_evidence if _is_better(by_evidence, best) else best
        return best

    def _other_lengths(
        self,
        best: PDESolution,
        frequencies: Sequence[np.ndarray],
        axes: Sequence[Axis],
        num_points: tuple[int, ...],
    ) -> PDESolution:
        """A steep front has no peaks but many frequencies: shorter envelopes.

        Where functions are nearly as many as points, longer ones.
        """
        most = max(
            basis.rank / n
            for bases in best.bases
            for basis, n in zip(bases, num_points, strict=True)
        )
        for index, length in enumerate(WIDER if most < CROWDED else LENGTHS[1:]):
            kernels = [
                mixture(f, axis, KERNELS[str(self.kernel)], length)
                for f, axis in zip(frequencies, axes, strict=True)
            ]
            if not self._can_solve(kernels, num_points):
                break
            solution = self._solved(kernels, num_points, MAX_ROUNDS + index, x0=best)
            best = solution if _is_better(solution, best) else best
            if best.report.residual_off_grid <= max(self.rtol, RESOLVED):
                break
        return best

    def _can_solve(
        self, kernels: Sequence[AbstractKernel], num_points: tuple[int, ...]
    ) -> bool:
        _, bases = axes_and_bases(
            self.pde, Spectrum(tuple(kernels), num_points), self.is_exact
        )
        return can_solve(self.pde, self.is_exact, bases)

    def _by_peaks(
        self, axes: Sequence[Axis], num_points: tuple[int, ...]
    ) -> tuple[PDESolution, list[np.ndarray]]:
        """Those of the source, then those of the solution and of what it leaves."""
        found = self._source_peaks(axes, num_points)
        best: PDESolution | None = None
        for num_rounds in range(1, MAX_ROUNDS + 1):
            kernels = self._mixtures(found, axes, num_points)
            solution = self._solved(kernels, num_points, num_rounds)
            has_improved = best is None or _is_better(solution, best, factor=0.5)
            if best is None or _is_better(solution, best):
                best = solution
            is_done = self.learn == "peaks" or not has_improved
            if is_done or best.report.residual_off_grid <= self._attainable(best):
                break
            more = self._solution_peaks(axes, solution)
            merged = [
                merge([*old, *new], 0.5 / axis.length)
                for old, new, axis in zip(found, more, axes, strict=True)
            ]
            if all(len(a) == len(b) for a, b in zip(merged, found, strict=True)):
                break
            found = merged
        assert best is not None
        return best, found

    def _attainable(self, solution: PDESolution) -> float:
        """The residual at which more frequencies are not worth another solve."""
        return self.rtol if solution.system.is_dense else max(self.rtol, ITERATIVE_RTOL)

    def _mixtures(
        self,
        frequencies: Sequence[np.ndarray],
        axes: Sequence[Axis],
        num_points: tuple[int, ...],
    ) -> list[SpectralMixture]:
        """Components at frequencies, of length-scales that can be solved with."""
        kernels: list[SpectralMixture] = []
        for length in LENGTHS:
            kernels = [
                mixture(f, axis, KERNELS[str(self.kernel)], length)
                for f, axis in zip(frequencies, axes, strict=True)
            ]
            if self._can_solve(kernels, num_points):
                break
        return kernels

    def _by_evidence(
        self, axes: Sequence[Axis], num_points: tuple[int, ...]
    ) -> PDESolution:
        """From evenly spaced frequencies, each axis in turn."""
        kernels = self._broadband(axes)
        best: PDESolution | None = None
        for num_rounds in range(1, EVIDENCE_ROUNDS + 1):
            if len(axes) == 1 and self.pde.fields == 1:
                kernels = [self._learned_from_equation(axes[0], kernels[0], best)]
            else:
                # Of a field the axes share the data: the solution itself.
                if best is None:
                    best = self._solved(kernels, num_points, 1)
                kernels = [
                    self._learned_from_field(axis, d, kernel, best)
                    for d, (axis, kernel) in enumerate(zip(axes, kernels, strict=True))
                ]
            solution = self._solved(kernels, num_points, num_rounds)
            if solution.report.residual_off_grid > UNRESOLVED:
                # u less its lift has a slow part that the equation hardly shows.
                slower = [
                    with_slow_part(kernel, axis)
                    for kernel, axis in zip(kernels, axes, strict=True)
                ]
                again = self._solved(slower, num_points, num_rounds)
                solution = again if _is_better(again, solution) else solution
            if best is not None and not _is_better(solution, best):
                break
            best = solution
            if best.report.residual_off_grid <= self.rtol:
                break
            kernels = self._broadband(axes)
        assert best is not None
        return best

    def _by_joint_training(self, num_points: tuple[int, ...]) -> PDESolution:
        """The published training, whose mean is one of the functions of its kernels."""
        envelope = "gaussian" if self.kernel == "gaussian" else "matern52"
        given = [f for f in self.max_frequency if f is not None]
        trained = train_joint(
            self.pde,
            num_points,
            envelope=envelope,
            max_frequency=max(given) if given else None,
            num_steps=JOINT_STEPS,
            parameters=self.parameters,
        )
        spectrum = Spectrum(trained.kernels, num_points)
        _, (bases,) = axes_and_bases(self.pde, spectrum, is_exact=False)
        # k(x, X) (K + εI)⁻¹ U = Φ(x) Φᵀ (ΦΦᵀ + εI)⁻¹ U, and ΦᵀΦ = S².
        z = trained.values
        for d, (n, basis) in enumerate(zip(num_points, bases, strict=True)):
            axis = self.pde.axis(d, n, is_exact=False)
            rows = basis.evaluate(axis.points) / (basis.sizes**2 + trained.jitter)
            z = jnp.moveaxis(jnp.tensordot(rows.T, z, axes=(1, d)), 0, d)
        found = Found((z,), jnp.asarray(JOINT_STEPS), jnp.ones((), bool))
        return self._solved(trained.kernels, num_points, 1, found, is_exact=False)

    def _learned_from_equation(
        self, axis: Axis, start: SpectralMixture, solution: PDESolution | None
    ) -> SpectralMixture:
        """By the equation, linearised at a solution, or first at its lift."""
        num_points = (axis.num_points,)
        _, bases = axes_and_bases(
            self.pde, Spectrum((start,), num_points), self.is_exact
        )
        if solution is not None:
            bases = solution.bases
        collocation = collocate(self.pde, [[axis]], bases, [axis.points], self.is_exact)
        z = collocation.zeros() if solution is None else solution.z
        factors, values = _linear_rows(collocation, z, self.parameters)
        if not np.any(np.asarray(values)):
            # Without a source the equation says nothing of the size of u.
            solution = solution or self._solved([start], num_points, 1)
            return self._learned_from_field(axis, 0, start, solution)
        return learned(start, axis, axis_data(axis, factors, values))

    def _learned_from_field(
        self, axis: Axis, index: int, start: SpectralMixture, solution: PDESolution
    ) -> SpectralMixture:
        """By a solution along one axis, in the functions of the others."""
        columns = []
        for z, bases in zip(solution.z, solution.bases, strict=True):
            # Φ z along this axis; along the others z has unit variance.
            rows = bases[index].evaluate(axis.points) @ np.moveaxis(
                np.asarray(z), index, 0
            ).reshape(bases[index].rank, -1)
            columns.append(rows)
        values = np.concatenate(columns, axis=1)
        # As many columns as matter.
        left, sizes, _ = np.linalg.svd(values, full_matrices=False)
        kept = sizes > 1e-6 * sizes[0]
        if sizes[0] == 0:
            return start
        values = left[:, kept] * sizes[kept]
        return learned(start, axis, axis_data(axis, {0: 1.0}, values))

    def _broadband(self, axes: Sequence[Axis]) -> list[SpectralMixture]:
        envelope = KERNELS[str(self.kernel)]
        return [
            broadband(axis, highest, envelope)
            for axis, highest in zip(axes, self.max_frequency, strict=True)
        ]

    def _solved(
        self,
        kernels: Sequence[AbstractKernel],
        num_points: tuple[int, ...],
        num_rounds: int,
        found: Found | None = None,
        is_exact: bool | None = None,
        x0: Any = None,
    ) -> PDESolution:
        solution = solve_spectrum(
            self.pde,
            Spectrum(tuple(kernels), num_points),
            self.parameters,
            self.rtol,
            self.is_exact if is_exact is None else is_exact,
            self.x0 if x0 is None else x0,
            self.key,
            found,
        )
        solution = eqx.tree_at(
            lambda s: s.report,
            solution,
            changed(solution.report, num_rounds=num_rounds),
        )
        return with_warnings(solution, *self._doubts(solution))

    def _doubts(self, solution: PDESolution) -> list[str]:
        """What speaks against a solution."""
        sentences = []
        num_points = solution.spectrum.num_points
        for axes, bases in zip(solution.axes, solution.bases, strict=True):
            for d, (axis, basis) in enumerate(zip(axes, bases, strict=True)):
                if basis.clipped > CLIPPED:
                    sentences.append(
                        f"axis {d}: {100 * basis.clipped:.0f} % of the kernel's "
                        f"variance is above {axis.nyquist:.3g} cycles per unit, the "
                        "highest frequency of the grid; take more points"
                    )
                if basis.rank > 0.8 * num_points[d]:
                    sentences.append(
                        f"axis {d}: {basis.rank} functions on {num_points[d]} points "
                        f"leave little to check them by; take {2 * num_points[d]} "
                        "points"
                    )
        report = solution.report
        if np.isfinite(report.residual) and report.residual_off_grid > UNRESOLVED:
            sentences.append(
                f"the residual between the points is "
                f"{float(report.residual_off_grid):.1e} of the largest term: "
                "the solution may be wrong; take more points or another kernel, and "
                "look whether equation and conditions contradict each other, on a "
                "face or in a corner"
            )
        return list(dict.fromkeys(sentences))

    def _source_peaks(
        self, axes: Sequence[Axis], num_points: tuple[int, ...]
    ) -> list[np.ndarray]:
        """Those of the residual of the lift, and of the lift."""
        kernels = tuple(mixture([], axis, "gaussian") for axis in axes)
        own, bases = axes_and_bases(
            self.pde, Spectrum(kernels, num_points), self.is_exact
        )
        points = [axis.points for axis in axes]
        collocation = collocate(self.pde, own, bases, points, self.is_exact)
        # Conditions that are not exact have no lift, which shows their frequencies.
        lifts = collocate(self.pde, own, bases, points, is_lifted=True)
        return self._peaks(
            axes, _sources_and_lifts(collocation, lifts, self.parameters)
        )

    def _solution_peaks(
        self, axes: Sequence[Axis], solution: PDESolution
    ) -> list[np.ndarray]:
        """Those of the solution, and of the residual, which shows what is missing."""
        u = solution.on_grid(*(axis.points for axis in axes))
        return self._peaks(axes, [u, solution.residual_on_grid()])

    def _peaks(self, axes: Sequence[Axis], fields: Sequence[Any]) -> list[np.ndarray]:
        return [
            np.concatenate([peaks(np.asarray(f), axis, d) for f in fields])
            for d, axis in enumerate(axes)
        ]


def sizes_of(num_points: Any, num_axes: int) -> tuple[int, ...]:
    is_one = isinstance(num_points, int | np.integer)
    sizes: Any = [num_points] * num_axes if is_one else num_points
    if np.ndim(sizes) != 1 or len(sizes) != num_axes:
        raise ValueError(
            f"num_points must be one number or one per axis, here {num_axes}, got "
            f"{num_points}"
        )
    if not all(isinstance(n, int | np.integer) and n >= FEWEST for n in sizes):
        raise ValueError(
            f"num_points must be integers of at least {FEWEST}, got {num_points}"
        )
    return tuple(int(n) for n in sizes)


def axes_to_refine(solution: PDESolution) -> set[int]:
    """Those whose functions are many, or whose frequencies are near Nyquist."""
    found = set()
    for axes, bases in zip(solution.axes, solution.bases, strict=True):
        for d, (axis, basis) in enumerate(zip(axes, bases, strict=True)):
            highest = float(basis.frequencies[-1])
            if basis.rank > 0.8 * axis.num_points or highest > 0.95 * axis.nyquist:
                found.add(d)
    return found or set(range(solution.pde.num_axes))


@eqx.filter_jit
def _sources_and_lifts(
    collocation: Collocation, lifts: Collocation, parameters: Any
) -> list[Any]:
    lifted = collocation.lifted(parameters)
    z = collocation.zeros()
    residuals = collocation.residual(z, lifted, parameters)
    terms = collocation.largest_terms(z, lifted, parameters)
    # A lift that solves the equation leaves rounding, whose peaks mean nothing.
    sources = [
        jnp.where(jnp.max(jnp.abs(F)) > ROUNDING * term, F, 0.0)
        for F, term in zip(residuals, terms, strict=True)
    ]
    zero = (0,) * len(collocation.points)
    return [*sources, *(own[zero] for own in lifts.lifted(parameters))]


@eqx.filter_jit
def _linear_rows(collocation: Collocation, z: Any, parameters: Any) -> Any:
    """Coefficients of the equation, and what they are to give for all of u."""
    lifted = collocation.lifted(parameters)
    values = collocation.values(z, lifted)
    (c,) = collocation.coefficients(z, lifted, parameters)
    (residual,) = collocation.pde.residual_of(collocation.points, values, parameters)
    applied = sum(c[0][o] * values[0][o] for o in c[0])
    return {o[0]: a for o, a in c[0].items()}, applied - residual


def _is_better(solution: PDESolution, other: PDESolution, factor: float = 1.0) -> bool:
    left, before = (float(s.report.residual_off_grid) for s in (solution, other))
    return left < factor * before


def with_warnings(solution: PDESolution, *sentences: str) -> PDESolution:
    """Return a solution with more warnings in its report."""
    report = solution.report
    warnings = tuple(dict.fromkeys([*report.warnings, *sentences]))
    return eqx.tree_at(lambda s: s.report, solution, changed(report, warnings=warnings))


def changed(report: Report, **static: Any) -> Report:
    names = ("num_rounds", "num_points", "ranks", "warnings")
    kept = {name: getattr(report, name) for name in names}
    return Report(
        report.status,
        report.num_steps,
        report.residual,
        report.residual_off_grid,
        report.noise,
        **{**kept, **static},
    )
