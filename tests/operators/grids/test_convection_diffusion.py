"""Convection and diffusion: order, bounds, conservation, constants, transpose."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import draw, observed_orders, relative_error, tolerance

ConvectionDiffusion: Any = kx.operators.ConvectionDiffusion
SCHEMES = ["upwind", "central"]
FORMS = ["conservative", "advective"]
ORDERS = {"upwind": 1, "central": 2}
each_scheme = pytest.mark.parametrize("scheme", SCHEMES)
each_form = pytest.mark.parametrize("form", FORMS)
MIXED: Any = [("dirichlet", "neumann"), "periodic"]


def solution(x: Any) -> Any:
    """Zero at x = 0, no gradient at x = 1, periodic in y."""
    wave = 2 + jnp.sin(2 * jnp.pi * x[1]) if len(x) == 2 else 2.0
    return jnp.sin(jnp.pi * x[0] / 2) * wave


def coefficient(x: Any) -> Any:
    return 1 + jnp.sin(2 * jnp.pi * x[-1]) / 2


def velocity(x: Any) -> Any:
    """Out of the domain at x = 1."""
    along = [1 + x[0] + jnp.cos(2 * jnp.pi * x[-1]) * x[0] / 2]
    across = [0.5 + jnp.sin(2 * jnp.pi * x[1])] if len(x) == 2 else []
    return jnp.stack(along + across)


def source(x: Any, form: str) -> Any:
    """f of the solution, by differentiating the fluxes."""
    slope = jax.grad(solution)
    carried = (lambda x: velocity(x) * solution(x)) if form == "conservative" else None
    spread = jnp.trace(jax.jacfwd(lambda x: -coefficient(x) * slope(x))(x))
    if carried is None:
        return spread + velocity(x) @ slope(x)
    return spread + jnp.trace(jax.jacfwd(carried)(x))


def on_cells(n: int, num_axes: int, form: str) -> list[np.ndarray]:
    """k, v, u and f at the centres of n cells per axis of the unit cube."""

    def values(x: Any) -> Any:
        return coefficient(x), velocity(x), solution(x), source(x, form)

    axis = (jnp.arange(n, dtype=float) + 0.5) / n
    points = jnp.stack(jnp.meshgrid(*[axis] * num_axes, indexing="ij"))
    for _ in range(num_axes):
        values = jax.vmap(values, in_axes=-1, out_axes=-1)
    return [np.asarray(part) for part in jax.jit(values)(points)]


def discretisation_error(n: int, num_axes: int, scheme: Any, form: Any) -> float:
    k, v, u, f = on_cells(n, num_axes, form)
    faces = MIXED[:num_axes]
    A = ConvectionDiffusion(k, v, 1 / n, scheme=scheme, form=form, boundary=faces)
    matrix = np.asarray(jax.jit(lambda A: A.as_matrix())(A))
    return relative_error(np.linalg.solve(matrix, f.ravel()), u.ravel())


@each_form
@each_scheme
@pytest.mark.parametrize(("num_axes", "sizes"), [(1, (32, 64, 128)), (2, (8, 16, 32))])
def test_order_of_convergence_is_two_of_central_and_one_of_upwind(
    num_axes: int, sizes: tuple[int, ...], scheme: str, form: str
):
    errors = [discretisation_error(n, num_axes, scheme, form) for n in sizes]
    assert np.abs(observed_orders(errors) - ORDERS[scheme]).max() <= 0.2, errors


@each_form
@pytest.mark.parametrize("boundary", ["dirichlet", MIXED])
def test_upwind_matrix_is_an_m_matrix_at_any_peclet_number(boundary: Any, form: Any):
    v = np.random.default_rng(0).standard_normal((2, 4, 5)) * 100
    v[0, -2:] = np.abs(v[0, -2:-1])  # out through the Neumann wall, if there is one
    A = ConvectionDiffusion(np.ones((4, 5)), v, form=form, boundary=boundary)
    matrix = np.asarray(A.as_matrix())
    beside = matrix - np.diag(np.diagonal(matrix))
    assert np.max(beside) <= 0
    assert np.min(np.linalg.inv(matrix)) >= -tolerance(1, "float64")


def test_central_scheme_oscillates_beyond_a_peclet_number_of_two_and_upwind_does_not():
    smallest = {}
    for scheme in ("central", "upwind"):
        A: Any = ConvectionDiffusion(np.ones(16), np.array([10.0]), scheme=scheme)
        response = np.linalg.solve(np.asarray(A.as_matrix()), np.eye(16)[8])
        smallest[scheme] = response.min() / response.max()
    assert smallest["central"] < -0.1
    assert smallest["upwind"] >= 0


@each_scheme
@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_advective_form_annihilates_constants_without_a_dirichlet_wall(
    boundary: Any, scheme: Any
):
    rng = np.random.default_rng(0)
    A = ConvectionDiffusion(
        np.exp(draw(rng, (4, 5), "float64")),
        draw(rng, (2, 4, 5), "float64"),
        0.1,
        scheme=scheme,
        form="advective",
        boundary=boundary,
    )
    assert A.annihilates_constants
    assert "singular" in A.tags
    got = np.abs(A @ np.ones((4, 5))) / np.abs(A.diagonal())
    assert np.max(got) <= tolerance(1, "float64")


@each_scheme
def test_conservative_form_conserves_the_total_on_a_periodic_grid(scheme: Any):
    rng = np.random.default_rng(0)
    v, x = draw(rng, (2, 4, 5), "float64"), draw(rng, (4, 5), "float64")
    A = ConvectionDiffusion(np.ones((4, 5)), v, scheme=scheme, boundary="periodic")
    change = np.asarray(A @ x)
    assert abs(change.sum()) <= tolerance(1, "float64") * np.abs(change).sum()
    assert "singular" in A.tags


def test_forms_agree_where_the_flow_has_no_divergence():
    v = np.array([2.0, -3.0])
    matrices = [
        ConvectionDiffusion(
            np.ones((3, 4)), v, form=form, boundary="periodic"
        ).as_matrix()
        for form in ("conservative", "advective")
    ]
    assert relative_error(*matrices) <= tolerance(1, "float64")


@each_form
@each_scheme
def test_declared_constants_are_null_vectors_both_ways(scheme: Any, form: Any):
    A = ConvectionDiffusion(
        np.ones((3, 4)),
        np.array([2.0, -3.0]),
        scheme=scheme,
        form=form,
        boundary="periodic",
        nullspace="constant",
    )
    errors = kx.operators.check_operator(A, jax.random.key(0))
    assert errors["nullspace"] <= tolerance(1, "float64")


def test_declaring_constants_of_a_flow_with_divergence_is_refused():
    v = np.random.default_rng(0).standard_normal((2, 3, 4))
    with pytest.raises(ValueError, match=r"maps 1 to values up to .*add up to zero"):
        ConvectionDiffusion(
            np.ones((3, 4)), v, boundary="periodic", nullspace="constant"
        )


def test_declared_constants_of_a_traced_flow_are_trusted():
    v = jnp.array([2.0, -3.0])
    built = jax.jit(
        lambda v: ConvectionDiffusion(
            jnp.ones((3, 4)), v, boundary="periodic", nullspace="constant"
        )
    )
    assert built(v).nullspace is not None


def test_no_flow_is_diffusion():
    k = np.exp(np.random.default_rng(0).standard_normal((3, 4)))
    A = ConvectionDiffusion(k, np.zeros(2), 0.5, boundary=MIXED)
    B = kx.operators.Diffusion(k, 0.5, boundary=MIXED)
    assert relative_error(A.as_matrix(), B.as_matrix()) == 0


def test_transpose_of_the_transpose_is_the_operator():
    A = ConvectionDiffusion(np.ones(4), np.ones(1))
    assert A.T.T is A
    assert relative_error(A.T.diagonal(), A.diagonal()) == 0


def test_transpose_keeps_tags_and_null_space():
    A = ConvectionDiffusion(
        np.ones(4), np.ones(1), boundary="periodic", nullspace="constant"
    )
    assert A.T.tags == A.tags == {"singular"}
    assert A.T.in_structure == A.T.out_structure == A.in_structure
    assert A.T.nullspace is not None


def test_transpose_costs_as_many_operations_as_the_product():
    A: Any = ConvectionDiffusion(np.ones((8, 9)), np.ones(2), boundary=MIXED)
    x = jnp.ones((8, 9))
    counts = [
        jax.jit(lambda B, x: B.mv(x)).lower(B, x).as_text().count("stablehlo.")
        for B in (A, A.T)
    ]
    assert counts[0] == counts[1]


def test_derivative_with_respect_to_the_velocity_is_that_of_the_matrix():
    v, x = jnp.array([2.0]), jnp.arange(4.0)
    _, got = jax.jvp(lambda v: ConvectionDiffusion(np.ones(4), v) @ x, (v,), (v,))
    still = ConvectionDiffusion(np.ones(4), np.zeros(1))
    expected = ConvectionDiffusion(np.ones(4), v) @ x - still @ x
    assert relative_error(got, expected) <= tolerance(1, "float64")
