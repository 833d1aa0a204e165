"""A stream of systems whose relaxation factor is tuned as they come."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import types_unchecked
from .tables import HIGH, LOW, TUNERS, T, arms

S: Any = kx.solvers
NUM_SYSTEMS = 60
SHIFTS = np.linspace(0.0, 0.4, NUM_SYSTEMS)
RTOL = 1e-6


def system(shift: Any) -> Any:
    A = kx.operators.Laplacian((6, 5))
    b = jnp.sin(jnp.arange(30.0).reshape(6, 5) ** 2)
    return A + shift * kx.operators.Identity(A.in_structure), b


def relaxed(omega: Any) -> Any:
    return T.Method(S.SOR(RTOL, omega=omega))


def diverging(omega: Any) -> Any:
    """Beyond ω = 1.6 no method at all."""
    return T.Method(S.SOR(RTOL, omega=jnp.where(omega > 1.6, 2.2, omega)))


SAFE = T.Method(S.SOR(RTOL, omega=1.0))
TUNER = T.JointSurrogate(arms(), LOW, HIGH)
UNIFORM = T.Uniform(arms())


def tuned(**options: Any) -> Any:
    settings: dict[str, Any] = {
        "system": system,
        "parameters": SHIFTS,
        "method": relaxed,
        "tuner": TUNER,
        "key": jax.random.key(0),
        "contexts": jnp.asarray(SHIFTS),
    }
    return T.tune_sequence(**(settings | options))


@cache
def plain() -> Any:
    return tuned(keep_solutions=True)


def test_every_system_is_solved_and_certified():
    found = plain()
    assert np.all(found.status == kx.Status.converged)
    residuals = [
        np.linalg.norm(b - np.asarray(A @ x)) / np.linalg.norm(b)
        for (A, b), x in zip(map(system, SHIFTS), found.solutions, strict=True)
    ]
    assert np.max(residuals) <= RTOL


def test_costs_are_the_steps_of_single_solves():
    found = plain()
    A, b = system(SHIFTS[7])
    alone = kx.solve(A, b, S.SOR(RTOL, omega=found.values[7]))
    assert int(found.costs[7]) == int(found.num_steps[7]) == int(alone.stats.num_steps)


def test_late_systems_cost_less_than_at_random():
    late = slice(NUM_SYSTEMS // 2, None)
    assert plain().costs[late].mean() < 0.8 * tuned(tuner=UNIFORM).costs[late].mean()


def test_two_halves_are_the_whole_bit_for_bit(tmp_path: Any):
    half = NUM_SYSTEMS // 2
    first = tuned(parameters=SHIFTS[:half], contexts=jnp.asarray(SHIFTS[:half]))
    T.save(tmp_path / "state", first.state)
    second = tuned(
        parameters=SHIFTS[half:],
        contexts=jnp.asarray(SHIFTS[half:]),
        key=None,
        state=T.load(tmp_path / "state", first.state),
    )
    whole = plain()
    for name in ("values", "costs", "num_steps", "probabilities"):
        halves = np.concatenate([getattr(first, name), getattr(second, name)])
        assert np.array_equal(halves, getattr(whole, name))


def test_another_sequence_starts_from_what_was_learnt():
    learnt = TUNER.discount(plain().state.learnt, 0.5)
    warm = tuned(key=None, learnt=learnt)
    assert warm.costs[:15].mean() < plain().costs[:15].mean()


def test_feedback_of_the_history_speeds_up_learning():
    told = tuned(feedback=T.YoungFeedback(RTOL))
    assert np.all(told.status == kx.Status.converged)
    assert told.costs.mean() < plain().costs.mean()


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_backstop_bounds_what_diverging_arms_cost(factor: float):
    found = tuned(method=diverging, tuner=UNIFORM, backstop=T.Backstop(SAFE, factor))
    safe = tuned(method=lambda _: SAFE)
    assert np.all(found.status == kx.Status.converged)
    assert np.any(found.is_cut_off)
    assert float(found.costs.sum()) <= (1 + factor) * float(safe.costs.sum())


def test_arms_that_diverge_fail_without_a_backstop():
    found = tuned(method=diverging, tuner=UNIFORM)
    assert np.any(found.status == kx.Status.diverged)
    assert np.all(np.isfinite(found.costs))


@pytest.mark.parametrize("name", ["cheb", "joint", "thompson"])
def test_arms_that_fail_quickly_are_not_taken_for_cheap(name: str):
    def method(omega: Any) -> Any:
        # ω = 50 overflows all bounds within some eight steps.
        return T.Method(S.SOR(RTOL, omega=jnp.where(omega > 1.6, 50.0, omega)))

    found = tuned(method=method, tuner=TUNERS[name](arms()))
    is_failure = np.asarray(found.status != kx.Status.converged)
    assert found.num_steps[is_failure].mean() < found.num_steps[~is_failure].mean()
    assert is_failure[NUM_SYSTEMS // 2 :].mean() <= 0.1


def test_cost_of_a_step_is_the_methods():
    twice = tuned(method=lambda w: T.Method(S.SOR(RTOL, omega=w), work=2.5))
    assert np.array_equal(twice.costs, 2.5 * np.asarray(twice.num_steps))


def test_preconditioners_are_tuned_as_well():
    def method(omega: Any) -> Any:
        return T.Method(S.CG(RTOL), S.SSOR(omega))

    found = tuned(method=method)
    assert np.all(found.status == kx.Status.converged)


def heat(k: Any, u: Any) -> Any:
    """An implicit step of (1 + k/10 · -Δ) u' = u."""
    A = 0.1 * k * kx.operators.Laplacian((6, 5))
    return A + kx.operators.Identity(A.in_structure), u


def test_time_stepping_goes_on_from_the_last_solution():
    initial = jnp.ones((6, 5))
    steps = jnp.linspace(1.0, 2.0, 5)
    found = tuned(
        system=heat,
        parameters=steps,
        contexts=steps,
        initial=initial,
        keep_solutions=True,
    )
    u = np.ones(30)
    for k in steps:
        u = np.linalg.solve(np.asarray(heat(k, initial)[0].as_matrix()), u)
    error = np.linalg.norm(found.solutions[-1].ravel() - u) / np.linalg.norm(u)
    assert error <= 10 * RTOL


def test_systems_that_take_no_steps_teach_nothing():
    found = tuned(system=lambda s: (system(s)[0], jnp.zeros((6, 5))))
    assert np.all(found.num_steps == 0)
    assert np.array_equal(found.state.learnt.gram, TUNER.init(jax.random.key(0)).gram)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "contexts": ({"contexts": jnp.ones(3)}, "one number for each of the 60 systems"),
    "key": ({"key": None}, r"give key=jax\.random\.key"),
    "parameters": ({"parameters": jnp.ones(())}, "along their first axis"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_refused_with_the_reason(case: str):
    change, sentence = WRONG[case]
    with pytest.raises(ValueError, match=sentence):
        tuned(**change)


def test_state_holds_what_was_learnt():
    with pytest.raises(ValueError, match="leave out learnt"):
        tuned(state=plain().state, learnt=plain().state.learnt)


def test_factor_below_one_is_refused():
    with pytest.raises(ValueError, match="factor must be at least 1"):
        T.Backstop(SAFE, 0.5)


def test_method_without_a_solver_is_refused():
    with types_unchecked(), pytest.raises(TypeError, match="Method needs a solver"):
        T.Method(S.Jacobi())
