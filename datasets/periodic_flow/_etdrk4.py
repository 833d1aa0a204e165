"""Exponential time differencing: stiff linear terms exactly, the others to order four.

û' = L û + N(û) with a diagonal L, as that of derivatives in Fourier space. With
φ₀ = e^{Lh}, φ_k from contour integrals, which do not cancel where L h is small. S. M.
Cox and P. C. Matthews, J. Comput. Phys. 176 (2002), doi:10.1006/jcph.2002.6995, eqs.
26-29; A.-K. Kassam and L. N. Trefethen, SIAM J. Sci. Comput. 26 (2005),
doi:10.1137/S1064827502410633, §3.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, DTypeLike, Float

NUM_CONTOUR = 32
"""Points on the upper half of a circle of radius one around each L h."""


class Coefficients(NamedTuple):
    """What the stages of a step multiply by, each of the shape of L."""

    whole: Complex[Array, "..."]
    half: Complex[Array, "..."]
    stage: Complex[Array, "..."]
    first: Complex[Array, "..."]
    middle: Complex[Array, "..."]
    last: Complex[Array, "..."]


def coefficients(
    linear: Float[np.ndarray, "..."], dt: float, dtype: DTypeLike
) -> Coefficients:
    """Return the coefficients of steps of length dt for a real L."""
    z = dt * linear
    angles = np.pi * (np.arange(NUM_CONTOUR) + 0.5) / NUM_CONTOUR
    w = z[..., None] + np.exp(1j * angles)
    e = np.exp(w)
    integrands = {
        "stage": (np.exp(w / 2) - 1) / w,
        "first": (-4 - w + e * (4 - 3 * w + w**2)) / w**3,
        "middle": 2 * (2 + w + e * (w - 2)) / w**3,
        "last": (-4 - 3 * w - w**2 + e * (4 - w)) / w**3,
    }
    # The lower half of the circle is the complex conjugate.
    means = {name: dt * np.mean(f, axis=-1).real for name, f in integrands.items()}
    exact = {"whole": np.exp(z), "half": np.exp(z / 2)}
    return Coefficients(
        **{name: jnp.asarray(f, dtype) for name, f in (exact | means).items()}
    )


def step(
    u: Complex[Array, "..."],
    nonlinear: Callable[[Complex[Array, "..."]], Complex[Array, "..."]],
    c: Coefficients,
) -> Complex[Array, "..."]:
    """Return û after a step."""
    n_u = nonlinear(u)
    a = c.half * u + c.stage * n_u
    n_a = nonlinear(a)
    b = c.half * u + c.stage * n_a
    n_b = nonlinear(b)
    d = c.half * a + c.stage * (2 * n_b - n_u)
    return c.whole * u + c.first * n_u + c.middle * (n_a + n_b) + c.last * nonlinear(d)
