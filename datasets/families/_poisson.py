r"""Poisson's equation on the unit square with Chebyshev sources and walls.

    -Laplace u = f   in the unit square,    u = g on its walls

f(x, y) = sum_k c_k T_k(2x - 1) T_k(2y - 1), and on each wall g = sum_k c_k T_k(2s - 1)
with s along it, five coefficients each, uniform in [-1, 1]. The matrix is the same for
all samples: factor it once. Second-order differences at nodes, walls one spacing
outside of them.

H. Wang et al., Accelerating Data Generation for Neural Operators via Krylov Subspace
Recycling, ICLR 2024, arXiv 2401.09516, appendix D.2.

Differs from the paper:
1. Finite differences on a grid instead of MATLAB's finite elements.
2. The paper leaves open how five coefficients make a source of two variables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from ._family import RandomFamily, array_type, check_float64, check_grid
from ._noise import generator

_NUM_TERMS = 5


@dataclass(frozen=True)
class Poisson(RandomFamily):
    """Poisson's equation -Δu = f with u = g on the walls, one matrix for all samples.

    Attributes:
        num_points: nodes per axis, two axes, at least 3 nodes each.
        dtype: float64 or float32.
        seed: master seed.
        stream: which samples: train, valid, test or another name.

    Examples:
        >>> from krylax.datasets import Poisson
        >>> sample = Poisson(num_points=(16, 8)).sample(0)
        >>> {name: array.shape for name, array in sample.items()}
        {'source': (16, 8), 'walls_x': (2, 8), 'walls_y': (2, 16), 'series': (5, 5)}
    """

    name: ClassVar[str] = "poisson"

    num_points: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self)

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return the source, the walls' values, and the series that they come from.

        `walls_x` are those at x = 0 and x = 1, `walls_y` those at y = 0 and y = 1;
        `series` the coefficients of f and of the four walls in that order.
        """
        random = generator(self.seed, self.stream, sample_id)
        series = random.uniform(-1, 1, (5, _NUM_TERMS))
        Tx, Ty = (_chebyshev(x) for x in self.coordinates().values())
        arrays = {
            "source": (Tx * series[0]) @ Ty.T,
            "walls_x": series[1:3] @ Ty.T,
            "walls_y": series[3:5] @ Tx.T,
            "series": series,
        }
        return {name: array.astype(self.dtype) for name, array in arrays.items()}

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (A, b): the Laplacian, and f with the walls' part."""
        check_float64(self.dtype)
        # JAX stays out of the module's imports: see check_float64.
        import jax.numpy as jnp

        from ...operators import Laplacian

        spacing = tuple(1 / (n + 1) for n in self.num_points)
        A = Laplacian(self.num_points, spacing, dtype=self.dtype)
        b = jnp.asarray(parameters["source"], self.dtype)
        for axis, name in enumerate(("walls_x", "walls_y")):
            low, high = jnp.asarray(parameters[name], self.dtype) / spacing[axis] ** 2
            ends = jnp.moveaxis(b, axis, 0).at[0].add(low).at[-1].add(high)
            b = jnp.moveaxis(ends, 0, axis)
        return A, b

    def features(self, parameters: Mapping[str, Any]) -> Float[np.ndarray, " features"]:
        """Return the coefficients of the series, as in the paper."""
        return np.asarray(parameters["series"], np.float64).ravel()

    def array_types(self) -> dict[str, np.ndarray]:
        """Return the shapes and dtypes of the parameters and of `solution`."""
        shape = self.num_points
        shapes = {
            "source": shape,
            "walls_x": (2, shape[1]),
            "walls_y": (2, shape[0]),
            "series": (5, _NUM_TERMS),
            "solution": shape,
        }
        return {name: array_type(shape, self.dtype) for name, shape in shapes.items()}

    def coordinates(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Return the nodes x and y, one spacing inside the walls."""
        axes = zip("xy", self.num_points, strict=True)
        return {axis: np.arange(1, n + 1) / (n + 1) for axis, n in axes}

    @override
    def card(self) -> dict[str, str]:
        return {
            "title": "Poisson's equation in 2-D",
            "equation": "-Laplace u = f",
            "domain": "[0, 1]^2",
            "boundary": "u = g on the walls, one spacing outside the outermost nodes",
            "discretisation": "5-point stencil on "
            f"{' x '.join(map(str, self.num_points))} nodes",
            "spacing": ", ".join(f"1/{n + 1}" for n in self.num_points),
            "right_hand_side": "f and, beside the walls, g / spacing^2",
            "parameters": "source f, values g on walls_x (x = 0, 1) and walls_y "
            "(y = 0, 1), each a Chebyshev series of five terms with coefficients "
            "uniform in [-1, 1], which `series` holds",
        }


def _chebyshev(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n terms"]:
    """T_0 to T_4 on the unit interval."""
    return np.cos(np.arange(_NUM_TERMS) * np.arccos(2 * x - 1)[:, None])
