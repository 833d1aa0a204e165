"""Equations with known solutions; errors are at points off the grid."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax import Status
from krylax.learned.gaussian_process import (
    PDE,
    Dirichlet,
    Initial,
    Neumann,
    Periodic,
    SpectralMixture,
    solve_pde,
)
from krylax.solvers import SolveError

from ...helpers import relative_error

PI = np.pi
SQUARE = ((0.0, 1.0), (0.0, 1.0))


def at_points(solution: Any, u: Any, number: int = 101) -> float:
    """The relative error at uniform points, or on a tensor grid of them."""
    axes = [np.linspace(low, high, number) for low, high in solution.pde.domain]
    expected = u(*np.meshgrid(*axes, indexing="ij", sparse=True))
    return relative_error(solution.on_grid(*axes), expected)


def test_high_frequency_is_found_in_the_source():
    """Row 1 of S. Fang et al., ICLR 2024, whose best error is 4.0e-7 after 1329 s."""
    pde = PDE(
        domain=[(0.0, 2 * PI)],
        residual=lambda x, u: u(2) + 1e4 * jnp.sin(100 * x[0]),
        conditions=[Dirichlet(lambda x: jnp.sin(100 * x))],
    )
    solution = solve_pde(pde, 400)
    assert solution.report.status == Status.converged
    assert at_points(solution, lambda x: np.sin(100 * x), 300) <= 1e-9
    x = np.array([[0.1], [3.0]])
    slope = solution.derivative((1,), x)
    assert relative_error(slope, 100 * np.cos(100 * x[:, 0])) <= 1e-8
    assert relative_error(solution.mean(x), np.sin(100 * x[:, 0])) <= 1e-9


def test_frequency_that_the_grid_does_not_resolve_is_a_warning():
    pde = PDE(
        domain=[(0.0, 2 * PI)],
        residual=lambda x, u: u(2) + 1e4 * jnp.sin(100 * x[0]),
        conditions=[Dirichlet(lambda x: jnp.sin(100 * x))],
    )
    few = pytest.warns(UserWarning, match="leave little to check them by")
    wrong = pytest.warns(UserWarning, match="the solution may be wrong")
    with few, wrong:
        solution = solve_pde(pde, 120, learn="peaks")
    assert solution.report.status == Status.stagnated


def test_initial_values_of_both_orders():
    pde = PDE(
        domain=[(0.0, 3.0)],
        residual=lambda x, u: u(2) + 100 * u(),
        conditions=[Initial(1.0), Initial(3.0, order=1)],
    )
    solution = solve_pde(pde, 64)
    exact = lambda t: np.cos(10 * t) + 0.3 * np.sin(10 * t)  # noqa: E731
    assert at_points(solution, exact) <= 1e-9


def test_mixed_conditions_and_a_variable_coefficient():
    """-((2 + sin 3x) u')' = f with u = exp x cos 7x."""

    def u(x: Any) -> Any:
        return jnp.exp(x) * jnp.cos(7 * x)

    def flux(x: Any) -> Any:
        return (2 + jnp.sin(3 * x)) * derivative_of(u)(x)

    pde = PDE(
        domain=[(0.0, 1.0)],
        residual=lambda x, v: (
            -((2 + jnp.sin(3 * x[0])) * v(2) + 3 * jnp.cos(3 * x[0]) * v(1))
            + derivative_of(flux)(x[0])
        ),
        conditions=[
            Dirichlet(u, faces=[(0, "high")]),
            Neumann(lambda x: -derivative_of(u)(x), faces=[(0, "low")]),
        ],
    )
    assert at_points(solve_pde(pde, 64), u) <= 1e-9


def derivative_of(f: Any) -> Any:
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def test_poisson_equation_with_values_on_all_sides():
    def u(x: Any, y: Any) -> Any:
        return jnp.sin(20 * x) * jnp.sin(20 * y) + x * y**2

    pde = PDE(
        domain=SQUARE,
        residual=lambda x, v: (
            v(2, 0)
            + v(0, 2)
            - (-800 * jnp.sin(20 * x[0]) * jnp.sin(20 * x[1]) + 2 * x[0])
        ),
        conditions=[Dirichlet(u)],
    )
    solution = solve_pde(pde, 48)
    assert at_points(solution, u) <= 1e-6
    points = np.random.default_rng(0).random((50, 2))
    assert relative_error(solution.mean(points), u(*points.T)) <= 1e-6


def test_functions_nearly_as_many_as_points_are_solved_with():
    """In 3-D by LSMR, whose preconditioner is the mean of the projected equation.

    Its plain projection is far too small on some functions: 100 steps left an error
    of 1e-2.
    """

    def u(x: Any, y: Any, z: Any) -> Any:
        return jnp.sin(2 * x) * jnp.cos(3 * y) * jnp.exp(z)

    pde = PDE(
        domain=((0.0, 1.0),) * 3,
        residual=lambda x, u_: u_(2, 0, 0) + u_(0, 2, 0) + u_(0, 0, 2) + 12 * u(*x),
        conditions=[Dirichlet(u)],
    )
    kernel = SpectralMixture(1.0, 0.0, 0.3)
    with pytest.warns(UserWarning, match="leave little to check them by"):
        solution = solve_pde(pde, 14, kernel=kernel)
    assert at_points(solution, u, 21) <= 1e-5


def test_advection_from_initial_values_around_a_periodic_axis():
    pde = PDE(
        domain=SQUARE,
        residual=lambda x, u: u(0, 1) + 3 * u(1, 0) + 0 * x[0] * x[1],
        conditions=[Periodic(0), Initial(lambda x: jnp.sin(2 * PI * x))],
    )
    solution = solve_pde(pde, 48, learn="peaks")
    exact = lambda x, t: np.sin(2 * PI * (x - 3 * t))  # noqa: E731
    assert at_points(solution, exact) <= 1e-6


CUBIC = PDE(
    domain=[(0.0, 1.0)],
    residual=lambda x, u, theta: u(2) - theta * u() ** 3 - 100 * jnp.sin(10 * x[0]),
    conditions=[Dirichlet(lambda x, theta: 0.5 * x)],
    parameters=1.0,
)


def test_derivatives_with_respect_to_parameters_are_implicit():
    spectrum = solve_pde(CUBIC, 64).spectrum

    def middle(theta: Any) -> Any:
        found = solve_pde(CUBIC, parameters=theta, spectrum=spectrum)
        return found.mean(jnp.array([[0.3]]))[0]

    thetas = jnp.array([1.5 - 1e-4, 1.5, 1.5 + 1e-4])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(middle)))(thetas)
    forward = jax.jit(jax.jacfwd(middle))(1.5)
    expected = (values[2] - values[0]) / 2e-4
    assert relative_error(slopes[1], expected) <= 1e-6
    assert relative_error(forward, slopes[1]) <= 1e-8


def test_traced_parameters_without_a_spectrum_are_refused():
    with pytest.raises(ValueError, match=r"spectrum=solution\.spectrum"):
        jax.jit(lambda theta: solve_pde(CUBIC, 64, parameters=theta).z)(1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"domain": [(1.0, 0.0)]}, "must be an interval"),
        ({"domain": (0.0, 1.0)}, "sequence of intervals"),
        ({"conditions": [Dirichlet(0.0), Dirichlet(1.0)]}, "is given twice"),
        ({"conditions": [Periodic(0), Dirichlet(0.0, [(0, "low")])]}, "is periodic"),
        ({"conditions": [Dirichlet(0.0, [(1, "low")])]}, "has 1 axis, got axis 1"),
        ({"residual": lambda x, u: u(5)}, "orders 0 to 4"),
        ({"residual": lambda x, u: u(1, 1)}, "one order per axis"),
        ({"residual": lambda x, u: jnp.sum(u(2))}, "array of the grid's shape"),
    ],
)
def test_bad_equations_are_refused(change: Any, message: str):
    sound = {
        "domain": [(0.0, 1.0)],
        "residual": lambda x, u: u(2) + 1.0,
        "conditions": [Dirichlet(0.0)],
    }
    with pytest.raises(ValueError, match=message):
        solve_pde(PDE(**(sound | change)), 16)


def test_kernel_that_the_grid_does_not_resolve_is_a_warning():
    pde = PDE(
        domain=[(0.0, 1.0)],
        residual=lambda x, u: u(2) + jnp.sin(2 * PI * x[0]),
        conditions=[Dirichlet(0.0)],
    )
    kernel = SpectralMixture([1.0, 1.0], [0.0, 30.0], 0.2)
    with pytest.warns(UserWarning, match="50 % of the kernel's variance is above 19"):
        solve_pde(pde, 39, kernel=kernel)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residual": lambda x, u, k: u(2) - k}, "residual is called with \\(x, u\\)"),
        ({"parameters": 1.0}, "residual is called with \\(x, u, parameters\\)"),
        ({"conditions": [Dirichlet(lambda x, y: x)]}, "g of Dirichlet is called with"),
        ({"conditions": Dirichlet(0.0)}, "must be a list"),
    ],
)
def test_functions_that_cannot_be_called_are_refused(change: Any, message: str):
    given = {"residual": lambda x, u: u(2), "conditions": [Dirichlet(0.0)]}
    with pytest.raises(TypeError, match=message):
        PDE([(0.0, 1.0)], **(given | change))


def test_coordinates_outside_of_the_domain_are_refused():
    pde = PDE([(0, 1)], lambda t, u: u(1) + u() * jnp.ones_like(t[0]), [Initial(1.0)])
    solution = solve_pde(pde, 64)
    with pytest.raises(ValueError, match="along axis 0 must be in its interval"):
        solution.mean([[1.5]])
    with pytest.raises(ValueError, match="along axis 0 must be in its interval"):
        solution.on_grid([-0.1, 0.5])


@pytest.mark.parametrize("change", ["source", "data"])
def test_numbers_that_are_not_finite_are_reported(change: str):
    source = jnp.nan if change == "source" else 1.0
    pde = PDE(
        domain=[(0.0, 1.0)],
        residual=lambda x, u: u(2) + source * x[0],
        conditions=[Dirichlet(jnp.nan if change == "data" else 0.0)],
    )
    with pytest.raises(SolveError) as raised:
        solve_pde(pde, 64, learn="peaks")
    status = raised.value.solution.report.status
    assert status in (Status.nonfinite, Status.nonfinite_input)


@pytest.mark.parametrize("num_points", [1, (16, 16), 2.5])
def test_grids_that_are_none_are_refused(num_points: Any):
    pde = PDE([(0.0, 1.0)], lambda x, u: u(2) + 1.0, [Dirichlet(0.0)])
    with pytest.raises(ValueError, match="num_points must be"):
        solve_pde(pde, num_points)


@pytest.mark.filterwarnings("ignore:.*functions on")
def test_aliased_wave_along_two_axes_is_a_warning():
    """On 20 intervals sin 21x is sin x, and half-way along both axes too, by two signs.

    The solution of that equation has an error of 440.
    """
    pde = PDE(
        [(0.0, 2 * np.pi)] * 2,
        lambda x, u: u(2, 0) + u(0, 2) + 882 * jnp.sin(21 * x[0]) * jnp.sin(21 * x[1]),
        [Dirichlet(0.0)],
    )
    kernel = SpectralMixture([1.0], [0.0], 2.0)
    with pytest.warns(UserWarning, match="the residual between the points is"):
        solution = solve_pde(pde, 21, kernel=kernel)
    assert solution.report.status == Status.stagnated
