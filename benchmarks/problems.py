"""The problems: krylax's operator, and the same matrix assembled with SciPy alone.

That both are the same is not assumed: a row counts only if its solution satisfies the
assembled matrix to the tolerance.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float
from rivals.row import Problem
from scipy.sparse import csr_array

import krylax as kx

SUPERSCRIPTS = {2: "²", 3: "³"}


def poisson(
    num_points: int,
    num_axes: int,
    rtol: float,
    dtype: str = "float64",
    spacing: float | None = None,
) -> Problem:
    """-Δ u = f at nodes of the unit square or cube, f random.

    The spacing is that of the unit square or cube, unless given.
    """
    shape = (num_points,) * num_axes
    h = 1 / (num_points + 1) if spacing is None else spacing
    line = _tridiagonal(np.full(num_points, 2.0), np.full(num_points - 1, -1.0))
    # kronsum(S, T) lets S vary along the last, contiguous axis.
    matrix = reduce(lambda total, _: scipy.sparse.kronsum(total, line), shape[1:], line)
    return Problem(
        name=f"{num_points}{SUPERSCRIPTS[num_axes]}",
        operator=kx.operators.Laplacian(shape, h, dtype=dtype),
        matrices=(csr_array(matrix) / h**2,),
        b=_random((1, *shape)).astype(dtype),
        rtol=rtol,
    )


def of_family(family: Any, num_systems: int, rtol: float) -> Problem:
    """The first systems of a family; the matrices are SciPy's own.

    Args:
        family: one of `krylax.datasets`, of the kinds in `_ASSEMBLIES`.
        num_systems: how many.
        rtol: the tolerance.
    """
    samples = [family.sample(i) for i in range(num_systems)]
    stacked = {name: np.stack([p[name] for p in samples]) for name in samples[0]}
    operator, b = jax.jit(jax.vmap(family.system))(stacked)
    assemble = _ASSEMBLIES[family.name]
    if family.name in _OF_ONE_MATRIX:
        matrices = (csr_array(assemble(family, samples[0])),) * num_systems
    else:
        matrices = tuple(csr_array(assemble(family, p)) for p in samples)
    shape = np.broadcast_to(family.num_points, b.ndim - 1 or 1)
    size = f"{shape[0]}{SUPERSCRIPTS[max(len(shape), 2)]}"
    return Problem(
        name=f"{family.name}, {num_systems} systems of {size}",
        operator=operator,
        matrices=matrices,
        b=np.asarray(b),
        rtol=rtol,
        is_definite="positive_definite" in operator.tags,
        features=np.stack([family.features(p) for p in samples]),
        family=family,
    )


def shifted(num_points: int, num_systems: int, rtol: float) -> Problem:
    """-Δ u + s u = f, the shifts s from 1 to 10⁶, in random order."""
    shape = (num_points, num_points)
    shifts = np.random.default_rng(1).permutation(np.logspace(0, 6, num_systems))
    diffusion = assembled_diffusion(np.ones(shape))
    eye = scipy.sparse.eye_array(num_points**2)

    def build(shift: Any) -> Any:
        return kx.operators.Helmholtz(
            jnp.ones(shape), -shift, 1 / num_points, tags=["positive_definite"]
        )

    return Problem(
        name=f"{num_systems} systems of {num_points}²",
        operator=jax.vmap(build)(jnp.asarray(shifts)),
        matrices=tuple(csr_array(diffusion + s * eye) for s in shifts),
        b=_random((num_systems, *shape)),
        rtol=rtol,
    )


def convection_diffusion(
    num_points: int, velocity: tuple[float, float], rtol: float
) -> Problem:
    """-Δ u + ∇·(vu) = f, upwind, with a constant velocity, f random."""
    shape = (num_points, num_points)
    matrix = assembled_diffusion(np.ones(shape)) + _upwind(shape, velocity)
    return Problem(
        name=f"{num_points}²",
        operator=kx.operators.ConvectionDiffusion(
            jnp.ones(shape), jnp.asarray(velocity), 1 / num_points
        ),
        matrices=(csr_array(matrix),),
        b=_random((1, *shape)),
        rtol=rtol,
        is_definite=False,
    )


def convection_of_lines(
    num_points: int, velocity: tuple[float, float], rtol: float
) -> Problem:
    """The same matrix, of an operator that is a sum of two along the axes."""
    lines = [
        kx.operators.ConvectionDiffusion(
            jnp.ones(num_points), jnp.asarray([v]), 1 / num_points
        )
        for v in velocity
    ]
    problem = convection_diffusion(num_points, velocity, rtol)
    return problem._replace(operator=kx.operators.KroneckerSum(*lines))


def dense(size: int, rtol: float) -> Problem:
    """A random matrix with a dominant diagonal."""
    matrix = np.random.default_rng(2).standard_normal((size, size)) + size * np.eye(
        size
    )
    return Problem(
        name=f"{size} x {size}",
        operator=kx.operators.Dense(jnp.asarray(matrix)),
        matrices=(csr_array(matrix),),
        b=_random((1, size)),
        rtol=rtol,
        is_definite=False,
    )


def assembled_diffusion(
    k: Float[np.ndarray, "..."], spacing: tuple[float, ...] | None = None
) -> csr_array:
    """-∇·(k∇u) at cell centres, zero on the walls; of the unit cube unless told."""
    weights = [n**2 for n in k.shape]
    if spacing is not None:
        weights = [1 / h**2 for h in spacing]
    links, walls = [], np.zeros(k.shape)
    for axis, weight in enumerate(weights):
        own, wall = (np.moveaxis(a, axis, 0) for a in (k, walls))
        links.append(weight * 2 / (1 / own[1:] + 1 / own[:-1]))
        wall[0] += 2 * weight * own[0]
        wall[-1] += 2 * weight * own[-1]
    return _assembled(links, walls)


def assembled_mask(
    fluid: Bool[np.ndarray, "..."], spacing: tuple[float, ...]
) -> csr_array:
    """-Δu on the fluid cells, zero one spacing outside of the grid; 1 elsewhere."""
    links, walls = [], (~fluid).astype(float)
    for axis, h in enumerate(spacing):
        own, wall = (np.moveaxis(a, axis, 0) for a in (fluid, walls))
        links.append((own[1:] & own[:-1]) / h**2)
        wall[0] += own[0] / h**2
        wall[-1] += own[-1] / h**2
    matrix = _assembled(links, walls)
    matrix.eliminate_zeros()
    return matrix


def _random(shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    return np.random.default_rng(0).standard_normal(shape)


def _tridiagonal(
    centre: Float[np.ndarray, " n"], side: Float[np.ndarray, " n-1"]
) -> Any:
    return scipy.sparse.diags_array(
        [side, centre, side],
        offsets=[-1, 0, 1],  # pyright: ignore[reportArgumentType]  # as documented
    )


def _assembled(
    links: list[Float[np.ndarray, "..."]], walls: Float[np.ndarray, "..."]
) -> csr_array:
    """The matrix of links between neighbours along each axis, that axis first.

    The walls are what the diagonal has besides; it is written over.
    """
    indices, diagonal = np.arange(walls.size).reshape(walls.shape), walls
    rows, columns, values = [], [], []
    for axis, link in enumerate(links):
        # Views with the axis first, so that writing to them fills the diagonal.
        place, total = (np.moveaxis(a, axis, 0) for a in (indices, diagonal))
        total[1:] += link
        total[:-1] += link
        rows += [place[1:].ravel(), place[:-1].ravel()]
        columns += [place[:-1].ravel(), place[1:].ravel()]
        values += 2 * [-link.ravel()]
    rows, columns = [*rows, indices.ravel()], [*columns, indices.ravel()]
    values.append(diagonal.ravel())
    places = tuple(map(np.concatenate, (rows, columns)))
    return csr_array((np.concatenate(values), places))


def _poisson(family: Any, _: Any) -> Any:
    """The 5-point stencil at nodes, walls one spacing outside."""
    lines = [
        _tridiagonal(np.full(n, 2.0), np.full(n - 1, -1.0)) * (n + 1) ** 2
        for n in family.num_points
    ]
    return scipy.sparse.kronsum(lines[1], lines[0])


def _thermal(family: Any, _: Any) -> Any:
    """The 5-point stencil on the block; the identity in its slot."""
    nx, ny = family.num_points
    x, y = np.arange(1, nx + 1) / (nx + 1), (np.arange(ny) + 0.5) / ny
    is_slot = (np.abs(x - 0.5) < 0.05)[:, None] & (np.abs(y - 0.5) < 0.25)
    cells = np.arange(nx * ny).reshape(nx, ny)
    diagonal = is_slot.astype(float)
    diagonal[[0, -1]] += (nx + 1) ** 2
    total = scipy.sparse.diags_array(diagonal.ravel())
    for axis, weight in enumerate(((nx + 1.0) ** 2, float(ny**2))):
        place, solid = np.moveaxis(cells, axis, 0), np.moveaxis(is_slot, axis, 0)
        is_open = ~(solid[1:] | solid[:-1])
        ends = place[1:][is_open], place[:-1][is_open]
        links = csr_array(
            (np.full(ends[0].size, weight), ends), shape=(nx * ny, nx * ny)
        )
        links = links + links.T
        total = total + scipy.sparse.diags_array(links.sum(axis=1)) - links
    return total


def _cavity(family: Any, p: Any) -> Any:
    """-Δ - k²n² with zero walls."""
    shift = (family.wavenumber * p["index"]).ravel() ** 2
    return assembled_diffusion(np.ones(family.num_points)) - scipy.sparse.diags_array(
        shift
    )


def _random_flow(family: Any, p: Any) -> Any:
    """-Δ + ∇·(v·), upwind."""
    return assembled_diffusion(np.ones(family.num_points)) + _upwind_flow(p["velocity"])


def _upwind_flow(v: Float[np.ndarray, "2 n n"]) -> Any:
    """∇·(vu) by upwind fluxes; the velocity at a wall is extrapolated."""
    cells = np.arange(v[0].size).reshape(v[0].shape)
    size = v[0].size
    total = scipy.sparse.csr_array((size, size))
    for axis, component in enumerate(v):
        own, place = np.moveaxis(component, axis, 0), np.moveaxis(cells, axis, 0)
        n = own.shape[0]
        faces = n * (own[1:] + own[:-1]) / 2
        low, high = place[:-1].ravel(), place[1:].ravel()
        forth, back = np.maximum(faces, 0).ravel(), np.minimum(faces, 0).ravel()
        entries = [(low, low, forth), (low, high, back)]
        entries += [(high, low, -forth), (high, high, -back)]
        # Beyond a wall the value is zero: what flows out is all there is.
        out_low = np.maximum(-n * (3 * own[0] - own[1]) / 2, 0).ravel()
        out_high = np.maximum(n * (3 * own[-1] - own[-2]) / 2, 0).ravel()
        for line, flow in ((place[0].ravel(), out_low), (place[-1].ravel(), out_high)):
            entries.append((line, line, flow))
        rows, columns, values = (
            np.concatenate(part) for part in zip(*entries, strict=True)
        )
        total = total + csr_array((values, (rows, columns)), shape=(size, size))
    return total


def _as_released(_: Any, p: Any) -> Any:
    """The stencil of `krylax.datasets.SKRReleased`, from its formula."""
    c = p["coefficient"]
    s = c.shape[0]
    flat, place = c.ravel(), np.arange(s * s).reshape(s, s)
    shifted = flat[np.maximum(place.ravel() + s - 2, 0) % (s * s)].reshape(s, s)
    entries = [
        (place, place, 4 * c),
        (place[:, 1:], place[:, :-1], -c[:, :-1]),
        (place[:, :-1], place[:, 1:], -c[:, 1:]),
        (place[1:], place[:-1], -c[:-1]),
        (place[:-1], place[1:], -shifted[:-1]),
    ]
    rows, columns, values = (
        np.concatenate([entry[part].ravel() for entry in entries]) for part in range(3)
    )
    return csr_array((values * (s + 1) ** 2, (rows, columns)))


def _upwind(shape: tuple[int, int], velocity: tuple[float, float]) -> Any:
    """∇·(vu) by first-order upwind fluxes, for v >= 0."""
    flows = [
        n * v * (scipy.sparse.eye_array(n) - scipy.sparse.eye_array(n, k=-1))
        for n, v in zip(shape, velocity, strict=True)
    ]
    # kronsum(S, T) lets S vary along the last, contiguous axis.
    return scipy.sparse.kronsum(flows[1], flows[0])


_ASSEMBLIES: dict[str, Callable[[Any, Any], Any]] = {
    "darcy": lambda _, p: assembled_diffusion(p["coefficient"]),
    "poisson": _poisson,
    "thermal": _thermal,
    "helmholtz-scattering": _cavity,
    "convection-diffusion": _random_flow,
    "skr-released": _as_released,
}
_OF_ONE_MATRIX = ("poisson", "thermal")
