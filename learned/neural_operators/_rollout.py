"""Predictions from predictions: a map of states, iterated.

    u_{n+1} = F(u_{n-m+1}, ..., u_n)

Where a prediction is not finite, nothing is computed from it: the result says at which
step that was.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Inexact, Int

from ...operators._arguments import counted, require_count, require_function

_NONE = np.int32(-1)
"""The number of a step that there is not."""


class Rollout(eqx.Module):
    """States of a rollout.

    Attributes:
        values: the last frame of the start, and of every so many steps the state. All
            values of the states from `first_nonfinite` on are NaN.
        num_steps: how many steps gave finite states.
        first_nonfinite: the step whose state was not finite, 0 for the start itself, -1
            where all are.
        finite: whether all are.
    """

    values: Inexact[Array, "states channels *shape"]
    num_steps: Int[Array, ""]
    first_nonfinite: Int[Array, ""]
    finite: Bool[Array, ""]


class _State(eqx.Module):
    frames: Array
    num_steps: Int[Array, ""]
    first_nonfinite: Int[Array, ""]

    @property
    def is_alive(self) -> Bool[Array, ""]:
        return self.first_nonfinite < 0


def rollout(
    surrogate: Callable[[Any], Any],
    u0: Any,
    num_steps: int = 400,
    *,
    num_frames: int = 1,
    every: int = 1,
) -> Rollout:
    """Return the states that follow from a start.

    It goes through `jit`, `vmap`, where each start ends by itself, and derivatives,
    which keep what `surrogate` keeps of each step: for long rollouts give it as
    `equinox.filter_checkpoint(surrogate)`. Values that are NaN have derivative zero,
    and so has the step that was not finite: the derivatives of the states before it are
    right.

    Args:
        surrogate: F, of the frames as one array of shape (num_frames channels, *shape),
            the oldest first, to the next one, (channels, *shape). With a grid, a
            function that gives it to the model.
        u0: the frames to start from, (num_frames channels, *shape), the oldest first;
            (frames, channels, *shape) has to be reshaped. Real or complex; states have
            its dtype.
        num_steps: how many steps.
        num_frames: m, how many frames F sees. A new one replaces the oldest.
        every: of how many states one is kept. It divides num_steps.

    Raises:
        TypeError: surrogate cannot be called.
        ValueError: counts that are not positive, an `every` that does not divide the
            steps, a start of other channels than a multiple of num_frames, or a
            surrogate that returns another shape than that of a frame.

    Cost: a call of F per step, and the states that are kept.

    Examples:
        >>> import jax.numpy as jnp
        >>> from krylax.learned import neural_operators as no
        >>> result = no.rollout(lambda u: 0.5 * u, jnp.ones((1, 4)), num_steps=3)
        >>> result.values[:, 0, 0].tolist(), bool(result.finite)
        ([1.0, 0.5, 0.25, 0.125], True)
        >>> result = no.rollout(lambda u: 1e30 * u, jnp.ones((1, 4), jnp.float32), 9)
        >>> int(result.first_nonfinite), int(result.num_steps)
        (2, 1)
    """
    require_function(surrogate, "surrogate", "of the frames to the next one")
    for name, count in dict(num_steps=num_steps, num_frames=num_frames).items():
        require_count(count, name)
    require_count(every, "every")
    if num_steps % every:
        raise ValueError(
            f"every must divide num_steps {num_steps}, so that the last state is kept, "
            f"got {every}"
        )
    u0 = _as_frames(u0, num_frames)
    num_channels = len(u0) // num_frames
    _require_frame(surrogate, u0, num_channels)

    step_forward = _without_infinite_slopes(
        lambda frames: jnp.asarray(surrogate(frames)).astype(u0.dtype), u0
    )

    def advance(state: _State) -> _State:
        new = step_forward(state.frames)
        frames = jnp.concatenate([state.frames[num_channels:], new])
        return _followed(state, frames, jnp.all(jnp.isfinite(new)))

    def step(state: _State, _: None) -> tuple[_State, None]:
        # A rollout that has ended costs nothing more, but under vmap.
        return lax.cond(state.is_alive, advance, lambda held: held, state), None

    def keep(state: _State, _: None) -> tuple[_State, Array]:
        state, _ = lax.scan(step, state, length=every)
        return state, _shown(state, num_channels)

    none = jnp.asarray(_NONE)
    before = _State(jnp.zeros_like(u0), none, none)
    start = _followed(before, u0, jnp.all(jnp.isfinite(u0)))
    state, values = lax.scan(keep, start, length=num_steps // every)
    return Rollout(
        jnp.concatenate([_shown(start, num_channels)[None], values]),
        jnp.maximum(state.num_steps, 0),
        state.first_nonfinite,
        state.is_alive,
    )


def _without_infinite_slopes(
    function: Callable[[Array], Array], like: Array
) -> Callable[[Array], Array]:
    """A function whose derivative is zero where its value is not finite.

    The derivative of what overflows is infinite, and its product with the derivative of
    a value that is not used, zero, would be NaN. What the function closes over is made
    an argument of it, for the derivatives by weights.
    """
    pure, closed_over = jax.closure_convert(function, like)

    @jax.custom_jvp
    def value(x: Array, closed_over: Any) -> Array:
        return pure(x, *closed_over)

    @value.defjvp
    def slope(primals: Any, tangents: Any) -> tuple[Array, Array]:
        y, linear = jax.linearize(lambda x, c: pure(x, *c), *primals)
        is_finite = jnp.all(jnp.isfinite(y))
        kept = jax.tree.map(
            lambda t: jnp.where(is_finite, t, jnp.zeros_like(t)), tangents
        )
        return y, linear(*kept)

    return lambda x: value(x, closed_over)


def _followed(state: _State, frames: Any, is_finite: Any) -> _State:
    """The state with other frames, or marked as the last one that is finite."""
    number = state.num_steps + 1
    return _State(
        jnp.where(is_finite, frames, state.frames),
        jnp.where(is_finite, number, state.num_steps),
        jnp.where(is_finite, _NONE, number),
    )


def _shown(state: _State, num_channels: int) -> Any:
    """The last frame, NaN once the rollout has ended."""
    return jnp.where(state.is_alive, state.frames[-num_channels:], jnp.nan)


def _as_frames(u0: Any, num_frames: int) -> Any:
    u0 = jnp.asarray(u0)
    if u0.ndim < 1 or len(u0) == 0 or len(u0) % num_frames:
        raise ValueError(
            f"u0 must have shape (num_frames channels, *shape) with num_frames "
            f"{num_frames}, got {u0.shape}; batches by jax.vmap"
        )
    if not jnp.issubdtype(u0.dtype, jnp.inexact):
        raise ValueError(f"u0 must be real or complex floats, got {u0.dtype.name}")
    return u0


def _require_frame(surrogate: Any, u0: Any, num_channels: int) -> None:
    new = eqx.filter_eval_shape(surrogate, u0)
    expected = (num_channels, *u0.shape[1:])
    shape = getattr(new, "shape", None)
    if shape != expected:
        found = type(new).__name__ if shape is None else f"shape {shape}"
        raise ValueError(
            f"surrogate must return the next frame, an array of shape {expected}, got "
            f"{found}; u0 has {counted(len(u0), 'channel')}, give num_frames if "
            "these are several frames"
        )
