"""States of a channel as arrays with names, and as a checksum; channels as records."""

import hashlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...operators._field import require_x64
from ..store._record import record
from ..store._trajectory import Trajectory
from ._channel import Channel
from ._state import State, Sums

PREFIX = "state"


def state_arrays(state: State) -> dict[str, np.ndarray]:
    """Return all that a state consists of, by name."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {
        PREFIX + jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves
    }


def state_names() -> list[str]:
    """Return the names of the arrays of a state."""
    own = [field.name for field in fields(State) if field.name != "sums"]
    sums = [f"sums.{field.name}" for field in fields(Sums)]
    return [f"{PREFIX}.{name}" for name in (*own, *sums)]


def state_of_arrays(read: Callable[[str], Any]) -> State:
    """Return the state whose arrays `read` returns by their names."""

    def all_of(kind: type, prefix: str) -> dict[str, Any]:
        names = [field.name for field in fields(kind) if field.name != "sums"]
        found = {name: read(f"{prefix}.{name}") for name in names}
        for name, values in found.items():
            require_x64(values.dtype, f"the state's {name}")
        return {name: jnp.asarray(values) for name, values in found.items()}

    sums = Sums(**all_of(Sums, f"{PREFIX}.sums"))
    return State(**all_of(State, PREFIX), sums=sums)


def final_state(flow: Channel, trajectory: Trajectory) -> State:
    """Return the state of the simulation at the last snapshot of a trajectory.

    Its statistics are those from the first snapshot on.

    Args:
        flow: the channel that was simulated.
        trajectory: what `generate_trajectory` or `open_trajectory` returns.

    Raises:
        ValueError: the state is of another grid or precision, or in 64 bits while
            `jax_enable_x64` is off.
    """
    state = state_of_arrays(trajectory.read)
    flow._require_fitting(state)
    return state


def flow_record(flow: Channel) -> dict[str, Any]:
    """Return what decides the flow, as plain JSON values.

    Raises:
        ValueError: an eddy viscosity of the user's own that cannot be recorded.
    """
    grid = flow.grid
    return {
        "type": "Channel",
        "viscosity": float(flow.viscosity),
        "num_points": list(grid.shape),
        "lengths": list(grid.lengths),
        "stretching": grid.stretching,
        "dt": float(flow.dt),
        "forcing": flow.forcing,
        "bulk_velocity": float(flow.bulk_velocity),
        "subgrid": record(flow.subgrid),
        "sample_every": flow.sample_every,
        "dtype": grid.dtype.name,
    }


def state_record(state: State) -> dict[str, Any]:
    """Return what tells a flow at one time from another one."""
    digest = hashlib.sha256()
    for values in map(np.asarray, (*state.velocity, state.time)):
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    found = {"time": float(state.time), "sha256": digest.hexdigest()}
    return {"type": "State", **found}
