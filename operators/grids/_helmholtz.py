"""The Helmholtz operator with variable coefficients, by finite volumes.

The diffusion operator of `Diffusion`, less k² u in every cell: -∇·(c∇u) - k²u.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact
from typing_extensions import override

from .._declared import AbstractDeclaredOperator, Declared, declare
from .._field import Structure, as_finite
from .._separable import Separable
from ._boundary import BoundaryLike
from ._diffusion import Diffusion, FaceMean, as_coefficient
from ._mean_lines import mean_lines
from ._stencil import Stencil


class Helmholtz(AbstractDeclaredOperator):
    """The operator -∇·(c∇u) - k²u on a 1-D, 2-D or 3-D grid of cells, second order.

    Grid, walls and faces are those of `Diffusion`. The argument is k² instead of k,
    because its sign and its phase matter: negative, it is the positive shift of an
    implicit time step or of a screened Poisson equation; complex, it damps the wave
    (with time dependence exp(-iωt) a positive imaginary part). With k² real and
    positive the operator is indefinite beyond the first resonance; a wavelength 2π√c/k
    needs ten cells or more, and more on longer domains (I. M. Babuška, S. A. Sauter, Is
    the pollution effect of the FEM avoidable for the Helmholtz equation considering
    high wave numbers?, SIAM J. Numer. Anal. 34, 1997).

    Args:
        coefficient: c, one positive number per cell; its shape is the grid. Complex
            values are taken as they are.
        wavenumber_squared: k², one number or one per cell, real or complex. If c or k²
            is complex, so are the fields.
        spacing: the cell size, one number or one per axis.
        face_mean: "harmonic" for jumping c, "arithmetic" for smooth c.
        boundary: "dirichlet", "neumann" or "periodic" for all faces, or per axis one of
            them or a (low, high) pair.
        tags: declared properties beyond `symmetric`, such as `positive_definite` if k²
            is known to be negative: the signs of values are not checked.

    Raises:
        ValueError: as `Diffusion`; a k² that is not finite or of another shape; or an
            unknown tag.

    Cost: per product 4d+3 operations per cell; d+1 numbers per cell are stored, and one
    more for a k² that varies.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Helmholtz(jnp.ones(3), 0.5)
        >>> A.as_matrix()
        Array([[ 2.5, -1. ,  0. ],
               [-1. ,  1.5, -1. ],
               [ 0. , -1. ,  2.5]], dtype=float64)
    """

    diffusion: Diffusion
    wavenumber_squared: Inexact[Array, "..."]
    declared: Declared

    def __init__(
        self,
        coefficient: Any,
        wavenumber_squared: Any,
        spacing: float | Sequence[float] | Float[Array, "..."] = 1.0,
        *,
        face_mean: FaceMean = "harmonic",
        boundary: BoundaryLike = "dirichlet",
        tags: Iterable[str] = (),
    ) -> None:
        c = as_coefficient(coefficient)
        k2 = _as_wavenumber(wavenumber_squared, c)
        dtype = np.promote_types(c.dtype, k2.dtype)
        self.diffusion = Diffusion(
            c if dtype == c.dtype else c.astype(dtype),
            spacing,
            face_mean=face_mean,
            boundary=boundary,
        )
        self.wavenumber_squared = k2.astype(dtype)
        self.declared = declare(tags, None, self.in_structure, always=["symmetric"])

    @property
    @override
    def in_structure(self) -> Structure:
        return self.diffusion.in_structure

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.diffusion.mv(x) - self.wavenumber_squared * x

    @property
    @override
    def stencil(self) -> Stencil:
        return self.diffusion.network.stencil(-self.wavenumber_squared)

    @property
    @override
    def separable(self) -> Separable:
        """The real part of c, averaged per axis over the others, and the mean of k²."""
        # What damps a wave is in k²; of a complex c the real part has to do.
        network = jax.tree.map(jnp.real, self.diffusion.network)
        return mean_lines(network, -self.wavenumber_squared)

    def diagonal(self) -> Inexact[Array, "..."]:
        """The conductances of each cell's faces less k²."""
        return self.diffusion.diagonal() - self.wavenumber_squared


def _as_wavenumber(
    wavenumber_squared: Any, c: Inexact[Array, "..."]
) -> Inexact[Array, "..."]:
    """Convert k²; a Python number takes the precision of c."""
    if isinstance(wavenumber_squared, int | float | complex):
        dtype = jnp.finfo(c.dtype).dtype
        if isinstance(wavenumber_squared, complex):
            dtype = np.promote_types(dtype, np.complex64)
        wavenumber_squared = np.asarray(wavenumber_squared, dtype)
    values = as_finite(wavenumber_squared, "wavenumber_squared")
    if values.shape not in ((), c.shape):
        raise ValueError(
            "wavenumber_squared must be one number or one per cell, shape "
            f"{np.shape(c)}, got shape {values.shape}"
        )
    return values
