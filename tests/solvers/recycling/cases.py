"""What the tests of recycling share: sequences of systems, and spaces to hand on."""

from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np

import krylax as kx

from ...gallery import from_spectrum
from ..cases import NUM_RECYCLED, ROWS, problem, solve

IDENTITY = 1e-10
"""What the identities of the recycled pair must hold to, over ‖A‖ ‖U‖ or absolute."""
RECYCLING = ["gcrodr", "gcrodr_harmonic_per_system", "deflated_cg", "recycled_minres"]
SYMMETRIC = ["deflated_cg", "recycled_minres"]
TWO_SIGNS = np.r_[
    np.geomspace(1e-3, 1e-2, 3), -np.geomspace(1e-3, 1e-2, 3), np.linspace(1, 5, 42)
]
"""As many small eigenvalues of both signs as are recycled, and 42 others."""
DEFECTIVE = {
    "equal": lambda rows: np.repeat(rows[:1], NUM_RECYCLED, axis=0),
    "zero": lambda rows: np.zeros_like(rows),
    "some_zero": lambda rows: rows * (np.arange(NUM_RECYCLED) % 2)[:, None],
    "dependent": lambda rows: rows[[0, 1, 2, 0, 1, 2]],
    "nearly_dependent": lambda rows: rows[:1] + 1e-12 * rows,
    "unequal_lengths": lambda rows: rows * 10.0 ** np.arange(-12, 12, 4)[:, None],
}


def changed(matrix: np.ndarray) -> np.ndarray:
    """A related matrix, as the next of a sequence; the change is as large as the least
    eigenvalue of poisson_1d.
    """
    rng = np.random.default_rng(5)
    return matrix * (1 + 1e-3 * rng.standard_normal(matrix.shape))


def nearby(row: str, matrix: np.ndarray) -> np.ndarray:
    """A related matrix, symmetric where the row's solver needs it."""
    other = changed(matrix)
    return (other + other.T) / 2 if ROWS[row].tags else other


def system(row: str) -> tuple[np.ndarray, np.ndarray]:
    """A system for which the row's solver pays: of both signs if it takes them."""
    if row == "recycled_minres":
        return from_spectrum(TWO_SIGNS), np.cos(np.arange(48))
    matrix, b = problem("poisson_1d")
    return matrix, b


@cache
def carried(row: str, before: str) -> tuple[np.ndarray, Any]:
    """The matrix of a solve and its solution, after what was solved before."""
    matrix, b = system(row)
    carry = None if before == "cold" else carried(row, "cold")[1].carry
    current = {"changed": nearby(row, matrix)}.get(before, matrix)
    return current, solve(row, current, b, carry=carry)


def carry_of(vectors: np.ndarray) -> kx.solvers.RecycleSpace:
    """A recycle space of given vectors."""
    rows = jnp.asarray(vectors)
    count = jnp.asarray(len(vectors), jnp.int32)
    return kx.solvers.RecycleSpace(rows, rows, rows, count)


def pair_errors(matrix: np.ndarray, carry: Any) -> dict[str, float]:
    """How far A U = C and CᴴC = I are from holding."""
    k = int(carry.num_vectors)
    U, C = np.asarray(carry.U)[:k].T, np.asarray(carry.C)[:k].T
    size = np.linalg.norm(matrix, 2) * np.linalg.norm(U, 2)
    return {
        "image": float(np.linalg.norm(matrix @ U - C, 2) / size),
        "orthonormality": float(np.linalg.norm(C.conj().T @ C - np.eye(k), 2)),
        "unused": float(np.linalg.norm(np.asarray(carry.U)[k:])),
    }
