"""What the flows in periodic boxes share: steps in Fourier space, and trajectories.

Derivatives are exact for what the grid holds; products are freed of aliasing by leaving
out the upper third of the wave numbers (S. A. Orszag, J. Atmos. Sci. 28 (1971)).
"""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ...operators._arguments import as_items, require_count, require_integer, shown
from ._etdrk4 import coefficients, step


class AbstractPeriodicFlow(eqx.Module):
    """A field in a periodic box and how it changes, u' = L u + N(u).

    A state is an array of shape (1, *num_points) of floats; the precision is its own.
    """

    num_points: eqx.AbstractVar[tuple[int, ...]]
    length: eqx.AbstractVar[float]
    dt: eqx.AbstractVar[float]

    @abstractmethod
    def initial(self, key: PRNGKeyArray) -> Float[Array, "1 ..."]:
        """Return a random state."""

    @abstractmethod
    def _symbol(self) -> Float[np.ndarray, "..."]:
        """The factor L of each mode."""

    @abstractmethod
    def _nonlinear(self, modes: Complex[Array, "..."]) -> Complex[Array, "..."]:
        """The modes of N(u)."""

    def run(self, u: Any, num_steps: int) -> Float[Array, "1 ..."]:
        """Return the state after some steps of length dt.

        Each number of steps is a program of its own, compiled on first use.

        Raises:
            ValueError: u is no real array of the shape of a state.
            FloatingPointError: the result is known and not finite.
        """
        require_count(num_steps, "num_steps", 0)
        u = self._as_state(u)
        return _require_finite(_run(self, u, num_steps), f"after {num_steps} steps")

    def trajectory(
        self, u: Any, num_frames: int, interval: int = 1
    ) -> Float[Array, "frames 1 ..."]:
        """Return states one after the other, that at the start included.

        Args:
            u: the first one.
            num_frames: how many.
            interval: steps between two.

        Raises:
            ValueError: u is no state; num_frames or interval below one.
            FloatingPointError: a frame is known and not finite.
        """
        require_count(num_frames, "num_frames")
        require_count(interval, "interval")
        frames = _trajectory(self, self._as_state(u), num_frames, interval)
        return _require_finite(frames, f"within {(num_frames - 1) * interval} steps")

    def trajectories(
        self,
        num_trajectories: int,
        num_frames: int,
        interval: int = 1,
        *,
        seed: int = 0,
        start: int = 0,
    ) -> Float[np.ndarray, "trajectories frames 1 ..."]:
        """Return trajectories from random states, as training data.

        Args:
            num_trajectories: how many.
            num_frames: states of each.
            interval: steps between two.
            seed: of all random states; the i-th depends on it and i alone.
            start: steps before the first frame, in which a random state becomes one of
                the flow.

        Raises:
            ValueError: counts out of range.
            FloatingPointError: a frame is not finite.
        """
        require_count(num_trajectories, "num_trajectories")
        require_count(start, "start", 0)
        require_integer(seed, "seed")
        key = jax.random.key(seed)
        made = []
        for i in range(num_trajectories):
            u = self.initial(jax.random.fold_in(key, i))
            u = self.run(u, start)
            made.append(np.asarray(self.trajectory(u, num_frames, interval)))
        return np.stack(made)

    def _as_state(self, u: Any) -> Float[Array, "1 ..."]:
        shape = (1, *self.num_points)
        u = jnp.asarray(u)
        if u.shape != shape or not jnp.issubdtype(u.dtype, jnp.floating):
            raise ValueError(
                f"u must be a real array of shape {shape}, got {u.dtype.name} of shape "
                f"{u.shape}"
            )
        return u


def wave_numbers(
    num_points: tuple[int, ...], length: float
) -> tuple[Float[np.ndarray, "..."], ...]:
    """Return 2π k / length for each axis of a real transform, ready to broadcast."""
    *others, last = num_points
    axes = [np.fft.fftfreq(n, 1 / n) for n in others] + [
        np.fft.rfftfreq(last, 1 / last)
    ]
    return tuple(np.meshgrid(*[2 * np.pi / length * k for k in axes], indexing="ij"))


def kept(num_points: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Return one for the lower two thirds of the wave numbers of each axis, else 0."""
    numbers = wave_numbers(num_points, 2 * np.pi)
    pairs = zip(numbers, num_points, strict=True)
    return np.prod([np.abs(k) < n / 3 for k, n in pairs], axis=0).astype(float)


def derivative_factors(
    num_points: tuple[int, ...], length: float
) -> tuple[Complex[np.ndarray, "..."], ...]:
    """Return i k for each axis, zero for the highest wave number of an even axis.

    That one has no derivative on the grid: its sine is zero there.
    """
    factors = []
    for axis, (k, n) in enumerate(
        zip(wave_numbers(num_points, length), num_points, strict=True)
    ):
        factor = 1j * k
        if n % 2 == 0:
            last = [slice(None)] * len(num_points)
            last[axis] = slice(n // 2, n // 2 + 1)
            factor[tuple(last)] = 0
        factors.append(factor)
    return tuple(factors)


@eqx.filter_jit
def _run(
    flow: AbstractPeriodicFlow, u: Float[Array, "1 ..."], num_steps: int
) -> Float[Array, "1 ..."]:
    return _field(flow, _advanced(flow, jnp.fft.rfftn(u[0]), num_steps))


@eqx.filter_jit
def _trajectory(
    flow: AbstractPeriodicFlow,
    u: Float[Array, "1 ..."],
    num_frames: int,
    interval: int,
) -> Float[Array, "frames 1 ..."]:
    def frame(modes: Any, _: None) -> Any:
        modes = _advanced(flow, modes, interval)
        return modes, _field(flow, modes)

    later = lax.scan(frame, jnp.fft.rfftn(u[0]), length=num_frames - 1)[1]
    return jnp.concatenate([u[None], later])


def _advanced(
    flow: AbstractPeriodicFlow, modes: Complex[Array, "..."], num_steps: int
) -> Complex[Array, "..."]:
    c = coefficients(flow._symbol(), flow.dt, modes.dtype)

    def one(modes: Any, _: None) -> Any:
        return step(modes, flow._nonlinear, c), None

    return lax.scan(one, modes, length=num_steps)[0]


def _field(
    flow: AbstractPeriodicFlow, modes: Complex[Array, "..."]
) -> Float[Array, "1 ..."]:
    return jnp.fft.irfftn(modes, flow.num_points)[None]


def _require_finite(u: Float[Array, "..."], when: str) -> Float[Array, "..."]:
    if not isinstance(u, Tracer) and not np.all(np.isfinite(u)):
        raise FloatingPointError(
            f"the flow is no longer finite {when}: dt is too long for its velocities; "
            "take a shorter one"
        )
    return u


def require_points(num_points: Any, rank: int) -> tuple[int, ...]:
    """Return the points per axis as integers.

    Raises:
        ValueError: another number of axes, or an axis of less than four points.
    """
    num_points = as_items(num_points, "num_points", "a tuple such as (64,)")
    if len(num_points) != rank:
        raise ValueError(
            f"num_points must hold {rank} number{'s' * (rank > 1)}, got "
            f"{shown(num_points)}"
        )
    for n in num_points:
        require_count(n, "num_points", 4)
    return tuple(map(int, num_points))
