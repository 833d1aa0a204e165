r"""Poisson's equation in the pores of a random mask.

    -Laplace u = 1 in the pores,    u = 0 on the walls of the unit square or cube

Nothing flows through the solid, which is a random lattice of blocks or thin walls
(`_media.py`). Pores without a way to the outer walls count as solid, since u would be
free there up to a constant. Second-order differences at nodes, outer walls one spacing
outside of them, with a mask of solid cells.

Around the percolation threshold (on square lattices of blocks 41 % solid) the ways
through are long and narrow, and preconditioners fail that average over neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float
from typing_extensions import override

from ._family import (
    RandomFamily,
    array_type,
    block_means,
    check_choice,
    check_float64,
    check_grid,
    check_integers,
    check_positive,
)
from ._media import blocks, walls
from ._noise import generator


@dataclass(frozen=True)
class Porous(RandomFamily):
    """Poisson's equation -Δu = 1 in the pores of a random mask, zero outer walls.

    In solid cells the solution is stored as 0.

    Attributes:
        num_points: nodes per axis, two or three axes, at least 3 nodes each.
        mask: random (blocks, each solid or not) or walls (planes, 1/16 to 1/4 long).
        solid: the probability that a block is solid, below 1.
        num_walls: how many walls.
        width: size of a block, thickness of a wall, in units of the domain; a block is
            at least a cell, so that fewer than 64 nodes per axis take a larger width.
        dtype: float64 or float32.
        seed: master seed.
        stream: which samples: train, valid, test or another name.

    Examples:
        >>> from krylax.datasets import Porous
        >>> pores = Porous().sample(0)["pores"]
        >>> pores.shape, bool(0.6 < pores.mean() < 0.7)
        ((64, 64), True)
    """

    name: ClassVar[str] = "porous"

    num_points: tuple[int, ...] = (64, 64)
    mask: Literal["random", "walls"] = "random"
    solid: float = 0.35
    num_walls: int = 16
    width: float = 1 / 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self, (2, 3))
        check_choice(self.mask, ("random", "walls"), "mask")
        check_positive(self, "solid", "width")
        check_integers(self, "num_walls")
        if self.solid >= 1 or self.width >= 0.5 or self.num_walls < 1:
            raise ValueError(
                "solid must be below 1, width below 0.5 and num_walls at least 1, got "
                f"{self.solid:g}, {self.width:g} and {self.num_walls}"
            )
        cell = 1 / min(self.num_points)
        # Where a cell holds several blocks, it takes that of its centre: another mask.
        if self.mask == "random" and self.width < 0.999 * cell:
            raise ValueError(
                f"width must be at least that of a cell, {cell:g}, got {self.width:g}"
            )

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return {"pores": 1 in cells that are open to the outer walls, 0 in others}.

        Raises:
            ValueError: there is no such cell.
        """
        random = generator(self.seed, self.stream, sample_id)
        if self.mask == "random":
            is_open = blocks(self.num_points, random, width=self.width) >= self.solid
        else:
            is_open = ~walls(
                self.num_points, random, count=self.num_walls, width=self.width
            )
        pores = connected_to_border(is_open)
        if not np.any(pores):
            raise ValueError(
                f"no pore of sample {sample_id} is open to the outer walls: lower "
                f"solid, now {self.solid:g}, or num_walls, now {self.num_walls}"
            )
        return {"pores": pores.astype(self.dtype)}

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (A, b): the Laplacian of the pores, and 1 in them."""
        check_float64(self.dtype)
        # JAX stays out of the module's imports: see check_float64.
        import jax.numpy as jnp

        from ...operators import CellType, MaskedPoisson

        b = jnp.asarray(parameters["pores"], self.dtype)
        A = MaskedPoisson(
            jnp.where(b > 0.5, int(CellType.FLUID), int(CellType.SOLID)),
            tuple(1 / (n + 1) for n in self.num_points),
            boundary="dirichlet",
            dtype=self.dtype,
        )
        return A, b

    def features(self, parameters: Mapping[str, Any]) -> Float[np.ndarray, " features"]:
        """Return the open fraction of blocks, at most 16 per axis, as one vector."""
        return block_means(parameters["pores"]).ravel()

    def array_types(self) -> dict[str, np.ndarray]:
        """Return the shapes and dtypes of `pores` and `solution`."""
        example = array_type(self.num_points, self.dtype)
        return {"pores": example, "solution": example}

    def coordinates(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Return the nodes x, y, z, one spacing inside the walls."""
        axes = zip("xyz", self.num_points, strict=False)
        return {axis: np.arange(1, n + 1) / (n + 1) for axis, n in axes}

    @override
    def card(self) -> dict[str, str]:
        rank, shape = len(self.num_points), " x ".join(map(str, self.num_points))
        law = f"in each block of size {self.width:g} with probability {self.solid:g}"
        if self.mask == "walls":
            law = f"in {self.num_walls} walls {self.width:g} thick, 1/16 to 1/4 long"
        return {
            "title": f"Poisson's equation in the pores of a mask, in {rank}-D",
            "equation": "-Laplace u = f in the pores",
            "domain": f"[0, 1]^{rank} without the solid",
            "boundary": "u = 0 on the outer walls, one spacing outside the outermost "
            "nodes; no flux into the solid",
            "discretisation": f"{2 * rank + 1}-point stencil on {shape} nodes, the "
            "solid a mask",
            "spacing": ", ".join(f"1/{n + 1}" for n in self.num_points),
            "right_hand_side": "f = 1",
            "parameters": f"pores: 0 in the solid, 1 elsewhere; solid {law}, and what "
            "it walls in",
        }


def connected_to_border(
    is_open: Bool[np.ndarray, "*n"],
) -> Bool[np.ndarray, "*n"]:
    """Return the open cells that have a way to the border through others' faces."""
    # SciPy takes long to import, which --help must not pay.
    from scipy.ndimage import label

    regions: np.ndarray = label(is_open)[0]  # pyright: ignore
    ends = [regions.take([0, -1], axis).ravel() for axis in range(regions.ndim)]
    reached = np.unique(np.concatenate(ends))
    return np.isin(regions, reached[reached > 0])
