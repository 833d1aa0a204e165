"""Mean profiles, fluctuations and stresses, in wall units.

In a channel in equilibrium the total stress is linear, -⟨u'v'⟩ + ν dU/dy = 1 - y in
units of u_τ² and h; the discrete fluxes through the faces obey it exactly.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._grid import StaggeredGrid
from ._operators import X, Y, Z, mean
from ._state import State, Sums


class Statistics(eqx.Module):
    """Profiles across the channel, at the centres of the cells.

    Velocities are in units of `friction_velocity`, stresses in units of its square.

    Attributes:
        y: distance from the lower wall, in h.
        y_plus: distance from the nearer wall, in wall units.
        U: mean velocity.
        u_rms, v_rms, w_rms: root mean squares of the fluctuations.
        reynolds_stress: -⟨u'v'⟩.
        viscous_stress: ν dU/dy.
        subgrid_stress: the stress of the eddy viscosity, zero without one.
        total_stress: the sum of the three.
        re_tau: friction Reynolds number, measured from the mean shear at the walls.
        friction_velocity: the unit of velocity: one where a constant pressure gradient
            drives the flow, the measured friction velocity where the flux is constant.
        bulk_velocity: mean of U over the height.
        num_samples: number of fields in the averages.
    """

    y: Float[Array, " ny"]
    y_plus: Float[Array, " ny"]
    U: Float[Array, " ny"]
    u_rms: Float[Array, " ny"]
    v_rms: Float[Array, " ny"]
    w_rms: Float[Array, " ny"]
    reynolds_stress: Float[Array, " ny"]
    viscous_stress: Float[Array, " ny"]
    subgrid_stress: Float[Array, " ny"]
    re_tau: Float[Array, ""]
    friction_velocity: Float[Array, ""]
    bulk_velocity: Float[Array, ""]
    num_samples: Int[Array, ""]

    @property
    def total_stress(self) -> Float[Array, " ny"]:
        """The total shear stress, 1 - y in equilibrium."""
        return self.reynolds_stress + self.viscous_stress + self.subgrid_stress


def add_sample(
    sums: Sums,
    state: State,
    subgrid_flux: Float[Array, " _"],
) -> Sums:
    """Return the sums with one field more."""
    u, v, w = state.velocity
    along_the_walls = (X, Z)

    def on_faces(profile: Float[Array, " _"]) -> Float[Array, " _"]:
        return jnp.pad(profile, 1)

    through = (v + jnp.roll(v, 1, X)) / 2
    added = Sums(
        jnp.ones((), jnp.int32),
        jnp.mean(u, axis=along_the_walls),
        jnp.mean(w, axis=along_the_walls),
        jnp.mean(u**2, axis=along_the_walls),
        jnp.mean(w**2, axis=along_the_walls),
        on_faces(jnp.mean(v, axis=along_the_walls)),
        on_faces(jnp.mean(v**2, axis=along_the_walls)),
        on_faces(jnp.mean(through * mean(u, Y), axis=along_the_walls)),
        subgrid_flux,
    )
    return Sums(
        **{name: getattr(sums, name) + getattr(added, name) for name in vars(added)}
    )


def averaged(
    sums: Sums,
    grid: StaggeredGrid,
    viscosity: Float[Array, ""],
    *,
    is_measured: bool,
) -> Statistics:
    """Return the profiles that the sums are of.

    Args:
        sums: of one sample or more.
        grid: of the fields.
        viscosity: 1 / Re_τ.
        is_measured: whether the friction velocity is the measured one.
    """
    n = sums.count.astype(grid.dtype)
    U, W, V = sums.u / n, sums.w / n, sums.v / n
    distances, widths = grid.distances[0, :, 0], grid.widths[0, :, 0]
    centres = grid.centres[0, :, 0]
    mirrored = jnp.concatenate([-U[:1], U, -U[-1:]])
    shear = viscosity * jnp.diff(mirrored) / distances
    measured = jnp.sqrt(jnp.abs(shear[0] - shear[-1]) / 2)
    unit = measured if is_measured else jnp.ones_like(measured)
    # Where u is on the faces, its mean is that of the two cells.
    uv = sums.uv / n - V * jnp.pad((U[1:] + U[:-1]) / 2, 1)
    vv = _at_centres(sums.vv / n - V**2)
    return Statistics(
        centres,
        jnp.minimum(centres, grid.lengths[1] - centres) * unit / viscosity,
        U / unit,
        _root(sums.uu / n - U**2) / unit,
        _root(vv) / unit,
        _root(sums.ww / n - W**2) / unit,
        _at_centres(-uv) / unit**2,
        _at_centres(shear) / unit**2,
        _at_centres(-sums.subgrid / n) / unit**2,
        measured / viscosity,
        unit,
        jnp.sum(U * widths) / grid.lengths[1] / unit,
        sums.count,
    )


def _at_centres(profile: Float[Array, " _"]) -> Float[Array, " ny"]:
    return (profile[1:] + profile[:-1]) / 2


def _root(square: Float[Array, " _"]) -> Float[Array, " _"]:
    """Return the root of what may be negative by rounding."""
    return jnp.sqrt(jnp.maximum(square, 0))
