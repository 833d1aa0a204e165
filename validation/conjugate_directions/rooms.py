"""Boxes with obstacles, which the shipped networks are trained on.

Up to six discs, boxes and half-planes, or random solid cells, and air in half of the
samples; no right-hand side of a flow. The scenes of the tables are none of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

import krylax as kx
from krylax.datasets.families._family import (
    RandomFamily,
    array_type,
    block_means,
    cell_centres,
    check_grid,
)
from krylax.datasets.families._noise import generator

SOLID, FLUID, AIR = 1, 2, 3


@dataclass(frozen=True)
class Rooms(RandomFamily):
    """-Δp = b in boxes with obstacles, solid walls, the last axis open at its end."""

    name: ClassVar[str] = "rooms"

    num_points: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self, (2, 3))

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return {"cells": the content of each cell, "source": b}."""
        rng = generator(self.seed, self.stream, sample_id)
        x = np.stack(
            np.meshgrid(*cell_centres(self.num_points).values(), indexing="ij")
        )
        cells = np.full(self.num_points, FLUID)
        kind = rng.random()
        if kind > 0.75:
            blocks = tuple(min(n, 32) for n in self.num_points)
            is_solid = rng.random(blocks) < rng.uniform(0, 0.3)
            places = [
                np.arange(n) * b // n
                for n, b in zip(self.num_points, blocks, strict=True)
            ]
            cells[is_solid[np.ix_(*places)]] = SOLID
        elif kind > 0.2:
            for _ in range(int(rng.integers(1, 7))):
                cells[_shape(rng, x)] = SOLID
        if rng.random() < 0.3:
            cells[(x[-1] > rng.uniform(0.4, 0.95)) & (cells == FLUID)] = AIR
        source = rng.standard_normal(self.num_points)
        cells = _without_pockets(cells)
        return {
            "cells": cells.astype(np.int32),
            "source": np.where(cells == FLUID, source, 0),
        }

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (A, b)."""
        boundary: Any = ["neumann"] * len(self.num_points)
        boundary[-1] = ("neumann", "dirichlet")
        spacing = tuple(1 / n for n in self.num_points)
        A = kx.operators.MaskedPoisson(
            parameters["cells"], spacing, boundary=boundary, dtype=self.dtype
        )
        return A, jnp.asarray(parameters["source"], self.dtype)

    def features(self, parameters: Mapping[str, Any]) -> Any:
        """Return the solid cells averaged over blocks."""
        return block_means(parameters["cells"] == SOLID).ravel()

    def array_types(self) -> dict[str, np.ndarray]:
        """Return the shapes and dtypes of the arrays."""
        example = array_type(self.num_points, self.dtype)
        cells = array_type(self.num_points, "int32")
        return {"cells": cells, "source": example, "solution": example}

    def coordinates(self) -> dict[str, np.ndarray]:
        """Return the cell centres."""
        return cell_centres(self.num_points)

    def card(self) -> dict[str, str]:
        """Return what there is to say."""
        return {"title": "Boxes with obstacles"}


def _shape(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """A ball, a box, or a wall that leaves a passage."""
    centre = rng.random(len(x)).reshape(-1, *[1] * (x.ndim - 1))
    kind = rng.integers(3)
    if kind == 0:
        return np.sum((x - centre) ** 2, axis=0) < rng.uniform(0.03, 0.25) ** 2
    sides = rng.uniform(0.02, 0.25, centre.shape)
    if kind == 2:
        sides[rng.integers(len(x))] = 0.5 / x.shape[1]
    return np.all(np.abs(x - centre) < sides, axis=0)


def _without_pockets(cells: np.ndarray) -> np.ndarray:
    """Fluid that reaches neither air nor the open end counts as solid."""
    padded = np.pad(cells, [(0, 0)] * (cells.ndim - 1) + [(0, 1)], constant_values=AIR)
    found: Any = ndimage.label(padded != SOLID)
    labels = found[0]
    is_reached = labels == labels[(0,) * (cells.ndim - 1) + (-1,)]
    return np.where(is_reached[..., :-1], cells, SOLID)
