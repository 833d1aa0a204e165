"""From what systems start: spaces of a family, of clusters, of parents, solutions."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.solvers.sequences import (
    GalerkinStart,
    Several,
    SystemTree,
    cluster,
    learned_space,
    median_tree,
    pod_basis,
    solve_batch,
    solve_tree,
)

from ...gallery import from_spectrum, random_unitary
from ...helpers import tolerance, types_unchecked

SHAPE = (9, 8)
FACTORS = jax.device_put(np.linspace(1.0, 1.4, 6))
FIELD = jax.device_put(np.random.default_rng(0).random(SHAPE))
GCRODR = kx.solvers.GCRODR(rtol=1e-9, restart=16, num_recycled=6)
CG = kx.solvers.CG(rtol=1e-9)
RNG = np.random.default_rng(3)
CHEAP = kx.solvers.Multigrid(cycle="cheap")
SEVERAL = Several([CHEAP(kx.operators.Diffusion(1 + f * FIELD)) for f in (1.0, 30.0)])


def system(factor: Any) -> Any:
    return kx.operators.Diffusion(1 + factor * FIELD), jnp.ones(SHAPE)


@cache
def space_of(factor: float) -> Any:
    A, b = system(factor)
    return kx.solve(A, b, GCRODR).carry


def steps_of(factor: Any, carry: Any) -> int:
    A, b = system(factor)
    return int(kx.solve(A, b, GCRODR, carry=carry).stats.num_steps)


def test_lanes_solve_as_one_after_the_other():
    options: Any = {"carry": space_of(1.2), "recycle": "frozen"}
    alone = solve_batch(system, FACTORS, GCRODR, **options)
    lanes = solve_batch(system, FACTORS, GCRODR, num_lanes=4, **options)
    assert lanes.stats.num_steps.tolist() == alone.stats.num_steps.tolist()
    np.testing.assert_allclose(lanes.value, alone.value, rtol=1e-9)
    assert lanes.carry is None


def test_lanes_hand_their_space_on_and_survive_a_failure():
    factors = np.concatenate([FACTORS, FACTORS])
    factors[2] = np.nan
    found = solve_batch(system, factors, GCRODR, num_lanes=2)
    bad = int(kx.Status.nonfinite_input)
    assert found.status.tolist() == [0, 0, bad] + [0] * 9
    cold = steps_of(factors[-1], None)
    assert np.all(np.asarray(found.stats.num_steps)[3:] < cold)


def test_each_system_starts_from_the_space_of_its_source():
    spaces = [space_of(1.0), space_of(1.4)]
    stacked = jax.tree.map(lambda *a: np.stack(a), *spaces)
    sources = np.array([0, 1, 0, 1, 1, 0])
    found = solve_batch(
        system, FACTORS, GCRODR, carry=stacked, sources=sources, recycle="frozen"
    )
    expected = [
        steps_of(factor, spaces[source])
        for factor, source in zip(FACTORS, sources.tolist(), strict=True)
    ]
    assert found.stats.num_steps.tolist() == expected


@pytest.mark.parametrize("num_lanes", [1, 2])
def test_each_system_takes_the_preconditioner_of_its_cluster(num_lanes: int):
    sources = jnp.array([0, 1, 0, 1, 1, 0])
    found = solve_batch(
        system,
        FACTORS,
        CG,
        preconditioner=SEVERAL,
        sources=sources,
        num_lanes=num_lanes,
    )
    expected = []
    for factor, source in zip(FACTORS, sources.tolist(), strict=True):
        A, b = system(factor)
        solution = kx.solve(A, b, CG, preconditioner=SEVERAL.of(jnp.asarray(source)))
        expected.append(int(solution.stats.num_steps))
    assert found.stats.num_steps.tolist() == expected


def test_learned_space_is_near_to_the_least_singular_vectors():
    eigenvalues = np.r_[np.linspace(1e-3, 5e-3, 4), np.linspace(1, 5, 44)]
    A = kx.operators.Dense(from_spectrum(eigenvalues))
    solver = kx.solvers.GCRODR(rtol=1e-10, restart=16, num_recycled=6)
    space = learned_space(A, solver)
    U = np.linalg.qr(np.asarray(space.U).T)[0]
    least = random_unitary(48)[:, :4]
    assert np.linalg.norm(least - U @ (U.T @ least), 2) <= 1e-5


@pytest.mark.parametrize(
    ("solver", "options", "message"),
    [(CG, {}, "CG recycles nothing"), (GCRODR, {"num_solves": 0}, "at least 1, got 0")],
)
def test_space_that_cannot_be_learned_is_refused(
    solver: Any, options: Any, message: str
):
    with pytest.raises(ValueError, match=message):
        learned_space(kx.operators.Laplacian((9,)), solver, **options)


def matrices(kind: str) -> tuple[Any, np.ndarray]:
    """An operator and its matrix: definite, or not symmetric and complex."""
    if kind == "definite":
        A = kx.operators.Diffusion(1 + FIELD)
        return A, np.asarray(A.as_matrix())
    matrix = RNG.standard_normal((72, 72)) + 1j * RNG.standard_normal((72, 72))
    return kx.operators.Dense(matrix), matrix


@pytest.mark.parametrize("kind", ["definite", "general"])
def test_galerkin_start_is_the_projection(kind: str):
    A, matrix = matrices(kind)
    shape, dtype = A.in_structure.shape, matrix.dtype
    V = RNG.standard_normal((5, *shape)).astype(dtype)
    V[4] = V[0]  # a dependent vector does no harm
    b = RNG.standard_normal(shape).astype(dtype)
    x0 = np.asarray(GalerkinStart(jnp.asarray(V))(None, A, jnp.asarray(b))).ravel()
    basis = V.reshape(5, -1)[:4].T
    tests = basis if kind == "definite" else matrix @ basis
    residual = b.ravel() - matrix @ x0
    assert np.linalg.norm(tests.conj().T @ residual) <= 1e-8 * np.linalg.norm(tests)


def test_solutions_in_the_span_of_solved_ones_take_no_steps():
    A = kx.operators.Diffusion(1 + FIELD)
    rhs = jnp.asarray(RNG.standard_normal((3, *SHAPE)))

    def with_weights(w: Any) -> Any:
        return A, jnp.tensordot(w, rhs, axes=1)

    weights = jnp.asarray(RNG.standard_normal((7, 3)))
    solved = solve_batch(with_weights, weights[:3], kx.solvers.CG(rtol=1e-13))
    start = GalerkinStart(pod_basis(solved.value, 3))
    found = solve_batch(with_weights, weights[3:], CG, start=start)
    assert found.stats.num_steps.tolist() == [0] * 4
    assert found.status.tolist() == [0] * 4


def test_pod_basis_is_that_of_the_singular_values():
    snapshots = RNG.standard_normal((6, 20)) * 10.0 ** -np.arange(6)[:, None]
    V = np.asarray(pod_basis(snapshots, 3))
    np.testing.assert_allclose(V @ V.T, np.eye(3), atol=1e-10)
    rest = snapshots - (snapshots @ V.T) @ V
    tail = np.linalg.svd(snapshots, compute_uv=False)[3:]
    np.testing.assert_allclose(np.linalg.norm(rest), np.linalg.norm(tail), rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "size"), [("float32", 1e30), ("float32", 1e-30), ("float64", 1e200)]
)
def test_pod_basis_is_orthonormal_in_any_units(dtype: str, size: float):
    left, right = (np.linalg.qr(RNG.standard_normal((n, 4)))[0] for n in (4, 20))
    ratio = np.sqrt(10 * np.finfo(dtype).eps)
    snapshots = ((left * [1, 0.1, 0.01, ratio]) @ right.T * size).astype(dtype)
    V = np.asarray(pod_basis(snapshots, 4))
    np.testing.assert_allclose(V @ V.T, np.eye(4), atol=tolerance(10, dtype))
    # The span of the first modes is that of the singular vectors.
    outside = V[:3] - (V[:3] @ right) @ right.T
    assert np.linalg.norm(outside) <= 0.01


def test_pod_basis_of_dependent_snapshots_ends_in_zeros():
    V = np.asarray(pod_basis(np.ones((4, 9)), 3))
    np.testing.assert_allclose(np.linalg.norm(V, axis=1), [1, 0, 0], atol=1e-12)


@pytest.mark.parametrize("num_modes", [0, 5])
def test_number_of_modes_out_of_range_is_refused(num_modes: int):
    with pytest.raises(ValueError, match="num_modes must be from 1 to"):
        pod_basis(np.ones((4, 9)), num_modes)


def test_clusters_are_blobs_with_a_member_in_the_middle():
    centres = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    truth = np.arange(30) % 3
    found = cluster(centres[truth] + 0.1 * RNG.standard_normal((30, 2)), 3)
    assert sorted(truth[found.centres].tolist()) == [0, 1, 2]
    assert np.array_equal(truth, truth[found.centres][found.sources])


@pytest.mark.parametrize("num_clusters", [0, 4])
def test_number_of_clusters_out_of_range_is_refused(num_clusters: int):
    with pytest.raises(ValueError, match="num_clusters must be from 1 to"):
        cluster(np.ones((3, 1)), num_clusters)


def test_children_take_the_steps_of_their_parents_space():
    tree = SystemTree(np.array([2, 2, -1]), (np.array([2]), np.array([0, 1])))
    found = solve_tree(system, FACTORS[:3], tree, GCRODR)
    A, b = system(FACTORS[2])
    parent = kx.solve(A, b, GCRODR)
    expected = [steps_of(factor, parent.carry) for factor in FACTORS[:2]]
    assert found.stats.num_steps.tolist() == [*expected, int(parent.stats.num_steps)]


@pytest.mark.parametrize("num_lanes", [1, 3])
def test_tree_gives_the_solutions_in_the_order_of_the_parameters(num_lanes: int):
    tree = median_tree(np.asarray(FACTORS)[:, None])
    found = solve_tree(system, FACTORS, tree, CG, num_lanes=num_lanes)
    expected = solve_batch(system, FACTORS, CG)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6)
    assert found.stats.num_steps.tolist() == expected.stats.num_steps.tolist()


def test_start_from_the_parent_saves_steps():
    factors = jnp.linspace(1.0, 1.001, 6)
    tree = median_tree(np.asarray(factors)[:, None])
    found = solve_tree(system, factors, tree, CG, starts_from_parent=True)
    cold = solve_batch(system, factors, CG).stats.num_steps
    fewer = np.asarray(found.stats.num_steps) < np.asarray(cold)
    assert int(np.sum(fewer)) == 5  # all but the root


def test_tree_of_other_systems_is_refused():
    tree = median_tree(np.zeros((3, 1)))
    with pytest.raises(ValueError, match="the tree has 3 systems"):
        solve_tree(system, FACTORS, tree, CG)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": np.zeros(6, int)}, "give carry= or preconditioner="),
        ({"sources": np.zeros(6, int), "carry": FIELD}, "spaces that do not change"),
        ({"preconditioner": SEVERAL}, "need sources="),
        (
            {"sources": np.zeros(2, int), "recycle": "frozen", "carry": FIELD},
            "for each of the 6 systems, got 2",
        ),
        ({"num_lanes": 0}, "num_lanes must be at least 1"),
        ({"num_lanes": 2, "start": "previous"}, "one after the other"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: Any, message: str):
    with types_unchecked(), pytest.raises(ValueError, match=message):
        solve_batch(system, FACTORS, CG, **options)


def test_derivatives_over_lanes_and_starts_are_those_of_dense_solves():
    start = GalerkinStart(pod_basis(solve_batch(system, FACTORS, CG).value, 2))

    def total(factors: Any) -> Any:
        found = solve_batch(system, factors, CG, num_lanes=2, start=start)
        return jnp.sum(found.value**2)

    def dense(factors: Any) -> Any:
        def value(factor: Any) -> Any:
            A, b = system(factor)
            return jnp.sum(jnp.linalg.solve(A.as_matrix(), b.ravel()) ** 2)

        return jnp.sum(jax.vmap(value)(factors))

    found, expected = (jax.jit(jax.grad(f))(FACTORS) for f in (total, dense))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_several_preconditioners_of_different_structures_are_refused():
    A = kx.operators.Diffusion(1 + FIELD)
    with pytest.raises(ValueError, match="of the same structure"):
        Several([CHEAP(A), kx.solvers.Jacobi()(A)])
