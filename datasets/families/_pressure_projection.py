r"""The pressure systems of a flow: what each frame of a simulation solves.

    -Laplace phi = -div u*   in the fluid,    u = u* - grad phi

Each run is an incompressible flow on a staggered grid, from rest: smoke that rises past
solids, a body that stirs it, or a liquid that falls. In each frame the velocity is
advected and pushed, which leaves a u* with divergence, and the pressure takes it out
(`_mac_flow.py`). The right-hand sides of one run are thus related, and so are its
matrices, which change where a solid or the surface moves.

J. Stam, Stable Fluids, SIGGRAPH 1999. R. Bridson, Fluid Simulation for Computer
Graphics, 2nd ed., 2015, chapter 5. Such systems are what A. Kaneda et al., A Deep
Conjugate Direction Method for Iteratively Solving Linear Systems, ICML 2023, is for.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from ._family import (
    RandomFamily,
    array_type,
    block_means,
    cell_centres,
    check_choice,
    check_float64,
    check_grid,
    check_integers,
    check_positive,
)
from ._flow_scenes import FLUID, FlowState, Scene, first_state
from ._noise import generator

# Consecutive samples are frames of one run; two, so that a run can be drawn beside it.
_KEPT_RUNS = 2


@dataclass(frozen=True)
class PressureProjection(RandomFamily):
    """-Δφ = -∇·u* of the frames of incompressible flows: real right-hand sides.

    Sample i is frame i mod num_frames of run i div num_frames. A run is simulated as a
    whole when one of its frames is drawn, and kept for the next samples. Consecutive
    frames are alike: their own order is the one to solve them in,
    `generate(..., ordering="none")`.

    The walls of the unit box let nothing through. With top="open" the fluid leaves and
    enters above, where φ = 0. With top="closed" all walls are closed, the matrix is
    singular with the constants as its null space, and b has mean zero; of
    "free_surface" it is definite all the same, as φ = 0 in air.

    Attributes:
        num_points: cells per axis, two or three axes, at least 3 cells each; up is
            along the last axis.
        scene: plume (smoke from a source), obstacle (a disc or ball above it),
            random_solids (blocks, each solid or not), moving_disc (a disc or ball on an
            arm that turns), rotating (a bar that turns, and smoke without weight), or
            free_surface (a column of liquid that falls into a pool).
        num_frames: frames per run.
        top: open or closed.
        time_step: of a frame, whatever the number of cells.
        strength: mean over the runs of the buoyancy of smoke; of free_surface that of
            gravity, of rotating that of the angular rate in radians. Of a run between
            3/4 and 5/4 of it.
        solid: of random_solids, the probability that a block is solid, below 1.
        width: of random_solids, the size of a block in units of the domain, at least a
            cell.
        dtype: float64 or float32, in which the flow is simulated too.
        seed: master seed.
        stream: which samples: train, valid, test or another name.

    Examples:
        >>> from krylax.datasets import PressureProjection
        >>> family = PressureProjection((16, 16), "free_surface")
        >>> state = family.initial_state(0)
        >>> [u.shape for u in state.velocity]
        [(17, 16), (16, 17)]
    """

    name: ClassVar[str] = "pressure-projection"

    num_points: tuple[int, ...] = (64, 64)
    scene: Scene = "plume"
    num_frames: int = 50
    top: Literal["open", "closed"] = "open"
    time_step: float = 0.02
    strength: float = 4.0
    solid: float = 0.2
    width: float = 1 / 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self, (2, 3))
        check_choice(self.scene, get_args(Scene), "scene")
        check_choice(self.top, ("open", "closed"), "top")
        check_positive(self, "time_step", "strength", "solid", "width")
        check_integers(self, "num_frames")
        if self.num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, got {self.num_frames}")
        if self.solid >= 1 or self.width >= 0.5:
            raise ValueError(
                "solid must be below 1 and width below 0.5, got "
                f"{self.solid:g} and {self.width:g}"
            )
        cell = 1 / min(self.num_points)
        # Where a cell holds several blocks, it takes that of its centre: another mask.
        if self.scene == "random_solids" and self.width < 0.999 * cell:
            raise ValueError(
                f"width must be at least that of a cell, {cell:g}, got {self.width:g}"
            )

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return {"cells": what is in each, "right_hand_side": -div u*}.

        Cells hold 1 (solid), 2 (fluid) or 3 (air), as those of `MaskedPoisson`.

        Raises:
            ValueError: a negative number, or as `initial_state`.
            RuntimeError: a pressure system of the simulation was not solved; or JAX has
                no CPU, where it runs: JAX_PLATFORMS must name it too.
        """
        if sample_id < 0:
            raise ValueError(f"sample_id must not be negative, got {sample_id}")
        run, frame = divmod(int(sample_id), self.num_frames)
        frames = _frames(self, run)
        return {name: values[frame].copy() for name, values in frames.items()}

    def initial_state(self, run: int) -> FlowState:
        """Return the flow of a run before its first frame, at rest, drawn on the host.

        Args:
            run: the run's number, not negative.

        Raises:
            ValueError: float64 while JAX's 64-bit mode is off; a negative number; no
                fluid at the source of "random_solids".
        """
        check_float64(self.dtype)
        if isinstance(run, bool) or not isinstance(run, int | np.integer) or run < 0:
            raise ValueError(
                "run must be an integer that is known and not negative, as it is drawn "
                f"on the host; got {run}"
            )
        # JAX stays out of the module's imports: see check_float64.
        import jax
        import jax.numpy as jnp

        state = first_state(
            self.scene,
            self.num_points,
            generator(self.seed, self.stream, run),
            strength=self.strength,
            is_open=self.top == "open",
            solid=self.solid,
            width=self.width,
        )

        def on_device(values: Any) -> Any:
            is_float = values.dtype == np.float64
            return jnp.asarray(values, self.dtype if is_float else values.dtype)

        return jax.tree.map(on_device, state)

    def advance(
        self, state: FlowState, solve: Callable[[Any, Any], Any]
    ) -> tuple[FlowState, dict[str, Any]]:
        """Return the flow a frame later, and the parameters of the frame.

        Pure, for `jax.jit`, `jax.vmap` over states and `jax.lax.scan` over frames. In a
        frame velocity and density are advected, forces added, the velocity set to that
        of solids on their faces, and phi subtracted as u = u* - grad phi.

        Args:
            state: that of `initial_state` or of the frame before.
            solve: returns phi, with A phi = b, for the (A, b) of `system`, such as
                `lambda A, b: kx.solve(A, b, solver).value`. What phi holds in cells
                that are not fluid does not count.

        Returns:
            The state, and the parameters: what `sample` returns for this frame.

        Raises:
            ValueError: a state or a phi of another grid, or as `system`.
        """
        check_float64(self.dtype)
        if state.cells.shape != self.num_points:
            raise ValueError(
                f"state must be one of {self.num_points} cells, of this family's "
                f"initial_state, got one of {state.cells.shape}"
            )
        # JAX stays out of the module's imports: see check_float64.
        from ._mac_flow import correct, negative_divergence, predict, without_mean

        is_open = self.top == "open"
        state = predict(state, self.scene, is_open=is_open, time_step=self.time_step)
        b = negative_divergence(state.velocity, state.cells)
        if self._is_singular:
            # Of rounding alone: what solids push away on one side they let in behind.
            b = without_mean(b, state.cells)
        parameters = {"cells": state.cells, "right_hand_side": b}
        phi = solve(*self.system(parameters))
        if getattr(phi, "shape", None) != self.num_points:
            raise ValueError(
                f"solve must return the array phi of {self.num_points} cells, such as "
                f"the value of a solution, got {type(phi).__name__}"
            )
        state = correct(
            state, phi, self.scene, is_open=is_open, num_layers=self._num_layers
        )
        return state, parameters

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (A, b): the Laplacian of the fluid, and -div u*."""
        check_float64(self.dtype)
        # JAX stays out of the module's imports: see check_float64.
        import jax.numpy as jnp

        from ...operators import MaskedPoisson

        boundary: Any = ["neumann"] * len(self.num_points)
        if self.top == "open":
            boundary[-1] = ("neumann", "dirichlet")
        A = MaskedPoisson(
            jnp.asarray(parameters["cells"], "int32"),
            tuple(1 / n for n in self.num_points),
            boundary=boundary,
            nullspace="constant" if self._is_singular else None,
            dtype=self.dtype,
        )
        return A, jnp.asarray(parameters["right_hand_side"], self.dtype)

    def features(self, parameters: Mapping[str, Any]) -> Float[np.ndarray, " features"]:
        """Return the fluid and b, scaled to a mean square of 1, averaged over blocks.

        One after the other, each of at most 16 blocks per axis.
        """
        b = np.asarray(parameters["right_hand_side"], np.float64)
        scale = np.sqrt(np.mean(b**2)) or 1.0
        fields = np.asarray(parameters["cells"]) == FLUID, b / scale
        return np.concatenate([block_means(field).ravel() for field in fields])

    def array_types(self) -> dict[str, np.ndarray]:
        """Return the shapes and dtypes of the parameters and of `solution`."""
        example = array_type(self.num_points, self.dtype)
        cells = array_type(self.num_points, "int32")
        return {"cells": cells, "right_hand_side": example, "solution": example}

    def coordinates(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Return the cell centres x, y, z, as many as there are axes."""
        return cell_centres(self.num_points)

    @override
    def drawing_bytes(self) -> int:
        per_cell = 4 + np.dtype(self.dtype).itemsize
        return _KEPT_RUNS * self.num_frames * math.prod(self.num_points) * per_cell

    @override
    def card(self) -> dict[str, str]:
        rank, shape = len(self.num_points), " x ".join(map(str, self.num_points))
        force = {"free_surface": "gravity", "rotating": "angular rate"}
        solids = (
            f"; blocks of size {self.width:g} are solid with probability {self.solid:g}"
            if self.scene == "random_solids"
            else ""
        )
        air = ", phi = 0 in air" if self.scene == "free_surface" else ""
        top = ", phi = 0 above the top" if self.top == "open" else ""
        return {
            "title": f"Pressure of an incompressible flow ({self.scene}) in {rank}-D",
            "equation": "-Laplace phi = -div u* in the fluid",
            "domain": f"[0, 1]^{rank} without solid and air",
            "boundary": f"no flux through solids and walls{top}{air}",
            "discretisation": f"{2 * rank + 1}-point stencil on {shape} cells of a "
            f"staggered grid, dt = {self.time_step:g}; semi-Lagrangian advection",
            "spacing": ", ".join(f"1/{n}" for n in self.num_points),
            "right_hand_side": "-div u*, of the velocity before the projection",
            "parameters": "cells: 1 solid, 2 fluid, 3 air; right_hand_side: of "
            f"{self.num_frames} frames of each run, of a random place, size and rate: "
            f"{force.get(self.scene, 'buoyancy')} {self.strength:g} on the mean"
            + solids,
        }

    @property
    def _is_singular(self) -> bool:
        return self.top == "closed" and self.scene != "free_surface"

    @property
    def _num_layers(self) -> int:
        """As many faces as the liquid falls in a frame from the top, and two more."""
        speed = math.sqrt(2 * 1.25 * self.strength)
        return 2 + math.ceil(self.time_step * speed * max(self.num_points))


@lru_cache(maxsize=_KEPT_RUNS)
def _frames(family: PressureProjection, run: int) -> dict[str, np.ndarray]:
    """Return the parameters of all frames of a run, along a first axis."""
    # JAX stays out of the module's imports: see check_float64.
    import jax

    # On the host, so that a sample is the same whatever solves its system.
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        simulate = _simulation(replace(family, seed=0, stream="train"))
        frames = simulate(family.initial_state(run))
    return {name: np.asarray(values) for name, values in frames.items()}


# What runs of one family share is the program.
@lru_cache(maxsize=4)
def _simulation(family: PressureProjection) -> Callable[[FlowState], dict[str, Any]]:
    # JAX stays out of the module's imports: see check_float64.
    import jax

    from ...solvers import CG, Multigrid, solve

    # In 32 bits little more than what rounding leaves.
    solver = CG(rtol=1e-10 if family.dtype == "float64" else 1e-5)

    def pressure(A: Any, b: Any) -> Any:
        return solve(A, b, solver, preconditioner=Multigrid()).value

    def step(state: FlowState, _: None) -> tuple[FlowState, dict[str, Any]]:
        return family.advance(state, pressure)

    @jax.jit
    def simulate(state: FlowState) -> dict[str, Any]:
        return jax.lax.scan(step, state, length=family.num_frames)[1]

    return simulate
