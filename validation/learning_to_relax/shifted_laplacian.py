"""The paper's basic problem: a small Laplacian with random shifts, solved by SOR.

A = A₀ + c I with A₀ the 5-point Laplacian, diagonal 4, of 10 × 10 points, c = 0.6 β -
0.15 with β from a Beta law, and b a normal vector that is drawn again until ‖b‖ ≤ √n.
Costs are steps of SOR in natural order from zero to ‖r‖ ≤ 1e-8 ‖b‖, of which a table is
made for all instances and relaxation factors: in NumPy and all lanes at once, without
the library, so that a comparison with its solver tells.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

NUM_POINTS = 10
RTOL = 1e-8
MAX_STEPS = 10_000
LAWS = {"low": (2.0, 6.0), "high": (0.5, 1.5)}
LOW, HIGH = -0.15, 0.45
ARMS = np.linspace(1.0, 1.95, 20)


class Instances(NamedTuple):
    """Systems by their shifts and right-hand sides."""

    shifts: Float[np.ndarray, " systems"]
    b: Float[np.ndarray, "systems n"]


def sample(law: str, count: int, seed: int) -> Instances:
    """Return random instances.

    Args:
        law: "low" or "high" variance of the shifts.
        count: how many.
        seed: of the draws.
    """
    rng = np.random.default_rng([seed, sorted(LAWS).index(law)])
    shifts = LOW + (HIGH - LOW) * rng.beta(*LAWS[law], count)
    n = NUM_POINTS**2
    b = rng.standard_normal((count, n))
    while (is_long := np.sum(b**2, axis=1) > n).any():
        b[is_long] = rng.standard_normal((is_long.sum(), n))
    return Instances(shifts, b)


def jacobi_radius(shift: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return the spectral radius of the Jacobi iteration."""
    return 4 * np.cos(np.pi / (NUM_POINTS + 1)) / (4 + shift)


def count_steps(
    instances: Instances, omegas: Float[np.ndarray, "systems arms"]
) -> Int[np.ndarray, "systems arms"]:
    """Return the steps that SOR takes for every instance at each of its factors."""
    count, num_arms = omegas.shape
    # Lanes that take about as long next to each other.
    order = np.argsort(instances.shifts, kind="stable")
    steps = np.empty((count, num_arms), np.int64)
    for part in np.array_split(order, max(1, count // 500)):
        b = np.repeat(instances.b[part], num_arms, axis=0)
        shifts = np.repeat(instances.shifts[part], num_arms)
        found = _count(b.T, 4 + shifts, omegas[part].ravel())
        steps[part] = found.reshape(len(part), num_arms)
    return steps


def _count(b: np.ndarray, diagonal: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """Steps of each lane; a lane is a column of b."""
    lanes = np.arange(b.shape[1])
    target = RTOL * np.linalg.norm(b, axis=0)
    steps = np.full(len(lanes), MAX_STEPS)
    r = b.reshape(NUM_POINTS, NUM_POINTS, -1).copy()
    for step in range(1, MAX_STEPS):
        r = _step(r, diagonal, omega)
        has_met = np.sqrt(np.einsum("ijk,ijk->k", r, r)) <= target
        if has_met.any():
            steps[lanes[has_met]] = step
            r, lanes = r[:, :, ~has_met], lanes[~has_met]
            diagonal, omega, target = (a[~has_met] for a in (diagonal, omega, target))
        if not lanes.size:
            break
    return steps


def _step(r: np.ndarray, diagonal: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """The residual after a sweep: (D/ω + L) d = r, then ((1/ω - 1) D - U) d."""
    d = np.zeros((NUM_POINTS + 1, NUM_POINTS + 1, r.shape[2]))
    scale = omega / diagonal
    # d stands one place further on, so that there is a zero before it.
    for i in range(1, NUM_POINTS + 1):
        for j in range(1, NUM_POINTS + 1):
            d[i, j] = scale * (r[i - 1, j - 1] + d[i - 1, j] + d[i, j - 1])
    after = ((1 / omega - 1) * diagonal) * d[1:, 1:]
    after[:-1] += d[2:, 1:]
    after[:, :-1] += d[1:, 2:]
    return after
