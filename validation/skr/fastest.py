"""Every fast way through each family: recycling beside what it has to beat."""

from pathlib import Path
from typing import Any

import ours
from cases import Case, by_groups, family, recycling
from measure import measure
from report import problem_table
from rivals import scipy, solvax
from rivals.petsc import petsc
from rivals.row import Row, in_order

from krylax.datasets import (
    ConvectionDiffusion,
    Darcy,
    HelmholtzScattering,
    Poisson,
    SKRReleased,
    Thermal,
)
from krylax.solvers import GCRODR, GMRES, DeflatedCG, Jacobi
from krylax.solvers.sequences import greedy_order

TITLE = "The fastest ways through each family"
RIGHT = {"ksp_pc_side": "right"}
RESTARTED = {"ksp_gmres_restart": "40", **RIGHT}


def rows(*others: Row) -> list[Row]:
    """What every family is solved with, and more."""
    jacobi = Jacobi()
    name = "GCRO-DR(40,20) + Jacobi"
    return [
        petsc("GMRES(40) + Jacobi", "gmres", "jacobi", **RESTARTED),
        *others,
        scipy.superlu(),
        in_order(scipy.gcrotmk(20, 20), greedy_order),
        in_order(solvax.gcrot(40, 20), greedy_order),
        ours.krylov(
            "GMRES(40) + Jacobi",
            lambda rtol: GMRES(rtol=rtol, restart=40),
            preconditioner=jacobi,
            over=by_groups(None),
        ),
        ours.chain(f"{name}, by id", recycling, jacobi),
        in_order(ours.chain(f"{name}, sorted", recycling, jacobi), greedy_order),
        ours.frozen(f"{name}, frozen", recycling, jacobi),
        ours.planned(),
    ]


DEFINITE = rows(
    petsc("CG + ICC(0)", "cg", "icc"),
    petsc("CG + hypre BoomerAMG", "cg", "hypre"),
    petsc("CG + GAMG", "cg", "gamg"),
    in_order(
        ours.chain(
            "DeflatedCG(20) + Jacobi, sorted",
            lambda rtol: DeflatedCG(rtol=rtol, num_recycled=20),
            Jacobi(),
        ),
        greedy_order,
    ),
)
INDEFINITE = rows(
    # The only norm that PETSc's has, and without preconditioner the true one.
    petsc("MINRES", "minres", "none", ksp_norm_type="preconditioned"),
    petsc("BiCGStab + ILU(0)", "bcgs", "ilu", **RIGHT),
    petsc("GMRES(40) + ILU(0)", "gmres", "ilu", **RESTARTED),
)
NONSYMMETRIC = rows(
    petsc("BiCGStab + ILU(0)", "bcgs", "ilu", **RIGHT),
    petsc("BiCGStab + hypre BoomerAMG", "bcgs", "hypre", **RIGHT),
    petsc("GMRES(40) + ILU(0)", "gmres", "ilu", **RESTARTED),
)


def case(sizes: list[Any], fast_family: Any, methods: list[Row], rtol: float) -> Case:
    """One or two sizes of a family; `sizes` are pairs (family, number of systems)."""
    return Case(
        question="",
        problems=[family(made, count, rtol) for made, count in sizes],
        fast_problems=[family(fast_family, 2, rtol)],
        rows=methods,
        per="system",
        num_rounds=3,
        budget=3.0,
    )


# On a cluster of eigenvalues of both signs the paper's choice of vectors is the better.
HARMONIC = in_order(
    ours.chain(
        "GCRO-DR(40,20) + Jacobi, harmonic, sorted",
        lambda rtol: GCRODR(
            rtol=rtol, restart=40, num_recycled=20, selection="harmonic"
        ),
        Jacobi(),
    ),
    greedy_order,
)
PARTS = {
    "released": case(
        [(SKRReleased(48), 16), (SKRReleased(98), 8)],
        SKRReleased(12),
        [*NONSYMMETRIC, HARMONIC],
        1e-5,
    ),
    "helmholtz": case(
        [(HelmholtzScattering((48, 48)), 16), (HelmholtzScattering((128, 128)), 4)],
        HelmholtzScattering((28, 28)),
        INDEFINITE,
        1e-8,
    ),
    "convection-diffusion": case(
        [(ConvectionDiffusion((128, 128), peclet=(64, 640)), 8)],
        ConvectionDiffusion((12, 12), peclet=(6, 60)),
        NONSYMMETRIC,
        1e-8,
    ),
    "darcy": case(
        [(Darcy((64, 64)), 16), (Darcy((128, 128)), 8)],
        Darcy((12, 12)),
        DEFINITE,
        1e-8,
    ),
    "poisson": case([(Poisson((64, 64)), 128)], Poisson((12, 12)), DEFINITE, 1e-8),
    "thermal": case([(Thermal((64, 64)), 128)], Thermal((12, 12)), DEFINITE, 1e-8),
    "darcy-3d": case([(Darcy((32, 32, 32)), 4)], Darcy((6, 6, 6)), DEFINITE, 1e-8),
}
FAST_PARTS = ("helmholtz", "poisson")


def measure_part(name: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return the results of all rows on each size."""
    del folder
    return {"problems": measure(PARTS[name], is_fast=is_fast)}


def markdown(found: dict[str, Any]) -> str:
    """Return a table per problem, fastest first."""
    return "\n\n".join(
        problem_table("system", problem)
        for part in found.values()
        for problem in part["problems"]
    )
