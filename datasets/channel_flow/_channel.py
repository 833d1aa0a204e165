"""Turbulent flow in a channel: direct or large-eddy simulation, start to statistics."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, DTypeLike, Float, PRNGKeyArray

from ...operators._arguments import (
    as_items,
    require_count,
    require_flag,
    require_key,
    require_number,
    shown,
)
from ...operators._field import require_x64
from ._filter import FilteredGrid, filtered, filtered_grid, transferred
from ._grid import StaggeredGrid
from ._initial import eddies, mean_profile
from ._operators import Velocity, acceleration, bulk_velocity, divergence
from ._projection import Projection
from ._state import State, new_state, no_sums
from ._statistics import Statistics, add_sample, averaged
from ._step import runge_kutta_step, with_flux
from ._subgrid import AbstractSubgrid, as_subgrid
from ._time_step import time_step

FORCINGS = ("pressure", "flux")


class Channel(eqx.Module):
    """Incompressible flow between two walls, by finite differences on a staggered grid.

    ∂u/∂t + ∇·(u u) + ∇p = ν Δu + f, ∇·u = 0, with u = 0 at y = 0 and y = 2 and periods
    in x (streamwise) and z (spanwise). The unit of length is half the distance of the
    walls, h, that of velocity the friction velocity u_τ, so that ν = 1 / Re_τ and in
    equilibrium f = 1.

    Second-order central differences that keep the kinetic energy, an explicit
    Runge-Kutta method of third order, and a direct solve for the pressure in each of
    its stages. All methods may be compiled, mapped and differentiated.

    Args:
        re_tau: u_τ h / ν.
        num_points: cells in x, y and z. Across the walls, 96 for Re_τ = 180 puts the
            first velocity 0.5 wall units from the wall.
        lengths: of the box in h; the second is 2. The box of the default is minimal: it
            holds one pair of streaks (Jiménez and Moin).
        dt: time step in h / u_τ. By default 0.7 of what `_time_step.py` finds stable
            for diffusion and for the velocities of turbulence.
        forcing: "pressure", a force of one, or "flux", the force that keeps the bulk
            velocity, which takes less time to become stationary.
        subgrid: an eddy viscosity for coarse grids: "smagorinsky",
            "dynamic_smagorinsky", "wale", one of their classes, or none.
        stretching: γ of the grid across the walls, zero for a uniform one.
        bulk_velocity: of the initial state; at constant flux, of all states. The
            default follows from the friction law of R. B. Dean, J. Fluids Eng. 100
            (1978): 15.4 at Re_τ = 180.
        sample_every: time steps between samples of the statistics.
        dtype: of all fields, by default that of JAX.

    Raises:
        ValueError: an argument is out of range, or dtype is float64 while
            `jax_enable_x64` is off.

    Cost: per step 3 direct solves, each of 4 n (n_x + n_y + n_z) operations, and about
    500 n others, n = n_x n_y n_z; 20 ms on one core for 48 x 96 x 32.

    Examples:
        >>> import jax, krylax as kx
        >>> flow = kx.datasets.channel_flow.Channel(180, (8, 16, 8))
        >>> state = flow.run(flow.initial(jax.random.key(0)), 10)
        >>> flow.filtered(state, (4, 9, 4)).shape
        (3, 4, 9, 4)

    References:
        F. H. Harlow, J. E. Welch, Phys. Fluids 8 (1965).
        J. Jiménez, P. Moin, The minimal flow unit in near-wall turbulence, J. Fluid
        Mech. 225 (1991), doi:10.1017/S0022112091002033.
    """

    grid: StaggeredGrid
    projection: Projection
    viscosity: Float[Array, ""]
    dt: Float[Array, ""]
    bulk_velocity: Float[Array, ""]
    subgrid: AbstractSubgrid | None
    forcing: str = eqx.field(static=True)
    sample_every: int = eqx.field(static=True)

    def __init__(
        self,
        re_tau: int | float = 180,
        num_points: Sequence[int] = (48, 96, 32),
        lengths: Sequence[int | float] = (3.14, 2.0, 1.07),
        *,
        dt: int | float | None = None,
        forcing: str = "pressure",
        subgrid: Any = None,
        stretching: int | float = 1.7,
        bulk_velocity: int | float | None = None,
        sample_every: int = 10,
        dtype: DTypeLike | None = None,
    ) -> None:
        require_number(re_tau, "re_tau", 1, math.inf, "above 1 and finite")
        require_count(sample_every, "sample_every")
        if not isinstance(forcing, str) or forcing not in FORCINGS:
            raise ValueError(
                f'forcing must be "pressure" or "flux", got {shown(forcing)}'
            )
        dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"dtype must be a floating one, got {dtype.name}")
        require_x64(dtype, "dtype")
        self.grid = StaggeredGrid(num_points, lengths, stretching, dtype)
        self.projection = Projection(self.grid)
        bulk = _dean(re_tau) if bulk_velocity is None else bulk_velocity
        require_number(bulk, "bulk_velocity", 0, math.inf, "positive and finite")
        if dt is None:
            # The mean on the axis is 1.17 times the bulk velocity at Re_τ = 180.
            box = (self.grid.shape, self.grid.lengths, self.grid.stretching)
            dt = time_step(float(re_tau), *box, centreline=1.25 * float(bulk))
        require_number(dt, "dt", 0, math.inf, "positive and finite")
        self.viscosity = jnp.asarray(1 / re_tau, dtype)
        self.dt = jnp.asarray(dt, dtype)
        self.bulk_velocity = jnp.asarray(bulk, dtype)
        self.subgrid = as_subgrid(subgrid)
        self.forcing = forcing
        self.sample_every = int(sample_every)

    def initial(self, key: PRNGKeyArray, *, amplitude: int | float = 2.5) -> State:
        """Return a flow that becomes turbulent: a mean profile with random eddies.

        The mean is Reichardt's profile, scaled to `bulk_velocity`. Its statistics
        become stationary after 10 to 15 h/u_τ.

        Args:
            key: of the eddies.
            amplitude: root mean square of each component of the eddies in u_τ, zero for
                the profile alone.

        Raises:
            ValueError: key is not a random key; amplitude is negative.
        """
        require_key(key)
        require_number(amplitude, "amplitude", 0, math.inf, "nonnegative", closed=True)
        return _initial(self, key, jnp.asarray(amplitude, self.grid.dtype))

    def state(self, u: Any, v: Any, w: Any, time: Any = 0.0) -> State:
        """Return the state of these velocities, projected to zero divergence.

        Args:
            u: on the faces at x = i L_x / n_x, centred in y and z.
            v: on the faces between the walls, one plane less than there are cells.
            w: on the faces at z = k L_z / n_z.
            time: in h / u_τ.

        Raises:
            ValueError: arrays of other shapes.
        """
        given = []
        shapes = self.grid.velocity_shapes
        for name, q, shape in zip("uvw", (u, v, w), shapes, strict=True):
            q = jnp.asarray(q)
            if q.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {q.shape}")
            given.append(q.astype(self.grid.dtype))
        u, v, w = given
        return _projected(self, (u, v, w), jnp.asarray(time, self.grid.dtype))

    def interpolated(self, state: State, source: "Channel") -> State:
        """Return a flow of another channel on the grid of this one.

        Along each axis, values are averaged over coarser cells or interpolated linearly
        to finer ones; then the flow is projected. Where the lengths in x or z differ,
        the flow is stretched to those of this channel.

        Args:
            state: a state of the other channel.
            source: the other channel.
        """
        source._require_fitting(state)
        return _interpolated(self, state, source)

    def run(self, state: State, num_steps: Any, *, throw: bool = True) -> State:
        """Return the flow after a number of time steps, with its statistics.

        All numbers of steps share one compiled program. Inside transformations the
        loop has a fixed length, so that it can be differentiated in both modes. In
        reverse mode each step is recomputed: a run of n steps stores n states.

        Args:
            state: the initial state.
            num_steps: number of time steps, an integer.
            throw: whether to raise if the flow stops being finite. Inside of
                transformations, `state.is_finite` says it.

        Raises:
            ValueError: a state of another grid; a negative number of steps.
            FloatingPointError: velocities are not finite at the end.
        """
        require_flag(throw, "throw")
        self._require_fitting(state)
        if isinstance(num_steps, Tracer) or _is_traced((self, state)):
            return _advance(self, state, num_steps)
        require_count(num_steps, "num_steps", 0)
        state = _run(self, state, jnp.asarray(num_steps, jnp.int32))
        return self.require_finite(state) if throw else state

    def require_finite(self, state: State) -> State:
        """Return the state itself, after a check that its velocities are finite.

        Inside transformations the velocities are not known, and nothing is checked.

        Raises:
            FloatingPointError: a velocity is not finite.
        """
        if not _is_traced(state) and not bool(_is_finite(state)):
            raise FloatingPointError(
                f"the flow is not finite after t = {float(state.time):.6g}, step "
                f"{int(state.num_steps)} with dt = {float(self.dt):.3g}; give Channel "
                "a smaller dt, or a finite state to start from"
            )
        return state

    def restarted(self, state: State) -> State:
        """Return the state with its statistics reset, as after the spin-up."""
        return _restarted(state)

    def statistics(self, state: State) -> Statistics:
        """Return the profiles averaged since the statistics were reset.

        Without any sample since then, they are those of the state itself.

        Raises:
            ValueError: a state of another grid.
            FloatingPointError: velocities are not finite.
        """
        self._require_fitting(state)
        return _statistics(self, self.require_finite(state))

    def filtered(self, state: State, shape: Sequence[int]) -> Float[Array, "3 _ _ _"]:
        """Return the velocities averaged over the cells of a coarse grid.

        Args:
            state: a state of this channel.
            shape: number of points in x, y and z. Across the channel one of them is on
                each wall: (16, 33, 8) has 31 cells across, and zeros in the first and
                the last plane.

        Raises:
            ValueError: more cells than the flow has, or fewer than three points across.
            FloatingPointError: velocities are not finite.
        """
        self._require_fitting(state)
        shape = self._coarse_shape(shape)
        return _filtered(self, self.require_finite(state), shape)

    def filtered_grid(self, shape: Sequence[int]) -> FilteredGrid:
        """Return the coordinates and quadrature weights of the points of `filtered`.

        Raises:
            ValueError: as `filtered`.
        """
        return filtered_grid(self.grid, self._coarse_shape(shape))

    def divergence(self, state: State) -> Float[Array, "nx ny nz"]:
        """Return ∇·u in the cells, which is zero up to rounding."""
        self._require_fitting(state)
        return _divergence(self, state)

    def _coarse_shape(self, shape: Any) -> tuple[int, int, int]:
        items = as_items(shape, "shape", "three integers, such as (16, 33, 8)")
        if len(items) != 3:
            raise ValueError(f"shape must be three integers, got {shown(shape)}")
        nx, ny, nz = self.grid.shape
        for points, least, cells in zip(
            items, (1, 3, 1), (nx, ny + 2, nz), strict=True
        ):
            require_count(points, "shape", least, " (at least 1, 3 and 1)")
            if points > cells:
                raise ValueError(
                    f"shape must be at most {(nx, ny + 2, nz)}, the cells of the flow "
                    f"and two walls, got {shown(shape)}"
                )
        return int(items[0]), int(items[1]), int(items[2])

    def _require_fitting(self, state: State) -> None:
        if not isinstance(state, State):
            raise TypeError(
                "state must be one of Channel.initial, .state or .run, got "
                f"{shown(state)}"
            )
        shapes = tuple(jnp.shape(q) for q in state.velocity)
        if shapes != self.grid.velocity_shapes:
            raise ValueError(
                f"the state has velocities of shapes {shapes}, the channel those of "
                f"{self.grid.velocity_shapes}; flow.interpolated(state, source) takes "
                "it from one grid to another"
            )
        dtypes = {jnp.dtype(q.dtype).name for q in (*state.velocity, state.time)}
        if dtypes != {self.grid.dtype.name}:
            raise ValueError(
                f"the state is of {', '.join(sorted(dtypes))}, the channel of "
                f"{self.grid.dtype.name}; flow.interpolated(state, source) takes it "
                "from one to the other"
            )


def _dean(re_tau: int | float) -> float:
    """Return U_b / u_τ of 2 (u_τ / U_b)² = 0.073 (2 h U_b / ν)^(-1/4)."""
    return (2 / 0.073 * (2 * re_tau) ** 0.25) ** (4 / 7)


def _is_traced(tree: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


@eqx.filter_jit
def _projected(flow: Channel, velocity: Velocity, time: Float[Array, ""]) -> State:
    """Return a state of velocities that may have a large divergence."""
    # The second time takes away what rounding leaves of a large one.
    velocity = _constrained(flow, _constrained(flow, velocity))
    return new_state(velocity, time)


@jax.jit
def _is_finite(state: State) -> Bool[Array, ""]:
    return state.is_finite


@jax.jit
def _restarted(state: State) -> State:
    return new_state(state.velocity, state.time)


@eqx.filter_jit
def _divergence(flow: Channel, state: State) -> Float[Array, "nx ny nz"]:
    return divergence(state.velocity, flow.grid)


@eqx.filter_jit
def _initial(flow: Channel, key: PRNGKeyArray, amplitude: Float[Array, ""]) -> State:
    grid = flow.grid
    u, v, w = eddies(key, grid, amplitude)
    mean = mean_profile(grid, flow.viscosity)
    scale = flow.bulk_velocity / bulk_velocity(mean, grid)
    return _projected(flow, (u + scale * mean, v, w), jnp.zeros((), grid.dtype))


@eqx.filter_jit
def _interpolated(flow: Channel, state: State, source: Channel) -> State:
    dtype = flow.grid.dtype
    moved = transferred(state.velocity, source.grid, flow.grid)
    u, v, w = (q.astype(dtype) for q in moved)
    return _projected(flow, (u, v, w), state.time.astype(dtype))


@eqx.filter_jit
def _filtered(
    flow: Channel, state: State, shape: tuple[int, int, int]
) -> Float[Array, "3 _ _ _"]:
    return filtered(state.velocity, flow.grid, shape)


@eqx.filter_jit
def _statistics(flow: Channel, state: State) -> Statistics:
    sums = state.sums
    alone = _sampled(
        flow, eqx.tree_at(lambda s: s.sums, state, no_sums(state.velocity))
    )
    is_empty = sums.count == 0
    sums = jax.tree.map(lambda a, b: jnp.where(is_empty, a, b), alone.sums, sums)
    is_measured = flow.forcing == "flux"
    return averaged(sums, flow.grid, flow.viscosity, is_measured=is_measured)


@eqx.filter_jit
def _run(flow: Channel, state: State, num_steps: Any) -> State:
    return _advance(flow, state, num_steps)


def _advance(flow: Channel, state: State, num_steps: Any) -> State:
    """Return the state after a number of steps; a loop if that is traced."""
    step = jax.checkpoint(lambda s: _step(flow, s), prevent_cse=False)
    return lax.fori_loop(0, num_steps, lambda _, s: step(s), state)


def _step(flow: Channel, state: State) -> State:
    """Return the state one step later, with a sample of it if it is time for one."""
    velocity = runge_kutta_step(
        state.velocity,
        flow.dt,
        lambda velocity: _acceleration(flow, velocity),
        lambda velocity: _constrained(flow, velocity),
    )
    # The pressure spreads what is not finite over all velocities.
    is_finite = jnp.isfinite(jnp.sum(velocity[0]))
    time = jnp.where(is_finite, state.time + flow.dt, state.time)
    count = state.num_steps + is_finite.astype(jnp.int32)
    state = State(*velocity, time, count, state.sums)
    is_due = is_finite & (count % flow.sample_every == 0)
    return lax.cond(is_due, lambda s: _sampled(flow, s), lambda s: s, state)


def _sampled(flow: Channel, state: State) -> State:
    if flow.subgrid is None:
        flux = jnp.zeros_like(state.sums.uv)
    else:
        flux = flow.subgrid.mean_flux(state.velocity, flow.grid, flow.viscosity)
    sums = add_sample(state.sums, state, flux)
    return eqx.tree_at(lambda s: s.sums, state, sums)


def _acceleration(flow: Channel, velocity: Velocity) -> Velocity:
    """Return what changes the velocities, but for the pressure."""
    u, v, w = acceleration(velocity, flow.grid, flow.viscosity)
    if flow.subgrid is not None:
        more = flow.subgrid.acceleration(velocity, flow.grid, flow.viscosity)
        u, v, w = u + more[0], v + more[1], w + more[2]
    return (u + 1, v, w) if flow.forcing == "pressure" else (u, v, w)


def _constrained(flow: Channel, velocity: Velocity) -> Velocity:
    """Return the velocities without divergence, with constant flux with that too."""
    velocity = flow.projection(velocity, flow.grid)
    if flow.forcing == "flux":
        velocity = with_flux(velocity, flow.bulk_velocity, flow.grid)
    return velocity
