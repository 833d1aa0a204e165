"""Named linear systems with 48 unknowns and chosen conditioning, as plain matrices.

Nothing here uses the library: the matrices are what it is compared with. All have one
size, so that all of one dtype share a compiled solve.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

NUM_UNKNOWNS = 48
GRID = (8, 6)

Faces = Sequence[tuple[str, str]]
MEANS: dict[str, Callable] = {
    "harmonic": lambda a, b: 2 / (1 / a + 1 / b),
    "arithmetic": lambda a, b: (a + b) / 2,
}


class Problem(NamedTuple):
    """A system A x = b."""

    matrix: np.ndarray
    b: np.ndarray

    @property
    def cond(self) -> float:
        """The 2-norm condition number."""
        return float(np.linalg.cond(self.matrix))

    @property
    def solution(self) -> np.ndarray:
        """By Gaussian elimination."""
        return np.linalg.solve(self.matrix, self.b)


def poisson_1d() -> Problem:
    """The tridiagonal (-1, 2, -1); κ = cot²(π/98) ≈ 970."""
    n = NUM_UNKNOWNS
    return _with_rhs(2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1))


def diffusion_2d() -> Problem:
    """-∇·(k∇u) on 8 × 6 cells with two phases, 12 and 3; κ ≈ 34."""
    k = np.where(np.random.default_rng(1).random(GRID) < 0.5, 12.0, 3.0)
    faces = [("dirichlet", "dirichlet")] * 2
    return _with_rhs(finite_volume_matrix(k, (1.0, 1.0), faces, "harmonic"))


def convection_diffusion() -> Problem:
    """Nonsymmetric: -Δu + (2, 1)·∇u on 8 × 6 nodes, central, spacing 1; κ ≈ 14."""
    faces = [("dirichlet", "dirichlet")] * 2
    matrix = finite_volume_matrix(np.ones(GRID), (1.0, 1.0), faces, "harmonic", wall=1)
    slopes = [(np.eye(n, k=1) - np.eye(n, k=-1)) / 2 for n in GRID]
    matrix += 2 * np.kron(slopes[0], np.eye(GRID[1]))
    matrix += np.kron(np.eye(GRID[0]), slopes[1])
    return _with_rhs(matrix)


def prescribed_spectrum() -> Problem:
    """Symmetric with eigenvalues spread evenly in logarithm over [1, 100]; κ = 100."""
    return _with_rhs(from_spectrum(np.geomspace(1, 100, NUM_UNKNOWNS)))


def nearly_singular() -> Problem:
    """Symmetric, one eigenvalue 1e-4, the others in [1, 2]; κ = 2e4."""
    eigenvalues = np.r_[1e-4, np.linspace(1, 2, NUM_UNKNOWNS - 1)]
    return _with_rhs(from_spectrum(eigenvalues))


def indefinite() -> Problem:
    """Symmetric with 6 eigenvalues in [-2, -1] and 42 in [1, 4]; κ = 4."""
    return _with_rhs(
        from_spectrum(np.r_[np.linspace(-2, -1, 6), np.linspace(1, 4, 42)])
    )


def complex_shifted() -> Problem:
    """Complex symmetric: the 1-D Poisson matrix plus 0.3 + 0.5i; κ ≈ 7."""
    matrix = poisson_1d().matrix + (0.3 + 0.5j) * np.eye(NUM_UNKNOWNS)
    return _with_rhs(matrix)


def complex_hermitian() -> Problem:
    """Hermitian positive definite, eigenvalues evenly in [1, 30]; κ = 30."""
    return _with_rhs(from_spectrum(np.linspace(1, 30, NUM_UNKNOWNS), np.complex128))


def wide_spectrum() -> Problem:
    """Positive definite with κ = 1e12: no method is through within 300 steps."""
    return _with_rhs(from_spectrum(np.geomspace(1e-12, 1, NUM_UNKNOWNS)))


def cyclic_shift() -> Problem:
    """(A x)_i = x_{i-1}: GMRES(m < n) makes no progress from b = e_1."""
    return Problem(np.roll(np.eye(NUM_UNKNOWNS), 1, axis=0), np.eye(NUM_UNKNOWNS)[0])


def singular_incompatible() -> Problem:
    """diag(0, 1, ..., 1) with b in neither range nor kernel: no solution exists."""
    diagonal = np.r_[0.0, np.ones(NUM_UNKNOWNS - 1)]
    return Problem(np.diag(diagonal), np.ones(NUM_UNKNOWNS))


def from_spectrum(
    eigenvalues: np.ndarray, dtype: type = np.float64, seed: int = 0
) -> np.ndarray:
    """Return Q diag(eigenvalues) Qᴴ with a random unitary Q."""
    Q = random_unitary(len(eigenvalues), dtype, seed)
    return (Q * eigenvalues) @ Q.conj().T


def random_unitary(n: int, dtype: type = np.float64, seed: int = 0) -> np.ndarray:
    """Return an orthogonal or unitary n × n matrix."""
    rng = np.random.default_rng(seed)
    entries = rng.standard_normal((n, n))
    if np.issubdtype(dtype, np.complexfloating):
        entries = entries + 1j * rng.standard_normal((n, n))
    return np.linalg.qr(entries)[0]


def finite_volume_matrix(
    k: np.ndarray, spacing: Sequence[float], faces: Faces, mean: str, wall: float = 2
) -> np.ndarray:
    """Assemble -∇·(k∇u) cell by cell and face by face.

    Args:
        k: coefficient per cell.
        spacing: per axis.
        faces: (low, high) per axis, "dirichlet", "neumann" or "periodic".
        mean: "harmonic" or "arithmetic".
        wall: spacings over distance to a Dirichlet wall: 2 for a wall on the cell's
            face, 1 for a wall at the next node.
    """
    index = np.arange(k.size).reshape(k.shape)
    matrix = np.zeros((k.size, k.size), k.dtype)
    for cell in np.ndindex(*k.shape):
        for axis, pair in enumerate(faces):
            for step, condition in zip((-1, 1), pair, strict=True):
                i, weight = index[cell], spacing[axis] ** -2
                other = list(cell)
                other[axis] += step
                is_outside = not 0 <= other[axis] < k.shape[axis]
                if is_outside and condition == "neumann":
                    continue
                if is_outside and condition == "dirichlet":
                    matrix[i, i] += wall * k[cell] * weight
                    continue
                other[axis] %= k.shape[axis]
                conductance = MEANS[mean](k[cell], k[tuple(other)]) * weight
                matrix[i, i] += conductance
                matrix[i, index[tuple(other)]] -= conductance
    return matrix


def _with_rhs(matrix: np.ndarray) -> Problem:
    """A right-hand side that excites everything, the same for all."""
    rng = np.random.default_rng(7)
    b = rng.standard_normal(len(matrix))
    if np.iscomplexobj(matrix):
        b = b + 1j * rng.standard_normal(len(matrix))
    return Problem(matrix, b)
