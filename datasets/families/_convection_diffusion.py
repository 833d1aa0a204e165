r"""Diffusion in a random incompressible flow.

    -Laplace u + div(v u) = 1   in the unit square,    u = 0 on its walls

v = (d psi / dy, -d psi / dx) of a Gaussian random stream function psi (`CosineKL`),
scaled so that the Péclet number of the domain, its side times the largest |v| over the
diffusivity, is the sample's own, uniform in a given range. The largest |v| is that of
the flow on 64 x 64 cells, whatever the grid: sample 7 is the same flow on all of them.
Upwind finite volumes: an M-matrix, not symmetric.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from ._cosine_kl import CosineKL
from ._family import (
    REFERENCE,
    RandomFamily,
    array_type,
    block_means,
    cell_centres,
    check_choice,
    check_float64,
    check_grid,
    check_positive,
    check_range,
)
from ._noise import generator, noise_bytes

Velocity = Float[np.ndarray, "2 nx ny"]


@dataclass(frozen=True)
class RandomFlow(RandomFamily):
    """Convection and diffusion in the curl of a random stream function.

    Attributes:
        num_points: cells per axis, two axes, at least 3 cells each.
        scheme: upwind (first order, an M-matrix) or central (second order).
        alpha: smoothness of the stream function.
        tau: inverse correlation length of the stream function.
        dtype: float64 or float32.
        seed: master seed.
        stream: which samples: train, valid, test or another name.
    """

    num_points: tuple[int, ...] = (64, 64)
    scheme: Literal["upwind", "central"] = "upwind"
    alpha: float = 2.5
    tau: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self)
        check_choice(self.scheme, ("upwind", "central"), "scheme")
        check_positive(self, "alpha", "tau")

    @abstractmethod
    def scaled(self, velocity: Velocity, sample_id: int) -> Velocity:
        """Return the flow of a sample with the speed that it shall have."""

    @abstractmethod
    def speed_text(self) -> str:
        """Return what the data card says of the speed."""

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return {"velocity": v}, two components per cell."""
        velocity = self.scaled(self.flow(self.num_points, sample_id), sample_id)
        return {"velocity": velocity.astype(self.dtype)}

    def flow(self, num_points: tuple[int, ...], sample_id: int) -> Velocity:
        """Return the curl of a sample's stream function on a grid."""
        psi = CosineKL(self.alpha, self.tau).sample(
            num_points, seed=self.seed, stream=self.stream, sample_id=sample_id
        )
        along_x, along_y = np.gradient(psi, *(1 / n for n in num_points))
        return np.stack([along_y, -along_x])

    def drawn_peclet(self, low: float, high: float, sample_id: int) -> float:
        """Return the number of a sample, uniform in a range."""
        random = generator(self.seed, f"{self.stream}.peclet", sample_id)
        return random.uniform(low, high)

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (A, b): the finite-volume operator and the right-hand side 1."""
        check_float64(self.dtype)
        # JAX stays out of the module's imports: see check_float64.
        import jax.numpy as jnp

        from ... import operators

        ones = jnp.ones(self.num_points, self.dtype)
        A = operators.ConvectionDiffusion(
            ones,
            jnp.asarray(parameters["velocity"], self.dtype),
            tuple(1 / n for n in self.num_points),
            scheme=self.scheme,
        )
        return A, ones

    def features(self, parameters: Mapping[str, Any]) -> Float[np.ndarray, " features"]:
        """Return v averaged over blocks, at most 16 per axis, as one vector."""
        return np.stack([block_means(v) for v in parameters["velocity"]]).ravel()

    def array_types(self) -> dict[str, np.ndarray]:
        """Return the shapes and dtypes of `velocity` and `solution`."""
        return {
            "velocity": array_type((2, *self.num_points), self.dtype),
            "solution": array_type(self.num_points, self.dtype),
        }

    def coordinates(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Return the cell centres x and y."""
        return cell_centres(self.num_points)

    @override
    def drawing_bytes(self) -> int:
        return noise_bytes(self.num_points)

    @override
    def card(self) -> dict[str, str]:
        return {
            "title": "Convection and diffusion in a random flow",
            "equation": "-Laplace u + div(v u) = f",
            "domain": "[0, 1]^2",
            "boundary": "u = 0 on all walls, which lie on cell faces",
            "discretisation": f"cell-centred finite volumes, {self.scheme} convection, "
            f"{' x '.join(map(str, self.num_points))} cells",
            "spacing": ", ".join(f"1/{n}" for n in self.num_points),
            "right_hand_side": "f = 1",
            "parameters": "velocity v per cell: the curl of a Gaussian field (alpha "
            f"{self.alpha:g}, tau {self.tau:g}), {self.speed_text()}",
        }


@dataclass(frozen=True)
class ConvectionDiffusion(RandomFlow):
    """Convection and diffusion -Δu + ∇·(vu) = 1 in a random flow v, zero walls.

    Attributes:
        num_points: cells per axis, two axes, at least 3 cells each.
        scheme: upwind (first order, an M-matrix) or central (second order).
        alpha: smoothness of the stream function.
        tau: inverse correlation length of the stream function.
        peclet: least and greatest Péclet number of the domain, or one number: the
            largest |v| times its side 1 over the diffusivity 1. A cell's is that times
            the size of the cell.
        dtype: float64 or float32.
        seed: master seed.
        stream: which samples: train, valid, test or another name.

    Examples:
        >>> from krylax.datasets import ConvectionDiffusion
        >>> flow = ConvectionDiffusion(num_points=(16, 16), peclet=(8, 80))
        >>> flow.sample(0)["velocity"].shape, flow.cell_peclet
        ((2, 16, 16), (0.5, 5.0))
    """

    name: ClassVar[str] = "convection-diffusion"
    # In the first, the range was that of a cell's Péclet number.
    format_version: ClassVar[int] = 2

    peclet: tuple[float, float] | float = (32.0, 320.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "peclet")

    @property
    def cell_peclet(self) -> tuple[float, float]:
        """The range of the largest Péclet number |v| h of a cell on this grid."""
        low, high = self._bounds()
        return low / min(self.num_points), high / min(self.num_points)

    @override
    def scaled(self, velocity: Velocity, sample_id: int) -> Velocity:
        # A flow gets faster with the modes that a finer grid adds.
        is_same = self.num_points == REFERENCE
        reference = velocity if is_same else self.flow(REFERENCE, sample_id)
        largest = np.sqrt(np.max(np.sum(reference**2, axis=0)))
        return velocity * (self.drawn_peclet(*self._bounds(), sample_id) / largest)

    @override
    def speed_text(self) -> str:
        low, high = self._bounds()
        least, greatest = self.cell_peclet
        return (
            "its Peclet number, the largest |v| on 64 x 64 cells times the side of the "
            f"domain over the diffusivity, uniform in [{low:g}, {high:g}]; of a cell "
            f"of this grid in [{least:.3g}, {greatest:.3g}]"
        )

    def _bounds(self) -> tuple[float, float]:
        assert isinstance(self.peclet, tuple)
        return self.peclet
