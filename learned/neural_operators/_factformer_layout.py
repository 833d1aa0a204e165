"""What decides the shape of a factorised transformer, and what it must fit into.

`FactFormer` and `IFactFormer` have the same settings but for the number of blocks.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from ...operators._arguments import (
    require_count,
    require_flag,
    require_number,
    shown,
)

Mixing = Literal["parallel", "chained"]
Norm = Literal["instance", "slab", "heads"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The settings of a factorised transformer; see `IFactFormer`.

    Raises:
        ValueError: one that is out of range, or of an unknown name.
    """

    num_dimensions: int
    in_channels: int
    out_channels: int
    width: int
    num_heads: int
    head_width: int
    kernel_multiplier: int
    num_frames: int
    mixing: Mixing
    norm: Norm
    num_output_mlps: int
    feature_scale: float
    quadrature: bool
    periodic_rotary: bool
    increment: bool
    downsample: bool
    remat: bool
    dtype: DTypeLike

    def __post_init__(self) -> None:
        require_count(self.num_dimensions, "num_dimensions")
        if self.num_dimensions > 3:
            raise ValueError(
                f"num_dimensions must be 1, 2 or 3, got {self.num_dimensions}"
            )
        counts = ("in_channels", "out_channels", "width", "num_heads", "head_width")
        for name in (*counts, "kernel_multiplier", "num_frames", "num_output_mlps"):
            require_count(getattr(self, name), name)
        for name, choices in (("mixing", Mixing), ("norm", Norm)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(choices))}; got "
                    f"{shown(getattr(self, name))}"
                )
        require_number(
            self.feature_scale, "feature_scale", 0, np.inf, "positive and finite"
        )
        flags = ("quadrature", "periodic_rotary", "increment", "downsample", "remat")
        for name in flags:
            require_flag(getattr(self, name), name)
        self._require_fit()

    def _require_fit(self) -> None:
        if self.width % 2:
            raise ValueError(
                f"width must be even, as half of it is the width of the lift; got "
                f"{self.width}"
            )
        if self.kernel_width % 2:
            raise ValueError(
                "kernel_multiplier * head_width must be even, as the rotary encoding "
                f"turns pairs; got {self.kernel_multiplier} * {self.head_width}"
            )
        if self.increment and self.in_channels != self.out_channels:
            raise ValueError(
                "increment=True adds the last frame to the result, which needs as many "
                f"in_channels as out_channels; got {self.in_channels} and "
                f"{self.out_channels}"
            )
        if not jnp.issubdtype(jnp.dtype(self.dtype), jnp.floating):
            raise ValueError(f"dtype must be a real one, got {shown(self.dtype)}")

    @property
    def value_width(self) -> int:
        """Width of the values of all heads."""
        return self.num_heads * self.head_width

    @property
    def kernel_width(self) -> int:
        """Width of the queries and of the keys of one head."""
        return self.kernel_multiplier * self.head_width

    @property
    def num_lift_groups(self) -> int:
        """How many groups of channels the first layer of the lift keeps apart.

        One per channel, as published, where half of the width can be shared out
        evenly; else one, which mixes them.
        """
        return self.in_channels if (self.width // 2) % self.in_channels == 0 else 1


def checked_layout(**settings: Any) -> Layout:
    """Return a layout of Python's own numbers and JAX's dtype, which can be hashed."""
    layout = Layout(**settings)
    own: dict[str, Any] = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in settings.items()
    }
    own["dtype"] = jnp.dtype(layout.dtype)
    own["feature_scale"] = float(layout.feature_scale)
    return Layout(**own)
