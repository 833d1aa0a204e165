"""The paper's basic problem: a small Laplacian with random shifts, solved by SOR.

A = A₀ + c I with A₀ the 5-point Laplacian, diagonal 4, of 10 × 10 points, c = 0.6 β -
0.15 with β from a Beta law, and b a normal vector that is drawn again until ‖b‖ ≤ √n.
Costs are steps of SOR in natural order from zero to ‖r‖ ≤ 1e-8 ‖b‖, of which a table is
made for all instances and relaxation factors, many lanes at once. It shares no code
with the library's solver, so that a comparison of the two tells; the library is asked
only which lanes take about as long.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from krylax.solvers import sor_radius

NUM_POINTS = 10
RTOL = 1e-8
MAX_STEPS = 10_000
LAWS = {"low": (2.0, 6.0), "high": (0.5, 1.5)}
LOW, HIGH = -0.15, 0.45
ARMS = np.linspace(1.0, 1.95, 20)
NUM_LANES = 128
"""Solved together; with 256, that leave the cache, a step per lane takes longer."""


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
    num_systems, num_arms = omegas.shape
    system = np.repeat(np.arange(num_systems), num_arms)
    omega, shift = omegas.ravel(), instances.shifts[system]
    # Lanes that take about as long next to each other: a batch waits for its slowest.
    radius = jnp.asarray(jacobi_radius(shift))
    order = np.argsort(np.asarray(sor_radius(jnp.asarray(omega), radius)))
    steps = np.empty(omega.size, np.int64)
    for start in range(0, omega.size, NUM_LANES):
        part = order[start : start + NUM_LANES]
        # Of one size, so that there is one program.
        filled = np.resize(part, NUM_LANES)
        lanes = _lanes(instances.b[system[filled]], shift[filled], omega[filled])
        steps[part] = np.asarray(_count(lanes))[: part.size]
    return steps.reshape(omegas.shape)


class Lanes(NamedTuple):
    """Systems, one per lane; fields are stored by anti-diagonals, padded by zeros."""

    r: Float[Array, "fronts rows lanes"]
    diagonal: Float[Array, " lanes"]
    omega: Float[Array, " lanes"]


class Progress(NamedTuple):
    """The carry of the iteration."""

    step: Int[Array, ""]
    r: Float[Array, "fronts rows lanes"]
    steps: Int[Array, " lanes"]
    is_running: Bool[Array, " lanes"]


ROW, COLUMN = np.indices((NUM_POINTS, NUM_POINTS))
IS_POINT = np.zeros((2 * NUM_POINTS - 1, NUM_POINTS, 1))
IS_POINT[ROW + COLUMN, ROW] = 1


def _lanes(b: np.ndarray, shift: np.ndarray, omega: np.ndarray) -> Lanes:
    r = np.zeros((*IS_POINT.shape[:2], len(b)))
    r[ROW + COLUMN, ROW] = b.T.reshape(NUM_POINTS, NUM_POINTS, -1)
    return Lanes(jnp.asarray(r), jnp.asarray(4 + shift), jnp.asarray(omega))


@jax.jit
def _count(lanes: Lanes) -> Int[Array, " lanes"]:
    target = RTOL * _norms(lanes.r)

    def advance(carry: Progress) -> Progress:
        r = _sweep(carry.r, lanes)
        has_met = carry.is_running & (_norms(r) <= target)
        steps = jnp.where(has_met, carry.step, carry.steps)
        return Progress(carry.step + 1, r, steps, carry.is_running & ~has_met)

    at_most = jnp.full(lanes.omega.size, MAX_STEPS)
    first = Progress(jnp.asarray(1), lanes.r, at_most, at_most > 0)
    last = lax.while_loop(
        lambda carry: (carry.step < MAX_STEPS) & jnp.any(carry.is_running),
        advance,
        first,
    )
    return last.steps


def _sweep(r: Float[Array, "fronts rows lanes"], lanes: Lanes) -> Any:
    """The residual after a sweep: (D/ω + L) d = r, then ((1/ω - 1) D - U) d."""
    d = _forward_solve(r, lanes.omega / lanes.diagonal)
    # The neighbours to come are on the next front, in the same row and the one below.
    right = jnp.concatenate([d[1:], jnp.zeros_like(d[:1])])
    below = jnp.concatenate([right[:, 1:], jnp.zeros_like(d[:, :1])], axis=1)
    return IS_POINT * ((1 / lanes.omega - 1) * lanes.diagonal * d + right + below)


def _forward_solve(r: Float[Array, "fronts rows lanes"], scale: Any) -> Any:
    def solve_front(left: Any, front: Any) -> Any:
        r, is_point = front
        above = jnp.concatenate([jnp.zeros_like(left[:1]), left[:-1]])
        d = is_point * scale * (r + left + above)
        return d, d

    return lax.scan(solve_front, jnp.zeros_like(r[0]), (r, jnp.asarray(IS_POINT)))[1]


def _norms(r: Float[Array, "fronts rows lanes"]) -> Float[Array, " lanes"]:
    return jnp.sqrt(jnp.sum(r**2, axis=(0, 1)))
