"""The diffusion operator with a variable coefficient, by conservative finite volumes.

Integrating -∇·(k∇u) over a cell of a grid with spacing h gives the sum of the fluxes
through its faces, (A u)_i = Σ_faces c_f (u_i - u_neighbour), with c_f = k_f / h². The
face value k_f is a mean of the two cells that share it; the harmonic one makes the flux
exact for a layered medium (Patankar, Numerical Heat Transfer and Fluid Flow, 1980,
§4.2-3). At a Dirichlet wall, on the cell's face and half a cell from its centre,
c_f = 2 k_i / h².
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact
from typing_extensions import override

from .._declared import AbstractDeclaredOperator, Declared
from .._field import Structure, as_finite, is_traced, structure_of
from .._separable import Separable
from .._tags import is_real
from ._boundary import BoundaryLike, Faces, as_faces, inverse_squares, require_choice
from ._laplacian import declare_diffusion, grid_shape
from ._mean_lines import mean_lines
from ._network import Network, make_network
from ._shift import edge_in_zeros, without_last
from ._stencil import Stencil

FaceMean: TypeAlias = Literal["harmonic", "arithmetic"]


class Diffusion(AbstractDeclaredOperator):
    """The operator -∇·(k∇u) on a 1-D, 2-D or 3-D grid of cells, second order.

    Unknowns sit at cell centres; walls lie on cell faces. Dirichlet walls hold the
    value zero, Neumann walls have zero flux, periodic axes wrap around.

    Args:
        coefficient: k, one positive number per cell; its shape is the grid. Complex
            values are taken as they are.
        spacing: h, the cell size, one number or one per axis.
        face_mean: "harmonic" for jumping k, "arithmetic" for smooth k.
        boundary: "dirichlet", "neumann" or "periodic" for all faces, or per axis one of
            them or a (low, high) pair.
        nullspace: "constant" declares the constants that a singular operator (Neumann
            and periodic faces only) annihilates; `solve` needs it declared.

    Raises:
        ValueError: a coefficient that is not positive, finite and floating, a bad
            shape, spacing, face mean or boundary, or 64 bits while `jax_enable_x64` is
            off. Traced values are not checked; a solve then reports them by its status.

    Cost: per product 4d+1 operations per cell; d+1 numbers per cell are stored.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Diffusion(jnp.array([1.0, 1.0, 3.0]))
        >>> A.as_matrix()
        Array([[ 3. , -1. ,  0. ],
               [-1. ,  2.5, -1.5],
               [ 0. , -1.5,  7.5]], dtype=float64)
    """

    network: Network
    declared: Declared

    def __init__(
        self,
        coefficient: Any,
        spacing: float | Sequence[float] | Float[Array, "..."] = 1.0,
        *,
        face_mean: FaceMean = "harmonic",
        boundary: BoundaryLike = "dirichlet",
        nullspace: Literal["constant"] | None = None,
    ) -> None:
        k = as_coefficient(coefficient)
        require_choice("face_mean", face_mean, FaceMean)
        faces = as_faces(boundary, k.ndim)
        weights = inverse_squares(spacing, k.ndim, jnp.finfo(k.dtype).dtype)
        self.network = diffusion_network(k, weights, face_mean, faces)
        self.declared = declare_diffusion(
            faces, nullspace, self.in_structure, is_real(self.in_structure)
        )

    @property
    @override
    def in_structure(self) -> Structure:
        return structure_of(self.network.centre)

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.network.mv(x)

    @property
    @override
    def stencil(self) -> Stencil:
        return self.network.stencil()

    @property
    @override
    def separable(self) -> Separable | None:
        """Of a real coefficient, averaged per axis over the other axes."""
        if jnp.iscomplexobj(self.network.centre):
            return None
        return mean_lines(self.network)

    def diagonal(self) -> Inexact[Array, "..."]:
        """The sum of the conductances of each cell's faces."""
        return self.network.centre


def as_coefficient(coefficient: Any) -> Inexact[Array, "..."]:
    """Return k as an array on a grid.

    Raises:
        ValueError: a value that is not finite or not positive, or a bad shape.
    """
    k = as_finite(coefficient, "coefficient")
    grid_shape(k.shape)
    _require_positive(coefficient)
    return k


@partial(jax.jit, static_argnames=("face_mean", "faces"), inline=True)
def diffusion_network(
    k: Inexact[Array, "..."],
    weights: Float[Array, " axes"],
    face_mean: FaceMean,
    faces: Faces,
) -> Network:
    """Return the conductances of -∇·(k∇u), with weights 1/h² per axis."""
    links = tuple(
        weight.astype(k.dtype) * _link(k, axis, face_mean, faces)
        for axis, weight in enumerate(weights)
    )
    return make_network(_walls(k, weights, faces), links, faces)


def _link(
    k: Inexact[Array, "..."], axis: int, face_mean: FaceMean, faces: Faces
) -> Inexact[Array, "..."]:
    """Conductance k_f to the next cell along an axis; at the last cell, the wrap's."""
    neighbour = jnp.roll(k, -1, axis)
    if face_mean == "harmonic":
        mean = 2 * k * (neighbour / (k + neighbour))
    else:
        mean = (k + neighbour) / 2
    return mean if faces[axis][0] == "periodic" else without_last(mean, axis)


def _walls(
    k: Inexact[Array, "..."], weights: Float[Array, " axes"], faces: Faces
) -> Inexact[Array, "..."]:
    """Conductance 2 k / h² of every Dirichlet wall that a cell touches."""
    total = jnp.zeros_like(k)
    for axis, ((low, high), weight) in enumerate(zip(faces, weights, strict=True)):
        wall = 2 * weight.astype(k.dtype) * k
        if low == "dirichlet":
            total = total + edge_in_zeros(wall, axis, "low", "low")
        if high == "dirichlet":
            total = total + edge_in_zeros(wall, axis, "high", "high")
    return total


def _require_positive(k: Any) -> None:
    if is_traced(k) or np.iscomplexobj(k):
        return
    smallest = float(np.min(np.asarray(k)))
    if smallest <= 0:
        raise ValueError(
            f"coefficient must be positive in every cell, got {smallest} as its "
            "smallest value; for an insulating cell use a small positive number"
        )
