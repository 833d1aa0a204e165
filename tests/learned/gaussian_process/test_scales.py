"""Units of u change nothing but the units of the solution."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned.gaussian_process import (
    PDE,
    Dirichlet,
    Initial,
    Observations,
    SpectralMixture,
    _system,
    solve_pde,
)

from ...helpers import relative_error

KERNEL = SpectralMixture([1.0, 1.0], [0.0, 2.0], 0.25)
X = np.linspace(0, 1, 51)


@pytest.mark.parametrize("size", [1e-20, 1e20])
@pytest.mark.parametrize("boundary", ["exact", "penalty"])
def test_size_of_the_solution_does_not_matter(size: float, boundary: str):
    """One condition is zero, whose scale is that of the others."""

    def u(x: Any) -> Any:
        return size * jnp.sin(10 * x)

    pde = PDE(
        [(0.0, 1.0)], lambda x, v: v(2) + v() + 99 * u(x[0]), conditions=[Dirichlet(u)]
    )
    solution = solve_pde(pde, 64, kernel=KERNEL, boundary=boundary)
    assert relative_error(solution.on_grid(X) / size, np.sin(10 * X)) <= 1e-10


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_size_of_the_observations_does_not_matter(size: float):
    points = np.linspace(0, 1, 9)
    data = Observations(points[:, None], size * np.sin(6 * points), noise=1e-6 * size)
    pde = PDE([(0.0, 1.0)], lambda x, u: u(2) + 36 * u(), [], data=data)
    with pytest.warns(UserWarning, match="|".join(["resonance", "functions on"])):
        solution = solve_pde(pde, 32, kernel=KERNEL)
    assert relative_error(solution.on_grid(X) / size, np.sin(6 * X)) <= 1e-5
    first, second = solution.suggest(2)
    assert first != second


@pytest.mark.filterwarnings("ignore:.*functions on")
@pytest.mark.parametrize("num_slabs", [1, 2])
def test_error_bars_scale_with_a_solution_whose_square_is_no_number(num_slabs: int):
    points = [[1.3], [3.1]]

    def bars(size: float) -> Any:
        pde = PDE([(0.0, 4.0)], lambda x, u: u(1) + u(), [Initial(size)])
        kernel = SpectralMixture([1.0], [0.0], 1.0)
        solution = solve_pde(pde, 24, num_slabs=num_slabs, kernel=kernel)
        return np.asarray(solution.std(points)) / size

    assert relative_error(bars(1e-200), bars(1.0)) <= 1e-3


def test_size_does_not_matter_where_unknowns_are_many(monkeypatch: pytest.MonkeyPatch):
    """Fewer are made to count as many, so that steps are by LSMR, without a prior."""
    monkeypatch.setattr(_system, "MOST_PREFERRED", 10)
    kernel = SpectralMixture([1.0], [0.0], 0.4)

    def u(x: Any, y: Any) -> Any:
        return 1e20 * jnp.sin(3 * x) * jnp.cos(2 * y)

    pde = PDE(
        [(0.0, 1.0), (0.0, 1.0)],
        lambda x, v: v(2, 0) + v(0, 2) + 13 * u(*x),
        conditions=[Dirichlet(u)],
    )
    solution = solve_pde(pde, 24, kernel=kernel)
    expected = np.sin(3 * X[:, None]) * np.cos(2 * X[None, :])
    assert relative_error(solution.on_grid(X, X) / 1e20, expected) <= 1e-6
