"""The order in which systems are solved."""

from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Int

from ._draws import Draws

Ordering: TypeAlias = Literal["greedy", "two_opt", "hilbert", "kd", "none"]
ORDERINGS = get_args(Ordering)


def solve_order(
    draws: Draws, num_samples: int, ordering: str
) -> Int[np.ndarray, " samples"]:
    """Return the ids of the samples in the order in which they are solved."""
    if ordering == "none":
        return np.arange(num_samples, dtype=np.int64)
    # The solvers import JAX, which `krylax --help` must not pay for.
    from ...solvers import sequences

    features = draws.features(num_samples)
    if ordering == "hilbert":
        order = sequences.hilbert_order(sequences.principal_components(features, 3))
    elif ordering == "kd":
        order = sequences.kd_order(features)
    else:
        order = sequences.greedy_order(features)
    if ordering == "two_opt":
        order = sequences.two_opt(features, order)
    return np.asarray(order, np.int64)
