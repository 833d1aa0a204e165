"""Which way of writing a 5- or 7-point stencil is fastest on this machine.

    python benchmarks/stencils.py

Applies -Δ with zero walls many times inside one compiled loop, in float64, and prints
microseconds per application for each form. operators/_shift.py uses the first.
"""

import time
from collections.abc import Callable

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
from jax import Array, lax


def by_concatenation(x: Array) -> Array:
    """Neighbours by concatenating a slice and zeros."""
    y = 2.0 * x.ndim * x
    for axis in range(x.ndim):
        size = x.shape[axis]
        zeros = jnp.zeros_like(lax.slice_in_dim(x, 0, 1, axis=axis))
        upper = lax.slice_in_dim(x, 1, size, axis=axis)
        lower = lax.slice_in_dim(x, 0, size - 1, axis=axis)
        y = y - jnp.concatenate([upper, zeros], axis)
        y = y - jnp.concatenate([zeros, lower], axis)
    return y


def by_padding(x: Array) -> Array:
    """One padded copy, static slices of it."""
    padded = jnp.pad(x, 1)
    y = 2.0 * x.ndim * x
    for axis in range(x.ndim):
        for start in (0, 2):
            index = [slice(1, -1)] * x.ndim
            index[axis] = slice(start, start + x.shape[axis])
            y = y - padded[tuple(index)]
    return y


def by_rolling(x: Array) -> Array:
    """`jnp.roll`, with the wrapped entries masked out."""
    y = 2.0 * x.ndim * x
    for axis in range(x.ndim):
        shape = [1] * x.ndim
        shape[axis] = -1
        index = jnp.arange(x.shape[axis]).reshape(shape)
        y = y - jnp.where(index < x.shape[axis] - 1, jnp.roll(x, -1, axis), 0)
        y = y - jnp.where(index > 0, jnp.roll(x, 1, axis), 0)
    return y


def by_fluxes(x: Array) -> Array:
    """Differences of a padded field, then differences of fluxes."""
    y = jnp.zeros_like(x)
    for axis in range(x.ndim):
        widths = [(0, 0)] * x.ndim
        widths[axis] = (1, 1)
        y = y - jnp.diff(jnp.diff(jnp.pad(x, widths), axis=axis), axis=axis)
    return y


def microseconds(form: Callable[[Array], Array], shape: tuple[int, ...]) -> float:
    """Median of five timings of a loop, per application."""
    repeats = max(5, 20_000_000 // int(jnp.prod(jnp.array(shape))))
    x = jax.random.normal(jax.random.key(0), shape)

    @jax.jit
    def loop(x: Array) -> Array:
        return lax.fori_loop(0, repeats, lambda _, y: y - 1e-3 * form(y), x)

    loop(x).block_until_ready()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        loop(x).block_until_ready()
        times.append(1e6 * (time.perf_counter() - start) / repeats)
    return sorted(times)[2]


def main() -> None:
    """Print the table."""
    forms = [by_concatenation, by_padding, by_rolling, by_fluxes]
    names = [form.__name__.removeprefix("by_") for form in forms]
    print(f"{'grid':>15}" + "".join(f"{name:>15}" for name in names))
    for shape in [(64, 64), (256, 256), (64, 64, 64), (128, 128, 128)]:
        cells = [f"{microseconds(form, shape):15.1f}" for form in forms]
        print(f"{' x '.join(map(str, shape)):>15}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
