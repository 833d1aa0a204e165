"""The constant-coefficient Laplacian on a grid of nodes.

(A u)_i = Σ_axes (2 u_i - u_{i-1} - u_{i+1}) / h², the textbook 2d+1-point stencil.
"""

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Inexact
from typing_extensions import override

from .._declared import AbstractDeclaredOperator, Declared, declare
from .._field import Structure, array_structure, as_dtype, real_dtype
from .._line import UniformLine
from .._separable import Separable
from ._boundary import BoundaryLike, Faces, as_faces, has_dirichlet, inverse_squares
from ._network import Network
from ._shift import Side, edge_in_zeros, opposite, shift_in_zero, without_last
from ._stencil import Stencil


class Laplacian(AbstractDeclaredOperator):
    """The positive Laplacian -Δ on a 1-D, 2-D or 3-D grid, second order.

    Unknowns sit at nodes. A Dirichlet wall (value zero) is one spacing outside the last
    node, a Neumann wall (zero flux) half a spacing outside, and a periodic axis closes
    on itself. With Neumann and periodic faces only, the operator is singular.

    Args:
        shape: number of nodes per axis, at least 2 each.
        spacing: h, one number or one per axis.
        boundary: "dirichlet", "neumann" or "periodic" for all faces, or per axis one of
            them or a (low, high) pair.
        nullspace: "constant" declares the constants that a singular one annihilates.
        dtype: of the fields; JAX's default floating type unless said.

    Raises:
        ValueError: bad shape, spacing or boundary, or 64 bits while x64 is off.

    Cost: 2d+1 operations and one read and one write per node.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> kx.operators.Laplacian((3,)) @ jnp.array([1.0, 2.0, 4.0])
        Array([ 0., -1.,  6.], dtype=float64)
    """

    weights: Float[Array, " axes"]
    declared: Declared
    shape: tuple[int, ...] = eqx.field(static=True)
    faces: Faces = eqx.field(static=True)
    dtype: jnp.dtype = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        spacing: float | Sequence[float] | Float[Array, "..."] = 1.0,
        *,
        boundary: BoundaryLike = "dirichlet",
        nullspace: Literal["constant"] | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.shape = grid_shape(shape)
        self.dtype = as_dtype(dtype)
        self.faces = as_faces(boundary, len(self.shape))
        self.weights = inverse_squares(
            spacing, len(self.shape), real_dtype(self.in_structure)
        )
        self.declared = declare_diffusion(self.faces, nullspace, self.in_structure)

    @property
    @override
    def in_structure(self) -> Structure:
        return array_structure(self.shape, self.dtype)

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        y = (2 * jnp.sum(self.weights)).astype(x.dtype) * x
        for axis, weight in enumerate(self.weights):
            y = y - weight.astype(x.dtype) * self._neighbours(x, axis)
        return y

    def network(self) -> Network:
        """The conductances 1/h² between nodes, for multigrid."""
        links = []
        for axis, weight in enumerate(self.weights):
            link = jnp.full(self.shape, weight, self.dtype)
            is_periodic = self.faces[axis][0] == "periodic"
            links.append(link if is_periodic else without_last(link, axis))
        return Network(self.diagonal(), tuple(links), self.faces)

    def diagonal(self) -> Inexact[Array, "..."]:
        """Twice Σ 1/h², less 1/h² for every Neumann face that a node touches."""
        diagonal = jnp.full(self.shape, 2 * jnp.sum(self.weights), self.dtype)
        for axis, (weight, pair) in enumerate(
            zip(self.weights, self.faces, strict=True)
        ):
            edge = jnp.full(self.shape, weight, self.dtype)
            for side in _sides(pair, "neumann"):
                diagonal = diagonal - edge_in_zeros(edge, axis, side, side)
        return diagonal

    @property
    @override
    def stencil(self) -> Stencil:
        return self.network().stencil()

    @property
    @override
    def uniform_lines(self) -> tuple[UniformLine, ...]:
        weights = self.weights.astype(self.dtype)
        lines = zip(weights, self.shape, self.faces, strict=True)
        return tuple(UniformLine(*line) for line in lines)

    @property
    @override
    def separable(self) -> Separable:
        return Separable(self.uniform_lines)

    def _neighbours(self, x: Inexact[Array, "..."], axis: int) -> Inexact[Array, "..."]:
        total = shift_in_zero(x, axis, "high") + shift_in_zero(x, axis, "low")
        for side in _sides(self.faces[axis], "neumann"):
            total = total + edge_in_zeros(x, axis, side, side)
        for side in _sides(self.faces[axis], "periodic"):
            total = total + edge_in_zeros(x, axis, opposite(side), side)
        return total


def grid_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Check the number of points per axis of a grid.

    Raises:
        ValueError: not one to three axes, or fewer than two points on one.
    """
    counts = np.atleast_1d(np.asarray(shape))
    is_whole = np.issubdtype(counts.dtype, np.integer)
    if not (is_whole and 1 <= counts.size <= 3 and np.min(counts) >= 2):
        raise ValueError(
            "a grid has one to three axes with at least two points each, got shape "
            f"{shape}"
        )
    return tuple(int(n) for n in counts)


def declare_diffusion(
    faces: Faces,
    nullspace: Literal["constant"] | None,
    structure: Structure,
    has_positive_weights: bool = True,
) -> Declared:
    """Return what follows from the faces for a symmetric operator of differences.

    Raises:
        ValueError: the operator is not singular.
    """
    require_declarable(nullspace, faces)
    is_singular = not has_dirichlet(faces)
    tags = {"symmetric"} | ({"singular"} if is_singular else set())
    if has_positive_weights:
        tags |= {"positive_semidefinite" if is_singular else "positive_definite"}
    return declare(tags, nullspace, structure, annihilates_constants=is_singular)


def require_declarable(nullspace: Literal["constant"] | None, faces: Faces) -> None:
    """Check that a declared null space is there.

    Raises:
        ValueError: not "constant" or None, or declared though a face is Dirichlet.
    """
    is_constant = isinstance(nullspace, str) and nullspace == "constant"
    if not (nullspace is None or is_constant):
        raise ValueError(f'nullspace must be "constant" or None, got {nullspace!r}')
    if nullspace is not None and has_dirichlet(faces):
        raise ValueError(
            "a Dirichlet face makes the operator nonsingular; leave out "
            f"nullspace={nullspace!r} or make every face Neumann or periodic"
        )


def _sides(pair: tuple[str, str], condition: str) -> list[Side]:
    names: tuple[Side, Side] = ("low", "high")
    return [side for side, face in zip(names, pair, strict=True) if face == condition]
