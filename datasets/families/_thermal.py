r"""Steady heat conduction in a slotted block, held at two temperatures.

    -Laplace T = 0   in the block,    T = T_left at x = 0,    T = T_right at x = 1

The other walls, and those of a slot |x - 1/2| < 0.05, |y - 1/2| < 0.25 that runs
through the block, are insulated. The matrix is the same for all samples, and the
solution is linear in the two temperatures. Second-order differences with the slot as a
mask of solid cells.

H. Wang et al., Accelerating Data Generation for Neural Operators via Krylov Subspace
Recycling, ICLR 2024, arXiv 2401.09516, appendix D.2.

Differs from the paper:
1. Finite differences and a mask instead of MATLAB's finite elements; the paper shows
   its block but gives no measures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from ._family import RandomFamily, array_type, check_float64, check_grid
from ._noise import generator

_SLOT = (0.05, 0.25)  # half its size along x and y


@dataclass(frozen=True)
class Thermal(RandomFamily):
    """Heat conduction -ΔT = 0 in a slotted block, one matrix for all samples.

    In the slot the solution is stored as 0.

    Attributes:
        num_points: points per axis, two axes, at least 3 points each.
        dtype: float64 or float32.
        seed: master seed.
        stream: which samples: train, valid, test or another name.

    Examples:
        >>> from krylax.datasets import Thermal
        >>> temperatures = Thermal().sample(0)["temperatures"]
        >>> bool(-100 < temperatures[0] < 0 < temperatures[1] < 100)
        True
    """

    name: ClassVar[str] = "thermal"

    num_points: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self)

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return {"temperatures": (T_left, T_right)}, from (-100, 0) and (0, 100)."""
        random = generator(self.seed, self.stream, sample_id)
        left, right = random.uniform(0, 100, 2)
        return {"temperatures": np.array([-left, right], self.dtype)}

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (A, b); b is the part of the temperatures at the two walls."""
        check_float64(self.dtype)
        # JAX stays out of the module's imports: see check_float64.
        import jax.numpy as jnp

        from ...operators import MaskedPoisson

        spacing = (1 / (self.num_points[0] + 1), 1 / self.num_points[1])
        A = MaskedPoisson(
            np.where(self.is_slot(), 1, 2),
            spacing,
            boundary=["dirichlet", "neumann"],
            dtype=self.dtype,
        )
        left, right = jnp.asarray(parameters["temperatures"], self.dtype)
        b = jnp.zeros(self.num_points, self.dtype)
        b = b.at[0].set(left).at[-1].add(right) / spacing[0] ** 2
        return A, b

    def is_slot(self) -> np.ndarray:
        """Return which points lie in the slot."""
        x, y = self.coordinates().values()
        inside = [np.abs(s - 0.5) < half for s, half in zip((x, y), _SLOT, strict=True)]
        return inside[0][:, None] & inside[1][None, :]

    def features(self, parameters: Mapping[str, Any]) -> Float[np.ndarray, " features"]:
        """Return the two temperatures."""
        return np.asarray(parameters["temperatures"], np.float64)

    def array_types(self) -> dict[str, np.ndarray]:
        """Return the shapes and dtypes of `temperatures` and `solution`."""
        return {
            "temperatures": array_type((2,), self.dtype),
            "solution": array_type(self.num_points, self.dtype),
        }

    def coordinates(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Return x, one spacing inside its walls, and y, half a spacing."""
        nx, ny = self.num_points
        return {"x": np.arange(1, nx + 1) / (nx + 1), "y": (np.arange(ny) + 0.5) / ny}

    @override
    def card(self) -> dict[str, str]:
        nx, ny = self.num_points
        return {
            "title": "Heat conduction in a slotted block",
            "equation": "-Laplace T = 0",
            "domain": "[0, 1]^2 without |x - 1/2| < 0.05, |y - 1/2| < 0.25",
            "boundary": "T given at x = 0 and x = 1, no flux through all other walls",
            "discretisation": f"5-point stencil on {nx} x {ny} points, the slot a mask",
            "spacing": f"1/{nx + 1}, 1/{ny}",
            "right_hand_side": "T / spacing^2 beside the walls x = 0 and x = 1",
            "parameters": "temperatures at x = 0, uniform in (-100, 0), and at x = 1, "
            "uniform in (0, 100)",
        }
