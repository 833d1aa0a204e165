"""Errors from which a direction of search is learned.

Errors that are white noise make residuals of the highest frequencies only, from which a
smoother is learned and nothing else. Here they are random fields of any smoothness, the
solutions of the family's own systems, and those of noise and of point sources.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from ...operators import AbstractLinearOperator
from ...operators._field import Field
from ...solvers import AbstractSolver, solve

MAX_SLOPE = 3.0
"""Of the amplitudes |k|^-s; errors late in a solve by a good direction are of s ≈ 2."""


def spectral_error(
    key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike
) -> Float[Array, "*shape"]:
    """Return noise with amplitudes |k|^-s, s uniform in [0, 3], of maximum 1."""
    for_slope, for_noise = jax.random.split(key)
    slope = jax.random.uniform(for_slope, (), dtype, 0, MAX_SLOPE)
    spectrum = jnp.fft.rfftn(jax.random.normal(for_noise, shape, dtype))
    axes = [jnp.fft.fftfreq(n) * n for n in shape[:-1]]
    axes.append(jnp.arange(shape[-1] // 2 + 1))
    squares = [axis.astype(dtype) ** 2 for axis in axes]
    square = sum(jnp.meshgrid(*squares, indexing="ij"), start=jnp.asarray(0.25, dtype))
    amplitudes = (square ** (-slope / 2)).astype(spectrum.dtype)
    field = jnp.fft.irfftn(spectrum * amplitudes, shape)
    return (field / jnp.max(jnp.abs(field))).astype(dtype)


def solved_errors(
    A: AbstractLinearOperator,
    b: Float[Array, "*shape"],
    solver: AbstractSolver,
    key: Key[Array, ""],
) -> Field:
    """Return the solutions for b, for noise, and for a point source, a row each."""
    for_noise, for_place = jax.random.split(key)
    noise = jax.random.normal(for_noise, b.shape, b.dtype)
    is_open = jnp.ones(b.shape, bool) if A.is_fluid is None else A.is_fluid
    chances = jnp.where(is_open, 0.0, -jnp.inf).ravel()
    place = jax.random.categorical(for_place, chances)
    source = jnp.zeros(b.size, b.dtype).at[place].set(1).reshape(b.shape)
    rows = [b, jnp.where(is_open, noise, 0), source]
    if A.nullspace is not None:
        # Such a system has no solution where b has a part in the null space.
        rows = [row - _in_nullspace(A, row) for row in rows]
    return jax.vmap(lambda row: solve(A, row, solver, throw=False).value)(
        jnp.stack(rows)
    )


def _in_nullspace(
    A: AbstractLinearOperator, row: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    (basis,) = jax.tree.leaves(A.nullspace)
    return jnp.tensordot(jnp.tensordot(basis, row, row.ndim), basis, 1)
