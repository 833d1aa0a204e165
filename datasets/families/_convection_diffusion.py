r"""Diffusion in a random incompressible flow.

    -Laplace u + div(v u) = 1   in the unit square,    u = 0 on its walls

v = (d psi / dy, -d psi / dx) of a Gaussian random stream function psi (`CosineKL`),
scaled so that the fastest cell has a cell Péclet number |v| h of the sample's own,
uniform in a given range. Upwind finite volumes: an M-matrix, not symmetric.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from ._cosine_kl import CosineKL
from ._family import (
    RandomFamily,
    array_type,
    block_means,
    cell_centres,
    check_choice,
    check_float64,
    check_grid,
    check_positive,
)
from ._noise import generator, noise_bytes


@dataclass(frozen=True)
class ConvectionDiffusion(RandomFamily):
    """Convection and diffusion -Δu + ∇·(vu) = 1 in a random flow v, zero walls.

    Attributes:
        num_points: cells per axis, two axes, at least 3 cells each.
        smallest_peclet: least cell Péclet number |v| h of a sample.
        largest_peclet: greatest cell Péclet number of a sample.
        scheme: upwind (first order, an M-matrix) or central (second order).
        alpha: smoothness of the stream function.
        tau: inverse correlation length of the stream function.
        dtype: float64 or float32.
        seed: master seed.
        stream: which samples: train, valid, test or another name.

    Examples:
        >>> from krylax.datasets import ConvectionDiffusion
        >>> ConvectionDiffusion(num_points=(16, 16)).sample(0)["velocity"].shape
        (2, 16, 16)
    """

    name: ClassVar[str] = "convection-diffusion"

    num_points: tuple[int, ...] = (64, 64)
    smallest_peclet: float = 0.5
    largest_peclet: float = 5.0
    scheme: Literal["upwind", "central"] = "upwind"
    alpha: float = 2.5
    tau: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self)
        check_choice(self.scheme, ("upwind", "central"), "scheme")
        check_positive(self, "smallest_peclet", "largest_peclet", "alpha", "tau")
        if self.smallest_peclet > self.largest_peclet:
            raise ValueError(
                "smallest_peclet must be at most largest_peclet, got "
                f"{self.smallest_peclet:g} and {self.largest_peclet:g}"
            )

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return {"velocity": v}, two components per cell."""
        psi = CosineKL(self.alpha, self.tau).sample(
            self.num_points, seed=self.seed, stream=self.stream, sample_id=sample_id
        )
        spacing = [1 / n for n in self.num_points]
        along_x, along_y = np.gradient(psi, *spacing)
        velocity = np.stack([along_y, -along_x])
        random = generator(self.seed, f"{self.stream}.peclet", sample_id)
        peclet = random.uniform(self.smallest_peclet, self.largest_peclet)
        numbers = np.sqrt(np.sum(velocity**2, axis=0)) * max(spacing)
        return {"velocity": (velocity * peclet / np.max(numbers)).astype(self.dtype)}

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
            f"{self.alpha:g}, tau {self.tau:g}), its largest cell Peclet number "
            f"uniform in [{self.smallest_peclet:g}, {self.largest_peclet:g}]",
        }
