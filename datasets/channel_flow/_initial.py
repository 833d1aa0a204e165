"""A flow to begin with: the mean profile of turbulence, and eddies of random phase.

The profile is that of H. Reichardt, ZAMM 31 (1951), doi:10.1002/zamm.19510310704. The
eddies are the lowest Fourier modes along the walls times polynomials that vanish on
them; they are the same flow on every grid, but for its errors.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._grid import StaggeredGrid, wall_normal
from ._operators import Velocity

NUM_ALONG = 3
NUM_ACROSS = 3


def mean_profile(
    grid: StaggeredGrid, viscosity: Float[Array, ""]
) -> Float[Array, "1 ny 1"]:
    """Return Reichardt's profile at the centres, in u_τ."""
    y_plus = jnp.minimum(grid.centres, grid.lengths[1] - grid.centres) / viscosity
    near = jnp.exp(-y_plus / 11) + y_plus / 11 * jnp.exp(-y_plus / 3)
    return 2.5 * jnp.log1p(0.4 * y_plus) + 7.8 * (1 - near)


def eddies(
    key: PRNGKeyArray, grid: StaggeredGrid, amplitude: Float[Array, ""]
) -> Velocity:
    """Return random velocities of this size, which have a divergence."""
    shape = (3, 2 * NUM_ALONG + 1, NUM_ACROSS, 2 * NUM_ALONG + 1)
    # Without what is constant along the walls: the mean is the profile's.
    weights = jax.random.normal(key, shape, grid.dtype).at[:, 0, :, 0].set(0)
    faces = wall_normal(grid.shape[1], grid.stretching)[0] - 1
    centres = (faces[1:] + faces[:-1]) / 2
    nx, _, nz = grid.shape
    found = []
    for component, points in enumerate((centres, faces[1:-1], centres)):
        shifts = [0.5, 0.5]
        if component != 1:
            shifts[component // 2] = 0.0
        along = _modes((np.arange(nx) + shifts[0]) / nx)
        aside = _modes((np.arange(nz) + shifts[1]) / nz)
        across = np.stack(
            [(1 - points**2) ** 2 * points**power for power in range(NUM_ACROSS)]
        )
        field = jnp.einsum(
            "apb,ax,py,bz->xyz",
            weights[component],
            *(jnp.asarray(m.astype(grid.dtype)) for m in (along, across, aside)),
        )
        size = jnp.sqrt(jnp.mean(field**2))
        found.append(amplitude * field / size)
    u, v, w = found
    return u, v, w


def _modes(phase: np.ndarray) -> np.ndarray:
    """Return the constant, cosines and sines."""
    angles = 2 * np.pi * np.arange(NUM_ALONG + 1)[:, None] * phase
    return np.concatenate([np.cos(angles), np.sin(angles[1:])])
