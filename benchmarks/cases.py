"""What is measured: one row per method, ours and the rivals' side by side."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import ours
import problems
from floor import NUM_VECTORS, memory_floor
from hard_coefficients import problems as hard_problems
from jax import lax
from rivals import jax_scipy, lineax, pyamg, scipy, solvax
from rivals.petsc import petsc
from rivals.row import Problem, Row, in_order

from krylax.datasets import (
    ConvectionDiffusion,
    Darcy,
    HelmholtzScattering,
    SKRReleased,
)
from krylax.solvers import (
    CG,
    GCRODR,
    GMRES,
    LU,
    MINRES,
    SOR,
    SSOR,
    AdaptiveSOR,
    Batched,
    BiCGStab,
    FastDiagonalization,
    Jacobi,
    Multicolour,
    Multigrid,
    RecycledMINRES,
    Sylvester,
)
from krylax.solvers.sequences import greedy_order

RESTART = 30


class Case(NamedTuple):
    """A question, the problems it is asked on, and the methods that answer.

    Attributes:
        question: one line for the table.
        problems: full size.
        fast_problems: for a smoke run.
        rows: the methods.
        per: what the compared time is per.
        num_rounds: runs of each row, interleaved.
        num_cores: None for all.
        budget: seconds after which a row is run no more.
        against: for a case with many problems, shown in one table: the rivals whose
            best is compared with each method of ours.
    """

    question: str
    problems: list[Callable[[], Problem]]
    fast_problems: list[Callable[[], Problem]]
    rows: list[Row]
    per: Literal["solve", "iteration", "system"] = "solve"
    num_rounds: int = 5
    num_cores: int | None = None
    budget: float = 10.0
    against: tuple[str, ...] = ()


def family(*arguments: Any) -> Callable[[], Problem]:
    """The problem of a family, how many systems of it, and the tolerance."""
    return partial(problems.of_family, *arguments)


def cg(rtol: float) -> CG:
    """Our CG."""
    return CG(rtol=rtol)


def gmres(rtol: float) -> GMRES:
    """Our GMRES."""
    return GMRES(rtol=rtol, restart=RESTART)


def bicgstab(rtol: float) -> BiCGStab:
    """Our BiCGStab."""
    return BiCGStab(rtol=rtol)


def lanes(num_lanes: int) -> Callable[[float], Batched]:
    """Our CG in a queue of systems."""
    # pyright counts what Batched takes from its solver as arguments of its own.
    return lambda rtol: Batched(cg(rtol), num_lanes=num_lanes)


def by_groups(size: int | None) -> Callable[..., Callable]:
    """`lax.map` over single systems or groups that are solved together."""
    return lambda solve: (
        lambda A, b: lax.map(lambda system: solve(*system), (A, b), batch_size=size)
    )


one_by_one = by_groups(None)

poisson_cg = Case(
    question="CG without preconditioner: how long does a step take?",
    problems=[partial(problems.poisson, 128, 3, 1e-6)],
    fast_problems=[partial(problems.poisson, 16, 3, 1e-6)],
    rows=[
        ours.krylov("CG", cg),
        jax_scipy.cg(),
        solvax.cg(),
        lineax.cg(),
        scipy.cg(),
        petsc("CG", "cg", "none"),
        memory_floor(1),
        memory_floor(NUM_VECTORS),
    ],
    per="iteration",
)

poisson_multigrid = Case(
    question="The fastest way to the solution, set-up included.",
    problems=[partial(problems.poisson, n, 3, 1e-6) for n in (64, 100, 128)],
    fast_problems=[partial(problems.poisson, 16, 3, 1e-6)],
    rows=[
        ours.krylov("CG + Multigrid", cg, preconditioner=Multigrid(cycle="cheap")),
        ours.krylov("FastDiagonalization", lambda rtol: FastDiagonalization(rtol=rtol)),
        petsc("CG + hypre BoomerAMG", "cg", "hypre"),
        petsc("CG + GAMG", "cg", "gamg"),
        petsc("CG + ICC(0)", "cg", "icc"),
        pyamg.smoothed_aggregation(),
    ],
)

darcy = Case(
    question="Darcy flow, coefficients 12 and 3, a batch of systems on one core.",
    problems=[family(Darcy((n, n)), 16, 1e-8) for n in (64, 128)],
    fast_problems=[family(Darcy((16, 16)), 2, 1e-8)],
    rows=[
        *[
            ours.krylov(
                f"CG + Multigrid, {name}",
                solver,
                preconditioner=Multigrid(cycle="cheap"),
                over=over,
            )
            for name, solver, over in (
                ("vmap", cg, jax.vmap),
                ("lax.map", cg, one_by_one),
                ("lax.map of 4", cg, by_groups(4)),
                ("Batched, 1 lane", lanes(1), jax.vmap),
                ("Batched, 4 lanes", lanes(4), jax.vmap),
            )
        ],
        petsc("CG + ICC(0)", "cg", "icc"),
        petsc("CG + hypre BoomerAMG", "cg", "hypre"),
        petsc("CG + GAMG", "cg", "gamg"),
        petsc("GMRES(30) + ILU(0)", "gmres", "ilu", ksp_pc_side="right"),
        scipy.superlu(),
    ],
    per="system",
    num_cores=1,
)

eager_dense = Case(
    question="A small dense system, called outside of `jit`: latency.",
    problems=[partial(problems.dense, 10, 1e-8)],
    fast_problems=[partial(problems.dense, 10, 1e-8)],
    rows=[
        ours.eager("LU", lambda rtol: LU(rtol=rtol)),
        lineax.eager_dense("LU"),
        lineax.eager_dense("AutoLinearSolver"),
        jax_scipy.eager_dense(),
        scipy.dense(),
    ],
    num_rounds=1000,
    budget=5.0,
)

eager_cg = Case(
    question="A 2-D Poisson problem by CG, called outside of `jit`: latency.",
    problems=[partial(problems.poisson, 64, 2, 1e-6)],
    fast_problems=[partial(problems.poisson, 16, 2, 1e-6)],
    rows=[
        ours.eager("CG", cg),
        lineax.eager_cg(),
        solvax.eager_cg(),
        jax_scipy.eager_cg(),
        scipy.cg(),
    ],
    num_rounds=200,
    budget=5.0,
)

convection = Case(
    question="Convection and diffusion without preconditioner; ILU(0) for comparison.",
    problems=[partial(problems.convection_diffusion, 64, (40.0, 20.0), 1e-8)],
    fast_problems=[partial(problems.convection_diffusion, 16, (40.0, 20.0), 1e-8)],
    rows=[
        ours.krylov(f"GMRES({RESTART})", gmres),
        ours.krylov("BiCGStab", bicgstab),
        lineax.gmres(RESTART),
        lineax.bicgstab(),
        jax_scipy.gmres(RESTART),
        jax_scipy.bicgstab(),
        solvax.gmres(RESTART),
        scipy.gmres(RESTART),
        scipy.bicgstab(),
        petsc("GMRES(30)", "gmres", "none", ksp_pc_side="right"),
        petsc("BiCGStab", "bcgs", "none", ksp_pc_side="right"),
        petsc("GMRES(30) + ILU(0)", "gmres", "ilu", ksp_pc_side="right"),
    ],
    num_rounds=20,
)

sylvester = Case(
    question="A nonsymmetric sum of operators along two axes, directly, on one core.",
    problems=[
        partial(problems.convection_of_lines, n, (40.0, 20.0), 1e-8)
        for n in (64, 128, 256)
    ],
    fast_problems=[partial(problems.convection_of_lines, 16, (40.0, 20.0), 1e-8)],
    rows=[
        ours.krylov(
            "Sylvester",
            lambda rtol: Sylvester(rtol=rtol),
            preconditioner=Sylvester(),
        ),
        ours.krylov("BiCGStab", bicgstab),
        scipy.sylvester(),
        scipy.bicgstab(),
    ],
    num_cores=1,
)

batch = Case(
    question="Systems of very different difficulty, CG, in one batch.",
    problems=[partial(problems.shifted, 64, 64, 1e-8)],
    fast_problems=[partial(problems.shifted, 16, 4, 1e-8)],
    rows=[
        ours.krylov("CG, vmap", cg, over=jax.vmap),
        ours.krylov("CG, lax.map", cg, over=one_by_one),
        ours.krylov("CG, Batched, 1 lane", lanes(1), over=jax.vmap),
        ours.krylov("CG, Batched, 8 lanes", lanes(8), over=jax.vmap),
        *[
            rival.cg(f"CG, {name}", over)
            for rival in (lineax, solvax, jax_scipy)
            for name, over in (("vmap", jax.vmap), ("lax.map", one_by_one))
        ],
        petsc("CG", "cg", "none"),
    ],
    per="system",
)

# The undivided stencil, on which lineax's guard against breakdown acts.
float32 = Case(
    question="CG in float32 with unit spacing.",
    problems=[
        partial(problems.poisson, n, axes, 1e-4, "float32", 1.0)
        for n, axes in ((64, 3), (256, 2))
    ],
    fast_problems=[partial(problems.poisson, 16, 3, 1e-4, "float32", 1.0)],
    rows=[
        ours.krylov("CG", cg),
        jax_scipy.cg(),
        solvax.cg(),
        lineax.cg(),
        scipy.cg(),
    ],
    per="iteration",
    num_rounds=10,
)


def recycling(rtol: float) -> GCRODR:
    """Our recycled GMRES."""
    return GCRODR(rtol=rtol, restart=40, num_recycled=20)


def family_rows(*fastest: Row) -> list[Row]:
    """What a family is solved with: given rows of ours, recycling, and the rivals."""
    return [
        *fastest,
        ours.krylov(
            "BiCGStab + Jacobi", bicgstab, preconditioner=Jacobi(), over=one_by_one
        ),
        in_order(
            ours.chain("GCRO-DR(40,20) + Jacobi", recycling, Jacobi()), greedy_order
        ),
        in_order(solvax.gcrot(40, 20), greedy_order),
        in_order(scipy.gcrotmk(20, 20), greedy_order),
        petsc(
            "GMRES(40) + Jacobi",
            "gmres",
            "jacobi",
            ksp_gmres_restart="40",
            ksp_pc_side="right",
        ),
        petsc(
            "GMRES(40) + ILU(0)",
            "gmres",
            "ilu",
            ksp_gmres_restart="40",
            ksp_pc_side="right",
        ),
        petsc("BiCGStab + ILU(0)", "bcgs", "ilu", ksp_pc_side="right"),
        scipy.superlu(),
    ]


helmholtz_2d = Case(
    question="Waves in a cavity, k = 12, a batch of systems on one core: indefinite.",
    problems=[family(HelmholtzScattering((n, n)), 16, 1e-8) for n in (48, 128)],
    fast_problems=[family(HelmholtzScattering((28, 28)), 2, 1e-8)],
    rows=family_rows(
        ours.krylov(
            "BiCGStab + FastDiagonalization",
            bicgstab,
            preconditioner=FastDiagonalization(),
            over=one_by_one,
        ),
        ours.krylov("MINRES", lambda rtol: MINRES(rtol=rtol), over=one_by_one),
        ours.chain("recycled MINRES(20)", lambda rtol: RecycledMINRES(rtol=rtol)),
    ),
    per="system",
    num_rounds=3,
    num_cores=1,
)

random_flow_2d = Case(
    question="Convection and diffusion in random flows, on one core: not symmetric.",
    problems=[family(ConvectionDiffusion((128, 128), peclet=(64, 640)), 16, 1e-8)],
    fast_problems=[family(ConvectionDiffusion((16, 16), peclet=(8, 80)), 2, 1e-8)],
    rows=family_rows(
        ours.krylov(
            "BiCGStab + Multigrid",
            bicgstab,
            preconditioner=Multigrid(),
            over=one_by_one,
        ),
    ),
    per="system",
    num_rounds=3,
    num_cores=1,
)

skr_released = Case(
    question="The operator as released with the SKR paper (not a PDE), on one core.",
    problems=[family(SKRReleased(n), 16, 1e-5) for n in (48, 98)],
    fast_problems=[family(SKRReleased(12), 2, 1e-5)],
    rows=family_rows(),
    per="system",
    num_rounds=3,
    num_cores=1,
)

# Young's optimum for 64² points, 2 / (1 + sin(π / 65)).
OMEGA = 1.908
relaxation = Case(
    question="SOR at its best factor, on one core, and what it is up against.",
    problems=[partial(problems.poisson, 64, 2, 1e-8)],
    fast_problems=[partial(problems.poisson, 12, 2, 1e-8)],
    rows=[
        ours.krylov("SOR", lambda rtol: SOR(rtol, omega=OMEGA)),
        ours.krylov(
            "SOR, red and black",
            lambda rtol: SOR(rtol, omega=OMEGA, order=Multicolour()),
        ),
        ours.krylov("AdaptiveSOR", lambda rtol: AdaptiveSOR(rtol)),
        ours.krylov("CG + SSOR", cg, preconditioner=SSOR(1.85)),
        ours.krylov("CG", cg),
        ours.krylov("CG + Multigrid", cg, preconditioner=Multigrid(cycle="cheap")),
        petsc(
            "SOR", "richardson", "sor", pc_sor_omega=f"{OMEGA}", pc_sor_forward="true"
        ),
        petsc("CG + SSOR", "cg", "sor", pc_sor_omega="1.85", pc_sor_symmetric="true"),
    ],
    num_cores=1,
)

MULTIGRID_RIVALS = [
    petsc("CG + hypre BoomerAMG", "cg", "hypre"),
    petsc(
        "CG + hypre PFMG",
        "cg",
        "pfmg",
        pc_pfmg_relax_type="symmetric-Red/Black-Gauss-Seidel",
    ),
    petsc("CG + GAMG", "cg", "gamg"),
    pyamg.ruge_stuben(),
    pyamg.smoothed_aggregation(),
]


def hard_rows(*more: Row) -> list[Row]:
    """What hard coefficients are solved with; the set-up is inside of our programs."""
    return [
        *[
            ours.eager(name, lambda rtol: CG(rtol=rtol, max_steps=1000), factory)
            for name, factory in (
                ("CG + Multigrid", Multigrid()),
                ("CG + Multigrid, cheap", Multigrid(cycle="cheap")),
                ("CG + Multigrid, robust", Multigrid(cycle="robust")),
            )
        ],
        *MULTIGRID_RIVALS,
        petsc("CG + ICC(0)", "cg", "icc"),
        *more,
    ]


def hard_coefficients(num_axes: int, sizes: tuple[int, ...], *more: Row) -> Case:
    """The case of two or three axes."""
    fast = {2: ("6 channels 1e4", "serpentine 5"), 3: ("spacing 1:1:0.1",)}[num_axes]
    return Case(
        question="Jumps, channels, layers, walls and unequal spacings, on one core.",
        problems=[p for n in sizes for p in hard_problems(n, num_axes)],
        fast_problems=hard_problems(24 // num_axes, num_axes, *fast),
        rows=hard_rows(*more),
        num_rounds=3,
        num_cores=1,
        budget=4.0,
        against=tuple(row.method for row in MULTIGRID_RIVALS),
    )


CASES = {
    "relaxation_2d": relaxation,
    "cg_poisson_3d": poisson_cg,
    "multigrid_poisson_3d": poisson_multigrid,
    "darcy_2d": darcy,
    "helmholtz_2d": helmholtz_2d,
    "random_flow_2d": random_flow_2d,
    "skr_released": skr_released,
    "eager_dense": eager_dense,
    "eager_cg": eager_cg,
    "convection_diffusion": convection,
    "sylvester_2d": sylvester,
    "hard_coefficients_2d": hard_coefficients(2, (128, 256), scipy.superlu()),
    "hard_coefficients_3d": hard_coefficients(3, (64,)),
    "batch": batch,
    "float32": float32,
}
