"""The certificate is of b - A x, whatever a solver claims of its result."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.solvers.core._history import history_from
from krylax.solvers.core._solver import AbstractSolver, Outcome

from ..helpers import tolerance

RTOL = 1e-6
VALUES = np.linspace(1.0, 4.0, 8)


class Claims(AbstractSolver):
    """Returns (1 - miss) A⁻¹ b, whose relative residual is `miss`, as converged."""

    miss: Any = 0.0
    rtol: float = RTOL
    atol: float = 0.0
    max_steps: int = 1
    inner_product: kx.solvers.InnerProduct = kx.solvers.InnerProduct()

    def start(self, system: Any, carry: Any) -> Any:
        del carry
        return system.b

    def advance(self, system: Any, state: Any, until: Any) -> Any:
        del system, until
        return state

    def finish(self, system: Any, state: Any) -> Outcome:
        zero = jnp.zeros((), jnp.int32)
        return Outcome(
            value=(1 - self.miss) * state / VALUES,
            residual=jnp.zeros(()),
            is_certified=jnp.zeros((), bool),
            status=jnp.asarray(kx.Status.converged, jnp.int32),
            num_steps=zero,
            num_matvecs=zero,
            num_preconditioner_calls=zero,
            history=history_from(jnp.ones(()), self.max_steps),
        )


def certified(miss: float) -> kx.Solution:
    A = kx.operators.Diagonal(VALUES, tags="positive_definite")
    b = jnp.cos(jnp.arange(8.0))
    return kx.solve(A, b, Claims(miss=jnp.asarray(miss)), throw=False)


@pytest.mark.parametrize("miss", [0.5 * RTOL, 2 * RTOL, 0.1])
def test_reported_residual_is_that_of_the_result_and_not_the_claimed_one(miss: float):
    reported = float(certified(miss).stats.relative_residual)
    assert reported == pytest.approx(miss, abs=tolerance(1, "float64"))


def test_result_within_the_tolerance_is_converged():
    assert certified(0.99 * RTOL).status == kx.Status.converged


@pytest.mark.parametrize("factor", [1.01, 2.0, 9.0, 1e4])
def test_result_that_misses_the_tolerance_is_not_converged(factor: float):
    assert certified(factor * RTOL).status == kx.Status.stagnated


@pytest.mark.parametrize(
    ("dtype", "entry", "b"),
    [
        ("float64", 1e-200, 1e300),
        ("float64", 1.0, 1e-310),
        ("float64", 1e200, 1e-120),
        ("float32", 1e-10, 1e30),
        ("float32", 1e5, 1e-34),
        ("complex64", 1.0, 1e-40),
    ],
)
def test_solution_beyond_the_dtype_is_not_called_converged(
    dtype: str, entry: float, b: float
):
    A = kx.operators.Dense(np.diag(np.full(3, entry, dtype)))
    # NumPy's and not JAX's, which is free to read tiny numbers as zero.
    found = kx.solve(A, np.full(3, b, dtype), kx.solvers.GMRES(1e-5), throw=False)
    assert found.status == kx.Status.nonfinite


def test_part_of_b_in_the_null_space_counts_in_the_residual():
    A = kx.operators.Laplacian((16,), boundary="neumann", nullspace="constant")
    b = np.cos(np.pi * (np.arange(16) + 0.5) / 16)
    b = b + 9e-3 * np.linalg.norm(b) / 4
    found = kx.solve(A, b, kx.solvers.CG(rtol=1e-2))
    slopes: Any = np.pad(np.diff(np.asarray(found.value)), 1)
    true = np.linalg.norm(b + np.diff(slopes)) / np.linalg.norm(b)
    assert float(found.stats.relative_residual) == pytest.approx(true)
    assert true >= 8.9e-3


def test_residual_at_rounding_level_is_attained_and_no_failure():
    A = kx.operators.Laplacian((64, 64), spacing=1 / 65, dtype=jnp.float32)
    b = np.ones((64, 64), np.float32)
    found = kx.solve(A, b, kx.solvers.CG(), preconditioner=kx.solvers.Multigrid())
    assert found.status == kx.Status.attained
    assert found.stats.relative_residual <= found.stats.attainable
    # 4 eps ‖A‖ ‖x‖ / ‖b‖, of which the power method finds ‖A‖ = 8/h² from below.
    size = 8 * 65**2 * np.linalg.norm(found.value) / np.linalg.norm(b)
    expected = 4 * np.finfo(np.float32).eps * (size + 1)
    assert expected / 2 <= found.stats.attainable <= 1.01 * expected


def test_statistics_have_the_history_without_what_was_not_reached():
    A = kx.operators.Laplacian((2000,))
    b = np.random.default_rng(0).standard_normal(2000)
    stats = kx.solve(A, b, kx.solvers.CG(rtol=1e-8)).stats
    assert stats.history_stride > 1
    last = int(stats.num_steps) - stats.steps[-1]
    assert 0 <= last < int(stats.history_stride)
    assert stats.steps.shape == stats.residuals.shape
    assert np.all(np.isfinite(stats.residuals))
