"""Turbulent channel flow, simulated: velocities, statistics, filtered fields.
"""
from ._channel import Channel as Channel
from ._filter import FilteredGrid as FilteredGrid
from ._presets import preset as preset
from ._state import State as State
from ._statistics import Statistics as Statistics
from ._subgrid import WALE as WALE
from ._subgrid import DynamicSmagorinsky as DynamicSmagorinsky
from ._subgrid import Smagorinsky as Smagorinsky
from ._symmetries import reflect_y as reflect_y
from ._symmetries import reflect_z as reflect_z
from ._symmetries import shift as shift
