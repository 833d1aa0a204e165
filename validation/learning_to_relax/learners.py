"""The learners of the comparison, and what a run of one is summed up to."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from shifted_laplacian import ARMS, HIGH, LOW

from krylax.solvers import tuning

NUM_BINS = 5
"""The paper's."""
FORGETS = 0.998
"""Discount per round where the law drifts: 500 rounds count."""
NUM_POINTS_OF_CURVES = 40


class Runs(NamedTuple):
    """Problems by trial and round."""

    costs: Float[np.ndarray, "trials rounds arms"]
    contexts: Float[np.ndarray, "trials rounds"]
    # What Young's factor for the context costs.
    young: Float[np.ndarray, "trials rounds"]


def stationary() -> dict[str, Any]:
    """Return the learners for one law."""
    arms = jnp.asarray(ARMS)
    tsallis = tuning.TsallisINF(arms)
    return {
        "Uniform": tuning.Uniform(arms),
        "TsallisINF": tsallis,
        "TsallisINF, reduced variance": tuning.TsallisINF(arms, reduces_variance=True),
        "GaussianThompson": tuning.GaussianThompson(arms),
        "BinnedTsallis": tuning.BinnedTsallis(tsallis, LOW, HIGH, NUM_BINS),
        "ChebCB": tuning.ChebCB(arms, LOW, HIGH),
        "JointSurrogate": tuning.JointSurrogate(arms, LOW, HIGH),
        "JointSurrogate, continuous": tuning.JointSurrogate(
            arms, LOW, HIGH, is_continuous=True
        ),
    }


def drifting() -> dict[str, Any]:
    """Return those that may forget, with and without."""
    arms = jnp.asarray(ARMS)
    learners = {}
    for name, discount in (("", 1.0), (f", discount {FORGETS}", FORGETS)):
        tsallis = tuning.TsallisINF(arms, discount=discount)
        learners |= {
            f"TsallisINF{name}": tsallis,
            f"GaussianThompson{name}": tuning.GaussianThompson(arms, discount=discount),
            f"BinnedTsallis{name}": tuning.BinnedTsallis(tsallis, LOW, HIGH, NUM_BINS),
            f"ChebCB{name}": tuning.ChebCB(arms, LOW, HIGH, discount=discount),
            f"JointSurrogate{name}": tuning.JointSurrogate(
                arms, LOW, HIGH, discount=discount
            ),
        }
    return learners


def play(tuner: Any, runs: Runs, seed: int) -> Float[np.ndarray, "trials rounds"]:
    """Return what a learner pays in every trial."""
    keys = jax.random.split(jax.random.key(seed), len(runs.costs))

    def one(key: Any, costs: Any, contexts: Any) -> Any:
        return tuning.simulate(tuner, costs, key=key, contexts=contexts).costs

    return np.asarray(jax.jit(jax.vmap(one))(keys, runs.costs, runs.contexts))


def references(runs: Runs) -> dict[str, Float[np.ndarray, "trials rounds"]]:
    """Return what is paid by those that do not learn."""
    fixed = {
        f"ω = {omega:g}": runs.costs[:, :, np.abs(ARMS - omega).argmin()]
        for omega in (1.0, 1.2, 1.4, 1.6, 1.8)
    }
    return fixed | {
        "best fixed": best_fixed(runs),
        "instance-optimal": np.min(runs.costs, axis=2),
        "Young's ω*(c)": runs.young,
    }


def best_fixed(runs: Runs) -> Float[np.ndarray, "trials rounds"]:
    """Return what each trial's cheapest arm over all rounds costs."""
    best = np.argmin(np.mean(runs.costs, axis=1), axis=1)
    return np.take_along_axis(runs.costs, best[:, None, None], axis=2)[..., 0]


def summary(
    paid: Float[np.ndarray, "trials rounds"], runs: Runs, windows: dict[str, slice]
) -> dict[str, Any]:
    """Return means over trials, by windows of rounds, and the curve of the regret."""
    fixed, optimal = best_fixed(runs), np.min(runs.costs, axis=2)
    means = np.mean(paid, axis=1)
    rounds = curve_rounds(paid.shape[1])
    regret = np.mean(np.cumsum(paid - optimal, axis=1), axis=0)
    ratios = {
        name: {
            "mean": float(np.mean(paid[:, window])),
            "to_fixed": float(np.mean(paid[:, window]) / np.mean(fixed[:, window])),
            "to_optimal": float(np.mean(paid[:, window]) / np.mean(optimal[:, window])),
        }
        for name, window in windows.items()
    }
    return {
        "windows": ratios,
        "spread": float(np.std(means)),
        "below_fixed": float(np.mean(means < np.mean(fixed, axis=1))),
        "regret": [round(float(r), 1) for r in regret[rounds - 1]],
    }


def curve_rounds(num_rounds: int) -> np.ndarray:
    """Return the rounds of which curves tell."""
    spaced = np.geomspace(10, num_rounds, NUM_POINTS_OF_CURVES)
    return np.unique(spaced.round().astype(int))
