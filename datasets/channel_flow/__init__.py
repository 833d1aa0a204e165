"""Turbulent flow in a channel: simulation, statistics, filtered fields.

- `_channel.py`: Turbulent flow in a channel: direct or large-eddy simulation, start to
  statistics.
- `_filter.py`: Velocities at common points of a coarse grid: the mean over each of its
  cells.
- `_generate_trajectory.py`: `generate_trajectory`: its arguments, checked, and what
  became of earlier calls.
- `_grid.py`: The staggered grid of a channel: uniform along the walls, stretched across
  them.
- `_initial.py`: A flow to begin with: the mean profile of turbulence, and eddies of
  random phase.
- `_operators.py`: Convection, diffusion, divergence and gradient on the staggered grid.
- `_presets.py`: Channels by name: boxes and grids for three Reynolds numbers.
- `_projection.py`: The projection onto flows without divergence, by one direct solve.
- `_saved_state.py`: States of a channel as arrays with names, and as a checksum;
  channels as records.
- `_state.py`: The state of a channel: velocity, time, and the sums of its statistics.
- `_statistics.py`: Mean profiles, fluctuations and stresses, in wall units.
- `_step.py`: A time step: a Runge-Kutta method of third order, with a projection in
  each stage.
- `_strain.py`: Velocity gradients on the staggered grid, and the force of an eddy
  viscosity.
- `_subgrid.py`: Eddy viscosities of large-eddy simulation: Smagorinsky, dynamic
  Smagorinsky, WALE.
- `_symmetries.py`: Symmetries of the channel: reflections at its middle planes, shifts
  along the walls.
- `_time_step.py`: The time step that an explicit step allows on a grid.
- `_trajectory_run.py`: A run of a channel: snapshots in segments that are committed,
  each with its state.
"""

from ._channel import Channel as Channel
from ._filter import FilteredGrid as FilteredGrid
from ._generate_trajectory import generate_trajectory as generate_trajectory
from ._presets import preset as preset
from ._saved_state import final_state as final_state
from ._state import State as State
from ._statistics import Statistics as Statistics
from ._subgrid import WALE as WALE
from ._subgrid import DynamicSmagorinsky as DynamicSmagorinsky
from ._subgrid import Smagorinsky as Smagorinsky
from ._symmetries import random_symmetry as random_symmetry
from ._symmetries import reflect_y as reflect_y
from ._symmetries import reflect_z as reflect_z
from ._symmetries import shift as shift
