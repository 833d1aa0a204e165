"""The state of a channel: velocity, time, and the sums of its statistics."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._operators import Velocity


class Sums(eqx.Module):
    """Sums over samples of what is averaged along the walls.

    Attributes:
        count: the number of samples.
        u, w: mean velocities at the centres.
        uu, ww: their squares.
        v, vv: of v, on the faces, both walls included.
        uv: the flux of u through these faces, as convection has it.
        subgrid: the flux by the eddy viscosity.
    """

    count: Int[Array, ""]
    u: Float[Array, " ny"]
    w: Float[Array, " ny"]
    uu: Float[Array, " ny"]
    ww: Float[Array, " ny"]
    v: Float[Array, " _"]
    vv: Float[Array, " _"]
    uv: Float[Array, " _"]
    subgrid: Float[Array, " _"]


class State(eqx.Module):
    """The flow at one time, with the sums of its statistics so far.

    Attributes:
        u, v, w: velocities in u_τ on the faces of the cells; v only on the faces
            between the walls, as it is zero on them.
        time: in h / u_τ. It stops once a velocity is not finite.
        num_steps: time steps since the state was made or its statistics were reset.
        sums: what `Channel.statistics` averages.
    """

    u: Float[Array, "nx ny nz"]
    v: Float[Array, "nx _ nz"]
    w: Float[Array, "nx ny nz"]
    time: Float[Array, ""]
    num_steps: Int[Array, ""]
    sums: Sums

    @property
    def velocity(self) -> Velocity:
        """The three velocities."""
        return self.u, self.v, self.w

    @property
    def is_finite(self) -> Bool[Array, ""]:
        """Whether all velocities are finite."""
        checks = [jnp.all(jnp.isfinite(q)) for q in self.velocity]
        return checks[0] & checks[1] & checks[2]


def no_sums(velocity: Velocity) -> Sums:
    """Return the sums of no samples."""
    u, v, _ = velocity
    at_centres = jnp.zeros(u.shape[1], u.dtype)
    on_faces = jnp.zeros(v.shape[1] + 2, u.dtype)
    return Sums(jnp.zeros((), jnp.int32), *[at_centres] * 4, *[on_faces] * 4)


def new_state(velocity: Velocity, time: Float[Array, ""]) -> State:
    """Return a state without statistics."""
    u, v, w = velocity
    return State(u, v, w, time, jnp.zeros((), jnp.int32), no_sums(velocity))
