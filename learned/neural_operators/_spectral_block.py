"""The layer of Fourier neural operators: W v + b + K v."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from ._convolution import Pointwise
from ._spectral import SpectralConvolution


class SpectralBlock(eqx.Module):
    """A linear map at each point and one of each mode, without activation.

    Args:
        width: channels of the field and of the result.
        num_modes: of the spectral convolution, one number per axis.
        key: from which the weights are drawn.
        dtype: of the weights.
    """

    pointwise: Pointwise
    spectral: SpectralConvolution

    def __init__(
        self,
        width: int,
        num_modes: Sequence[int],
        *,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ) -> None:
        keys = jax.random.split(key)
        self.pointwise = Pointwise(width, width, key=keys[0], dtype=dtype)
        self.spectral = SpectralConvolution(
            width, width, num_modes, key=keys[1], dtype=dtype
        )

    def __call__(self, v: Float[Array, "*grid width"]) -> Float[Array, "*grid width"]:
        """Return W v + b + K v."""
        return self.pointwise(v) + self.spectral(v)
