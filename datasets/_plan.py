"""The order in which systems are solved, and its cuts into segments.

A segment is a contiguous piece of the sorted order. Recycling starts anew in each
one, so its cuts are part of the configuration and never of the number of workers:
any number of workers, and a resumed run, compute the same numbers.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Int

from ._family import AbstractFamily

Ordering: TypeAlias = Literal["greedy", "two_opt", "hilbert", "kd", "none"]
ORDERINGS = get_args(Ordering)


@dataclass(frozen=True)
class Segment:
    """A piece of the sorted order: unit of recycling, work, file, commit and retry.

    Attributes:
        index: its place in the order, from 0.
        ids: the samples to solve, in this order.
    """

    index: int
    ids: tuple[int, ...]


def solve_order(
    family: AbstractFamily, num_samples: int, ordering: str
) -> Int[np.ndarray, " samples"]:
    """Return the ids of the samples in the order in which they are solved."""
    if ordering == "none":
        return np.arange(num_samples, dtype=np.int64)
    # The solvers import JAX, which `krylax --help` must not pay for.
    from ..solvers import sequences

    rows = [family.features(family.sample(i)) for i in range(num_samples)]
    features = np.stack(rows)
    if ordering == "hilbert":
        order = sequences.hilbert_order(sequences.principal_components(features, 3))
    elif ordering == "kd":
        order = sequences.kd_order(features)
    else:
        order = sequences.greedy_order(features)
    if ordering == "two_opt":
        order = sequences.two_opt(features, order)
    return np.asarray(order, np.int64)


def cut(order: Int[np.ndarray, " samples"], segment_size: int) -> list[Segment]:
    """Return the order cut into segments of `segment_size`, the last one shorter."""
    starts = range(0, len(order), segment_size)
    pieces = [order[start : start + segment_size].tolist() for start in starts]
    return [Segment(index, tuple(ids)) for index, ids in enumerate(pieces)]
