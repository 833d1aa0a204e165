"""The systems of the tables, and the methods that solve them.

Frames of flows that no network was trained on, several runs of each scene; every
method gets the same ones, one after the other.
"""

import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg as sla
from rivals.petsc import petsc
from rivals.row import Problem
from scipy.sparse import csr_array

import krylax as kx
from krylax.datasets import PressureProjection
from krylax.learned import conjugate_directions as cd

SCENES = (
    "plume",
    "obstacle",
    "rotating",
    "moving_disc",
    "random_solids",
    "free_surface",
)
FRAMES = (3, 7, 11)
"""Of each run; the first ones are nearly at rest."""

DEFLATED = 16
"""Vectors, as in the paper's comparison."""

_NUMBERS = itertools.count()
"""Of systems, as PETSc's process keeps them by name."""


class Method(NamedTuple):
    """A row of the table.

    Attributes:
        name: of the row.
        solver: the solver for a tolerance and a number of steps.
        prepare: returns the preconditioner of an operator, or None.
        is_recycling: whether a solve with noise on the right, which counts as set-up,
            hands something to the one that is measured.
    """

    name: str
    solver: Callable[[float, int], Any]
    prepare: Callable[[Any], Any]
    is_recycling: bool = False


def cg(rtol: float, max_steps: int) -> Any:
    """CG."""
    return kx.solvers.CG(rtol, max_steps=max_steps)


def deflated_cg(rtol: float, max_steps: int) -> Any:
    """CG beside the directions that another solve found hardest."""
    return kx.solvers.DeflatedCG(rtol, num_recycled=DEFLATED, max_steps=max_steps)


def flexible_cg(rtol: float, max_steps: int) -> Any:
    """The outer iteration of the paper."""
    return kx.solvers.FlexibleCG(rtol, truncation=2, max_steps=max_steps)


def family(scene: Any, num_points: tuple[int, ...], **fields: Any) -> Any:
    """The family of a scene."""
    settings = {"num_frames": FRAMES[-1] + 1, "stream": "test"} | fields
    return PressureProjection(num_points, scene=scene, **settings)


def systems(scenes: Any, num_systems: int) -> list[tuple[Any, Any]]:
    """The first systems of a family of flows, as many frames of each run."""
    runs = range(-(-num_systems // len(FRAMES)))
    ids = [run * scenes.num_frames + frame for run in runs for frame in FRAMES]
    return [scenes.system(scenes.sample(i)) for i in ids[:num_systems]]


def box_of(A: Any) -> Any:
    """The operator of the embedding box, all fluid, with the same walls.

    A wall that is open in A is so in the box; solid and air cells are fluid.
    """
    shape = A.is_fluid.shape
    spacing = tuple(1 / n for n in shape)
    return kx.operators.MaskedPoisson(np.full(shape, 2), spacing, boundary=_walls(A))


def _walls(A: Any) -> Any:
    """Closed on all sides but the end of the last axis."""
    walls: Any = ["neumann"] * A.is_fluid.ndim
    walls[-1] = ("neumann", "dirichlet")
    return walls


def methods(nets: dict[str, Any]) -> list[Method]:
    """The classical methods, and the networks by name."""
    classical = [
        Method("CG", cg, lambda A: None),
        Method("CG, Jacobi", cg, lambda A: kx.solvers.Jacobi()(A)),
        Method(f"DeflatedCG, {DEFLATED}", deflated_cg, lambda A: None, True),
        Method("CG, IC(0)", cg, lambda A: kx.solvers.IncompleteCholesky()(A)),
        Method("CG, box FastDiagonalization", flexible_cg, _box_inverse),
        Method("CG, Multigrid of the box", flexible_cg, _box_multigrid),
        Method("CG, Multigrid", cg, lambda A: kx.solvers.Multigrid()(A)),
    ]
    learned = []
    for name, net in nets.items():
        learned += [
            Method(name, flexible_cg, lambda A, net=net: cd.Masked(net)(A)),
            Method(
                f"{name}, safeguarded",
                flexible_cg,
                lambda A, net=net: cd.Safeguarded(net)(A),
            ),
        ]
    return classical + learned


def unmasked(name: str, net: Any) -> Method:
    """The network as it is, which writes into solid cells."""
    return Method(f"{name}, unmasked", flexible_cg, lambda A: net)


def _box_inverse(A: Any) -> Any:
    # With the open wall half a cell away, where that of the flow is one.
    shape, boundary = A.is_fluid.shape, _walls(A)
    spacing = tuple(1 / n for n in shape)
    box = kx.operators.Diffusion(jnp.ones(shape), spacing, boundary=boundary)
    return cd.Masked(kx.solvers.FastDiagonalization()(box))(A)


def _box_multigrid(A: Any) -> Any:
    return cd.Masked(kx.solvers.Multigrid()(box_of(A)))(A)


@eqx.filter_jit
def solve(A: Any, b: Any, solver: Any, M: Any, carry: Any = None) -> Any:
    """The solution, whatever its status."""
    return kx.solve(A, b, solver, preconditioner=M, carry=carry, throw=False)


@eqx.filter_jit
def _product(A: Any, b: Any) -> Any:
    return A.mv(b)


@eqx.filter_jit
def _apply(M: Any, b: Any) -> Any:
    return M(b)


def timed(method: Method, solver: Any, A: Any, b: Any) -> tuple[Any, float, float]:
    """A solve, and the seconds of its set-up and of itself."""
    noise = np.random.default_rng(0).standard_normal(b.shape)
    start = time.perf_counter()
    M, carry = jax.block_until_ready(method.prepare(A)), None
    if method.is_recycling:
        other = solve(A, jnp.where(A.is_fluid, noise, 0), solver, M, None)
        carry = jax.block_until_ready(other.carry)
    middle = time.perf_counter()
    sol = jax.block_until_ready(solve(A, b, solver, M, carry))
    return sol, middle - start, time.perf_counter() - middle


def measure(
    method: Method, problems: list[tuple[Any, Any]], rtol: float, max_steps: int
) -> dict[str, Any]:
    """Steps, products, work and seconds of a method on systems.

    The work of an application is in products with A, by flop (as XLA counts them for
    the compiled program) and by seconds.
    """
    solver = method.solver(rtol, max_steps)
    steps, products, missed, seconds, setup = [], [], 0, [], []
    timed(method, solver, *problems[0])
    for A, b in problems:
        sol, before, within = timed(method, solver, A, b)
        setup.append(before)
        seconds.append(within)
        steps.append(int(sol.stats.num_steps))
        products.append(int(sol.stats.num_matvecs))
        r = np.asarray(b - A.mv(sol.value))
        missed += int(np.linalg.norm(r) > 1.01 * rtol * np.linalg.norm(b))
    A, b = problems[-1]
    M = method.prepare(A)
    return {
        "name": method.name,
        "steps": steps,
        "products": products,
        "missed": missed,
        "work_flops": 0.0
        if M is None
        else _flops(_apply, M, b) / _flops(_product, A, b),
        "work_seconds": 0.0
        if M is None
        else _best(_apply, M, b) / _best(_product, A, b),
        "setup": float(np.median(setup)),
        "seconds": float(np.median(seconds)),
    }


def measure_scipy(problems: list[tuple[Any, Any]], rtol: float) -> list[dict[str, Any]]:
    """SuperLU and PyAMG's CG with Ruge-Stüben on the same systems."""
    import pyamg

    rows: dict[str, Any] = {}
    for A, b in problems:
        matrix = _csr(A)
        flat = np.asarray(b).ravel()
        start = time.perf_counter()
        factors = sla.splu(matrix.tocsc())
        middle = time.perf_counter()
        x = factors.solve(flat)
        times = start, middle, time.perf_counter()
        _note(rows, "SuperLU", times, 1, matrix, x, flat, rtol)
        start = time.perf_counter()
        hierarchy = pyamg.ruge_stuben_solver(matrix.tocsr())
        middle = time.perf_counter()
        residuals: list[float] = []
        x = hierarchy.solve(
            flat, tol=rtol, accel="cg", residuals=residuals, maxiter=200
        )
        times = start, middle, time.perf_counter()
        steps = len(residuals) - 1
        _note(rows, "PyAMG RS, CG", times, steps, matrix, x, flat, rtol)
    return _medians(rows)


def measure_petsc(problems: list[tuple[Any, Any]], rtol: float) -> list[dict[str, Any]]:
    """CG with hypre's BoomerAMG on the same systems; nothing without PETSc."""
    row = petsc("PETSc, CG with hypre", "cg", "hypre")
    rows: dict[str, Any] = {}
    for A, b in problems:
        matrix = _csr(A)
        rhs = np.asarray(b)
        described = Problem(f"system {next(_NUMBERS)}", A, (matrix,), rhs[None], rtol)
        try:
            run = row.prepare(described).run
        except ImportError as reason:
            print(f"no row of PETSc: {reason}", flush=True)
            return []
        run()
        found = run()
        times = 0.0, found.setup, found.setup + found.solve
        x, steps = found.solutions[0].ravel(), int(found.iterations or 0)
        _note(rows, row.method, times, steps, matrix, x, rhs.ravel(), rtol)
    return _medians(rows)


def _medians(rows: dict[str, Any]) -> list[dict[str, Any]]:
    for row in rows.values():
        row["setup"] = float(np.median(row["setup"]))
        row["seconds"] = float(np.median(row["seconds"]))
    return list(rows.values())


def _note(
    rows: dict[str, Any],
    name: str,
    times: tuple[float, float, float],
    steps: int,
    matrix: Any,
    x: Any,
    b: Any,
    rtol: float,
) -> None:
    start, middle, end = times
    empty = {"name": name, "steps": [], "missed": 0, "setup": [], "seconds": []}
    row = rows.setdefault(name, empty)
    row["steps"].append(steps)
    row["setup"].append(middle - start)
    row["seconds"].append(end - middle)
    row["missed"] += int(
        np.linalg.norm(b - matrix @ x) > 1.01 * rtol * np.linalg.norm(b)
    )


def _csr(A: Any) -> Any:
    """The matrix: -1/h² between fluid cells, and the diagonal of A."""
    is_fluid = np.asarray(A.is_fluid)
    number = np.arange(is_fluid.size).reshape(is_fluid.shape)
    entries = [(number.ravel(), number.ravel(), np.asarray(A.diagonal()).ravel())]
    for axis, size in enumerate(is_fluid.shape):
        low, high = (
            np.take(number, range(size - 1), axis),
            np.take(number, range(1, size), axis),
        )
        linked = is_fluid.ravel()[low] & is_fluid.ravel()[high]
        i, j = low[linked], high[linked]
        weight = np.full(i.size, -float(size**2))
        entries += [(i, j, weight), (j, i, weight)]
    i, j, values = map(np.concatenate, zip(*entries, strict=True))
    matrix = csr_array((values, (i, j)), (number.size, number.size))
    x = np.random.default_rng(0).standard_normal(is_fluid.shape)
    difference = matrix @ x.ravel() - np.asarray(A.mv(jnp.asarray(x))).ravel()
    assert np.linalg.norm(difference) < 1e-10 * np.linalg.norm(matrix @ x.ravel())
    return matrix


def _best(function: Any, A: Any, b: Any, repeats: int = 7) -> float:
    jax.block_until_ready(function(A, b))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(A, b))
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _flops(function: Any, A: Any, b: Any) -> float:
    return function.lower(A, b).compile().compiled.cost_analysis()["flops"]
