"""Costs of relaxation factors by Young's formula, and what the tests tune on them."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import krylax as kx

T: Any = kx.solvers.tuning
LOW, HIGH = -0.15, 0.45
NUM_ARMS = 12
NUM_ROUNDS = 1500
SEEDS = (11, 12, 13, 14)


def arms(dtype: Any = jnp.float64, count: int = NUM_ARMS) -> Any:
    return jax.device_put(np.linspace(1.0, 1.95, count).astype(dtype))


def radius(context: Any) -> Any:
    """The Jacobi radius of the shifted Laplacian of 10 × 10 points."""
    return 4 * float(np.cos(np.pi / 11)) / (4 + context)


@cache
def table(num_rounds: int = NUM_ROUNDS) -> tuple[Any, Any]:
    """Contexts, and what every arm costs: the steps by theory, within some 5 %."""
    rng = np.random.default_rng(3)
    contexts = LOW + (HIGH - LOW) * rng.beta(2, 6, num_rounds)
    mu = radius(contexts)[:, None] * np.ones((1, NUM_ARMS))
    omegas = np.broadcast_to(arms(), mu.shape)
    steps = jax.jit(lambda w, mu: kx.solvers.sor_steps_bound(w, mu, 1e-8))(omegas, mu)
    costs = np.asarray(steps) * np.exp(0.05 * rng.standard_normal(steps.shape))
    return jax.device_put(contexts), jax.device_put(costs)


TUNERS: dict[str, Any] = {
    "tsallis": lambda a: T.TsallisINF(a),
    "tsallis_that_forgets": lambda a: T.TsallisINF(
        a, reduces_variance=True, discount=0.99
    ),
    "binned": lambda a: T.BinnedTsallis(T.TsallisINF(a), LOW, HIGH, 3),
    "cheb": lambda a: T.ChebCB(a, LOW, HIGH),
    "joint": lambda a: T.JointSurrogate(a, LOW, HIGH),
    "joint_between_arms": lambda a: T.JointSurrogate(a, LOW, HIGH, is_continuous=True),
    "joint_without_context": lambda a: T.JointSurrogate(a),
    "thompson": lambda a: T.GaussianThompson(a),
    "uniform": lambda a: T.Uniform(a),
    "young": lambda a: T.YoungOracle(a, radius),
}
LEARNING = [name for name in TUNERS if name not in ("uniform", "young")]


@cache
def runs(name: str) -> Any:
    """Traces of a tuner with four seeds, over the table."""
    contexts, costs = table()
    tuner = TUNERS[name](arms())

    def simulate(seed: Any) -> Any:
        return T.simulate(tuner, costs, key=jax.random.key(seed), contexts=contexts)

    return jax.jit(jax.vmap(simulate))(np.array(SEEDS))
