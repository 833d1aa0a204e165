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
