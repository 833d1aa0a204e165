r"""Implicit steps of heat conduction with a coefficient that varies in time.

    (u - u_before) / dt - div(c(x, t) grad u) = 0   in the unit square,   u = 0 on walls

The coefficient turns from one random field into another and back, c = exp(log_scale
(cos(2 pi t) g_1 + sin(2 pi t) g_2)), with t = id / steps_per_turn, so that
neighbouring ids are neighbouring steps. The state before the step is a random field of
the sample's own: each step is a system that can be solved without the others. Symmetric
positive definite; the smaller the step, the better conditioned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from ._cosine_kl import CosineKL
from ._family import (
    RandomFamily,
    array_type,
    block_means,
    cell_centres,
    check_float64,
    check_grid,
    check_integers,
    check_positive,
)
from ._noise import noise_bytes


@dataclass(frozen=True)
class Heat(RandomFamily):
    """One implicit Euler step of u_t = ∇·(c∇u) per sample, c varying in time.

    Attributes:
        num_points: cells per axis, one to three axes, at least 3 cells each.
        time_step: the length of a step.
        steps_per_turn: steps after which the coefficient returns.
        log_scale: factor on the fields before exp.
        alpha: smoothness of the fields.
        tau: inverse correlation length of the fields.
        dtype: float64 or float32.
        seed: master seed.
        stream: which samples: train, valid, test or another name.

    Examples:
        >>> from krylax.datasets import Heat
        >>> list(Heat(num_points=(16, 16)).sample(0))
        ['coefficient', 'before']
    """

    name: ClassVar[str] = "heat"

    num_points: tuple[int, ...] = (64, 64)
    time_step: float = 0.01
    steps_per_turn: int = 100
    log_scale: float = 1.0
    alpha: float = 2.0
    tau: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self, (1, 2, 3))
        check_positive(self, "time_step", "log_scale", "alpha", "tau")
        check_integers(self, "steps_per_turn")
        if self.steps_per_turn < 1:
            raise ValueError(
                f"steps_per_turn must be at least 1, got {self.steps_per_turn}"
            )

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return {"coefficient": c, "before": u_before}, one value per cell each."""
        before = self._field("before", sample_id)
        angle = 2 * np.pi * sample_id / self.steps_per_turn
        first, second = _ends(self)
        turned = np.cos(angle) * first + np.sin(angle) * second
        arrays = {"coefficient": np.exp(self.log_scale * turned), "before": before}
        return {name: array.astype(self.dtype) for name, array in arrays.items()}

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (A, b): 1/dt - div(c grad), and u_before / dt."""
        check_float64(self.dtype)
        # JAX stays out of the module's imports: see check_float64.
        import jax.numpy as jnp

        from ...operators import Helmholtz

        A = Helmholtz(
            jnp.asarray(parameters["coefficient"], self.dtype),
            -1 / self.time_step,
            tuple(1 / n for n in self.num_points),
            tags=["positive_definite"],
        )
        return A, jnp.asarray(parameters["before"], self.dtype) / self.time_step

    def features(self, parameters: Mapping[str, Any]) -> Float[np.ndarray, " features"]:
        """Return c averaged over blocks, at most 16 per axis, as one vector."""
        return block_means(parameters["coefficient"]).ravel()

    def array_types(self) -> dict[str, np.ndarray]:
        """Return the shapes and dtypes of the parameters and of `solution`."""
        example = array_type(self.num_points, self.dtype)
        return {"coefficient": example, "before": example, "solution": example}

    def coordinates(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Return the cell centres x, y, z, as many as there are axes."""
        return cell_centres(self.num_points)

    @override
    def drawing_bytes(self) -> int:
        return noise_bytes(self.num_points)

    @override
    def card(self) -> dict[str, str]:
        fields = f"Gaussian fields (alpha {self.alpha:g}, tau {self.tau:g})"
        return {
            "title": f"Implicit heat conduction in {len(self.num_points)}-D",
            "equation": "(u - u_before) / dt - div(c grad u) = 0",
            "domain": f"[0, 1]^{len(self.num_points)}",
            "boundary": "u = 0 on all walls, which lie on cell faces",
            "discretisation": "cell-centred finite volumes, "
            f"{' x '.join(map(str, self.num_points))} cells; implicit Euler, dt = "
            f"{self.time_step:g}",
            "spacing": ", ".join(f"1/{n}" for n in self.num_points),
            "right_hand_side": "u_before / dt",
            "parameters": f"coefficient c per cell: exp({self.log_scale:g} g), g "
            f"turning between two {fields} once in {self.steps_per_turn} ids; before: "
            "u_before, another such field",
        }

    def _field(self, purpose: str, number: int) -> Float[np.ndarray, "*n"]:
        return CosineKL(self.alpha, self.tau).sample(
            self.num_points,
            seed=self.seed,
            stream=f"{self.stream}.{purpose}",
            sample_id=number,
        )


# Both are the same for every sample.
@lru_cache(maxsize=2)
def _ends(family: Heat) -> tuple[np.ndarray, np.ndarray]:
    return family._field("coefficient", 0), family._field("coefficient", 1)
