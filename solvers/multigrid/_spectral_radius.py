"""Upper bounds of the spectrum of D⁻¹A, D the diagonal of A, on the host.

Row sums are one: ‖D⁻¹A‖_∞. For elasticity they are too large by 1.2 in the plane and
1.7 in space, and for jumping coefficients on coarse levels by more: the smoother then
damps the wrong errors. For hermitian A the largest of `NUM_STEPS` Ritz values is hardly
below the spectrum's end: that it is so by a factor of 1 - ε or less has a probability
of at most 1.65 √n exp(-√ε (2 NUM_STEPS - 1)) over random starts (J. Kuczyński, H.
Woźniakowski, Estimating the largest eigenvalue by the power and Lanczos algorithms with
a random start, SIAM J. Matrix Anal. Appl. 13, 1992, doi:10.1137/0613066). `MARGIN`
times it is the other bound.

Differs from the source: the start is drawn once, from a fixed seed.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

NUM_STEPS = 20
"""Of Lanczos; 15 and 30 steps gave the same numbers of CG steps."""

MARGIN = 1.1
"""With the 1.15 by which the spectrum may exceed what two sweeps are made for, an ε of
0.21: for a matrix of 10⁶ unknowns one start in 30 000 may fail, of 10⁴ one in 300 000.
The exact end of the spectrum saved at most one step in 40.
"""


def inverse_diagonal(matrix: Any) -> np.ndarray:
    """Return D⁻¹, zero for unknowns without an equation.

    An aggregate that has fewer unknowns than there are candidates leaves some.
    """
    diagonal = matrix.diagonal()
    is_zero = diagonal == 0
    return np.where(is_zero, 0, 1 / np.where(is_zero, 1, diagonal))


class SpectralRadius(NamedTuple):
    """The largest modulus of D⁻¹A's eigenvalues.

    Attributes:
        estimate: from below where A is hermitian, and better than the bound.
        bound: from above.
    """

    estimate: float
    bound: float


def spectral_radius(matrix: Any, is_hermitian: bool) -> SpectralRadius:
    """Return what is known of it.

    Args:
        matrix: a sparse one of SciPy.
        is_hermitian: whether the Ritz values may be used, if the diagonal is positive.
    """
    inverse = inverse_diagonal(matrix)
    reals = np.real(inverse)
    # SciPy takes absolute values of blocks in a loop of Python.
    sizes = abs(matrix.tocsr()) @ np.ones(len(inverse))
    row_sums = float(np.max(sizes * abs(inverse)))
    if not is_hermitian or np.min(reals) < 0:
        return SpectralRadius(row_sums, row_sums)
    ritz_value = _largest_ritz_value(matrix, np.sqrt(reals))
    return SpectralRadius(ritz_value, min(row_sums, MARGIN * ritz_value))


def _largest_ritz_value(matrix: Any, roots: np.ndarray) -> float:
    """Return that of D^-½ A D^-½ by Lanczos without reorthogonalisation.

    Rounding makes copies of Ritz values, the largest of which stays.
    """
    v = np.random.default_rng(0).standard_normal(len(roots)).astype(matrix.dtype)
    v, previous, beta = v / np.linalg.norm(v), np.zeros_like(v), 0.0
    alphas: list[float] = []
    betas: list[float] = []
    for _ in range(NUM_STEPS):
        w = roots * (matrix @ (roots * v)) - beta * previous
        alpha = np.vdot(v, w).real
        w -= alpha * v
        beta = float(np.linalg.norm(w))
        alphas.append(alpha)
        betas.append(beta)
        if beta <= np.finfo(roots.dtype).eps * abs(alpha):
            break  # an invariant subspace, as of a diagonal matrix
        previous, v = v, w / beta
    ritz_values = scipy.linalg.eigvalsh_tridiagonal(alphas, betas[: len(alphas) - 1])
    return float(ritz_values[-1])
