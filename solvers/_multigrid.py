"""Geometric multigrid for operators that are a network of conductances on a grid.

A V-cycle of cell-centred aggregation: pairs of cells along every axis merge, fields are
summed on the way down and copied on the way up, and conductances merge as resistors do,
half a cell of each side in series with the face between them. That is the finite-volume
discretisation on the coarse grid, and avoids the factor of two by which plain
aggregation overestimates it (P. Wesseling, An Introduction to Multigrid Methods, 1992,
§5.4).

Smoothing is Jacobi with the steps of a Chebyshev polynomial on [1/2, 2], the upper part
of the spectrum of D⁻¹A, so that the cycle is symmetric and CG may use it.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Inexact

from ..operators import AbstractLinearOperator, Diffusion, Laplacian
from ..operators._field import Structure, structure_of
from ..operators._network import Network, make_network, wall_conductances

COARSEST = 64
"""Unknowns below which a level is solved by its dense inverse."""


class Multigrid(eqx.Module):
    """The factory of a V-cycle, for `Diffusion` and `Laplacian`.

    Args:
        num_sweeps: Jacobi sweeps before and after each coarse correction.

    Returns:
        When called with an operator: a symmetric `MultigridCycle`, positive definite if
        the operator is.

    Raises:
        ValueError: num_sweeps below 1, or, when called, another kind of operator.

    Cost: per application about (4/3) (2 num_sweeps + 2) products on a 2-D grid; the
    hierarchy holds about (d+2) (4/3) vectors.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((64, 64))
        >>> M = kx.solvers.Multigrid()
        >>> sol = kx.solve(A, jnp.ones((64, 64)), kx.solvers.CG(1e-8), preconditioner=M)
        >>> bool(sol.stats.num_steps < 20)
        True
    """

    num_sweeps: int = eqx.field(static=True, default=2)

    def __check_init__(self):
        if self.num_sweeps < 1:
            raise ValueError(f"num_sweeps must be at least 1, got {self.num_sweeps}")

    def __call__(self, A: AbstractLinearOperator) -> "MultigridCycle":
        """Return the preconditioner of A."""
        networks = [_network_of(A)]
        while networks[-1].centre.size > COARSEST and _can_coarsen(networks[-1]):
            networks.append(_coarsen(networks[-1]))
        return MultigridCycle(
            networks=tuple(networks),
            coarse_inverse=_dense_inverse(networks[-1]),
            steps=_chebyshev_steps(self.num_sweeps),
            promised=A.tags - {"singular"},
        )


class MultigridCycle(AbstractLinearOperator):
    """One V-cycle from zero, as a linear operator; made by `Multigrid`."""

    networks: tuple[Network, ...]
    coarse_inverse: Inexact[Array, "n n"]
    steps: tuple[float, ...] = eqx.field(static=True)
    promised: frozenset[str] = eqx.field(static=True)

    @property
    def in_structure(self) -> Structure:
        """That of the finest grid."""
        return structure_of(self.networks[0].centre)

    @property
    def out_structure(self) -> Structure:
        """That of the finest grid."""
        return self.in_structure

    @property
    def tags(self) -> frozenset[str]:
        """Those of the operator that it approximates."""
        return self.promised

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the result of a V-cycle for the right-hand side x, from zero."""
        return self._cycle(0, x)

    def _cycle(self, level: int, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        network = self.networks[level]
        if level == len(self.networks) - 1:
            flat = jnp.matmul(
                self.coarse_inverse, b.reshape(-1), precision=Precision.HIGHEST
            )
            return flat.reshape(b.shape)
        inverse = 1 / network.centre
        x = self.steps[0] * (inverse * b)
        for step in self.steps[1:]:
            x = x + step * (inverse * (b - network.mv(x)))
        coarse_shape = self.networks[level + 1].centre.shape
        correction = self._cycle(level + 1, _sum_pairs(b - network.mv(x), coarse_shape))
        x = x + _copy_pairs(correction, b.shape)
        for step in reversed(self.steps):
            x = x + step * (inverse * (b - network.mv(x)))
        return x


def _network_of(A: Any) -> Network:
    if isinstance(A, Diffusion):
        return A.network
    if isinstance(A, Laplacian):
        return A.network()
    raise ValueError(
        f"Multigrid knows Diffusion and Laplacian, got {type(A).__name__}; use Jacobi, "
        "or multigrid of a nearby Diffusion: preconditioner=Multigrid()(nearby)"
    )


def _is_coarsened(network: Network, axis: int) -> bool:
    """Axes of more than two cells; periodic ones only while pairs come out even."""
    size = network.centre.shape[axis]
    return size > 2 and (network.faces[axis][0] != "periodic" or size % 2 == 0)


def _can_coarsen(network: Network) -> bool:
    return any(_is_coarsened(network, axis) for axis in range(network.centre.ndim))


def _coarsen(network: Network) -> Network:
    fine_shape = network.centre.shape
    shape = tuple(
        -(-size // 2) if _is_coarsened(network, axis) else size
        for axis, size in enumerate(fine_shape)
    )
    links = [
        link if shape[axis] == fine_shape[axis] else _merge_along(link, axis)
        for axis, link in enumerate(network.links)
    ]
    links = [_sum_pairs(link, shape) for link in links]
    walls = _sum_pairs(wall_conductances(network), shape) / 2
    return make_network(walls, tuple(links), network.faces)


def _merge_along(link: Inexact[Array, "..."], axis: int) -> Inexact[Array, "..."]:
    """Conductance between neighbouring pairs along an axis, for every fine row."""
    pairs = _as_pairs(link, axis)
    inner = jnp.take(pairs, 0, axis=axis + 1)
    face = jnp.take(pairs, 1, axis=axis + 1)
    # Half of each pair's own link is in the way; a pair of one cell has none.
    half = jnp.where(inner == 0, 0, 0.5 / jnp.where(inner == 0, 1, inner))
    following = jnp.roll(half, -1, axis)
    is_open = face == 0
    resistance = half + 1 / jnp.where(is_open, 1, face) + following
    return jnp.where(is_open, 0, 1 / resistance)


def _as_pairs(x: Inexact[Array, "..."], axis: int) -> Inexact[Array, "..."]:
    """Split an axis in two, (pair, member), with a zero member where it is odd."""
    size = x.shape[axis]
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, size % 2)
    padded = jnp.pad(x, widths)
    shape = (*x.shape[:axis], -(-size // 2), 2, *x.shape[axis + 1 :])
    return padded.reshape(shape)


def _sum_pairs(x: Inexact[Array, "..."], shape: tuple[int, ...]):
    """Sum pairs along every axis that is longer than in `shape`."""
    for axis, size in enumerate(shape):
        if x.shape[axis] != size:
            x = jnp.sum(_as_pairs(x, axis), axis=axis + 1)
    return x


def _copy_pairs(x: Inexact[Array, "..."], shape: tuple[int, ...]):
    """Copy each entry to the pair that it came from, the transpose of `_sum_pairs`."""
    for axis, size in enumerate(shape):
        if x.shape[axis] != size:
            x = jnp.repeat(x, 2, axis=axis)
            x = jnp.take(x, jnp.arange(size, dtype=jnp.int32), axis=axis)
    return x


def _chebyshev_steps(num_sweeps: int) -> tuple[float, ...]:
    """Inverse roots of the Chebyshev polynomial on [1/2, 2]."""
    angles = np.pi * (np.arange(num_sweeps) + 0.5) / num_sweeps
    return tuple(float(1 / (1.25 + 0.75 * np.cos(angle))) for angle in angles)


def _dense_inverse(network: Network) -> Inexact[Array, "n n"]:
    """The inverse; for a singular network the pseudoinverse."""
    size = network.centre.size
    units = jnp.eye(size, dtype=network.centre.dtype)
    columns = [network.mv(unit.reshape(network.centre.shape)) for unit in units]
    matrix = jnp.stack(columns).reshape(size, size)
    # A complex network is symmetric, but not hermitian.
    return jnp.linalg.pinv(matrix, hermitian=not jnp.iscomplexobj(matrix))
