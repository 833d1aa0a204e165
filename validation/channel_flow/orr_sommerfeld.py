"""The growing wave of plane Poiseuille flow, by Chebyshev collocation in NumPy.

(U - c) (D² - α²) v - U'' v = (D² - α²)² v / (i α Re), v = v' = 0 on the walls, with
U = 1 - η² between η = -1 and 1: S. A. Orszag, J. Fluid Mech. 50 (1971). No code of the
simulation.
"""

from typing import Any

import numpy as np
from scipy.linalg import eig


def growing_wave(
    reynolds: float, wave_number: float, num_points: int = 100
) -> tuple[complex, np.ndarray, np.ndarray, np.ndarray]:
    """Return c, the points η, and v and v' of the wave on them."""
    D, η = _chebyshev(num_points)
    D2 = D @ D
    # Fourth derivatives of functions whose value and slope vanish at the ends (L. N.
    # Trefethen, Spectral Methods in MATLAB, program 40).
    scale = np.diag(np.concatenate([[0], 1 / (1 - η[1:-1] ** 2), [0]]))
    D4 = (
        np.diag(1 - η**2) @ np.linalg.matrix_power(D, 4)
        - 8 * np.diag(η) @ np.linalg.matrix_power(D, 3)
        - 12 * D2
    ) @ scale
    inner = slice(1, -1)
    D2i, D4i = D2[inner, inner], D4[inner, inner]
    one = np.eye(num_points - 1)
    square = wave_number**2
    laplacian = D2i - square * one
    fourth = D4i - 2 * square * D2i + square**2 * one
    U = np.diag(1 - η[inner] ** 2)
    left = U @ laplacian + 2 * one - fourth / (1j * wave_number * reynolds)
    found: Any = eig(left, laplacian)
    speeds: Any = np.asarray(found[0])
    waves = np.asarray(found[1])
    best = np.argmax(np.where(np.abs(speeds) < 10, speeds.imag, -np.inf))
    v = np.concatenate([[0], waves[:, best], [0]])
    return speeds[best], η, v, D @ v


def _chebyshev(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivative matrix on n + 1 Chebyshev points, and these."""
    x = np.cos(np.pi * np.arange(n + 1) / n)
    c = np.concatenate([[2], np.ones(n - 1), [2]]) * (-1) ** np.arange(n + 1)
    D = np.outer(c, 1 / c) / (np.subtract.outer(x, x) + np.eye(n + 1))
    return D - np.diag(D.sum(axis=1)), x


def interpolated(η: np.ndarray, values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return values on Chebyshev points at others, by the polynomial through them."""
    n = len(η) - 1
    known, wanted = (
        np.cos(np.outer(np.arccos(places), np.arange(n + 1))) for places in (η, points)
    )
    return wanted @ np.linalg.solve(known, values)
