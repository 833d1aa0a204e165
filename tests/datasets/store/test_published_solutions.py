"""Published solutions against an assembly that shares no code with krylax."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sparse
import scipy.sparse.linalg

import krylax as kx


@pytest.fixture(scope="module", params=["two_phase", "log_normal"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Any:
    family = kx.datasets.Darcy(num_points=(16, 13), coefficient=request.param)
    solver = kx.solvers.GCRODR(rtol=1e-8, restart=40, num_recycled=20)
    path: Path = tmp_path_factory.mktemp("checked") / "darcy"
    return kx.datasets.generate(
        family, 12, path, solver, segment_size=6, progress=False
    )


def _assembled(k: np.ndarray) -> Any:
    """The 5-point matrix, face by face: harmonic means, walls half a cell away."""
    number = np.arange(k.size).reshape(k.shape)
    A = sparse.lil_array((k.size, k.size))
    for (i, j), cell in np.ndenumerate(number):
        for di, dj, h in (
            (1, 0, 1 / 16),
            (-1, 0, 1 / 16),
            (0, 1, 1 / 13),
            (0, -1, 1 / 13),
        ):
            inside = 0 <= i + di < 16 and 0 <= j + dj < 13
            if inside:
                other = k[i + di, j + dj]
                conductance = 2 * k[i, j] * other / (k[i, j] + other) / h**2
                A[cell, number[i + di, j + dj]] = -conductance
            else:
                conductance = 2 * k[i, j] / h**2
            A[cell, cell] += conductance
    return A.tocsc()


@pytest.mark.parametrize("sample_id", range(12))
def test_residual_and_solution_agree_with_scipy(dataset: Any, sample_id: int) -> None:
    sample = dataset[sample_id]
    A, b = _assembled(sample["coefficient"]), np.ones(16 * 13)
    u = sample["solution"].ravel()
    direct = scipy.sparse.linalg.splu(A).solve(b)
    assert np.linalg.norm(b - A @ u) <= 1e-8 * np.linalg.norm(b)
    assert np.linalg.norm(u - direct) <= 1e-6 * np.linalg.norm(direct)
