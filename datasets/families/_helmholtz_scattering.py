r"""Waves in a medium of random refractive index.

    -Laplace u - k² n(x)² u = f    in the unit square

n = 1 + contrast g / max |g| with a Gaussian random field g (`CosineKL`), the maximum
that on 64 x 64 cells, so that sample 7 is the same medium on every grid. Either the
walls hold u = 0 and f = 1: a cavity, whose operator is real, symmetric and indefinite.
Or a plane wave exp(ikx) meets the medium and u is the wave it scatters,

    -Laplace u - k² n² (1 + i s) u = k² (n² - 1) exp(ikx),

with the damping s rising from 0 to `damping` in a layer beside the walls, in which n is
1 (in a cell that the layer cuts, in part): complex and symmetric, not hermitian. Finite
volumes, second order. A layer of 0.2 is thin for a long wave: beside a domain three
times as large, the solution differs by 27 % for k = 12, a third of a wavelength in the
layer, and by 3 % for k = 40.
"""

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
)
from ._noise import noise_bytes

# A wavelength has 2π / 0.6 = 10 cells.
_LARGEST_STEP = 0.6


@dataclass(frozen=True)
class HelmholtzScattering(RandomFamily):
    """The Helmholtz equation -Δu - k²n²u = f with a random refractive index n.

    Attributes:
        num_points: cells per axis, two axes.
        wavenumber: k, in radians per unit length; k times the largest index times the
            cell size must be at most 0.6, ten cells per wavelength.
        walls: zero (u = 0 and f = 1: real, indefinite) or absorbing (the wave scattered
            from a plane wave: complex).
        contrast: largest deviation of the index from 1 on 64 x 64 cells, below 1.
        layer: thickness of the absorbing layer, below 1/2.
        damping: of the absorbing layer at the wall.
        alpha: smoothness of the field.
        tau: inverse correlation length of the field.
        dtype: float64 or float32, or the complex type of that precision.
        seed: master seed.
        stream: which samples: train, valid, test or another name.

    Examples:
        >>> from krylax.datasets import HelmholtzScattering
        >>> index = HelmholtzScattering(num_points=(64, 64)).sample(0)["index"]
        >>> index.shape, float(abs(index - 1).max().round(12))
        ((64, 64), 0.3)
    """

    name: ClassVar[str] = "helmholtz-scattering"
    # In the first, the index was scaled on the sample's own grid.
    format_version: ClassVar[int] = 2

    num_points: tuple[int, ...] = (48, 48)
    wavenumber: float = 12.0
    walls: Literal["zero", "absorbing"] = "zero"
    contrast: float = 0.3
    layer: float = 0.2
    damping: float = 3.0
    alpha: float = 2.5
    tau: float = 7.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self)
        check_choice(self.walls, ("zero", "absorbing"), "walls")
        names = ("wavenumber", "contrast", "layer", "damping", "alpha", "tau")
        check_positive(self, *names)
        for name, bound in (("contrast", 1.0), ("layer", 0.5)):
            if getattr(self, name) >= bound:
                raise ValueError(
                    f"{name} must be below {bound:g}, got {getattr(self, name):g}"
                )
        largest = self.wavenumber * (1 + self.contrast)
        if largest > _LARGEST_STEP * min(self.num_points):
            needed = int(np.ceil(largest / _LARGEST_STEP))
            raise ValueError(
                f"num_points must be at least {needed} per axis for wavenumber "
                f"{self.wavenumber:g} and contrast {self.contrast:g} (ten cells per "
                f"wavelength), got {self.num_points}"
            )

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return {"index": n}, one refractive index per cell."""
        field = self._medium(self.num_points, sample_id)
        is_same = self.num_points == REFERENCE
        reference = field if is_same else self._medium(REFERENCE, sample_id)
        index = 1 + self.contrast * field / np.max(np.abs(reference))
        return {"index": index.astype(self.dtype)}

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (A, b) of the cavity or of the scattered wave."""
        check_float64(self.dtype)
        # JAX stays out of the module's imports: see check_float64.
        import jax.numpy as jnp

        from ...operators import Helmholtz

        spacing = tuple(1 / n for n in self.num_points)
        ones = jnp.ones(self.num_points, self.dtype)
        k = self.wavenumber
        squares = jnp.asarray(parameters["index"], self.dtype) ** 2
        if self.walls == "zero":
            return Helmholtz(ones, k**2 * squares, spacing), ones
        squares = squares.astype(self._complex)
        factor = jnp.asarray(1 + 1j * self.damping * self._depth() ** 2, self._complex)
        A = Helmholtz(ones, k**2 * squares * factor, spacing)
        x = self.coordinates()["x"][:, None]
        wave = jnp.asarray(np.exp(1j * k * x), self._complex)
        return A, k**2 * (squares - 1) * wave

    def features(self, parameters: Mapping[str, Any]) -> Float[np.ndarray, " features"]:
        """Return n averaged over blocks, at most 16 per axis, as one vector."""
        return block_means(parameters["index"]).ravel()

    def array_types(self) -> dict[str, np.ndarray]:
        """Return the shapes and dtypes of `index` and `solution`."""
        dtype = self.dtype if self.walls == "zero" else self._complex
        return {
            "index": array_type(self.num_points, self.dtype),
            "solution": array_type(self.num_points, dtype),
        }

    def coordinates(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Return the cell centres x and y."""
        return cell_centres(self.num_points)

    @override
    def drawing_bytes(self) -> int:
        return noise_bytes(self.num_points)

    @override
    def card(self) -> dict[str, str]:
        k = f"{self.wavenumber:g}"
        is_cavity = self.walls == "zero"
        damped = (
            f"u = 0 behind a layer of {self.layer:g} with k^2 n^2 (1 + i s), s = "
            f"{self.damping:g} (depth in the layer / {self.layer:g})^2"
        )
        field = f"Gaussian field (alpha {self.alpha:g}, tau {self.tau:g})"
        return {
            "title": "Waves in a cavity" if is_cavity else "A scattered plane wave",
            "equation": f"-Laplace u - k^2 n^2 u = f, k = {k}",
            "domain": "[0, 1]^2",
            "boundary": "u = 0 on all walls" if is_cavity else damped,
            "discretisation": "cell-centred finite volumes, "
            f"{' x '.join(map(str, self.num_points))} cells",
            "spacing": ", ".join(f"1/{n}" for n in self.num_points),
            "right_hand_side": "f = 1" if is_cavity else "f = k^2 (n^2 - 1) exp(ikx)",
            "parameters": f"index n per cell: 1 + {self.contrast:g} times a {field} "
            "over its largest modulus on 64 x 64 cells"
            + ("" if is_cavity else ", 1 in the layer"),
        }

    @property
    def _complex(self) -> str:
        return {"float64": "complex128", "float32": "complex64"}[self.dtype]

    def _medium(
        self, num_points: tuple[int, ...], sample_id: int
    ) -> Float[np.ndarray, "nx ny"]:
        """The random field on a grid, without what lies in the layer."""
        field = CosineKL(self.alpha, self.tau).sample(
            num_points, seed=self.seed, stream=self.stream, sample_id=sample_id
        )
        if self.walls == "zero":
            return field
        x, y = (_part_inside(n, self.layer) for n in num_points)
        return field * x[:, None] * y[None, :]

    def _depth(self) -> Float[np.ndarray, "nx ny"]:
        """How deep in the layer a cell lies: 0 at its inner edge and 1 at a wall."""
        x, y = (np.minimum(s, 1 - s) for s in self.coordinates().values())
        distance = np.minimum(x[:, None], y[None, :])
        return np.maximum(0, 1 - distance / self.layer)


def _part_inside(n: int, layer: float) -> Float[np.ndarray, " n"]:
    """How much of each of n cells lies between the layers at both ends."""
    edges = np.arange(n + 1) / n
    inside = np.minimum(edges[1:], 1 - layer) - np.maximum(edges[:-1], layer)
    return np.clip(inside * n, 0, 1)
