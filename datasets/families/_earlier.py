"""Families as they were: what data sets of an earlier format mean.

A class has the name that those data sets record, and their format version; they open,
verify and read with it. In format 1 the scale of two random fields was their maximum on
the sample's own grid, so that a sample was another equation on each.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from . import _helmholtz_scattering
from ._convection_diffusion import RandomFlow, Velocity
from ._cosine_kl import CosineKL
from ._family import check_positive


@dataclass(frozen=True)
class ConvectionDiffusion(RandomFlow):
    """With the range of a cell's Péclet number |v| h, whatever the size of the cell.

    Attributes:
        num_points: as in `RandomFlow`, like all that is not named here.
        smallest_peclet: least cell Péclet number of a sample.
        largest_peclet: greatest cell Péclet number of a sample.
    """

    name: ClassVar[str] = "convection-diffusion"
    format_version: ClassVar[int] = 1

    smallest_peclet: float = 0.5
    largest_peclet: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "smallest_peclet", "largest_peclet")

    @override
    def scaled(self, velocity: Velocity, sample_id: int) -> Velocity:
        peclet = self.drawn_peclet(self.smallest_peclet, self.largest_peclet, sample_id)
        numbers = np.sqrt(np.sum(velocity**2, axis=0)) * max(
            1 / n for n in self.num_points
        )
        return velocity * peclet / np.max(numbers)

    @override
    def speed_text(self) -> str:
        return (
            "its largest cell Peclet number uniform in "
            f"[{self.smallest_peclet:g}, {self.largest_peclet:g}]"
        )


@dataclass(frozen=True)
class HelmholtzScattering(_helmholtz_scattering.HelmholtzScattering):
    """With a layer of whole cells, and the index scaled on the sample's own grid."""

    format_version: ClassVar[int] = 1

    @override
    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        field = CosineKL(self.alpha, self.tau).sample(
            self.num_points, seed=self.seed, stream=self.stream, sample_id=sample_id
        )
        if self.walls == "absorbing":
            field = field * (self._depth() == 0)
        index = 1 + self.contrast * field / np.max(np.abs(field))
        return {"index": index.astype(self.dtype)}
