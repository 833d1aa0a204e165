r"""Gaussian random field with periodic boundaries, by a Fourier series.

    u(x) = sqrt(2) sigma  Re  sum_{k != 0} (4 pi² |k|² + tau²)^(-alpha/2) zeta_k
           exp(2 pi i k.x),          sigma = tau^((2 alpha - 2) / 2)

with k the two-dimensional frequencies of the grid and zeta_k complex with standard
normal real and imaginary parts.

Differs from the paper (which names the field but not its draw order):
1. Noise is drawn in shells of growing max |k| (see `_noise.py`).
"""

import math

import numpy as np
from jaxtyping import Float

from ._noise import generator, shell_noise


def periodic_field(
    num_points: int,
    *,
    alpha: float,
    tau: float,
    seed: int,
    stream: str,
    sample_id: int,
) -> Float[np.ndarray, "n n"]:
    """Return one field on the n x n grid x_j = j / n of the unit torus.

    Modes below the Nyquist frequency are the same at every resolution.

    Args:
        num_points: n.
        alpha: smoothness.
        tau: inverse correlation length.
        seed: the master seed.
        stream: "train", "valid", "test" or another name.
        sample_id: the sample's number in the stream.
    """
    # See CosineKL.field.
    from scipy.fft import fftfreq, ifft2

    random = generator(seed, stream, sample_id)
    # Folding k = 0, -1, 1, -2, 2, ... to 0, 1, 2, ... turns shells of max |k| into
    # the shells of max(k) that shell_noise fills.
    frequency = np.rint(fftfreq(num_points) * num_points).astype(int)
    place = np.where(frequency < 0, -2 * frequency - 1, 2 * frequency)
    folded = np.ix_(place, place)
    shape = (num_points, num_points)
    zeta = shell_noise(shape, random) + 1j * shell_noise(shape, random.spawn(1)[0])
    k_squared = frequency[:, None] ** 2 + frequency[None, :] ** 2
    decay = (4 * math.pi**2 * k_squared + tau**2) ** (-alpha / 2)
    decay[0, 0] = 0.0
    scale = math.sqrt(2) * tau ** (alpha - 1) * num_points**2
    return np.asarray(ifft2(scale * decay * zeta[folded]), np.complex128).real
