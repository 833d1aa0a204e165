"""The time step that an explicit step allows on a grid.

Runge-Kutta methods of third order in three stages are stable for eigenvalues down to
-2.51 on the real axis and up to √3 on the imaginary one. Diffusion has real ones, ν
times those of the second differences, which are computed; convection has imaginary
ones, at most Σ |uᵢ| / Δᵢ, for which the largest velocities of turbulence are assumed: u
of 1.3 times the mean on the axis, and v and w of 5 u_τ, v falling linearly to zero at
the wall from 40 wall units on.
"""

import math

import numpy as np

from ._grid import wall_normal

REAL_LIMIT = 2.51
IMAGINARY_LIMIT = math.sqrt(3)
# What is left for velocities that are larger still, and as both limits act together.
SAFETY = 0.7


def time_step(
    re_tau: float,
    shape: tuple[int, int, int],
    lengths: tuple[float, float, float],
    stretching: float,
    centreline: float,
) -> float:
    """Return the default time step, in h / u_τ.

    Args:
        re_tau: the friction Reynolds number, 1 / ν.
        shape: of the grid.
        lengths: of the box.
        stretching: of the grid.
        centreline: the largest mean velocity, in u_τ.
    """
    dx, dz = lengths[0] / shape[0], lengths[2] / shape[2]
    faces, widths, distances = wall_normal(shape[1], stretching)
    along = sum(4 / d**2 for d, n in ((dx, shape[0]), (dz, shape[2])) if n > 1)
    viscous = (along + _largest_second_difference(widths, distances)) / re_tau
    inner = np.minimum(faces, 2 - faces)[1:-1]
    v = 5 * np.minimum(1, inner * re_tau / 40)
    convective = 1.3 * centreline / dx + 5 / dz + np.max(v / distances[1:-1])
    return SAFETY * min(REAL_LIMIT / viscous, IMAGINARY_LIMIT / float(convective))


def _largest_second_difference(widths: np.ndarray, distances: np.ndarray) -> float:
    """Return the largest eigenvalue of -d²/dy² at centres, zero at both walls."""
    n = len(widths)
    # A row per face; the mirrored value beyond a wall doubles the one inside.
    steps = np.diff(np.pad(np.eye(n), ((1, 1), (0, 0))), axis=0)
    steps[[0, -1]] *= math.sqrt(2)
    half = steps / np.sqrt(distances)[:, None] / np.sqrt(widths)
    return float(np.linalg.norm(half, 2) ** 2)
