r"""Darcy flow through a random medium.

    -div(k grad u) = 1   in the unit interval, square or cube,    u = 0 on its walls

with one permeability k per cell from a Gaussian random field g (`CosineKL`): either
two-phase, k = high where g >= 0 and low elsewhere, or log-normal,
k = exp(log_scale g). Or of two phases, or of all between them, in one of the random
media of `_media.py`. Cell-centred finite volumes of spacing 1 / n per axis, walls on
the cell faces.

Z. Li et al., Fourier Neural Operator, ICLR 2021, arXiv 2010.08895, section 5.2.

Differs from the paper:
1. The coefficient stays two-valued: the authors' solver interpolates it with cubic
   splines, which overshoot.
2. Finite volumes with harmonic face means instead of node values and arithmetic ones.
3. Media other than those of Gaussian fields, contrasts and anisotropy.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from ._cosine_kl import CosineKL
from ._family import (
    RandomFamily,
    added,
    array_type,
    block_means,
    cell_centres,
    check_choice,
    check_float64,
    check_grid,
    check_integers,
    check_positive,
)
from ._media import blocks, channels, islands, layers
from ._noise import generator, noise_bytes

_LAWS = {
    "channels": "{high} in {num_channels} straight channels of width {width:g} along "
    "each axis in turn, {low} elsewhere",
    "islands": "{high} in boxes, {width:g} times 1/2 to 7/2 per axis, {low} elsewhere",
    "layers": "{high} and {low} in turn in layers of {width:g} across a random axis",
    "random": "log-uniform from {low} to {high} in each block of size {width:g}",
}


@dataclass(frozen=True)
class Darcy(RandomFamily):
    """Darcy flow -∇·(k∇u) = 1 with a random permeability k and zero walls.

    Attributes:
        num_points: cells per axis, one to three axes, at least 3 cells each.
        coefficient: two_phase (high where the field is >= 0, low elsewhere),
            log_normal (exp of log_scale times the field), or without a field channels
            from side to side, islands of a few widths, layers across one axis, all of
            them high in low, or random (blocks, log-uniform from low to high).
        high: permeability of the first phase; not used where contrast is given.
        low: permeability of the second phase.
        log_scale: factor on the field before exp.
        alpha: smoothness of the field.
        tau: inverse correlation length of the field.
        face_mean: how two cells meet in a face, harmonic or arithmetic.
        contrast: high over low, such as 1e4, or for barriers 1e-4; 12 / 3 unless given.
        width: thickness of a channel or layer, size of a block, and about half of an
            island's, in units of the domain; at least a cell, but for channels.
        num_channels: how many channels, along each axis in turn.
        anisotropy: permeability along the last axis over that along the others; 1e4 is
            what cells of sides 1 and 1/100 are.
        dtype: float64 or float32.
        seed: master seed.
        stream: which samples: train, valid, test or another name.

    Examples:
        >>> from krylax.datasets import Darcy
        >>> sorted(set(Darcy(num_points=(16, 16)).sample(0)["coefficient"].flat))
        [np.float64(3.0), np.float64(12.0)]
        >>> channels = Darcy(coefficient="channels", low=1, contrast=1e4).sample(0)
        >>> sorted(set(channels["coefficient"].flat))
        [np.float64(1.0), np.float64(10000.0)]
    """

    name: ClassVar[str] = "darcy"

    num_points: tuple[int, ...] = (64, 64)
    coefficient: Literal[
        "two_phase", "log_normal", "channels", "islands", "layers", "random"
    ] = "two_phase"
    high: float = 12.0
    low: float = 3.0
    log_scale: float = 1.0
    alpha: float = 2.0
    tau: float = 3.0
    face_mean: Literal["harmonic", "arithmetic"] = "harmonic"
    contrast: float | None = added(None)
    width: float = added(1 / 64)
    num_channels: int = added(6)
    anisotropy: float = added(1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self, (1, 2, 3))
        check_choice(
            self.coefficient, ("two_phase", "log_normal", *_LAWS), "coefficient"
        )
        check_choice(self.face_mean, ("harmonic", "arithmetic"), "face_mean")
        check_positive(self, "high", "low", "log_scale", "alpha", "tau")
        check_positive(self, "width", "anisotropy")
        if self.contrast is not None:
            check_positive(self, "contrast")
        check_integers(self, "num_channels")
        self._check_phases()
        self._check_medium()

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return {"coefficient": k}, one value per cell.

        Raises:
            ValueError: exp overflows or underflows in `dtype`.
        """
        if self.coefficient in _LAWS:
            values = self._medium(sample_id)
        else:
            field = CosineKL(self.alpha, self.tau).sample(
                self.num_points, seed=self.seed, stream=self.stream, sample_id=sample_id
            )
            if self.coefficient == "two_phase":
                values = np.where(field >= 0, self.highest, self.low)
            else:
                values = self._exponential(field, sample_id)
        return {"coefficient": values.astype(self.dtype, copy=False)}

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (A, b): the finite-volume operator and the right-hand side 1."""
        check_float64(self.dtype)
        # JAX stays out of the module's imports: see check_float64.
        import jax.numpy as jnp

        from ...operators import Diffusion

        coefficient = jnp.asarray(parameters["coefficient"], self.dtype)
        spacing = [1 / n for n in self.num_points]
        spacing[-1] /= math.sqrt(self.anisotropy)
        A = Diffusion(coefficient, spacing, face_mean=self.face_mean)
        return A, jnp.ones(self.num_points, self.dtype)

    @property
    def highest(self) -> float:
        """The permeability of the first phase."""
        return self.high if self.contrast is None else self.contrast * self.low

    def features(self, parameters: Mapping[str, Any]) -> Float[np.ndarray, " features"]:
        """Return k averaged over blocks, at most 16 per axis, as one vector."""
        return block_means(parameters["coefficient"]).ravel()

    def array_types(self) -> dict[str, np.ndarray]:
        """Return the shapes and dtypes of `coefficient` and `solution`."""
        example = array_type(self.num_points, self.dtype)
        return {"coefficient": example, "solution": example}

    def coordinates(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Return the cell centres x, y, z, as many as there are axes."""
        return cell_centres(self.num_points)

    @override
    def drawing_bytes(self) -> int:
        return noise_bytes(self.num_points)

    @override
    def card(self) -> dict[str, str]:
        rank = len(self.num_points)
        field = f"Gaussian field (alpha {self.alpha:g}, tau {self.tau:g})"
        phases = {"high": f"{self.highest:g}", "low": f"{self.low:g}"}
        if self.coefficient in _LAWS:
            law = _LAWS[self.coefficient].format(**vars(self) | phases)
        elif self.coefficient == "two_phase":
            law = f"{phases['high']} where the {field} is >= 0, {self.low:g} elsewhere"
        else:
            law = f"exp({self.log_scale:g} times the {field})"
        return {
            "title": f"Darcy flow in {rank}-D",
            "equation": "-div(k grad u) = f",
            "domain": f"[0, 1]^{rank}",
            "boundary": "u = 0 on all walls, which lie on cell faces",
            "discretisation": "cell-centred finite volumes, "
            f"{' x '.join(map(str, self.num_points))} cells, {self.face_mean} means",
            "spacing": ", ".join(f"1/{n}" for n in self.num_points),
            "face_mean": self.face_mean,
            "right_hand_side": "f = 1",
            "parameters": f"coefficient k per cell: {law}{self._anisotropy_text()}",
        }

    def _anisotropy_text(self) -> str:
        if self.anisotropy == 1:
            return ""
        return f"; {self.anisotropy:g} times as large along the last axis"

    def _check_phases(self) -> None:
        """Raise a `ValueError` where a permeability leaves the range of `dtype`."""
        if self.coefficient == "log_normal":
            return
        limits = np.finfo(self.dtype)
        # Smaller ones, which are not normal, are read as zero by XLA.
        smallest, largest = float(limits.tiny), float(limits.max)
        lowest, highest = sorted((self.low, self.highest))
        is_ratio_known = highest / max(lowest, smallest) < np.inf
        if not (smallest <= lowest and highest <= largest and is_ratio_known):
            raise ValueError(
                "the permeabilities and their ratio must be between "
                f"{smallest:.3g} and {largest:.3g}, the range of {self.dtype}, got "
                f"{self.low:g} and {self.highest:g}; change low, high or contrast"
            )

    def _check_medium(self) -> None:
        """Raise a `ValueError` where the medium cannot be on this grid."""
        if self.coefficient == "channels" and len(self.num_points) == 1:
            raise ValueError("channels must have 2 or 3 axes, got num_points with 1")
        if self.num_channels < 1 or self.width >= 0.5:
            raise ValueError(
                "num_channels must be at least 1 and width below 0.5, got "
                f"{self.num_channels} and {self.width:g}"
            )
        cell = 1 / min(self.num_points)
        # Where a cell holds several layers or blocks, it takes that of its centre, and
        # islands grow to a cell each: another medium.
        is_thin_allowed = self.coefficient not in ("islands", "layers", "random")
        if not is_thin_allowed and self.width < 0.999 * cell:
            raise ValueError(
                f"width must be at least that of a cell, {cell:g}, for "
                f"{self.coefficient}, got {self.width:g}"
            )

    def _medium(self, sample_id: int) -> Float[np.ndarray, "*n"]:
        random = generator(self.seed, self.stream, sample_id)
        shape, width = self.num_points, self.width
        if self.coefficient == "random":
            powers = blocks(shape, random, width=width)
            return self.low * (self.highest / self.low) ** powers
        if self.coefficient == "channels":
            inside = channels(shape, random, count=self.num_channels, width=width)
        else:
            draw = {"islands": islands, "layers": layers}[self.coefficient]
            inside = draw(shape, random, width=width)
        return np.where(inside, self.highest, self.low)

    def _exponential(
        self, field: Float[np.ndarray, "*n"], sample_id: int
    ) -> Float[np.ndarray, "*n"]:
        with np.errstate(over="ignore", under="ignore"):
            values = np.exp(self.log_scale * field).astype(self.dtype)
        if not (np.all(np.isfinite(values)) and np.all(values > 0)):
            raise ValueError(
                f"the log-normal coefficient of sample {sample_id} leaves the range of "
                f"{self.dtype} (largest |log k| {self.log_scale * np.ptp(field):.3g}): "
                f"lower log_scale, now {self.log_scale:g}"
            )
        return values
