"""The implicit Fourier neural operator: one layer, iterated.

    v = P [u, x],    v ← v + (1/L) σ(W v + b + K v),  L times,    u⁺ = Q₂ σ(Q₁ v):

explicit Euler steps of a differential equation for v, whose number can change after
training. P, Q, W, b and K are those of `_fno.py`. With `equilibrium` it is one implicit
step instead, v = P [u, x] + σ(W v + b + K v) (`_equilibrium.py`).

H. You, Q. Zhang, C. Ross, C.-H. Lee, Y. Yu, Learning deep implicit Fourier neural
operators (IFNOs) with applications to heterogeneous material modeling, Computer Methods
in Applied Mechanics and Engineering 398 (2022) 115296, arXiv 2203.08205.

Differs from the paper: nothing known.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Key
from typing_extensions import override

from ...operators import AbstractOperator
from ...operators._arguments import require_count, require_flag
from ..training import arguments_of, register
from ._equilibrium import Equilibrium
from ._fno import as_padding, padded
from ._fno_ends import Ends, Frames, as_dtype, split_key
from ._gelu import gelu
from ._grid import Grid
from ._implicit_step import as_tolerance, require_tolerance, solved, value_or_nan
from ._spectral import modes_per_axis
from ._spectral_block import SpectralBlock

Features = Float[Array, "*points width"]


class IFNO(AbstractOperator):
    """An implicit Fourier neural operator, for grids with equally spaced points.

    The weights of one layer, whatever the depth: an `FNO` of L layers has nearly L
    times as many.

    Args:
        num_dimensions: axes of the grid, 1, 2 or 3.
        in_channels: of a frame of the input.
        out_channels: of the result.
        num_modes: as for `FNO`.
        width: channels of v.
        num_iterations: L.
        key: from which the weights are drawn.
        hidden_channels: between Q₁ and Q₂.
        num_frames: how many frames are the input, the oldest first.
        increment: whether the last frame is added to the result.
        padding: as for `FNO`.
        remat: whether training keeps v alone of each iteration and computes the rest
            again on the way back, a third more work.
        equilibrium: relative tolerance to which v = P [u, x] + σ(W v + b + K v) is
            solved, as for `IFactFormer`, in the place of the iterations; at least ten
            times the rounding unit of `dtype`, 1.2e-6 in float32. By default None,
            `num_iterations` of them. There is one solution where σ(W v + K v) is a
            contraction, as at the start of a training; where none is found, the result
            is NaN, and `model.equilibrium(x, grid)` says why.
        dtype: of the weights and of the computation; the result has that of the input.

    Raises:
        ValueError: as for `FNO`.

    Cost: that of an `FNO` of L layers. In training, one field of `width` channels is
    kept per iteration.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from krylax.learned import neural_operators as no
        >>> model = no.IFNO(1, num_modes=4, width=8, num_iterations=6,
        ...                 key=jax.random.key(0))
        >>> jax.jit(jax.vmap(model))(jnp.ones((5, 1, 32))).shape
        (5, 1, 32)

    References:
        You et al., CMAME 398 (2022) 115296, arXiv 2203.08205.
    """

    ends: Ends
    layer: SpectralBlock
    num_iterations: int = eqx.field(static=True)
    padding: float = eqx.field(static=True)
    remat: bool = eqx.field(static=True)
    rtol: float | None = eqx.field(static=True)
    arguments: tuple[tuple[str, Any], ...] = eqx.field(static=True)

    def __init__(
        self,
        num_dimensions: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        num_modes: int | Sequence[int] = 16,
        width: int = 32,
        num_iterations: int = 4,
        *,
        key: Key[Array, ""],
        hidden_channels: int = 128,
        num_frames: int = 1,
        increment: bool = False,
        padding: float = 0.0,
        remat: bool = True,
        equilibrium: float | None = None,
        dtype: DTypeLike = jnp.float32,
    ) -> None:
        self.arguments = arguments_of(locals())
        frames = Frames(
            num_dimensions, in_channels, out_channels, num_frames, increment
        )
        modes = modes_per_axis(num_modes, num_dimensions)
        require_count(num_iterations, "num_iterations")
        require_flag(remat, "remat")
        self.padding, dtype = as_padding(padding), as_dtype(dtype)
        self.rtol = as_tolerance(equilibrium, dtype)
        keys = split_key(key, 2)
        self.ends = Ends(frames, width, hidden_channels, key=keys[0], dtype=dtype)
        self.layer = SpectralBlock(width, modes, key=keys[1], dtype=dtype)
        self.num_iterations = int(num_iterations)
        self.remat = bool(remat)

    @property
    @override
    def in_structure(self) -> None:
        return None

    @override
    def __call__(self, x: Any, grid: Grid | None = None) -> Float[Array, "..."]:
        """Return the prediction for the frames x.

        Args:
            x: of shape (num_frames in_channels, *shape).
            grid: where its values lie, by default `Grid.uniform` of the unit box.

        Raises:
            TypeError: grid is something else.
            ValueError: as for `FNO`.
        """
        v, grid = self._entered(x, grid)
        if self.rtol is None:
            v = self._iterated(v)
        else:
            v = value_or_nan(solved(Activated(self.layer), v, self.rtol))
        return self.ends.leave(v[tuple(map(slice, grid.shape))], x)

    def equilibrium(self, x: Any, grid: Grid | None = None) -> Equilibrium:
        """Return v behind the iterations, whether it has converged, and its cost.

        Args:
            x: as for the call.
            grid: as for the call.

        Raises:
            ValueError: the model iterates, or as for `FNO`.
        """
        require_tolerance(self.rtol, type(self))
        v, _ = self._entered(x, grid)
        return solved(Activated(self.layer), v, self.rtol)

    def _entered(self, x: Any, grid: Grid | None) -> tuple[Features, Grid]:
        v, grid = self.ends.enter(x, grid)
        return padded(v, grid.periodic, self.padding), grid

    def _iterated(self, v: Features) -> Features:
        def step(v: Any, _: None) -> tuple[Any, None]:
            return v + gelu(self.layer(v)) / self.num_iterations, None

        if self.remat:
            # Inside of a scan the compiler cannot undo it.
            step = jax.checkpoint(step, prevent_cse=False)
        return lax.scan(step, v, length=self.num_iterations)[0]


register(IFNO)


class Activated(eqx.Module):
    """σ(W v + b + K v)."""

    layer: SpectralBlock

    def __call__(self, v: Features) -> Features:
        """Return it for v."""
        return gelu(self.layer(v))
