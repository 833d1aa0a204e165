"""What every tuner promises: pure, of fixed shapes, the same in a scan and a loop."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from .tables import HIGH, LEARNING, LOW, NUM_ARMS, TUNERS, T, arms, runs, table

pytestmark = pytest.mark.usefixtures("as_users_run_it")
each_tuner = pytest.mark.parametrize("name", TUNERS)


def played(tuner: Any, num_rounds: int, dtype: Any = jnp.float64) -> Any:
    contexts, costs = (a[:num_rounds].astype(dtype) for a in table())
    return T.simulate(tuner, costs, key=jax.random.key(1), contexts=contexts)


def largest_of(state: Any) -> Any:
    """The largest cost that a state has seen."""
    return getattr(state, "evidence", state).largest


def equal(x: Any, y: Any) -> bool:
    """Whether two states are the same, bit for bit."""
    plain = [
        jax.random.key_data(leaf)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else leaf
        for leaf in jax.tree.leaves((x, y))
    ]
    half = len(plain) // 2
    pairs = zip(plain[:half], plain[half:], strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


@each_tuner
def test_probabilities_sum_to_one(name: str):
    sums = np.asarray(runs(name).probabilities).sum(axis=-1)
    assert np.max(np.abs(sums - 1)) <= 1e-12


@each_tuner
def test_arm_is_the_one_of_the_value(name: str):
    trace = runs(name)
    width = float(arms()[1] - arms()[0])
    assert np.all(np.abs(arms()[trace.arms] - trace.values) <= 1.001 * width)


@each_tuner
def test_single_precision_stays_single(name: str):
    trace = played(TUNERS[name](arms(jnp.float32)), 60, jnp.float32)
    assert trace.values.dtype == trace.costs.dtype == jnp.float32
    leaves = jax.tree.leaves(trace.state)
    assert all(leaf.dtype != jnp.float64 for leaf in leaves)


@each_tuner
def test_scan_does_what_a_loop_does(name: str):
    tuner, (contexts, costs) = TUNERS[name](arms()), table()
    ask, tell = jax.jit(lambda *a: tuner.ask(*a)), jax.jit(lambda *a: tuner.tell(*a))
    state = tuner.init(jax.random.key(1))
    chosen = []
    for i in range(30):
        choice, state = ask(state, contexts[i])
        chosen.append(float(choice.value))
        cost = jnp.interp(choice.value, tuner.arms, costs[i])
        state = tell(state, choice, cost)
    expected = np.asarray(played(tuner, 30).values)
    assert np.allclose(chosen, expected, rtol=1e-9)


@each_tuner
def test_many_side_by_side_are_each_alone(name: str):
    contexts, costs = table()
    tuner = TUNERS[name](arms())
    alone = T.simulate(
        tuner,
        costs[:40],
        key=jax.random.split(jax.random.key(11), 4)[2],
        contexts=contexts[:40],
    )
    assert np.array_equal(alone.arms, runs(name).arms[2, :40])


@each_tuner
def test_costs_that_are_not_finite_do_no_harm(name: str):
    tuner = TUNERS[name](arms())
    contexts, costs = table()
    # The last two arms diverge.
    costs = costs[:300].at[:, -1].set(jnp.nan).at[:, -2].set(jnp.inf)
    trace = T.simulate(tuner, costs, key=jax.random.key(0), contexts=contexts[:300])
    assert np.all(np.isfinite(trace.values))
    assert np.all(np.isfinite(np.asarray(trace.probabilities)))


@pytest.mark.parametrize("name", LEARNING)
def test_failure_before_any_cost_teaches_nothing(name: str):
    tuner = TUNERS[name](arms())
    choice, state = tuner.ask(tuner.init(jax.random.key(0)), 0.1)
    assert equal(tuner.tell(state, choice, jnp.inf), state)


@pytest.mark.parametrize("name", ["tsallis", "cheb", "joint", "thompson"])
def test_failure_counts_more_than_the_dearest_success(name: str):
    tuner = TUNERS[name](arms())
    choice, state = tuner.ask(tuner.init(jax.random.key(0)), 0.1)
    known = tuner.tell(state, choice, 40.0)
    failed = tuner.tell(known, choice, jnp.nan)
    assert equal(
        failed,
        eqx.tree_at(
            lambda s: largest_of(s), tuner.tell(known, choice, 80.0), largest_of(failed)
        ),
    )


@each_tuner
@pytest.mark.parametrize("cost", [0.0, 1.0])
def test_costs_that_are_all_the_same_do_no_harm(name: str, cost: float):
    costs = jnp.full((50, NUM_ARMS), cost)
    contexts = jnp.full(50, 0.1)
    trace = T.simulate(
        TUNERS[name](arms()), costs, key=jax.random.key(0), contexts=contexts
    )
    assert np.all(np.isfinite(np.asarray(trace.probabilities)))


@pytest.mark.parametrize("name", ["binned", "cheb", "joint"])
def test_context_out_of_range_counts_as_the_end(name: str):
    tuner = TUNERS[name](arms())
    state = played(tuner, 200).state
    ask = jax.jit(lambda context: tuner.ask(state, context)[0].probabilities)
    assert np.array_equal(ask(HIGH + 0.1), ask(HIGH))
    assert not np.array_equal(ask(HIGH), ask(LOW))


@pytest.mark.parametrize("name", ["tsallis", "binned", "cheb"])
def test_state_without_evidence_is_a_fresh_one(name: str):
    tuner = TUNERS[name](arms())
    forgotten = tuner.discount(played(tuner, 40).state, 0.0)
    both = (tuner.ask(s, 0.1)[0] for s in (forgotten, tuner.init(jax.random.key(0))))
    assert np.allclose(*(choice.probabilities for choice in both))


@each_tuner
def test_saved_state_goes_on_bit_for_bit(name: str, tmp_path: Any):
    tuner = TUNERS[name](arms())
    contexts, costs = table()
    first = T.simulate(tuner, costs[:30], key=jax.random.key(1), contexts=contexts[:30])
    T.save(tmp_path / "state", first.state)
    loaded = T.load(tmp_path / "state", tuner.init(jax.random.key(9)))
    assert equal(loaded, first.state)


def test_state_of_another_tuner_is_refused(tmp_path: Any):
    T.save(tmp_path / "state", T.TsallisINF(arms()).init(jax.random.key(0)))
    other = T.TsallisINF(arms(count=5)).init(jax.random.key(0))
    with pytest.raises(ValueError, match="does not hold a state like the one given"):
        T.load(tmp_path / "state", other)


def test_damaged_file_is_refused(tmp_path: Any):
    state = T.TsallisINF(arms()).init(jax.random.key(0))
    T.save(tmp_path / "state", state)
    whole = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="does not hold a state"):
        T.load(tmp_path / "state", state)


WRONG: dict[str, tuple[Any, str]] = {
    "arms_descending": (lambda: T.TsallisINF(arms()[::-1]), "ascending finite"),
    "no_arm": (lambda: T.Uniform(jnp.ones(0)), "ascending finite"),
    "one_arm": (lambda: T.JointSurrogate(jnp.ones(1)), "at least two arms"),
    "discount": (lambda: T.TsallisINF(arms(), discount=0.0), "discount must be above"),
    "rate": (lambda: T.TsallisINF(arms(), rate=-1.0), "rate must be positive"),
    "interval": (lambda: T.ChebCB(arms(), 1.0, 0.0), "low must be below high"),
    "bins": (
        lambda: T.BinnedTsallis(T.TsallisINF(arms()), 0.0, 1.0, 0),
        "num_bins must be at least 1",
    ),
    "features": (
        lambda: T.ChebCB(arms(), 0.0, 1.0, num_features=0),
        "num_features must be positive",
    ),
    "index": (lambda: T.Fixed(arms(), NUM_ARMS), "index must be from 0 to"),
    "context": (
        lambda: T.ChebCB(arms(), LOW, HIGH).ask(
            T.ChebCB(arms(), LOW, HIGH).init(jax.random.key(0))
        ),
        "needs a context, got none",
    ),
    "table": (
        lambda: T.simulate(T.Uniform(arms()), jnp.ones((5, 3)), key=jax.random.key(0)),
        "a column for each of the 12 arms",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_are_refused_with_the_reason(case: str):
    call, sentence = WRONG[case]
    with pytest.raises(ValueError, match=sentence):
        call()
