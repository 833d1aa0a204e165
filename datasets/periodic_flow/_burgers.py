"""Burgers' equation: waves that steepen until diffusion holds them.

∂u/∂t + ∂(u²/2)/∂x = ν ∂²u/∂x². J. M. Burgers, Adv. Appl. Mech. 1 (1948).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float, PRNGKeyArray
from typing_extensions import override

from ...operators._arguments import require_key, require_number
from ._flow import (
    AbstractPeriodicFlow,
    derivative_factors,
    kept,
    require_points,
    wave_numbers,
)


class Burgers(AbstractPeriodicFlow):
    """∂u/∂t + ∂(u²/2)/∂x = ν ∂²u/∂x² in a periodic box.

    Args:
        num_points: of the grid, one number in a tuple.
        viscosity: ν; fronts are about 4 ν / Δu wide, and need some points.
        length: of the box.
        dt: time step, shorter than Δx / max |u|.

    A random state is that of Li et al. (2021), a Gaussian field of mean zero with
    covariance 625 (-d²/dx² + 25)⁻² for a box of length one, of standard deviation 0.6.

    Raises:
        ValueError: a number that is not positive and finite, or fewer than four points.

    Cost: per step, eight FFTs of the grid.

    Examples:
        >>> import jax
        >>> from krylax.datasets.periodic_flow import Burgers
        >>> flow = Burgers((64,), viscosity=0.02)
        >>> flow.trajectories(2, num_frames=3, interval=10).shape
        (2, 3, 1, 64)

    References:
        Z. Li et al., Fourier neural operator for parametric partial differential
        equations, ICLR 2021, arXiv:2010.08895, §5.1.
    """

    num_points: tuple[int, ...] = eqx.field(static=True)
    viscosity: float = eqx.field(static=True)
    length: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)

    def __init__(
        self,
        num_points: tuple[int, ...] = (256,),
        viscosity: float = 0.01,
        length: float = 1.0,
        dt: float = 1e-3,
    ) -> None:
        self.num_points = require_points(num_points, 1)
        numbers = {"viscosity": viscosity, "length": length, "dt": dt}
        for name, value in numbers.items():
            require_number(value, name, 0, np.inf, "positive and finite")
        self.viscosity, self.length, self.dt = map(float, numbers.values())

    @override
    def initial(self, key: PRNGKeyArray) -> Float[Array, "1 points"]:
        require_key(key)
        n = self.num_points[0]
        modes = wave_numbers(self.num_points, 1.0)[0]
        size = 25 / (modes**2 + 25) * (np.arange(len(modes)) > 0)
        size = n / np.sqrt(2) * size * kept(self.num_points)
        real, imaginary = jax.random.normal(key, (2, len(modes)))
        return jnp.fft.irfft(lax.complex(size * real, size * imaginary), n)[None]

    @override
    def _symbol(self) -> Float[np.ndarray, " modes"]:
        return -self.viscosity * wave_numbers(self.num_points, self.length)[0] ** 2

    @override
    def _nonlinear(self, modes: Complex[Array, " modes"]) -> Complex[Array, " modes"]:
        mask = jnp.asarray(kept(self.num_points), modes.dtype)
        (factor,) = derivative_factors(self.num_points, self.length)
        u = jnp.fft.irfft(mask * modes, self.num_points[0])
        return jnp.asarray(-0.5 * factor, modes.dtype) * mask * jnp.fft.rfft(u**2)
