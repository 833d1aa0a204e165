"""Solving an equation: what is chosen from its data, and what is then computed."""

from collections.abc import Sequence
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np

from ...operators._arguments import require_key
from ...operators._field import is_traced
from ...solvers import SolveError, Status
from ._checks import is_resonant, missing_conditions, require_agreement, require_real
from ._kernels import AbstractKernel
from ._pde import PDE
from ._search import Learn, Search, sizes_of, with_warnings
from ._slab_solution import SlabSolution
from ._slabs import NumSlabs, solve_slabs
from ._solution import PDESolution, Spectrum, warn
from ._solve_spectrum import solve_spectrum

BOUNDARIES = ("exact", "penalty")
TRACED = (
    "under a transformation solve_pde cannot look for frequencies in what depends on "
    "traced values; solve once outside of it, and give spectrum=solution.spectrum"
)
RAISED = (Status.nonfinite_input, Status.nonfinite, Status.max_steps_reached)


@overload
def solve_pde(
    pde: PDE,
    num_points: int | Sequence[int] | None = None,
    *,
    kernel: str | AbstractKernel = "gaussian",
    boundary: str = "exact",
    learn: Learn = "auto",
    spectrum: Spectrum | None = None,
    max_frequency: float | Sequence[float] | None = None,
    parameters: Any = None,
    rtol: float = 1e-8,
    max_points: int = 1_000_000,
    x0: Any = None,
    key: Any = None,
    num_slabs: Literal[1] = 1,
    throw: bool = True,
) -> PDESolution: ...
@overload
def solve_pde(
    pde: PDE,
    num_points: int | Sequence[int] | None = None,
    *,
    kernel: str | AbstractKernel = "gaussian",
    boundary: str = "exact",
    learn: Learn = "auto",
    spectrum: Spectrum | None = None,
    max_frequency: float | Sequence[float] | None = None,
    parameters: Any = None,
    rtol: float = 1e-8,
    max_points: int = 1_000_000,
    x0: Any = None,
    key: Any = None,
    num_slabs: NumSlabs,
    throw: bool = True,
) -> PDESolution | SlabSolution: ...
def solve_pde(
    pde: PDE,
    num_points: int | Sequence[int] | None = None,
    *,
    kernel: str | AbstractKernel = "gaussian",
    boundary: str = "exact",
    learn: Learn = "auto",
    spectrum: Spectrum | None = None,
    max_frequency: float | Sequence[float] | None = None,
    parameters: Any = None,
    rtol: float = 1e-8,
    max_points: int = 1_000_000,
    x0: Any = None,
    key: Any = None,
    num_slabs: NumSlabs = 1,
    throw: bool = True,
) -> PDESolution | SlabSolution:
    """Solve a partial differential equation on a box by Gaussian-process collocation.

    The solution is a sum of functions that a stationary kernel per axis prefers, meets
    all conditions exactly, and has the least residual on a grid, by Gauss-Newton steps.
    Frequencies of the kernels are peaks of the source's periodogram, and then of the
    solution's.

    Args:
        pde: the equation.
        num_points: of the grid, per axis or for all; by default doubled from 128 in
            one, 64 in more dimensions, until the residual between the points is below
            `rtol`. With `spectrum`, that of its grid, if it is given.
        kernel: envelope of the kernels, "gaussian" or "matern" (7/2), or a kernel for
            all axes.
        boundary: "exact", or "penalty": conditions are measurements on the faces, with
            a standard deviation of 1e-11 of their size, and may contradict each other.
        learn: "auto", peaks of periodograms; or "peaks" of the source alone; or
            "evidence", from 30 frequencies evenly up to `max_frequency`, whose weights,
            places and length-scales the evidence finds; or `None`, these as they are;
            or "joint", 1000 steps of the published training.
        spectrum: that of an earlier solution. Nothing is then chosen from data, so that
            it works under `jit`, `vmap` and derivatives with respect to `parameters`.
        max_frequency: in cycles per unit, one number or one per axis, for
            learn="evidence" and `None`; by default what the grid resolves.
        parameters: of the equation, by default `pde.parameters`.
        rtol: residual between the points, relative to the largest term of the equation,
            that counts as converged.
        max_points: of the whole grid.
        x0: a start for nonlinear equations: a number, a function of all coordinates, or
            a solution; with several fields a sequence of these. By default the lift of
            the conditions.
        key: a `jax.random.key`, for `std` where the unknowns are many.
        num_slabs: how many equal parts of time, the last axis, are solved one after the
            other, each from the end of the one before; or "auto": as many as make the
            residual small. Grid, spectrum, `max_points` and `x0`'s grid are those of
            one. The solution is then a `SlabSolution`.
        throw: raise where the steps do not settle or end in NaN. A large residual that
            is left is a warning, and the status `stagnated`.

    Returns:
        The solution: `mean`, `std`, `derivative`, `on_grid`, `sample`, `suggest`,
        `inverse`, `spectrum`, `report`. Status `converged` for a residual between the
        points below rtol, `attained` above, `stagnated` above 1e-3.

    Raises:
        ValueError: float32, conditions that contradict each other, a residual that asks
            for a derivative that is not available, too many unknowns for several
            fields or observations; traced parameters without `spectrum`.
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
    if boundary not in BOUNDARIES:
        raise ValueError(f'boundary must be "exact" or "penalty", got {boundary!r}')
    is_exact = boundary == "exact"
    if key is not None:
        require_key(key)
    if parameters is not None and not pde.has_parameters:
        raise ValueError(
            "this equation has no parameters; give PDE(..., parameters=), of which "
            "residual and conditions get the value as last argument"
        )
    # Arrays without weak types, so that other values are the same program.
    parameters = jax.tree.map(
        lambda a: jnp.asarray(a, jnp.asarray(a).dtype),
        pde.parameters if parameters is None else parameters,
    )
    if spectrum is None and is_traced(parameters):
        raise ValueError(TRACED)
    if spectrum is not None and num_points is not None:
        given, own = sizes_of(num_points, pde.num_axes), spectrum.num_points
        if given != own:
            raise ValueError(
                f"the spectrum is that of a grid of {own} points, got num_points="
                f"{num_points}; leave it out, or give "
                f"Spectrum(spectrum.kernels, {given})"
            )
    try:
        require_real(pde, parameters)
    except jax.errors.TracerArrayConversionError as error:
        raise ValueError(
            "residual or a condition calls NumPy on values that are traced; write it "
            "with jax.numpy"
        ) from error
    if spectrum is None and is_exact:
        require_agreement(pde, parameters)
    highest = _per_axis(max_frequency, pde.num_axes)
    search = Search(pde, kernel, learn, is_exact, highest, parameters, rtol, x0, key)
    try:
        if num_slabs != 1:
            solution = solve_slabs(search, num_slabs, num_points, max_points, spectrum)
        elif spectrum is not None:
            solution = solve_spectrum(
                pde, spectrum, parameters, rtol, is_exact, x0, key
            )
        else:
            solution = search.run(num_points, max_points)
            solution = with_warnings(
                solution, *missing_conditions(pde), *_doubts(solution, highest)
            )
    except jax.errors.TracerArrayConversionError as error:
        raise ValueError(TRACED) from error
    warn(solution.report.warnings)
    if throw and not is_traced(solution.report.status):
        status = Status(solution.report.status)
        if status in RAISED:
            raise SolveError(f"{status.sentence} ({solution.report})", solution)
    return solution


def _per_axis(highest: Any, num_axes: int) -> tuple[float | None, ...]:
    if highest is None:
        return (None,) * num_axes
    values = np.asarray(highest, float)
    is_sound = np.all((values > 0) & np.isfinite(values))
    if values.shape not in ((), (num_axes,)) or not is_sound:
        raise ValueError(
            f"max_frequency must be a positive number, or one per axis, here "
            f"{num_axes}, got {highest!r}"
        )
    return tuple(map(float, np.broadcast_to(values, (num_axes,))))


def _doubts(solution: PDESolution, highest: Sequence[float | None]) -> list[str]:
    """What speaks against the grid, or against the equation."""
    sentences = []
    for d, (axis, frequency) in enumerate(zip(solution.axes[0], highest, strict=True)):
        if frequency is not None and frequency > 0.95 * axis.nyquist:
            needed = int(np.ceil(2 * axis.length * frequency / 0.95)) + 1
            sentences.append(
                f"axis {d}: {axis.num_points} points resolve {axis.nyquist:.3g} cycles "
                f"per unit, and max_frequency={frequency:.3g} needs {needed}"
            )
    if is_resonant(solution.system, solution.z, solution.parameters):
        sentences.append(
            "the equation nearly vanishes for a function that meets its conditions, a "
            "resonance: any multiple of it may be added to the solution"
        )
    return sentences
