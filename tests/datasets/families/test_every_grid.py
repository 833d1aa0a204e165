"""A sample is the same equation on every grid: one can train at 64² and test at 128².

Solutions on n, 2n and 4n cells, averaged to n, come closer to one another: at first
order where a coefficient jumps or a region is cut into cells, and upwind.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

import krylax
from krylax import datasets
from krylax.datasets.families import _earlier

from ...helpers import types_unchecked

WAVES: dict[str, Any] = {"wavenumber": 5.0}
SAMPLES = (0, 1, 2, 3)
# The family on n cells or n - 1 nodes; which axes have nodes; what is left of a
# difference on the next grid: 1/2 and 1/4 for first and second order, on these coarse
# grids not quite.
Row = tuple[Callable[[int], Any], tuple[bool, bool], float]
FIRST, SECOND = 0.8, 0.4
MEDIA = (("channels", 1 / 8), ("islands", 1 / 6), ("layers", 1 / 8), ("random", 1 / 8))


def medium(kind: Any, width: float) -> Callable[[int], Any]:
    return lambda n: datasets.Darcy((n, n), kind, contrast=100, width=width)


FAMILIES: dict[str, Row] = {
    "two-phase": (lambda n: datasets.Darcy((n, n)), (False, False), FIRST),
    "log-normal": (
        lambda n: datasets.Darcy((n, n), coefficient="log_normal"),
        (False, False),
        SECOND,
    ),
    **{kind: (medium(kind, width), (False, False), FIRST) for kind, width in MEDIA},
    "porous": (
        lambda n: datasets.Porous((n - 1, n - 1), width=1 / 8),
        (True, True),
        FIRST,
    ),
    "poisson": (lambda n: datasets.Poisson((n - 1, n - 1)), (True, True), SECOND),
    "thermal": (lambda n: datasets.Thermal((n - 1, n)), (True, False), FIRST),
    "cavity": (
        lambda n: datasets.HelmholtzScattering((n, n), **WAVES),
        (False, False),
        SECOND,
    ),
    "scattered": (
        lambda n: datasets.HelmholtzScattering((n, n), **WAVES, walls="absorbing"),
        (False, False),
        FIRST,
    ),
    "upwind": (lambda n: datasets.ConvectionDiffusion((n, n)), (False, False), FIRST),
    "central": (
        lambda n: datasets.ConvectionDiffusion((n, n), peclet=80, scheme="central"),
        (False, False),
        SECOND,
    ),
    # The second frame of a run too, of which advection is a part.
    "pressure": (
        lambda n: datasets.PressureProjection((n, n), "obstacle", num_frames=2),
        (False, False),
        FIRST,
    ),
    "heat": (lambda n: datasets.Heat((n, n)), (False, False), SECOND),
}


def solutions(family: Any) -> list[np.ndarray]:
    """By SuperLU, of the matrix that the operator's stencil says; one program."""
    offsets: list[int] = []

    @jax.jit
    def system(parameters: Any) -> Any:
        A, b = family.system(parameters)
        diagonals = A.stencil.matrix_diagonals()
        offsets[:] = [offset for offset, _ in diagonals]
        return [values for _, values in diagonals], b

    found = []
    for sample_id in SAMPLES:
        values, b = system(family.sample(sample_id))
        rows = np.arange(b.size)
        entries = []
        for offset, diagonal in zip(offsets, values, strict=True):
            inside = (rows + offset >= 0) & (rows + offset < b.size)
            places = rows[inside], rows[inside] + offset
            full = np.broadcast_to(diagonal, rows.shape)
            entries.append((full[inside], *places))
        data, i, j = (np.concatenate(part) for part in zip(*entries, strict=True))
        matrix = scipy.sparse.csc_array((data, (i, j)), shape=(b.size, b.size))
        u = scipy.sparse.linalg.splu(matrix).solve(np.asarray(b).ravel())
        found.append(u.reshape(b.shape))
    return found


def averaged(u: np.ndarray, factor: int, has_nodes: tuple[bool, bool]) -> np.ndarray:
    """On a grid that is coarser by a factor; its nodes are nodes of the finer one."""
    for axis, nodes in enumerate(has_nodes):
        u = np.moveaxis(u, axis, 0)
        if nodes:
            u = u[factor - 1 :: factor]
        else:
            u = u.reshape(-1, factor, *u.shape[1:]).mean(axis=1)
        u = np.moveaxis(u, 0, axis)
    return u


@pytest.mark.parametrize("name", FAMILIES)
def test_solutions_of_a_sample_on_finer_grids_come_closer(name: str) -> None:
    make, has_nodes, left = FAMILIES[name]
    on_grids = [solutions(make(16 * factor)) for factor in (1, 2, 4)]
    coarse, middle, fine = (
        [averaged(u, factor, has_nodes) for u in found]
        for factor, found in zip((1, 2, 4), on_grids, strict=True)
    )
    first = np.array(
        [np.linalg.norm(a - b) for a, b in zip(coarse, middle, strict=True)]
    )
    second = np.array(
        [np.linalg.norm(a - b) for a, b in zip(middle, fine, strict=True)]
    )
    assert np.all(second < first)
    assert np.sum(second) <= left * np.sum(first)


@pytest.mark.parametrize("num_points", [(16, 16), (40, 30), (64, 64), (100, 80)])
def test_a_flow_has_one_scale_on_every_grid(num_points: tuple[int, int]) -> None:
    family = datasets.ConvectionDiffusion(num_points, peclet=(50.0, 50.0))
    velocity = family.sample(3)["velocity"]
    plain = family.flow(num_points, 3)
    scale = 50 / np.max(np.hypot(*family.flow((64, 64), 3)))
    np.testing.assert_allclose(velocity, scale * plain, rtol=1e-12)


def test_the_number_of_a_cell_is_reported() -> None:
    family = datasets.ConvectionDiffusion((40, 20), peclet=(10, 100))
    assert family.cell_peclet == (0.5, 5.0)
    assert "of a cell of this grid in [0.5, 5]" in family.card()["parameters"]


def test_a_number_is_a_range_of_one() -> None:
    assert datasets.ConvectionDiffusion(peclet=50).peclet == (50.0, 50.0)


@pytest.mark.parametrize("peclet", [(5, 2), (0, 1), (1, 2, 3), "12", float("nan")])
def test_what_is_no_range_is_refused(peclet: Any) -> None:
    with types_unchecked(), pytest.raises(ValueError, match="peclet must be"):
        datasets.ConvectionDiffusion(peclet=peclet)


def test_earlier_families_draw_what_they_drew() -> None:
    # The first numbers of sample 7, as published before.
    flow = _earlier.ConvectionDiffusion((6, 5)).sample(7)["velocity"]
    waves = _earlier.HelmholtzScattering(
        (20, 20), wavenumber=5.0, walls="absorbing"
    ).sample(7)["index"]
    np.testing.assert_allclose(
        flow[:, 0, 0], [5.01624647102854, -3.4794841510094234], rtol=1e-12
    )
    np.testing.assert_allclose(
        waves[9, 8:10], [1.235107028960306, 1.1742333654108372], rtol=1e-12
    )


def test_a_data_set_of_an_earlier_format_reads_as_it_was_and_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = _earlier.ConvectionDiffusion((6, 5))
    solver = krylax.solvers.BiCGStab(rtol=1e-8)
    path = tmp_path / "flows"
    datasets.generate(earlier, 2, path, solver, progress=False)
    dataset = datasets.open_dataset(path)
    stored = dataset.configuration
    assert (stored["format_version"], stored["family"]["type"]) == (
        1,
        "ConvectionDiffusion",
    )
    assert dataset.family == earlier
    np.testing.assert_array_equal(dataset[1]["velocity"], earlier.sample(1)["velocity"])
    assert datasets.verify(path).ok
    now = datasets.ConvectionDiffusion((6, 5))
    with pytest.raises(FileExistsError, match=r"format 1, .*neither continued"):
        datasets.generate(now, 2, path, solver, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", None)
        with pytest.raises(TypeError):
            datasets.generate(earlier, 2, tmp_path / "run", solver, progress=False)
    with pytest.raises(FileExistsError, match=r"run\.partial has format 1"):
        datasets.generate(now, 2, tmp_path / "run", progress=False)
