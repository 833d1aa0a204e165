"""The U-Net: convolutions on a grid and on ones that are coarser and coarser.

    down:  v_l = C(C(v)),  v = mean of v_l over 2^d cells,      l = 0..L-1,
    base:  v = C(C(v)),
    up:    v = C(C([copies of v on 2^d cells, v_l])),           l = L-1..0,

with C = σ(convolution of 3^d points), 2^l width channels on level l, and one linear map
of the channels at the end.

O. Ronneberger, P. Fischer, T. Brox, U-Net: Convolutional Networks for Biomedical Image
Segmentation, MICCAI 2015, arXiv 1505.04597.

Differs from the paper: axes are padded, periodically or with zeros, so that the result
has the size of the input; means instead of maxima; copies instead of transposed
convolutions; GELU; 1-D to 3-D.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key
from typing_extensions import override

from ...operators import AbstractOperator
from ...operators._arguments import require_count
from ..training import arguments_of, register
from ._convolution import Convolution, Pointwise, draw_convolutions
from ._fno_ends import Frames, as_dtype, split_key
from ._gelu import gelu
from ._grid import Grid


class Pair(eqx.Module):
    """Two convolutions, each followed by its activation."""

    inner: Convolution
    outer: Convolution

    def __call__(
        self, v: Float[Array, "*grid inputs"], periodic: Sequence[bool]
    ) -> Float[Array, "*grid outputs"]:
        """Return C(C(v))."""
        return gelu(self.outer(gelu(self.inner(v, periodic)), periodic))


class UNet(AbstractOperator):
    """A plain U-Net, for grids of any size.

    It sees cells, not functions: what it learned at one spacing is of no use at
    another. Along a periodic axis of a multiple of 2^num_levels points it commutes with
    shifts by 2^num_levels points; a level of odd size is extended by one point.

    Args:
        num_dimensions: axes of the grid, 1, 2 or 3.
        in_channels: of a frame of the input.
        out_channels: of the result.
        width: channels of the finest level.
        num_levels: L, how often the grid is made coarser.
        key: from which the weights are drawn.
        num_frames: how many frames are the input, the oldest first.
        increment: whether the last frame is added to the result.
        dtype: of the weights and of the computation; the result has that of the input.

    Raises:
        ValueError: another number of axes, counts that are not positive, or an
            increment of another number of channels.

    Cost: about 2 3^d · 5 width² operations per point of the finest level and again of
    each coarser one, times 2^(2-d).

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from krylax.learned import neural_operators as no
        >>> model = no.UNet(2, 1, 1, width=4, num_levels=1, key=jax.random.key(0))
        >>> jax.jit(jax.vmap(model))(jnp.ones((5, 1, 13, 18))).shape
        (5, 1, 13, 18)

    References:
        Ronneberger, Fischer, Brox, MICCAI 2015, arXiv 1505.04597.
    """

    down: tuple[Pair, ...]
    base: Pair
    up: tuple[Pair, ...]
    projection: Pointwise
    frames: Frames
    arguments: tuple[tuple[str, Any], ...] = eqx.field(static=True)

    def __init__(
        self,
        num_dimensions: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 32,
        num_levels: int = 3,
        *,
        key: Key[Array, ""],
        num_frames: int = 1,
        increment: bool = False,
        dtype: DTypeLike = jnp.float32,
    ) -> None:
        self.arguments = arguments_of(locals())
        frames = Frames(
            num_dimensions, in_channels, out_channels, num_frames, increment
        )
        require_count(width, "width")
        require_count(num_levels, "num_levels")
        dtype = as_dtype(dtype)
        keys = split_key(key, 2)
        widths = [2**level * width for level in range(num_levels + 1)]
        up = [(c + f, f) for f, c in zip(widths[-2::-1], widths[:0:-1], strict=True)]
        ends = [*zip([frames.num_channels, *widths], widths, strict=False), *up]
        channels = [pair for i, o in ends for pair in ((i, o), (o, o))]
        drawn = draw_convolutions(num_dimensions, channels, key=keys[0], dtype=dtype)
        pairs = tuple(map(Pair, drawn[::2], drawn[1::2]))
        self.down, self.base = pairs[:num_levels], pairs[num_levels]
        self.up = pairs[num_levels + 1 :]
        self.projection = Pointwise(width, out_channels, key=keys[1], dtype=dtype)
        self.frames = frames

    @property
    @override
    def in_structure(self) -> None:
        return None

    @override
    def __call__(self, x: Any, grid: Grid | None = None) -> Float[Array, "..."]:
        """Return the prediction for the frames x.

        Args:
            x: of shape (num_frames in_channels, *shape).
            grid: of which axes are periodic, by default none; no more is used of it.

        Raises:
            TypeError: grid is something else.
            ValueError: x is no real array of this many channels and axes, or the grid
                has another shape.
        """
        v, grid = self.frames.enter(x, grid, self.projection.weight.dtype)
        periodic, skipped = grid.periodic, []
        for pair in self.down:
            v = pair(v, periodic)
            skipped.append(v)
            v = _pooled(v, periodic)
        v = self.base(v, periodic)
        for pair, fine in zip(self.up, reversed(skipped), strict=True):
            v = pair(jnp.concatenate([_copied(v, fine), fine], axis=-1), periodic)
        return self.frames.leave(self.projection(v), x)


register(UNet)


def _pooled(v: Any, periodic: Sequence[bool]) -> Any:
    """The means of blocks of 2^d cells, an odd axis extended by one."""
    for axis, is_periodic in enumerate(periodic):
        width = [(0, v.shape[axis] % 2 if i == axis else 0) for i in range(v.ndim)]
        v = jnp.pad(v, width, mode="wrap" if is_periodic else "edge")
        pairs = v.reshape(*v.shape[:axis], -1, 2, *v.shape[axis + 1 :])
        v = jnp.mean(pairs, axis=axis + 1)
    return v


def _copied(v: Any, fine: Any) -> Any:
    """Each cell's value on its 2^d parts, as many as there are in the finer field."""
    for axis in range(v.ndim - 1):
        v = jnp.repeat(v, 2, axis=axis)
    return v[tuple(map(slice, fine.shape[:-1]))]
