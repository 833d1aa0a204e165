"""The operator as released with the SKR paper, with its slips."""

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sparse
import scipy.sparse.linalg

from krylax.datasets import SKRReleased


def _matrix(family: SKRReleased, sample_id: int) -> Any:
    A, _ = family.system(family.sample(sample_id))
    n = family.num_points**2
    diagonals = np.asarray(A.diagonals) / (family.num_points + 1) ** 2
    return sparse.dia_array((diagonals, A.offsets), shape=(n, n)).tocsr()


def _laplacian(s: int) -> Any:
    line = 2.0 * sparse.eye_array(s) - sparse.eye_array(s, k=1)
    line = line - sparse.eye_array(s, k=-1)
    eye = sparse.eye_array(s)
    return (sparse.kron(eye, line) + sparse.kron(line, eye)).tocsr()


def test_without_the_shift_it_would_be_the_laplacian_of_c_u() -> None:
    family = SKRReleased(num_points=9)
    c = family.sample(2)["coefficient"].ravel()
    released = _matrix(family, 2).toarray()
    clean = (_laplacian(9) @ sparse.diags_array(c)).toarray()
    clean[np.arange(72), np.arange(9, 81)] = -c[7:79]
    np.testing.assert_allclose(released, clean, rtol=1e-14)


def test_at_98_squared_it_differs_from_the_laplacian_by_about_one_percent() -> None:
    family = SKRReleased(num_points=98)
    c = family.sample(0)["coefficient"].ravel()
    clean = _laplacian(98) @ sparse.diags_array(c)
    norm = scipy.sparse.linalg.norm
    difference = norm(_matrix(family, 0) - clean) / norm(clean)
    assert 0.006 < difference < 0.012


@pytest.mark.parametrize("sample_id", [0, 1, 2])
def test_it_is_indefinite_and_not_symmetric(sample_id: int) -> None:
    A = _matrix(SKRReleased(num_points=98), sample_id).tocsc()
    found = scipy.sparse.linalg.eigs(A, k=6, sigma=0, return_eigenvectors=False)
    smallest = np.asarray(found, np.complex128)
    norm = scipy.sparse.linalg.norm
    assert smallest.real.min() < 0 < smallest.real.max()
    assert norm(A - A.T) > 0.01 * norm(A)


@pytest.mark.slow
@pytest.mark.parametrize("sample_id", [0, 1, 2])
def test_restarted_gmres_stagnates_on_it(sample_id: int) -> None:
    A = _matrix(SKRReleased(num_points=48), sample_id)
    preconditioned = sparse.diags_array(1 / A.diagonal()) @ A
    b = np.ones(48**2) / A.diagonal()
    steps: list[float] = []
    scipy.sparse.linalg.gmres(
        preconditioned,
        b,
        rtol=1e-5,
        restart=40,
        maxiter=25,
        callback=steps.append,
        callback_type="pr_norm",
    )
    assert len(steps) == 1000


def test_log_c_has_the_spread_of_the_paper() -> None:
    spreads = [np.log(SKRReleased().sample(i)["coefficient"]).std() for i in range(20)]
    assert 0.2 < np.mean(spreads) < 0.3


def test_low_modes_are_the_same_at_every_resolution() -> None:
    few, many = (
        np.fft.fft2(np.log(SKRReleased(num_points=s).sample(5)["coefficient"])) / s**2
        for s in (12, 31)
    )
    low = np.ix_([0, 1, 2, 5, -1, -5], [0, 1, 2, 5, -1, -5])
    np.testing.assert_allclose(few[low], many[low], rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    "options", [{"num_points": 2}, {"seed": -1}, {"alpha": 0.0}, {"stream": ""}]
)
def test_a_family_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        SKRReleased(**options)
