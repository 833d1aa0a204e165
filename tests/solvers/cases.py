"""One row per solver: how to build it, and the gallery's problems it is meant for.

The generic tests in test_all_solvers.py run every row. A new solver is a new row.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import krylax as kx

from .. import gallery
from ..gallery import Problem

RTOL = {"float32": 1e-4, "complex64": 1e-4, "float64": 1e-10, "complex128": 1e-10}
MAX_STEPS = 300
RESTART, NUM_RECYCLED = 24, 6
gcrodr = partial(
    kx.solvers.GCRODR,
    restart=RESTART,
    num_recycled=NUM_RECYCLED,
    max_steps=MAX_STEPS,
)
deflated_cg = partial(
    kx.solvers.DeflatedCG,
    num_recycled=NUM_RECYCLED,
    num_directions=RESTART,
    max_steps=MAX_STEPS,
)

recycled_minres = partial(
    kx.solvers.RecycledMINRES,
    num_recycled=NUM_RECYCLED,
    num_directions=RESTART,
    max_steps=MAX_STEPS,
)


def batched(rtol: float) -> Any:
    """CG behind a queue with fewer lanes than the batches have systems."""
    # pyright counts what Batched takes from its solver as arguments of its own.
    solver: Any = kx.solvers.CG(rtol, max_steps=MAX_STEPS)
    make: Any = kx.solvers.Batched
    return make(solver, num_lanes=2, chunk=7)


class Row(NamedTuple):
    """A solver, its problems (the first serves where one is enough), A's promises.

    Direct solvers take factors as their preconditioner, and make them themselves.
    """

    make: Callable[..., Any]
    problems: tuple[str, ...]
    complex_problem: str
    tags: tuple[str, ...] = ()
    preconditioner: Any = kx.solvers.Jacobi()
    hard_status: kx.Status = kx.Status.max_steps_reached  # how HARD ends
    is_direct: bool = False  # one step, with a preconditioner or a start or without
    num_vectors: int | None = None  # by the docstring, besides b; None: not tested
    wrap: Callable[..., Any] = lambda matrix: matrix  # what it knows how to solve
    takes_preconditioner: bool = True

    def solver(self, dtype: str = "float64") -> Any:
        return self.make(rtol=RTOL[dtype])


DEFINITE = ("diffusion_2d", "prescribed_spectrum", "nearly_singular")
GENERAL = ("convection_diffusion", *DEFINITE, "indefinite")
definite = partial(
    Row,
    problems=(*DEFINITE, "poisson_1d"),
    complex_problem="complex_hermitian",
    tags=("positive_definite",),
)
general = partial(Row, problems=GENERAL, complex_problem="complex_shifted")
recycling = partial(
    Row, problems=(*GENERAL, "poisson_1d"), complex_problem="complex_shifted"
)
relaxation = partial(
    definite,
    problems=("diffusion_2d",),
    takes_preconditioner=False,
    preconditioner=None,
)
direct = partial(
    Row, preconditioner=None, hard_status=kx.Status.attained, is_direct=True
)
ROWS = {
    "cg": definite(partial(kx.solvers.CG, max_steps=MAX_STEPS), num_vectors=5),
    "cg_single_reduction": definite(
        partial(kx.solvers.CG, single_reduction=True, max_steps=MAX_STEPS),
        num_vectors=7,
    ),
    "flexible_cg": definite(
        partial(kx.solvers.FlexibleCG, max_steps=MAX_STEPS), num_vectors=2 * 1 + 5
    ),
    "flexible_cg_of_four": definite(
        partial(kx.solvers.FlexibleCG, truncation=4, max_steps=MAX_STEPS),
        num_vectors=2 * 4 + 5,
    ),
    "minres": Row(
        partial(kx.solvers.MINRES, max_steps=MAX_STEPS),
        (*DEFINITE, "indefinite"),
        "complex_hermitian",
        ("hermitian",),
        num_vectors=11,
    ),
    "bicgstab": general(
        partial(kx.solvers.BiCGStab, max_steps=MAX_STEPS), num_vectors=12
    ),
    "chebyshev": definite(
        partial(kx.solvers.Chebyshev, num_bound_steps=30, max_steps=MAX_STEPS),
        problems=("diffusion_2d", "prescribed_spectrum"),
        num_vectors=9,
    ),
    "sor": relaxation(partial(kx.solvers.SOR, omega=1.5, max_steps=MAX_STEPS)),
    "sor_adaptive": relaxation(partial(kx.solvers.AdaptiveSOR, max_steps=MAX_STEPS)),
    "fgmres": general(
        partial(kx.solvers.FGMRES, restart=RESTART, max_steps=MAX_STEPS),
        num_vectors=2 * RESTART + 5,
    ),
    "gmres": general(
        partial(kx.solvers.GMRES, restart=RESTART, max_steps=MAX_STEPS),
        num_vectors=RESTART + 5,
    ),
    "deflated_cg": definite(deflated_cg),
    "gcrodr": recycling(gcrodr, num_vectors=2 * RESTART + 11 * NUM_RECYCLED + 4),
    "gcrodr_harmonic_per_system": recycling(
        partial(gcrodr, selection="harmonic", refresh="system"),
        num_vectors=2 * RESTART + 11 * NUM_RECYCLED + 4,
    ),
    "recycled_minres": Row(
        recycled_minres,
        (*DEFINITE, "indefinite"),
        "complex_hermitian",
        ("hermitian",),
        num_vectors=8 * NUM_RECYCLED + RESTART + 3 + 10,
    ),
    "cholesky": direct(
        kx.solvers.Cholesky,
        (*DEFINITE, "poisson_1d"),
        "complex_hermitian",
        ("positive_definite",),
    ),
    "lu": direct(kx.solvers.LU, (*GENERAL, "poisson_1d"), "complex_shifted"),
    "fast_diagonalization": direct(
        kx.solvers.FastDiagonalization,
        (*DEFINITE, "indefinite", "poisson_1d"),
        "complex_hermitian",
        ("hermitian",),
        wrap=kx.operators.KroneckerSum,
    ),
    "sylvester": direct(
        kx.solvers.Sylvester,
        (*GENERAL, "poisson_1d"),
        "complex_shifted",
        wrap=kx.operators.KroneckerSum,
    ),
    "batched": definite(batched),
    "refinement": definite(
        partial(
            kx.solvers.Refinement,
            kx.solvers.CG(rtol=1e-4, max_steps=MAX_STEPS),
            max_steps=MAX_STEPS,
        ),
        # Those of CG in half the bytes.
        num_vectors=3 + 4 // 2,
    ),
}
PRECONDITIONED = [row for row in ROWS if ROWS[row].takes_preconditioner]
PAIRS = [(row, problem) for row in ROWS for problem in ROWS[row].problems]
# The others take any operator, not only separable ones or those with known triangles.
SPECIAL = ("fast_diagonalization", "sylvester", "sor", "sor_adaptive")
GENERAL_ROWS = [row for row in ROWS if row not in SPECIAL]
KINDS = ["cg", "gmres", "gcrodr", "lu", "batched", "refinement"]
# Direct solvers attain what rounding allows of any system.
FAILING = [row for row in ROWS if ROWS[row].hard_status != kx.Status.attained]
ITERATIVE = [row for row in ROWS if not ROWS[row].is_direct]
# A refinement is a whole solve: it is the steps inside that are too few.
STEPPING = [row for row in ITERATIVE if row != "refinement"]
HARD = "wide_spectrum"  # max_steps is too few, and 64 bits are, for any of them


@cache
def problem(name: str, dtype: str = "float64") -> Problem:
    """A named problem in a dtype."""
    found: Problem = getattr(gallery, name)()
    return Problem(found.matrix.astype(dtype), found.b.astype(dtype))


def operator(row: str, matrix: Any) -> Any:
    """The matrix as an operator that makes the row's promises."""
    return ROWS[row].wrap(kx.operators.Dense(matrix, tags=ROWS[row].tags))


def approximate_inverse(row: str, matrix: np.ndarray) -> Any:
    """An operator that makes a good preconditioner: (A + I/10)⁻¹, hermitian if A is."""
    shift = np.asarray(0.1, matrix.dtype) * np.eye(len(matrix), dtype=matrix.dtype)
    return operator(row, np.linalg.inv(matrix + shift))


@cache
def solved(
    row: str, name: str, dtype: str = "float64", preconditioner: str = "none"
) -> Any:
    """The solution of a row's solver for a problem, failures included."""
    matrix, b = problem(name, dtype)
    options: dict[str, Any] = {
        "none": lambda: {},
        "jacobi": lambda: {
            "preconditioner": ROWS[row].preconditioner,
            "x0": jnp.zeros_like(jnp.asarray(b)),
        },
        "operator": lambda: {"preconditioner": approximate_inverse(row, matrix)},
    }[preconditioner]()
    return solve(row, matrix, jnp.asarray(b), dtype, **options)


def solve(row: str, matrix: Any, b: Any, dtype: str = "float64", **options: Any) -> Any:
    """Solve without raising."""
    solver = ROWS[row].solver(dtype)
    return kx.solve(operator(row, matrix), b, solver, throw=False, **options)


def true_residual(name: str, x: Any, dtype: str = "float64") -> float:
    """‖b - A x‖ / ‖b‖ by dense algebra."""
    matrix, b = problem(name, dtype)
    return float(np.linalg.norm(b - matrix @ np.asarray(x)) / np.linalg.norm(b))
