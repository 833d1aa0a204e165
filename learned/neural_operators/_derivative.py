"""First derivatives along the axes of a grid, as matrices.

Along a periodic axis of n points and length L that of the trigonometric interpolant,
whose wavenumbers are exact: at half of the highest one, central differences have 0.64
of it. The highest mode of an even n, which alternates from point to point, has none:
the derivative of its cosine is zero at the points. L. N. Trefethen, Spectral Methods
in MATLAB (2000), ch. 3.

Between walls the difference of second order of three points at any distances a, b,

    u'_j = -b/(a (a+b)) u_{j-1} + (b-a)/(a b) u_j + a/(b (a+b)) u_{j+1},

of a quantity that is zero on both walls, at the points that are not on a wall. B.
Fornberg, Math. Comput. 51 (1988), doi:10.1090/S0025-5718-1988-0935077-0.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._grid import Grid
from ._walls import wall_distances


def fourier_modes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return orthonormal cosines and sines as columns, and their wavenumbers.

    The constant comes first, then a cosine and a sine of each wavenumber, and of an
    even n at the end the highest one, whose wavenumber is given as zero.
    """
    points = 2 * np.pi * np.arange(n)[:, None] / n
    counts = np.arange(1, (n + 1) // 2)
    pairs = np.stack([np.cos(points * counts), np.sin(points * counts)], axis=-1)
    columns = [np.full((n, 1), n**-0.5), pairs.reshape(n, -1) * (2 / n) ** 0.5]
    numbers = [np.zeros(1), np.repeat(counts, 2)]
    if n % 2 == 0:
        columns.append(np.resize([1.0, -1.0], n)[:, None] * n**-0.5)
        numbers.append(np.zeros(1))
    return np.concatenate(columns, axis=1), np.concatenate(numbers)


def periodic_derivative(n: int, length: Float[Array, ""]) -> Float[Array, "n n"]:
    """Return the derivative of a periodic axis, skew-symmetric."""
    modes, numbers = fourier_modes(n)
    last = 2 * ((n + 1) // 2) - 1
    cosines, sines = modes[:, 1:last:2], modes[:, 2:last:2]
    half = cosines * numbers[1:last:2] @ sines.T
    matrix = jnp.asarray(half - half.T, length.dtype)
    return 2 * np.pi / length * matrix


def wall_derivative(
    grid: Grid, axis: int
) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """Return the derivative of an axis with walls, and 1 for points inside, 0 on them.

    Rows and columns of points on a wall are zero.
    """
    low, high = wall_distances(grid, axis)
    steps = jnp.diff(grid.coordinates[axis])
    inside = ((low > 0) & (high > 0)).astype(steps.dtype)
    before = jnp.where(low[0] > 0, low[0], steps[0])
    after = jnp.where(high[-1] > 0, high[-1], steps[-1])
    a = jnp.concatenate([before[None], steps])
    b = jnp.concatenate([steps, after[None]])
    below, above = -b / (a * (a + b)), a / (b * (a + b))
    matrix = jnp.diag((b - a) / (a * b))
    matrix = matrix + jnp.diag(below[1:], -1) + jnp.diag(above[:-1], 1)
    return inside[:, None] * matrix * inside[None, :], inside
