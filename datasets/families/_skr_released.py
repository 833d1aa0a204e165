r"""The linear systems of Sorting Krylov Recycling, as its authors released them.

The operator published with the SKR paper is meant to be Darcy flow but is not: with
c = exp(g) on an s x s grid of nodes, g periodic Gaussian, and i = row-major number,

    (A u)_i = (4 c_i u_i - c_{i-1} u_{i-1} - c_{i+1} u_{i+1}
               - c_{i-s} u_{i-s} - c_{i+s-2} u_{i+s}) / h²,    h = 1 / (s + 1)

It weighs a neighbour by the *neighbour's* coefficient, so without the last term's
slip it would be -Laplace(c u), similar to a symmetric matrix; and its "north"
diagonal is shifted by two columns, c_{i+s-2} for c_{i+s}, which makes it indefinite
and non-symmetric. Restarted GMRES stagnates on it and recycling shines, so it is what
reproduces the paper's ratios. It discretises no differential equation that anyone
wants: train nothing on its solutions.

H. Wang et al., Accelerating Data Generation for Neural Operators via Krylov Subspace
Recycling, ICLR 2024, arXiv 2401.09516.

Differs from the paper:
1. Scaled by 1/h², with f = 1; neither changes a relative residual.
2. The field is our own draw of the same distribution.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from ._family import (
    RandomFamily,
    array_type,
    check_float64,
    check_integers,
    check_positive,
)
from ._noise import noise_bytes
from ._periodic_field import periodic_field


@dataclass(frozen=True)
class SKRReleased(RandomFamily):
    """The operator as released with the SKR paper: mis-assembled, not a PDE.

    Only for reproducing the paper's iteration counts; see the module's formula.

    Attributes:
        num_points: nodes per side, s; the paper's 2500 unknowns are really 48 x 48.
        alpha: smoothness of the Gaussian field log c.
        tau: inverse correlation length of the field.
        dtype: float64 or float32.
        seed: master seed.
        stream: which samples: train, valid, test or another name.
    """

    name: ClassVar[str] = "skr-released"

    num_points: int = 48
    alpha: float = 2.5
    tau: float = 7.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integers(self, "num_points")
        check_positive(self, "alpha", "tau")
        if self.num_points < 3:
            raise ValueError(f"num_points must be at least 3, got {self.num_points}")

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return {"coefficient": c}, one value per node."""
        field = periodic_field(
            self.num_points,
            alpha=self.alpha,
            tau=self.tau,
            seed=self.seed,
            stream=self.stream,
            sample_id=sample_id,
        )
        return {"coefficient": np.exp(field).astype(self.dtype)}

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (A, b) on vectors of length num_points², with b = 1."""
        check_float64(self.dtype)
        # JAX stays out of the module's imports: see check_float64.
        import jax.numpy as jnp

        from ...operators import Banded

        s = self.num_points
        c = jnp.asarray(parameters["coefficient"], self.dtype).ravel()
        column = np.arange(s * s)
        # Row d of `diagonals` multiplies u_j at place j and lands in row j - offset;
        # the masks cut the couplings that would wrap around a grid row.
        inside = {
            0: column >= 0,
            -1: column % s != s - 1,
            1: column % s != 0,
            -s: column < s * (s - 1),
            s: column >= s,
        }
        weights = {0: 4 * c, -1: -c, 1: -c, -s: -c, s: -jnp.roll(c, 2)}
        rows = [
            jnp.where(mask, weights[offset], 0.0) for offset, mask in inside.items()
        ]
        diagonals = jnp.stack(rows).astype(self.dtype) * (s + 1) ** 2
        return Banded(diagonals, tuple(inside)), jnp.ones(s * s, self.dtype)

    def features(self, parameters: Mapping[str, Any]) -> Float[np.ndarray, " features"]:
        """Return c as one vector: the paper sorts by its Frobenius distance."""
        return np.asarray(parameters["coefficient"], np.float64).ravel()

    def array_types(self) -> dict[str, np.ndarray]:
        """Return the shapes and dtypes of `coefficient` and `solution`."""
        example = array_type((self.num_points, self.num_points), self.dtype)
        return {"coefficient": example, "solution": example}

    def coordinates(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Return the nodes x and y, one spacing inside the walls."""
        nodes = np.arange(1, self.num_points + 1) / (self.num_points + 1)
        return {"x": nodes, "y": nodes}

    @override
    def drawing_bytes(self) -> int:
        return noise_bytes((self.num_points, self.num_points))

    def card(self) -> dict[str, str]:
        """Return the entries of the data card, which say what this is."""
        s = self.num_points
        return {
            "title": "The operator as released with the SKR paper (not a PDE)",
            "equation": "4c_ij on the diagonal, minus the neighbour's c beside it, the "
            "north neighbour's taken two columns off: no differential equation",
            "domain": "[0, 1]^2",
            "boundary": "u = 0 one spacing outside the outermost nodes",
            "discretisation": f"{s} x {s} nodes, mis-assembled 5-point stencil",
            "spacing": f"1/{s + 1}",
            "face_mean": "none",
            "right_hand_side": "f = 1",
            "parameters": "coefficient c per node: exp(periodic Gaussian field, "
            f"alpha {self.alpha:g}, tau {self.tau:g})",
        }
