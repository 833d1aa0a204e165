"""The spectral convolution: a linear map of each of the lowest Fourier modes.

With the Fourier coefficients û(k) of a field u of several channels,

    (K u)(x) = Re Σ_k c_k e^{2πi k·x} R(k) û(k),    R(k) a complex matrix per mode,

over the modes -m..m-1 of all axes but the last and 0..m-1 of the last one, where c_k is
2, or 1 for the mean and the Nyquist mode of the last axis: what `irfftn` makes of the
same coefficients, which ignores the imaginary part of what has to be real.
Coefficients are means over the points, so that R does not depend on the resolution.

Z. Li et al., Fourier Neural Operator for Parametric Partial Differential Equations,
ICLR 2021, arXiv 2010.08895, equation (4) and the authors' choice of modes.

Differs from the paper: the last axis is transformed by a dense matrix of its modes and
points instead of an FFT where the modes are few, which is the same map and faster; R is
stored as real pairs, because optimisers of complex weights are easily wrong.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, DTypeLike, Float, Key

from ...operators._arguments import require_count
from ._grid import per_axis

# Accelerators would multiply float32 matrices with 8 or 11 bits.
_einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)


class SpectralConvolution(eqx.Module):
    """A complex matrix for each of the lowest modes of a field, channels last.

    Args:
        in_channels: of the field.
        out_channels: of the result.
        num_modes: m, one per axis. The axes but the last have modes of both signs.
        key: from which the weights are drawn, real and imaginary parts uniformly
            between 0 and 1 / (in_channels out_channels), as in the authors' code.
        dtype: of the weights.

    Cost: per channel an FFT along each axis, or along the last one 4 num_modes
    operations per point; 8 operations per mode and pair of channels.
    """

    weight: Float[Array, "2 *modes inputs outputs"]
    num_modes: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_modes: Sequence[int],
        *,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ) -> None:
        *others, last = num_modes
        shape = (2, *(2 * m for m in others), last, in_channels, out_channels)
        limit = 1 / (in_channels * out_channels)
        self.weight = jax.random.uniform(key, shape, jnp.dtype(dtype), 0, limit)
        self.num_modes = tuple(num_modes)

    def __call__(
        self, v: Float[Array, "*grid inputs"]
    ) -> Float[Array, "*grid outputs"]:
        """Return K v, computed in float32 or better.

        Raises:
            ValueError: the grid has fewer points than the modes need.
        """
        shape = v.shape[:-1]
        require_points(shape, self.num_modes)
        dtype = jnp.float32 if jnp.finfo(v.dtype).bits < 32 else v.dtype
        real, imaginary = self.weight.astype(dtype)
        axes = "xyz"[: len(shape)]
        coefficients = analysed(v.astype(dtype), self.num_modes)
        mapped = _einsum(
            f"{axes}i,{axes}io->{axes}o", coefficients, lax.complex(real, imaginary)
        )
        return synthesised(mapped, shape).astype(v.dtype)


def modes_per_axis(num_modes: Any, num_dimensions: int) -> tuple[int, ...]:
    """Return the number of modes of each axis.

    Raises:
        ValueError: no counts, or another number of them.
    """
    modes = per_axis(num_modes, num_dimensions, "num_modes")
    for m in modes:
        require_count(m, "num_modes")
    return tuple(map(int, modes))


def require_points(shape: Sequence[int], num_modes: Sequence[int]) -> None:
    """Check that a grid has the modes.

    Raises:
        ValueError: it has fewer.
    """
    # A real axis of n points has the modes 0 to n / 2.
    needed = (*(2 * m for m in num_modes[:-1]), max(2 * num_modes[-1] - 2, 1))
    if any(n < least for n, least in zip(shape, needed, strict=True)):
        raise ValueError(
            f"num_modes {tuple(num_modes)} are more modes than points: they need a "
            f"grid of at least {needed} points, got {tuple(shape)}; choose fewer modes "
            "or a finer grid"
        )


def analysed(
    v: Float[Array, "*grid c"], num_modes: Sequence[int]
) -> Complex[Array, "*modes c"]:
    """Return the Fourier coefficients of the lowest modes."""
    *others, last = num_modes
    axis, n = len(others), v.shape[len(others)]
    if _is_dense(last, n):
        basis = np.exp(-_angles(last, n)) / n
        pairs = np.concatenate([basis.real, basis.imag]).astype(v.dtype)
        z = lax.complex(*jnp.split(_along(axis, pairs, v), 2, axis=axis))
    else:
        z = jnp.fft.rfft(v, axis=axis, norm="forward")
        z = lax.slice_in_dim(z, 0, last, axis=axis)
    for i, m in enumerate(others):
        n = v.shape[i]
        z = jnp.fft.fft(z, axis=i, norm="forward")
        positive = lax.slice_in_dim(z, 0, m, axis=i)
        negative = lax.slice_in_dim(z, n - m, n, axis=i)
        z = jnp.concatenate([positive, negative], axis=i)
    return z


def synthesised(
    z: Complex[Array, "*modes c"], shape: Sequence[int]
) -> Float[Array, "*grid c"]:
    """Return the real field on a grid that has these coefficients, and no others."""
    *others, n = shape
    for i, points in enumerate(others):
        positive, negative = jnp.split(z, 2, axis=i)
        missing = (*z.shape[:i], points - z.shape[i], *z.shape[i + 1 :])
        z = jnp.concatenate([positive, jnp.zeros(missing, z.dtype), negative], axis=i)
        z = jnp.fft.ifft(z, axis=i, norm="forward")
    axis, last = len(others), z.shape[len(others)]
    if not _is_dense(last, n):
        return jnp.fft.irfft(z, n, axis=axis, norm="forward")
    modes = np.arange(last)
    # A mode stands for its conjugate too, but for those that are their own.
    counts = np.where((modes == 0) | (2 * modes == n), 1, 2)
    basis = (counts[:, None] * np.exp(_angles(last, n))).T
    pairs = np.concatenate([basis.real, -basis.imag], axis=1).astype(z.real.dtype)
    return _along(axis, pairs, jnp.concatenate([z.real, z.imag], axis=axis))


def _is_dense(num_modes: int, num_points: int) -> bool:
    """Whether a matrix is faster than an FFT, for so many modes of so many points.

    Measured on one core of a CPU, transforms and their derivatives of 64 to 256 points
    per axis: 1.1 to 1.7 times as fast below the limit.
    """
    return num_modes <= 3 * np.log2(num_points)


def _angles(num_modes: int, num_points: int) -> Any:
    """2πi k j / n of modes and points, of small angles for the sake of rounding."""
    turns = np.outer(np.arange(num_modes), np.arange(num_points)) % num_points
    return 2j * np.pi * turns / num_points


def _along(axis: int, matrix: Any, v: Any) -> Any:
    """The matrix times the vectors along an axis."""
    letters = "xyz"[: v.ndim - 1] + "c"
    result = letters.replace(letters[axis], "k")
    return _einsum(f"k{letters[axis]},{letters}->{result}", matrix, v)
