"""Flows in periodic boxes, by Fourier methods: data for neural operators.

- `_burgers.py`: Burgers' equation: waves that steepen until diffusion holds them.
- `_etdrk4.py`: Exponential time differencing: stiff linear terms exactly, the others to
  order four.
- `_flow.py`: What the flows in periodic boxes share: steps in Fourier space, and
  trajectories.
- `_kolmogorov.py`: Kolmogorov flow: two-dimensional turbulence driven by a shear that
  varies as a sine.
"""

from ._burgers import Burgers as Burgers
from ._flow import AbstractPeriodicFlow as AbstractPeriodicFlow
from ._kolmogorov import KolmogorovFlow as KolmogorovFlow
