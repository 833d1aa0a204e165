"""The plan: which method it finds for which family, and what becomes of its choice."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax import datasets
from krylax.datasets.generation import _plan
from krylax.datasets.generation._solve_method import (
    SolveMethod,
    method_from_configuration,
)
from krylax.datasets.generation._solve_segment import Work
from krylax.learned import conjugate_directions as cd

from ...helpers import types_unchecked

SMALL = (12, 10)
ORDERS: Any = (("none", 5), ("greedy", 2))
WAVES: Any = {"num_points": (14, 12), "wavenumber": 5.0}


@pytest.mark.parametrize(
    ("family", "structure", "tried"),
    [
        (
            datasets.Poisson(SMALL),
            "All systems have one matrix, symmetric positive definite",
            [
                "FastDiagonalization",
                "CG with Multigrid, from what is solved",
                "CG with Multigrid",
            ],
        ),
        (
            datasets.Thermal(SMALL),
            "All systems have one matrix, symmetric positive definite",
            ["CG with Multigrid, from what is solved", "CG with Multigrid"],
        ),
        (
            datasets.Darcy(SMALL),
            "The matrices differ and are symmetric positive definite",
            ["CG with Multigrid"],
        ),
        (
            datasets.Porous(SMALL, width=0.1),
            "The matrices differ and are symmetric positive definite",
            ["CG with Multigrid"],
        ),
        (
            datasets.PressureProjection(SMALL, "rotating", num_frames=16),
            "The matrices differ and are symmetric positive definite",
            ["CG with Multigrid"],
        ),
        (
            datasets.PressureProjection(SMALL, "rotating", 16, "closed"),
            "The matrices differ and are symmetric positive semidefinite",
            ["CG with Multigrid"],
        ),
        (
            datasets.HelmholtzScattering(**WAVES),
            "The matrices differ and are symmetric, not known to be definite",
            ["BiCGStab with FastDiagonalization of the mean", "MINRES"],
        ),
        (
            datasets.HelmholtzScattering(**WAVES, walls="absorbing"),
            "The matrices differ and are complex symmetric",
            [
                "BiCGStab with FastDiagonalization of the mean",
                "BiCGStab with Jacobi",
                "GCRODR with Jacobi",
            ],
        ),
        (
            datasets.ConvectionDiffusion(SMALL),
            "The matrices differ and are not symmetric",
            ["BiCGStab with Multigrid"],
        ),
    ],
    ids=[
        "poisson",
        "thermal",
        "darcy",
        "porous",
        "open",
        "closed",
        "cavity",
        "scattered",
        "convection",
    ],
)
def test_structure_decides_what_is_tried_and_the_fastest_is_chosen(
    family: Any, structure: str, tried: list[str]
):
    found = datasets.plan(family)
    assert found.reason.startswith(f"{structure}: ")
    assert [trial.name for trial in found.trials] == tried
    assert all(trial.num_certified == 16 for trial in found.trials)
    chosen = next(t for t in found.trials if t.work is found.work)
    fastest = min(trial.milliseconds for trial in found.trials)
    assert chosen.milliseconds <= 1.2 * fastest
    assert str(found).count("\n") == len(tried)
    A, b = family.system(family.sample(20))
    M = found.preconditioner
    M = M.operator(family) if isinstance(M, datasets.SharedPreconditioner) else M
    kx.solve(A, b, found.solver, preconditioner=M)


@dataclass(frozen=True)
class Matrices(datasets.AbstractFamily):
    """Definite matrices of which only CG with Jacobi and GCRO-DR know something."""

    name: ClassVar[str] = "matrices"
    size: int = 20

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        return {"shift": np.array(1.0 + sample_id)}

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        line = (
            2 * jnp.eye(self.size) - jnp.eye(self.size, k=1) - jnp.eye(self.size, k=-1)
        )
        matrix = line + jnp.asarray(parameters["shift"]) * jnp.eye(self.size)
        A = kx.operators.Dense(matrix, tags=["positive_definite"])
        return A, jnp.ones(self.size)

    def features(self, parameters: Mapping[str, Any]) -> np.ndarray:
        return np.atleast_1d(parameters["shift"])

    def array_types(self) -> dict[str, np.ndarray]:
        return {"shift": np.zeros(()), "solution": np.zeros(self.size)}

    def coordinates(self) -> dict[str, np.ndarray]:
        return {"x": np.arange(self.size, dtype=float)}

    def card(self) -> dict[str, str]:
        return {"title": "Matrices"}


def test_methods_that_do_not_know_the_operator_are_left_out():
    names = [trial.name for trial in datasets.plan(Matrices()).trials]
    assert names == ["CG with Jacobi", "GCRODR with Jacobi"]


def test_refusals_are_reported_where_no_method_applies():
    with pytest.raises(ValueError, match=r"no method of the plan.*CG with Jacobi: "):
        datasets.plan(Matrices(), preconditioner=kx.solvers.Multigrid())


def test_tolerance_that_no_method_can_reach_is_refused_once():
    with pytest.raises(ValueError, match=r"^rtol=1.0e-30 is below 10 eps"):
        datasets.plan(datasets.Darcy(SMALL), rtol=1e-30)


def test_preconditioner_can_be_forced():
    found = datasets.plan(datasets.Darcy(SMALL), preconditioner=kx.solvers.Jacobi())
    assert isinstance(found.preconditioner, kx.solvers.Jacobi)


@pytest.mark.parametrize("preconditioner", [3, kx.solvers.Jacobi])
def test_what_makes_no_preconditioner_is_named(preconditioner: Any):
    with pytest.raises(TypeError, match="preconditioner must be an operator or a func"):
        datasets.plan(datasets.Darcy(SMALL), preconditioner=preconditioner)


def test_plan_that_certifies_nothing_says_so():
    found = datasets.plan(datasets.ConvectionDiffusion(SMALL), max_steps=1)
    assert "only 0 of 16 systems were certified" in found.reason


def test_ties_are_not_decided_by_chance():
    work = Work(datasets.Darcy(SMALL), SolveMethod(kx.solvers.CG()))

    def trial(name: str, milliseconds: float, certified: int = 16) -> Any:
        return datasets.Trial(name, work, certified, milliseconds)

    best = _plan._best
    assert best([trial("a", 1.1), trial("b", 1.0)]).name == "a"
    assert best([trial("a", 1.3), trial("b", 1.0)]).name == "b"
    assert best([trial("a", 1.0, 15), trial("b", 9.0)]).name == "b"


def test_data_set_keeps_the_method_that_was_found(tmp_path: Path, capsys: Any):
    family = datasets.Darcy(SMALL)
    data = datasets.generate(family, 3, tmp_path / "data")
    assert data.configuration["solver"]["type"] == "CG"
    assert data.configuration["preconditioner"]["type"] == "Multigrid"
    assert "CG with Multigrid takes" in capsys.readouterr().err
    # Opened again without a plan, whatever that would find now.
    datasets.generate(family, 3, tmp_path / "data")
    assert "takes" not in capsys.readouterr().err


def test_other_tolerance_than_that_of_the_data_set_is_refused(tmp_path: Path):
    family = datasets.Darcy(SMALL)
    datasets.generate(family, 2, tmp_path / "data", progress=False)
    with pytest.raises(FileExistsError, match=r"solver\.rtol: 1e-08 -> 1e-06"):
        datasets.generate(family, 2, tmp_path / "data", rtol=1e-6, progress=False)


@pytest.mark.parametrize(
    "method",
    [
        SolveMethod(kx.solvers.CG(rtol=1e-7), kx.solvers.Multigrid(num_sweeps=3)),
        SolveMethod(kx.solvers.GCRODR(restart=30, num_recycled=7), kx.solvers.Jacobi()),
        SolveMethod(kx.solvers.MINRES(), recycle="frozen"),
        SolveMethod(kx.solvers.FastDiagonalization(rtol=1e-9)),
        SolveMethod(
            kx.solvers.BiCGStab(),
            datasets.SharedPreconditioner(kx.solvers.FastDiagonalization(), 8),
            datasets.SharedStart(8),
        ),
    ],
    ids=lambda method: type(method.solver).__name__,
)
def test_method_comes_back_from_its_record(method: Any):
    assert method_from_configuration(method.record()) == method


def test_record_of_what_is_not_krylax_is_refused():
    stored = SolveMethod(Matrices()).record()
    with pytest.raises(ValueError, match="'Matrices' is not known to krylax"):
        method_from_configuration(stored)


def test_shared_preconditioner_is_that_of_the_mean():
    family = datasets.HelmholtzScattering(**WAVES)
    factory = kx.solvers.FastDiagonalization()
    found = datasets.SharedPreconditioner(factory, num_samples=3).operator(family)
    index = np.mean([family.sample(i)["index"] for i in range(3)], axis=0)
    expected = factory(family.system({"index": index})[0])
    b = jnp.ones(family.num_points)
    np.testing.assert_allclose(found @ b, expected @ b, rtol=1e-10)


def test_data_set_is_solved_with_a_shared_preconditioner(tmp_path: Path):
    family = datasets.HelmholtzScattering(**WAVES)
    data = datasets.generate(family, 3, tmp_path / "data", progress=False)
    assert data.configuration["preconditioner"]["type"] == "SharedPreconditioner"
    assert not data.failed
    again = datasets.generate(family, 3, tmp_path / "data", progress=False)
    assert again.configuration == data.configuration


def test_shared_preconditioner_of_no_samples_is_refused():
    with pytest.raises(ValueError, match="num_samples must be at least 1"):
        datasets.SharedPreconditioner(kx.solvers.Jacobi(), 0)


def test_what_is_shared_may_go_with_a_learned_operator(tmp_path: Path):
    net = cd.DeepConjugateDirection("from64", 2, key=jax.random.key(0))
    shared = datasets.SharedPreconditioner(cd.Safeguarded(net), num_samples=2)
    start = datasets.SharedStart(num_samples=2)
    solver = kx.solvers.FlexibleCG(rtol=1e-8, truncation=2)
    dataset = datasets.generate(
        datasets.Darcy(SMALL),
        2,
        tmp_path / "x",
        solver,
        preconditioner=shared,
        start=start,
        progress=False,
    )
    assert len(dataset.failed) == 0
    other = cd.DeepConjugateDirection("from64", 2, key=jax.random.key(1))
    methods = {SolveMethod(solver, cd.Masked(M)) for M in (net, net, other)}
    assert len(methods) == 2


def test_start_from_what_is_solved_leaves_nothing_to_iterate(tmp_path: Path):
    family = datasets.Thermal(SMALL)
    data = datasets.generate(
        family,
        40,
        tmp_path / "data",
        kx.solvers.CG(rtol=1e-8),
        start=datasets.SharedStart(4),
        progress=False,
    )
    assert data.configuration["start"] == {"type": "SharedStart", "num_samples": 4}
    assert np.all(np.asarray(data["num_steps"]) == 0)
    assert np.all(np.asarray(data["relative_residual"]) <= 1e-8)


def test_frozen_space_makes_samples_independent_of_order_and_segments(tmp_path: Path):
    family = datasets.Darcy(SMALL)
    first, second = (
        datasets.generate(
            family,
            5,
            tmp_path / ordering,
            kx.solvers.GCRODR(rtol=1e-8, restart=12, num_recycled=4),
            recycle="frozen",
            ordering=ordering,
            segment_size=size,
            progress=False,
        )["solution"][:]
        for ordering, size in ORDERS
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize("num_samples", [0, -1])
def test_start_of_no_samples_is_refused(num_samples: int):
    with pytest.raises(ValueError, match="num_samples must be at least 1"):
        datasets.SharedStart(num_samples)


@pytest.mark.parametrize("option", [{"start": "pod"}, {"recycle": "tree"}])
def test_unknown_start_and_recycling_are_refused(option: Any, tmp_path: Path):
    name = next(iter(option))
    with types_unchecked(), pytest.raises(ValueError, match=f"{name} must be"):
        datasets.generate(
            datasets.Darcy(SMALL), 2, tmp_path / "data", kx.solvers.CG(), **option
        )


def test_methods_of_a_plan_solve_systems_by_the_clock():
    family = datasets.Darcy(SMALL)
    found = datasets.plan(family)
    auto = kx.solvers.tuning.AutoSolver(found.methods)
    A, b = family.system(family.sample(99))
    solution, _, record = auto.solve(A, b, auto.init(jax.random.key(0)))
    assert record.method == next(iter(found.methods))
    assert solution.status == kx.Status.converged


@pytest.mark.parametrize("family", [datasets.Darcy, kx.operators.Laplacian((4,))])
def test_what_is_no_family_is_refused(family: Any, tmp_path: Path):
    message = r"family must be a problem family such as Darcy\(\), got"
    with types_unchecked(), pytest.raises(TypeError, match=message):
        datasets.plan(family)
    with types_unchecked(), pytest.raises(TypeError, match=message):
        datasets.generate(family, 2, tmp_path / "data")
