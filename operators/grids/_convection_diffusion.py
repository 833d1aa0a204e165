"""Convection and diffusion, by conservative finite volumes.

Integrating over a cell, the flow through a face carries v_f u_f, with v_f the mean of
the velocities of the two cells that share it and u_f, by the central scheme, the mean
of their values or, by the upwind scheme, the value where the flow comes from (Patankar,
Numerical Heat Transfer and Fluid Flow, 1980, §5.2). The advective form v·∇u is ∇·(vu)
less u ∇·v, both by the same fluxes.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact
from typing_extensions import override

from .._declared import AbstractDeclaredOperator, Declared, declare
from .._field import Structure, as_finite, is_traced, structure_of
from ._boundary import (
    BoundaryLike,
    Faces,
    as_faces,
    has_dirichlet,
    inverse_squares,
    require_choice,
)
from ._diffusion import FaceMean, as_coefficient, diffusion_network
from ._laplacian import require_declarable
from ._offsets import neighbour
from ._shift import Side, edge_in_zeros, opposite, without_last
from ._stencil import Stencil
from ._stencil_operator import StencilOperator

Scheme: TypeAlias = Literal["upwind", "central"]
Form: TypeAlias = Literal["conservative", "advective"]


class ConvectionDiffusion(AbstractDeclaredOperator):
    """The operator -∇·(k∇u) + ∇·(vu), or + v·∇u, on a 1-D, 2-D or 3-D grid of cells.

    Grid and diffusive fluxes are those of `Diffusion`. At a Dirichlet wall the value is
    zero; the central scheme carries that value out, the upwind scheme an outflow of the
    cell's. A Neumann wall has zero gradient: the flow carries the cell's value through.
    The velocity at a wall is extrapolated from the two cells next to it.

    The upwind scheme is first order. Its matrix is an M-matrix (no positive entry off
    the diagonal, nonnegative inverse) with a Dirichlet wall, in the conservative form
    if no flow enters through a Neumann wall: solutions keep their bounds, Jacobi and
    Gauss-Seidel converge. The central scheme is second order; beyond a cell Péclet
    number |v| h / k of 2 its solutions oscillate. The advective form annihilates
    constants unless a wall is Dirichlet; the conservative form conserves the total of u
    up to what passes the walls. They agree where the face velocities have no
    divergence.

    Args:
        coefficient: k, one positive number per cell; its shape is the grid.
        velocity: v, real, with one component per axis first, then the grid; or the
            components alone, of a constant velocity.
        spacing: h, the cell size, one number or one per axis.
        scheme: "upwind" or "central".
        form: "conservative" for ∇·(vu), "advective" for v·∇u.
        face_mean: of k, "harmonic" or "arithmetic".
        boundary: "dirichlet", "neumann" or "periodic" for all faces, or per axis one of
            them or a (low, high) pair.
        nullspace: "constant" declares the constants as null vectors of A and of Aᴴ:
            without a Dirichlet wall, and where the flow through each cell and through
            every wall adds up to zero. A velocity that is traced is trusted.

    Raises:
        ValueError: as `Diffusion`; a velocity that is not real, finite and of that
            shape; an unknown scheme or form; or a declared null space that is none.

    Cost: per product 4d+1 operations per cell, the same for the transpose; 2d+1 numbers
    per cell are stored.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.ConvectionDiffusion(jnp.ones(3), jnp.array([2.0]))
        >>> A.as_matrix()
        Array([[ 5., -1.,  0.],
               [-3.,  4., -1.],
               [ 0., -3.,  5.]], dtype=float64)
    """

    couplings: Stencil
    declared: Declared

    def __init__(
        self,
        coefficient: Any,
        velocity: Any,
        spacing: float | Sequence[float] | Float[Array, "..."] = 1.0,
        *,
        scheme: Scheme = "upwind",
        form: Form = "conservative",
        face_mean: FaceMean = "harmonic",
        boundary: BoundaryLike = "dirichlet",
        nullspace: Literal["constant"] | None = None,
    ) -> None:
        require_choice("scheme", scheme, Scheme)
        require_choice("form", form, Form)
        require_choice("face_mean", face_mean, FaceMean)
        k = as_coefficient(coefficient)
        faces = as_faces(boundary, k.ndim)
        weights = inverse_squares(spacing, k.ndim, jnp.finfo(k.dtype).dtype)
        v = _as_velocity(velocity, k.shape)
        settings = _Settings(scheme, form, face_mean, faces)
        self.couplings = _stencil(k, v, weights, settings)
        self.declared = _declare(self.couplings, form, nullspace)

    @property
    @override
    def in_structure(self) -> Structure:
        return structure_of(self.couplings.centre)

    @property
    @override
    def stencil(self) -> Stencil:
        return self.couplings

    @property
    @override
    def T(self) -> StencilOperator:
        return StencilOperator(
            couplings=self.couplings.T, declared=self.declared.T, original=self
        )

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.couplings.mv(x)

    def diagonal(self) -> Inexact[Array, "..."]:
        """The weight of each cell in its own balance."""
        return self.couplings.centre


class _Settings(NamedTuple):
    """What changes the compiled program."""

    scheme: Scheme
    form: Form
    face_mean: FaceMean
    faces: Faces


@partial(jax.jit, static_argnames="settings", inline=True)
def _stencil(
    k: Inexact[Array, "..."],
    v: Float[Array, "..."],
    weights: Float[Array, " axes"],
    settings: _Settings,
) -> Stencil:
    """Diffusion by its network, convection by the flows v / h along the axes."""
    scheme, form, face_mean, faces = settings
    network = diffusion_network(k, weights, face_mean, faces)
    if v.ndim == 1:
        v = jnp.broadcast_to(v.reshape(-1, *[1] * k.ndim), (k.ndim, *k.shape))
    scales = jnp.sqrt(weights).astype(k.dtype)
    flows = [w * v[axis].astype(k.dtype) for axis, w in enumerate(scales)]
    centre, low, high = network.centre, [], []
    for axis, (flow, link) in enumerate(zip(flows, network.links, strict=True)):
        own, before, after = _convection(flow, axis, faces, scheme, form)
        centre = centre + own
        low.append(before - neighbour(link, axis, "low", faces))
        high.append(after - link)
    return Stencil.along_axes(centre, low, high, faces)


def _convection(
    flow: Inexact[Array, "..."], axis: int, faces: Faces, scheme: Scheme, form: Form
) -> tuple[Inexact[Array, "..."], Inexact[Array, "..."], Inexact[Array, "..."]]:
    """Weights of a cell, the previous and the next in ∂(vu)/∂x, or in v ∂u/∂x.

    Along one axis, with flow v / h.
    """
    through = _flow_through_faces(flow, axis, faces)
    # What passes the upper face is own u_i + other u_{i+1}.
    own, other = _split(through, scheme)
    before = neighbour(other, axis, "low", faces)
    centre, outflow = own - before, through - neighbour(through, axis, "low", faces)
    sides: tuple[tuple[Side, float], ...] = (("low", -1.0), ("high", 1.0))
    for (side, sign), condition in zip(sides, faces[axis], strict=True):
        if condition == "periodic":
            continue
        # Extrapolated from two cells: the nearest alone would make the central scheme
        # first order at an outflow.
        inner = neighbour(flow, axis, opposite(side), faces)
        out = sign * edge_in_zeros((3 * flow - inner) / 2, axis, side, side)
        outflow = outflow + out
        if condition == "neumann":
            centre = centre + out
        elif scheme == "upwind":
            centre = centre + _positive_part(out)
    if form == "advective":
        centre = centre - outflow
    return centre, -neighbour(own, axis, "low", faces), other


def _flow_through_faces(
    flow: Inexact[Array, "..."], axis: int, faces: Faces
) -> Inexact[Array, "..."]:
    """The mean with the next cell, zero at the last cell of an axis with walls."""
    mean = (flow + jnp.roll(flow, -1, axis)) / 2
    return mean if faces[axis][0] == "periodic" else without_last(mean, axis)


def _split(
    through: Inexact[Array, "..."], scheme: Scheme
) -> tuple[Inexact[Array, "..."], Inexact[Array, "..."]]:
    if scheme == "central":
        return through / 2, through / 2
    forward = _positive_part(through)
    return forward, through - forward


def _positive_part(flow: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    return jnp.where(jnp.real(flow) > 0, flow, 0)


def _as_velocity(velocity: Any, shape: tuple[int, ...]) -> Float[Array, "..."]:
    v = as_finite(velocity, "velocity")
    if jnp.iscomplexobj(v):
        raise ValueError(f"velocity must be real, got dtype {v.dtype}")
    num_axes = len(shape)
    if v.shape not in ((num_axes,), (num_axes, *shape)):
        raise ValueError(
            "velocity must have one component per axis, shape "
            f"{(num_axes, *shape)} or {(num_axes,)}, got {v.shape}"
        )
    return v


def _declare(
    stencil: Stencil, form: Form, nullspace: Literal["constant"] | None
) -> Declared:
    """Singular where constants are annihilated, by A or by Aᵀ."""
    require_declarable(nullspace, stencil.faces)
    if nullspace is not None:
        _require_null_constants(stencil)
    annihilates = form == "advective" and not has_dirichlet(stencil.faces)
    is_periodic = all(pair[0] == "periodic" for pair in stencil.faces)
    return declare(
        ["singular"] if is_periodic or annihilates or nullspace else [],
        nullspace,
        structure_of(stencil.centre),
        annihilates_constants=annihilates,
    )


@jax.jit
def _sums(stencil: Stencil) -> tuple[Inexact[Array, "..."], Inexact[Array, "..."]]:
    """The sums of the rows and of the columns."""
    ones = jnp.ones_like(stencil.centre)
    return stencil.mv(ones), stencil.T.mv(ones)


def _require_null_constants(stencil: Stencil) -> None:
    if is_traced(stencil):
        return
    all_sums = _sums(stencil)
    if is_traced(all_sums):
        # Constants that are given inside of a program are known all the same.
        with jax.ensure_compile_time_eval():
            all_sums = _sums(stencil)
    scale = float(np.max(np.abs(np.asarray(stencil.centre))))
    allowed = 100 * float(jnp.finfo(stencil.centre.dtype).eps) * scale
    for name, sums in zip(("A", "Aᴴ"), all_sums, strict=True):
        largest = float(np.max(np.abs(np.asarray(sums))))
        if largest > allowed:
            raise ValueError(
                'nullspace="constant" wants constants to be null vectors of A and Aᴴ, '
                f"but {name} maps 1 to values up to {largest:.1e}; make the flow "
                "through each cell and each Neumann wall add up to zero, or leave out "
                "nullspace"
            )
