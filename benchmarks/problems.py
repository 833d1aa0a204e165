"""The problems: krylax's operator, and the same matrix assembled with SciPy alone.

That both are the same is not assumed: a row counts only if its solution satisfies the
assembled matrix to the tolerance.
"""

from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Float
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


def darcy(num_points: int, num_systems: int, rtol: float) -> Problem:
    """-∇·(k∇u) = 1 with the two-phase coefficients of `krylax.datasets.Darcy`."""
    family = kx.datasets.Darcy(num_points=(num_points, num_points))
    fields = np.stack([family.sample(i)["coefficient"] for i in range(num_systems)])
    build = jax.vmap(lambda k: kx.operators.Diffusion(k, 1 / num_points))
    return Problem(
        name=f"{num_systems} systems of {num_points}²",
        operator=build(jnp.asarray(fields)),
        matrices=tuple(_diffusion(k) for k in fields),
        b=np.ones(fields.shape),
        rtol=rtol,
    )


def shifted(num_points: int, num_systems: int, rtol: float) -> Problem:
    """-Δ u + s u = f, the shifts s from 1 to 10⁶, in random order."""
    shape = (num_points, num_points)
    shifts = np.random.default_rng(1).permutation(np.logspace(0, 6, num_systems))
    diffusion = _diffusion(np.ones(shape))
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
    matrix = _diffusion(np.ones(shape)) + _upwind(shape, velocity)
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


def _random(shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    return np.random.default_rng(0).standard_normal(shape)


def _tridiagonal(
    centre: Float[np.ndarray, " n"], side: Float[np.ndarray, " n-1"]
) -> Any:
    return scipy.sparse.diags_array(
        [side, centre, side],
        offsets=[-1, 0, 1],  # pyright: ignore[reportArgumentType]  # as documented
    )


def _diffusion(k: Float[np.ndarray, "n n"]) -> csr_array:
    """-∇·(k∇u) at cell centres of the unit square, zero on its walls."""
    indices = np.arange(k.size).reshape(k.shape)
    diagonal = np.zeros(k.shape)
    rows, columns, values = [], [], []
    for axis, n in enumerate(k.shape):
        # Views with the axis first, so that writing to them fills the diagonal.
        own, place, total = (np.moveaxis(a, axis, 0) for a in (k, indices, diagonal))
        link = n**2 * 2 / (1 / own[1:] + 1 / own[:-1])
        total[1:] += link
        total[:-1] += link
        total[0] += 2 * n**2 * own[0]
        total[-1] += 2 * n**2 * own[-1]
        rows += [place[1:].ravel(), place[:-1].ravel()]
        columns += [place[:-1].ravel(), place[1:].ravel()]
        values += 2 * [-link.ravel()]
    rows, columns = [*rows, indices.ravel()], [*columns, indices.ravel()]
    values.append(diagonal.ravel())
    places = tuple(map(np.concatenate, (rows, columns)))
    return csr_array((np.concatenate(values), places))


def _upwind(shape: tuple[int, int], velocity: tuple[float, float]) -> Any:
    """∇·(vu) by first-order upwind fluxes, for v >= 0."""
    flows = [
        n * v * (scipy.sparse.eye_array(n) - scipy.sparse.eye_array(n, k=-1))
        for n, v in zip(shape, velocity, strict=True)
    ]
    # kronsum(S, T) lets S vary along the last, contiguous axis.
    return scipy.sparse.kronsum(flows[1], flows[0])
