r"""Gaussian random field by a cosine Karhunen-Loève expansion (FNO's `GRF`).

On the cell centres of the unit cube in d dimensions the field is

    u = idct( sqrt(n_1 ... n_d) tau^(alpha - d/2) (pi² |k|² + tau²)^(-alpha/2) xi_k )

with the orthonormal inverse DCT-II, xi_k standard normal and the constant mode left
out: covariance tau^(2 alpha - d) (-Laplace + tau²)^(-alpha) with zero Neumann walls.
The field is not stationary (its variance at a corner is 8.6 times that of the centre
for alpha = 2, tau = 3), so it is not a Matérn field, whatever its parameters.

Z. Li et al., Fourier Neural Operator, ICLR 2021, arXiv 2010.08895, appendix A.3.2
and its data generation script.

Differs from the paper:
1. The noise of a sample depends on (seed, stream, id) alone and is drawn mode by
   mode (see `_noise.py`), so fields agree across resolutions; MATLAB's draw order
   changes with the grid. The distribution is the same.
2. One to three dimensions; the script's factor tau^(alpha - 1) is the case d = 2.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from ._noise import generator, shell_noise


@dataclass(frozen=True)
class CosineKL:
    """FNO's Gaussian random field with covariance ∝ (-Δ + tau²)^(-alpha).

    Attributes:
        alpha: smoothness, positive; fields are continuous for alpha > d / 2.
        tau: inverse correlation length, positive.

    Examples:
        >>> from krylax.datasets import CosineKL
        >>> field = CosineKL().sample((32, 32), seed=0, stream="train", sample_id=7)
        >>> field.shape, bool(abs(field.mean()) < 1e-15)
        ((32, 32), True)
    """

    alpha: float = 2.0
    tau: float = 3.0

    def __post_init__(self) -> None:
        for name in ("alpha", "tau"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")

    def sample(
        self, num_points: tuple[int, ...], *, seed: int, stream: str, sample_id: int
    ) -> Float[np.ndarray, "*num_points"]:
        """Return one field on the cell centres of a grid of `num_points` cells.

        Args:
            num_points: cells per axis, one to three axes.
            seed: the master seed.
            stream: "train", "valid", "test" or another name.
            sample_id: the sample's number in the stream.
        """
        random = generator(seed, stream, sample_id)
        return self.field(shell_noise(num_points, random))

    def field(self, noise: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Return the field whose white noise xi_k is given; linear in it."""
        # SciPy's transforms take 0.3 s to import, which --help must not pay.
        from scipy.fft import idctn

        coefficients = _amplitudes(self, noise.shape) * noise
        return np.asarray(idctn(coefficients, norm="ortho", overwrite_x=True))

    def amplitudes(self, num_points: tuple[int, ...]) -> Float[np.ndarray, "*n"]:
        """Return the standard deviation of every coefficient; the constant's is 0.

        The mean over the grid of the pointwise variance is the sum of their squares
        divided by the number of points.
        """
        return _amplitudes(self, num_points).copy()


# The same for every sample of a data set; two are kept for families side by side.
@lru_cache(maxsize=2)
def _amplitudes(
    field: CosineKL, num_points: tuple[int, ...]
) -> Float[np.ndarray, "*num_points"]:
    rank = len(num_points)
    k_squared = sum(k**2 for k in np.indices(num_points, dtype=np.float64))
    decay = (math.pi**2 * k_squared + field.tau**2) ** (-field.alpha / 2)
    decay[(0,) * rank] = 0.0
    scale = math.sqrt(math.prod(num_points)) * field.tau ** (field.alpha - rank / 2)
    return scale * decay
