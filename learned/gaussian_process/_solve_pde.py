"""Solving an equation: what is chosen from its data, and what is then computed."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...operators._arithmetic import all_finite
from ...operators._field import is_traced
from ...solvers import SolveError, Status
from ...solvers.core._status import first_of
from ._basis import Axis, GridBasis, grid_basis
from ._collocation import Collocation, collocate
from ._gauss_newton import Found, is_dense, solve_collocation
from ._kernels import AbstractKernel, Envelope
from ._pde import PDE
from ._solution import PDESolution, Report, Spectrum, warn
from ._spectrum import broadband, merge, mixture, peaks

Learn = Literal["auto", "peaks"] | None
KERNELS: dict[str, Envelope] = {"gaussian": "gaussian", "matern": "matern72"}
CUTS = {True: 1e-14, False: 1e-8}
"""Relative size of the smallest function: dense least squares have the prior to keep
their coefficients small, the projected equation has not."""
NOISE = 1e-13
MAX_ROUNDS = 4
FEWEST = 8
"""Points along an axis, of which the periodogram needs a few."""
RAISED = (Status.nonfinite_input, Status.nonfinite, Status.max_steps_reached)
CLIPPED = 0.01
"""Part of a kernel above the highest frequency of the grid that is a warning."""
WARNING = 1e-3
"""A residual off the grid above which a solution is not to be trusted."""


def solve_pde(
    pde: PDE,
    num_points: int | Sequence[int] | None = None,
    *,
    kernel: str | AbstractKernel = "gaussian",
    learn: Learn = "auto",
    spectrum: Spectrum | None = None,
    max_frequency: float | None = None,
    parameters: Any = None,
    rtol: float = 1e-8,
    max_points: int = 1_000_000,
    throw: bool = True,
) -> PDESolution:
    """Solve a partial differential equation on a box by Gaussian-process collocation.

    The solution is a sum of functions that a stationary kernel per axis prefers, meets
    all conditions exactly, and has the least residual on a grid, by Gauss-Newton steps.
    Frequencies of the kernels are peaks of the source's periodogram, and then of the
    solution's.

    Args:
        pde: the equation.
        num_points: of the grid, per axis or for all; by default doubled from 128 in
            one, 64 in more dimensions, until the residual between the points is below
            `rtol`.
        kernel: envelope of the kernels, "gaussian" or "matern" (7/2), or a kernel for
            all axes.
        learn: "auto", or "peaks" of the source alone, or `None`: 30 frequencies evenly
            up to `max_frequency`.
        spectrum: that of an earlier solution. Nothing is then chosen from data, so that
            it works under `jit`, `vmap` and derivatives with respect to `parameters`.
        max_frequency: in cycles per unit, for learn=None; by default what the grid
            resolves.
        parameters: of the equation, by default `pde.parameters`.
        rtol: residual between the points, relative to the largest term of the equation,
            that counts as converged.
        max_points: of the whole grid.
        throw: raise where the steps do not settle or end in NaN. A large residual that
            is left is a warning, and the status `stagnated`.

    Returns:
        The solution: `mean`, `derivative`, `on_grid`, `report`. Status `converged` for
        a residual below rtol, `attained` above.

    Raises:
        ValueError: float32, conditions that contradict each other, a residual that asks
            for a derivative that is not available; traced parameters without
            `spectrum`.
        SolveError: with `throw`, the steps failed.

    Cost: per axis a singular value decomposition of the grid times 6 to 8 functions per
    cycle; per step a dense least-squares problem of all functions, or, in more
    dimensions, a Sylvester equation and a few products.

    Examples:
        >>> import jax.numpy as jnp
        >>> from krylax.learned.gaussian_process import PDE, Dirichlet, solve_pde
        >>> pde = PDE(
        ...     domain=[(0.0, 1.0)],
        ...     residual=lambda x, u: u(2) + 400 * jnp.sin(20 * x[0]),
        ...     conditions=[Dirichlet(lambda x: jnp.sin(20 * x))],
        ... )
        >>> solution = solve_pde(pde, 100)
        >>> bool(abs(solution.mean([[0.5]])[0] - jnp.sin(10.0)) < 1e-9)
        True

    References:
        S. Fang et al., Solving High Frequency and Multi-Scale PDEs with Gaussian
        Processes, ICLR 2024, arXiv 2311.04465.
    """
    if not isinstance(pde, PDE):
        raise TypeError(f"pde must be a PDE, got {type(pde).__name__}")
    if jnp.result_type(float) != jnp.float64:
        raise ValueError(
            "solve_pde needs 64 bits: the functions of a kernel are independent to "
            "1e-8 of their size at best in 32; call "
            'jax.config.update("jax_enable_x64", True)'
        )
    # Arrays, so that other values are the same program.
    parameters = jax.tree.map(
        jnp.asarray, pde.parameters if parameters is None else parameters
    )
    if spectrum is None:
        if is_traced(parameters):
            raise ValueError(
                "under a transformation solve_pde cannot look for frequencies in "
                "traced parameters; solve once outside of it, and give "
                "spectrum=solution.spectrum"
            )
        solution = _Search(pde, kernel, learn, max_frequency, parameters, rtol).run(
            num_points, max_points
        )
        warn(solution.report.warnings)
    else:
        solution = _solve(pde, spectrum, parameters, rtol)
    if throw and not is_traced(solution.z):
        status = Status(solution.report.status)
        if status in RAISED:
            raise SolveError(f"{status.sentence} ({solution.report})", solution)
    return solution


def _solve(
    pde: PDE,
    spectrum: Spectrum,
    parameters: Any,
    rtol: float,
    num_rounds: int = 0,
    warnings: Sequence[str] = (),
) -> PDESolution:
    """Solve with a given spectrum; nothing depends on values."""
    axes, bases = _bases(pde, spectrum)
    points = [axis.points for axis in axes]
    collocation = collocate(pde, axes, bases, points)
    check = collocate(pde, axes, bases, list(map(_between, points)))
    sizes = tuple(basis.sizes for basis in bases)
    z, report = _compute(collocation, check, sizes, parameters, rtol)
    return PDESolution(
        z=z,
        bases=bases,
        spectrum=spectrum,
        parameters=parameters,
        report=Report(
            *report,
            num_rounds=num_rounds,
            num_points=spectrum.num_points,
            ranks=tuple(basis.rank for basis in bases),
            warnings=tuple(warnings),
        ),
        pde=pde,
        axes=axes,
    )


@eqx.filter_jit
def _compute(
    collocation: Collocation,
    check: Collocation,
    sizes: tuple[Any, ...],
    parameters: Any,
    rtol: Any,
) -> tuple[Array, tuple[Array, ...]]:
    found: Found = solve_collocation(
        collocation, sizes, parameters, jnp.zeros(collocation.shape), NOISE
    )
    frozen = jax.lax.stop_gradient((found.z, parameters))
    on_grid = collocation.relative_residual(*frozen)
    off_grid = check.relative_residual(*frozen)
    status = first_of(
        (~all_finite(collocation.lifted(frozen[1])), Status.nonfinite_input),
        (~jnp.isfinite(off_grid), Status.nonfinite),
        (~found.is_settled, Status.max_steps_reached),
        (off_grid <= rtol, Status.converged),
        (off_grid <= WARNING, Status.attained),
        (jnp.ones((), bool), Status.stagnated),
    )
    return found.z, (status, found.num_steps, on_grid, off_grid)


def _bases(
    pde: PDE, spectrum: Spectrum
) -> tuple[tuple[Axis, ...], tuple[GridBasis, ...]]:
    axes = tuple(pde.axis(d, n) for d, n in enumerate(spectrum.num_points))
    bases: tuple[GridBasis, ...] = ()
    for cut in CUTS.values():
        bases = tuple(
            grid_basis(kernel, axis, cut)
            for kernel, axis in zip(spectrum.kernels, axes, strict=True)
        )
        if is_dense([basis.rank for basis in bases], spectrum.num_points):
            break
    return axes, bases


def _between(points: np.ndarray) -> np.ndarray:
    return 0.5 * (points[1:] + points[:-1])


class _Search:
    """Looks for the frequencies and the grid."""

    def __init__(
        self,
        pde: PDE,
        kernel: str | AbstractKernel,
        learn: Learn,
        max_frequency: float | None,
        parameters: Any,
        rtol: float,
    ) -> None:
        if learn not in (*get_args(get_args(Learn)[0]), None):
            raise ValueError(f'learn must be "auto", "peaks" or None, got {learn!r}')
        if not isinstance(kernel, AbstractKernel) and kernel not in KERNELS:
            raise ValueError(
                f"kernel must be one of {list(KERNELS)} or a kernel, got {kernel!r}"
            )
        self.pde, self.kernel, self.learn = pde, kernel, learn
        self.max_frequency, self.parameters, self.rtol = max_frequency, parameters, rtol

    def run(
        self, num_points: int | Sequence[int] | None, max_points: int
    ) -> PDESolution:
        """Solve on a given grid, or double the axes that need it."""
        num_axes = self.pde.num_axes
        if isinstance(num_points, int):
            num_points = [num_points] * num_axes
        if num_points is not None:
            if np.ndim(num_points) != 1 or len(num_points) != num_axes:
                raise ValueError(
                    f"num_points must be one number or one per axis, here {num_axes}, "
                    f"got {num_points}"
                )
            if not all(isinstance(n, int) and n >= FEWEST for n in num_points):
                raise ValueError(
                    f"num_points must be integers of at least {FEWEST}, got "
                    f"{num_points}"
                )
            return self.on_grid(tuple(num_points))
        sizes = [128 if num_axes == 1 else 64] * num_axes
        while True:
            solution = self.on_grid(tuple(sizes))
            if solution.report.residual_off_grid <= self.rtol:
                return solution
            growing = self._axes_to_refine(solution)
            wanted = [2 * n if d in growing else n for d, n in enumerate(sizes)]
            if np.prod(wanted) > max_points:
                sentence = (
                    f"the residual between the points is "
                    f"{float(solution.report.residual_off_grid):.1e}; a grid of "
                    f"{' x '.join(map(str, wanted))} would be next, more than "
                    f"max_points={max_points}"
                )
                return eqx.tree_at(
                    lambda s: s.report,
                    solution,
                    _with_warning(solution.report, sentence),
                )
            sizes = wanted

    def on_grid(self, num_points: tuple[int, ...]) -> PDESolution:
        """Solve on a grid, with frequencies from the source and then the solution."""
        axes = [self.pde.axis(d, n) for d, n in enumerate(num_points)]
        if isinstance(self.kernel, AbstractKernel):
            kernels: list[AbstractKernel] = [self.kernel] * len(axes)
            return self._solved(kernels, num_points, 1)
        if self.learn is None:
            return self._solved(self._broadband(axes), num_points, 1)
        found = self._source_peaks(axes)
        best: PDESolution | None = None
        for num_rounds in range(1, MAX_ROUNDS + 1):
            envelope = KERNELS[self.kernel]
            kernels = [
                mixture(f, axis, envelope) for f, axis in zip(found, axes, strict=True)
            ]
            solution = self._solved(kernels, num_points, num_rounds)
            has_improved = best is None or _is_better(solution, best, factor=0.5)
            if best is None or _is_better(solution, best):
                best = solution
            is_done = self.learn == "peaks" or not has_improved
            if is_done or best.report.residual_off_grid <= self.rtol:
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
        if best.report.residual_off_grid > WARNING:
            wide = self._solved(self._broadband(axes), num_points, MAX_ROUNDS + 1)
            best = wide if _is_better(wide, best) else best
        return best

    def _broadband(self, axes: Sequence[Axis]) -> list[AbstractKernel]:
        envelope = KERNELS[str(self.kernel)]
        return [broadband(axis, self.max_frequency, envelope) for axis in axes]

    def _solved(
        self,
        kernels: Sequence[AbstractKernel],
        num_points: tuple[int, ...],
        num_rounds: int,
    ) -> PDESolution:
        spectrum = Spectrum(tuple(kernels), num_points)
        solution = _solve(self.pde, spectrum, self.parameters, self.rtol, num_rounds)
        report = solution.report
        for axis, basis in enumerate(solution.bases):
            if basis.clipped > CLIPPED:
                report = _with_warning(
                    report,
                    f"axis {axis}: {100 * basis.clipped:.0f} % of the kernel's "
                    f"variance is above {solution.axes[axis].nyquist:.3g} cycles per "
                    "unit, the highest frequency of the grid; take more points",
                )
            if basis.rank > 0.8 * num_points[axis]:
                report = _with_warning(
                    report,
                    f"axis {axis}: {basis.rank} functions on {num_points[axis]} "
                    "points leave little to check them by; take "
                    f"{2 * num_points[axis]} points",
                )
        if report.residual_off_grid > WARNING:
            report = _with_warning(
                report,
                f"the residual between the points is "
                f"{float(report.residual_off_grid):.1e} of the largest term: the "
                "solution may be wrong; take more points, or another kernel",
            )
        return eqx.tree_at(lambda s: s.report, solution, report)

    def _source_peaks(self, axes: Sequence[Axis]) -> list[np.ndarray]:
        """Those of the residual of the lift, and of the lift."""
        kernels = tuple(mixture([], axis, "gaussian") for axis in axes)
        num_points = tuple(axis.num_points for axis in axes)
        _, bases = _bases(self.pde, Spectrum(kernels, num_points))
        points = [axis.points for axis in axes]
        collocation = collocate(self.pde, axes, bases, points)
        return self._peaks(axes, _source_and_lift(collocation, self.parameters))

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

    def _axes_to_refine(self, solution: PDESolution) -> set[int]:
        """Those whose functions are many, or whose frequencies are near Nyquist."""
        found = set()
        for d, (axis, basis) in enumerate(
            zip(solution.axes, solution.bases, strict=True)
        ):
            highest = float(basis.frequencies[-1])
            if basis.rank > 0.8 * axis.num_points or highest > 0.95 * axis.nyquist:
                found.add(d)
        return found or set(range(len(solution.axes)))


@eqx.filter_jit
def _source_and_lift(collocation: Collocation, parameters: Any) -> tuple[Any, Any]:
    lifted = collocation.lifted(parameters)
    source = collocation.residual(jnp.zeros(collocation.shape), lifted, parameters)
    return source, lifted.get((0,) * len(collocation.axes), source)


def _is_better(solution: PDESolution, other: PDESolution, factor: float = 1.0) -> bool:
    left, before = (float(s.report.residual_off_grid) for s in (solution, other))
    return left < factor * before


def _with_warning(report: Report, sentence: str) -> Report:
    return Report(
        report.status,
        report.num_steps,
        report.residual,
        report.residual_off_grid,
        report.num_rounds,
        report.num_points,
        report.ranks,
        (*report.warnings, sentence),
    )
