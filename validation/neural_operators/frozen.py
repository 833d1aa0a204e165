"""Frozen turbulence: fluctuations that the mean flow carries along (Taylor).

In Δ, 11 wall units, the flow passes a third of the box, so that the next snapshot has
little to do with the last one at the same place: their fluctuations are 1.1 apart,
relative to their size. Carried in x by the mean velocity, and by 10 u_τ where that is
less (Kim and Hussain, Phys. Fluids A 5, 1993, propagation next to a wall), 0.42.
"""

from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import snapshots

SLOWEST = 10.0
"""In u_τ."""


class Frame(NamedTuple):
    """What a model is given: fluctuations, carried to where they are expected.

    Attributes:
        mean: the profile (3, 1, ny, 1) that is taken off and added again.
        phases: (nx // 2 + 1, ny, 1), by which the Fourier coefficients in x turn in Δ.
    """

    mean: np.ndarray
    phases: np.ndarray

    @classmethod
    def at_rest(cls, fields: np.ndarray) -> Self:
        """Return the frame of whole velocities, as the paper has it."""
        n, ny = fields.shape[2:4]
        mean = np.zeros((3, 1, ny, 1), fields.dtype)
        return cls(mean, np.ones((n // 2 + 1, ny, 1), np.complex64))

    @classmethod
    def of(cls, fields: np.ndarray, flow: Any) -> Self:
        """Return the frame of the mean flow of snapshots (times, 3, nx, ny, nz)."""
        n = fields.shape[2]
        mean = snapshots.mean_profile(fields)
        speed = np.maximum(mean[0, 0], SLOWEST)
        distance = speed * snapshots.INTERVAL * float(flow.dt)
        k = 2 * np.pi / float(flow.grid.lengths[0]) * np.arange(n // 2 + 1)
        phases = np.exp(-1j * k[:, None, None] * distance)
        # The shortest wave has no direction: of both, the mean.
        phases[-1] = phases[-1].real
        return cls(mean, phases.astype(np.complex64))

    def given(self, velocity: Any) -> jax.Array:
        """Return what a model is given for velocities (..., 3, nx, ny, nz)."""
        u = jnp.asarray(velocity - self.mean, jnp.float32)
        turned = jnp.fft.rfft(u, axis=-3) * self.phases
        return jnp.fft.irfft(turned, u.shape[-3], axis=-3)
