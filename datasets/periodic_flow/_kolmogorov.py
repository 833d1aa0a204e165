"""Kolmogorov flow: two-dimensional turbulence driven by a shear that varies as a sine.

The vorticity ω = ∂v/∂x - ∂u/∂y of u = (u, v) = (∂ψ/∂y, -∂ψ/∂x), -Δψ = ω, obeys

    ∂ω/∂t + u·∇ω = ν Δω - α ω - A κ cos(κ y),

which the force A sin(κ y) in x gives, κ = 2π m / length. L. D. Meshalkin and Y. G.
Sinai, J. Appl. Math. Mech. 25 (1961); G. J. Chandler and R. R. Kerswell, J. Fluid Mech.
722 (2013), doi:10.1017/jfm.2013.122.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray
from typing_extensions import override

from ...operators._arguments import require_count, require_key, require_number
from ._flow import (
    AbstractPeriodicFlow,
    derivative_factors,
    kept,
    require_points,
    wave_numbers,
)


class KolmogorovFlow(AbstractPeriodicFlow):
    """The vorticity of two-dimensional flow under a force A sin(κ y) along x.

    Args:
        num_points: of the grid in x and y.
        viscosity: ν.
        drag: α, which keeps energy from gathering in the largest eddies.
        wave_number: m, how often the force repeats across the box.
        amplitude: A of the force.
        length: of the square box.
        dt: time step, shorter than Δx / max |u|.

    The defaults are the flow of Kochkov et al. (2021) at twice its viscosity, which 64²
    points resolve. A random state holds the wave numbers up to about eight; let it run
    for some 20 time units before it is used as data.

    Raises:
        ValueError: a number out of range, or fewer than four points on an axis.

    Cost: per step, 20 FFTs of the grid.

    Examples:
        >>> import jax
        >>> from krylax.datasets.periodic_flow import KolmogorovFlow
        >>> flow = KolmogorovFlow((16, 16))
        >>> omega = flow.run(flow.initial(jax.random.key(0)), 10)
        >>> omega.shape, flow.velocity(omega).shape
        ((1, 16, 16), (2, 16, 16))

    References:
        D. Kochkov et al., Machine learning-accelerated computational fluid dynamics,
        PNAS 118 (2021), doi:10.1073/pnas.2101784118.
    """

    num_points: tuple[int, ...] = eqx.field(static=True)
    viscosity: float = eqx.field(static=True)
    drag: float = eqx.field(static=True)
    wave_number: int = eqx.field(static=True)
    amplitude: float = eqx.field(static=True)
    length: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)

    def __init__(
        self,
        num_points: tuple[int, ...] = (64, 64),
        viscosity: float = 2e-3,
        drag: float = 0.1,
        wave_number: int = 4,
        amplitude: float = 1.0,
        length: float = 2 * np.pi,
        dt: float = 1e-2,
    ) -> None:
        self.num_points = require_points(num_points, 2)
        require_count(wave_number, "wave_number")
        if 3 * wave_number >= self.num_points[1]:
            raise ValueError(
                f"wave_number must be less than a third of the {self.num_points[1]} "
                f"points in y, which no product reaches beyond, got {wave_number}"
            )
        numbers = {"viscosity": viscosity, "length": length, "dt": dt}
        for name, value in numbers.items():
            require_number(value, name, 0, np.inf, "positive and finite")
        for name, value in {"drag": drag, "amplitude": amplitude}.items():
            wanted = "finite and not negative"
            require_number(value, name, 0, np.inf, wanted, closed=True)
        self.viscosity, self.length, self.dt = map(float, numbers.values())
        self.drag, self.amplitude = float(drag), float(amplitude)
        self.wave_number = int(wave_number)

    @override
    def initial(self, key: PRNGKeyArray) -> Float[Array, "1 nx ny"]:
        require_key(key)
        kx, ky = wave_numbers(self.num_points, 2 * np.pi)
        size = np.hypot(kx, ky)
        # The velocity has its energy around wave number four.
        shape = size**2 * np.exp(-((size / 4) ** 2)) * kept(self.num_points)
        noise = jnp.fft.rfftn(jax.random.normal(key, self.num_points))
        omega = jnp.fft.irfftn(noise * jnp.asarray(shape, noise.dtype), self.num_points)
        u = self.velocity(omega[None])
        speed = jnp.sqrt(jnp.mean(u[0] ** 2 + u[1] ** 2))
        return (omega / speed)[None]

    def velocity(self, omega: Float[Array, "1 nx ny"]) -> Float[Array, "2 nx ny"]:
        """Return the velocity of a vorticity, of mean zero."""
        u, v = self._velocity_modes(jnp.fft.rfftn(self._as_state(omega)[0]))
        return jnp.stack([jnp.fft.irfftn(w, self.num_points) for w in (u, v)])

    def _velocity_modes(
        self, omega: Complex[Array, "kx ky"]
    ) -> tuple[Complex[Array, "kx ky"], Complex[Array, "kx ky"]]:
        k = wave_numbers(self.num_points, self.length)
        squares = k[0] ** 2 + k[1] ** 2
        inverse = np.where(squares > 0, 1 / np.where(squares > 0, squares, 1), 0)
        along_x, along_y = derivative_factors(self.num_points, self.length)
        u = jnp.asarray(along_y * inverse, omega.dtype) * omega
        return u, jnp.asarray(-along_x * inverse, omega.dtype) * omega

    @override
    def _symbol(self) -> Float[np.ndarray, "kx ky"]:
        kx, ky = wave_numbers(self.num_points, self.length)
        return -self.viscosity * (kx**2 + ky**2) - self.drag

    @override
    def _nonlinear(self, modes: Complex[Array, "kx ky"]) -> Complex[Array, "kx ky"]:
        mask = jnp.asarray(kept(self.num_points), modes.dtype)
        omega = mask * modes
        u, v = (jnp.fft.irfftn(w, self.num_points) for w in self._velocity_modes(omega))
        along_x, along_y = (
            jnp.fft.irfftn(jnp.asarray(factor, modes.dtype) * omega, self.num_points)
            for factor in derivative_factors(self.num_points, self.length)
        )
        advected = jnp.fft.rfftn(u * along_x + v * along_y)
        return jnp.asarray(self._source(), modes.dtype) - mask * advected

    def _source(self) -> Complex[np.ndarray, "kx ky"]:
        """The modes of the curl of the force."""
        kappa = 2 * np.pi * self.wave_number / self.length
        y = np.arange(self.num_points[1]) * self.length / self.num_points[1]
        curl = -self.amplitude * kappa * np.cos(kappa * y)
        return np.fft.rfftn(np.broadcast_to(curl, self.num_points))
