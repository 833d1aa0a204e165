"""Data sets in 32 bits: their defaults, and residuals that are rounding."""

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg

import krylax as kx
from krylax import datasets
from krylax.cli import main
from krylax.datasets.store._files import sha256_of
from krylax.datasets.store._segments import ATTAINED, CONVERGED, Criterion
from krylax.solvers.core._solver import AbstractSolver
from krylax.solvers.core._stopping import suited_rtol

SMALL = (12, 10)
SINGLE: Any = {"dtype": "float32"}
WAVES: Any = {"num_points": (14, 12), "wavenumber": 5.0, **SINGLE}
FAMILIES = {
    "darcy": datasets.Darcy(SMALL, **SINGLE),
    "poisson": datasets.Poisson(SMALL, **SINGLE),
    "thermal": datasets.Thermal(SMALL, **SINGLE),
    "cavity": datasets.HelmholtzScattering(**WAVES),
    "scattered": datasets.HelmholtzScattering(**WAVES, walls="absorbing"),
    "convection": datasets.ConvectionDiffusion(SMALL, **SINGLE),
    "heat": datasets.Heat(SMALL, **SINGLE),
    "channels": datasets.Darcy(SMALL, "channels", contrast=100, **SINGLE),
    "porous": datasets.Porous(SMALL, width=0.1, **SINGLE),
    "pressure": datasets.PressureProjection(SMALL, num_frames=3, **SINGLE),
    "skr": datasets.SKRReleased(8, **SINGLE),
}
# The defaults of `generate` all through, with residuals that 32 bits do not bring to
# the tolerance.
COMMAND = "generate darcy --num-samples 4 --num-points 64 64 --dtype float32 --out"


@pytest.fixture(scope="module")
def rounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("single") / "darcy"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OPENBLAS_NUM_THREADS", "NPROC"):
            patch.setenv(name, "1")
        assert main([*COMMAND.split(), str(path)]) == 0
    return path


@pytest.fixture
def copy(rounded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rounded, tmp_path / "copy"))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_certified_at_the_default_tolerance(name: str, tmp_path: Path):
    family: Any = FAMILIES[name]
    solver = kx.solvers.BiCGStab(suited_rtol(np.float32))
    data = datasets.generate(family, 3, tmp_path / "data", solver, progress=False)
    assert not data.failed
    assert np.all(np.isfinite(np.asarray(data["solution"])))
    report = datasets.verify(tmp_path / "data")
    assert report.problems == ()
    assert report.num_attained == np.sum(np.asarray(data["status"]) == ATTAINED)


def test_the_command_line_works_at_its_defaults(rounded: Path):
    data = datasets.open_dataset(rounded)
    assert data.configuration["solver"]["rtol"] == suited_rtol(np.float32)
    assert set(np.asarray(data["status"])) == {ATTAINED}
    assert not data.failed
    assert datasets.verify(rounded).num_attained == 4
    assert "attained: 4, residuals" in datasets.summary(data)
    assert "Attained: 4 samples." in (rounded / "README.md").read_text()


def test_attained_residual_is_one_that_rounding_leaves(rounded: Path):
    data = datasets.open_dataset(rounded)
    sample = data[3]
    A, b = data.family.system({"coefficient": sample["coefficient"]})
    matrix = scipy.sparse.csc_array(np.asarray(A.as_matrix(), np.float64))
    b, u = (np.asarray(v, np.float64).ravel() for v in (b, sample["solution"]))
    b_norm, eps = np.linalg.norm(b), np.finfo(np.float32).eps
    eigenvalues: Any = scipy.sparse.linalg.eigsh(matrix, k=1, return_eigenvectors=False)
    bound = 4 * eps * (eigenvalues[0] * np.linalg.norm(u) / b_norm + 1)
    # |A| is estimated from below, by a few products.
    assert 0.5 * bound <= sample["attainable"] <= bound
    assert np.linalg.norm(b - matrix @ u) <= bound * b_norm
    assert 1e-5 < sample["relative_residual"] <= sample["attainable"]
    # No solver could meet the tolerance: nothing is closer to u than its rounding.
    exact = scipy.sparse.linalg.splu(matrix).solve(b).astype(np.float32)
    assert np.linalg.norm(b - matrix @ exact) > 1e-5 * b_norm


@pytest.mark.parametrize(
    ("scale", "bound", "message"),
    [
        (1.0, 0.5, "attainable says"),
        (1.0, np.nan, "attainable says"),
        (1.0, np.inf, "attainable says"),
        (1.0, -1.0, "attainable says"),
        (1.02, None, "residual 0.02, above 1e-05 and above .*rounding"),
        (1.02, 0.09, "residual 0.02, above 1e-05 and above .*rounding"),
        (1e20, None, "residual inf, above 1e-05"),
        (np.nan, None, "residual nan, above 1e-05"),
    ],
)
def test_a_store_that_claims_more_than_rounding_is_refused(
    copy: Path, scale: float, bound: float | None, message: str
):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(copy), mode="r+")
    group["solution"][2] = group["solution"][2] * np.float32(scale)
    if bound is not None:
        group["attainable"][2] = bound
    problems = [p for p in datasets.verify(copy).problems if p.startswith("sample")]
    assert len(problems) == 1
    with pytest.raises(AssertionError, match=rf"sample 2: .*{message}"):
        raise AssertionError(problems[0])


def test_attained_without_its_bound_is_refused(copy: Path):
    shutil.rmtree(copy / "attainable")
    metadata = json.loads((copy / "zarr.json").read_text())
    metadata["attributes"]["sample_arrays"].remove("attainable")
    (copy / "zarr.json").write_text(json.dumps(metadata))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["sha256"]["zarr.json"] = sha256_of(copy / "zarr.json")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    problems = datasets.verify(copy).problems
    assert sum("attainable says" in problem for problem in problems) == 4


def test_attained_is_no_excuse_in_64_bits(published: Path, tmp_path: Path):
    zarr = pytest.importorskip("zarr")
    copy = Path(shutil.copytree(published, tmp_path / "copy"))
    group = zarr.open_group(str(copy), mode="r+")
    assert "attainable" not in group
    group["status"][4] = ATTAINED
    group["solution"][4] = group["solution"][4] * (1 + 1e-7)
    report = datasets.verify(copy)
    assert report.num_attained == 0
    assert any("sample 4: array solution has" in p for p in report.problems)


@pytest.mark.parametrize(
    ("entry", "is_met"),
    [
        ((CONVERGED, 1e-5, 0.0), (True, True)),
        ((CONVERGED, 2e-5, 1e-3), (False, False)),
        ((ATTAINED, 2e-5, 1e-3), (True, False)),
        ((ATTAINED, 2e-3, 1e-3), (False, False)),
        ((ATTAINED, 2e-3, None), (False, False)),
        ((ATTAINED, None, 1e-3), (False, False)),
        ((kx.Status.stagnated.value, 2e-5, 1e-3), (False, False)),
    ],
)
def test_attained_is_good_in_32_bits_alone(entry: Any, is_met: tuple[bool, bool]):
    names = ("status", "relative_residual", "attainable")
    record: dict[str, Any] = dict(zip(names, entry, strict=True))
    single = Criterion(1e-5, takes_attained=True)
    double = Criterion(1e-5, takes_attained=False)
    assert (single.is_met(record), double.is_met(record)) == is_met


def test_codes_of_the_store_are_those_of_the_solvers():
    assert (kx.Status.converged, kx.Status.attained) == (CONVERGED, ATTAINED)


def test_tolerance_that_suits_32_bits_is_the_default_of_every_solver():
    found = [value for value in vars(kx.solvers).values() if inspect.isclass(value)]
    defaults = {
        solver.__name__: inspect.signature(solver).parameters["rtol"].default
        for solver in found
        if issubclass(solver, AbstractSolver)
        and "rtol" in inspect.signature(solver).parameters
    }
    # Which iterates in 32 bits to what takes 64.
    assert defaults.pop("Refinement") < suited_rtol(np.float32)
    assert len(defaults) > 10
    for dtype in (np.float32, np.complex64):
        assert set(defaults.values()) == {suited_rtol(dtype)}


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_tolerance_of_64_bits_is_the_smaller_one(dtype: str):
    assert suited_rtol(dtype) == 1e-8


@pytest.mark.parametrize("rtol", [1e-8, 1e-6])
def test_tolerance_beyond_32_bits_is_refused_with_a_way_out(
    rtol: float, tmp_path: Path
):
    message = r"below 10 eps.*1e-05 suits it.*float64, where Refinement\(CG"
    with pytest.raises(ValueError, match=message):
        datasets.generate(FAMILIES["darcy"], 2, tmp_path / "data", rtol=rtol)
    assert list(tmp_path.iterdir()) == []


def test_refinement_iterates_in_32_bits_to_residuals_of_64(tmp_path: Path):
    solver = kx.solvers.Refinement(kx.solvers.CG(rtol=1e-4), rtol=1e-8)
    family = datasets.Darcy(SMALL)
    data = datasets.generate(family, 3, tmp_path / "data", solver, progress=False)
    assert data["solution"].dtype == jnp.float64
    assert not data.failed
    assert datasets.verify(tmp_path / "data").worst_residual <= 1e-8
