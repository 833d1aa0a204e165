"""What every tuner promises: pure, of fixed shapes, the same in a scan and a loop."""

from functools import cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from .tables import HIGH, LEARNING, LOW, NUM_ARMS, SEEDS, TUNERS, T, arms, runs, table

pytestmark = pytest.mark.usefixtures("as_users_run_it")
each_tuner = pytest.mark.parametrize("name", TUNERS)


ROUNDS = 60


@eqx.filter_jit
def simulate(tuner: Any, costs: Any, contexts: Any, seed: Any) -> Any:
    return T.simulate(tuner, costs, key=jax.random.key(seed), contexts=contexts)


def played(name: str, costs: Any = None, seed: int = 1) -> Any:
    """The first rounds of the table, or of other costs, by one program of a tuner."""
    contexts, known = (np.asarray(a)[:ROUNDS] for a in table())
    costs = known if costs is None else costs
    return simulate(TUNERS[name](arms()), costs, contexts, np.asarray(seed))


class Compiled(NamedTuple):
    """What a tuner does in a round."""

    init: Any
    ask: Any
    tell: Any


@cache
def compiled(name: str) -> Compiled:
    tuner = TUNERS[name](arms())
    return Compiled(
        jax.jit(lambda seed: tuner.init(jax.random.key(seed))),
        jax.jit(lambda state, context: tuner.ask(state, context)),
        jax.jit(lambda state, choice, cost: tuner.tell(state, choice, cost)),
    )


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
    contexts, costs = (a[:ROUNDS].astype(jnp.float32) for a in table())
    tuner = TUNERS[name](arms(jnp.float32))
    trace = eqx.filter_eval_shape(simulate, tuner, costs, contexts, np.asarray(1))
    assert trace.values.dtype == trace.costs.dtype == jnp.float32
    leaves = jax.tree.leaves(trace.state)
    assert all(leaf.dtype != jnp.float64 for leaf in leaves)


@each_tuner
def test_scan_does_what_a_loop_does(name: str):
    tuner, (contexts, costs) = compiled(name), map(np.asarray, table())
    state = tuner.init(1)
    chosen = []
    for i in range(30):
        choice, state = tuner.ask(state, contexts[i])
        chosen.append(float(choice.value))
        state = tuner.tell(state, choice, np.interp(chosen[-1], arms(), costs[i]))
    assert np.allclose(chosen, played(name).values[:30], rtol=1e-9)


@each_tuner
def test_many_side_by_side_are_each_alone(name: str):
    assert np.array_equal(played(name, seed=SEEDS[2]).arms, runs(name).arms[2, :ROUNDS])


@each_tuner
def test_costs_that_are_not_finite_do_no_harm(name: str):
    costs = np.array(table()[1][:ROUNDS])
    # Two arms diverge, and all of them in some rounds.
    costs[:, -1], costs[:, -2], costs[7::11] = np.nan, np.inf, np.nan
    trace = played(name, costs, seed=0)
    assert np.all(np.isfinite(trace.values))
    assert np.all(np.isfinite(np.asarray(trace.probabilities)))


@pytest.mark.parametrize("name", LEARNING)
def test_failure_before_any_cost_teaches_nothing(name: str):
    tuner = compiled(name)
    choice, state = tuner.ask(tuner.init(0), 0.1)
    assert equal(tuner.tell(state, choice, np.inf), state)


@pytest.mark.parametrize("name", ["tsallis", "cheb", "joint", "thompson"])
def test_failure_counts_more_than_the_dearest_success(name: str):
    tuner = compiled(name)
    choice, state = tuner.ask(tuner.init(0), 0.1)
    known = tuner.tell(state, choice, 40.0)
    failed = tuner.tell(known, choice, np.nan)
    dearer = tuner.tell(known, choice, 80.0)
    assert equal(failed, eqx.tree_at(largest_of, dearer, largest_of(failed)))


@each_tuner
@pytest.mark.parametrize("cost", [0.0, 1.0])
def test_costs_that_are_all_the_same_do_no_harm(name: str, cost: float):
    trace = played(name, np.full((ROUNDS, NUM_ARMS), cost), seed=0)
    assert np.all(np.isfinite(np.asarray(trace.probabilities)))


@pytest.mark.parametrize("name", ["binned", "cheb", "joint"])
def test_context_out_of_range_counts_as_the_end(name: str):
    state = jax.tree.map(lambda leaf: leaf[0], runs(name).state)
    beyond, high, low = (
        compiled(name).ask(state, context)[0].probabilities
        for context in (HIGH + 0.1, HIGH, LOW)
    )
    assert np.array_equal(beyond, high)
    assert not np.array_equal(high, low)


@pytest.mark.parametrize("name", ["tsallis", "binned", "cheb"])
def test_state_without_evidence_is_a_fresh_one(name: str):
    forgotten = TUNERS[name](arms()).discount(played(name).state, 0.0)
    tuner = compiled(name)
    both = (tuner.ask(s, 0.1)[0] for s in (forgotten, tuner.init(0)))
    assert np.allclose(*(choice.probabilities for choice in both))


@each_tuner
def test_saved_state_goes_on_bit_for_bit(name: str, tmp_path: Any):
    state = played(name).state
    T.save(tmp_path / "state", state)
    loaded = T.load(tmp_path / "state", compiled(name).init(9))
    assert equal(loaded, state)


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
        "num_features must be at least 1",
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
