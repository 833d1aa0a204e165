"""The models of the tables, by name, as krylax makes them and as PyTorch does."""

from typing import Any, NamedTuple

import jax

from krylax.learned import neural_operators as no


class Case(NamedTuple):
    """A model at a size.

    Attributes:
        cls: its class in krylax.
        arguments: of the constructor, beside the channels.
        channels: of input and output.
        shape: of the grid.
        batch: samples of a step.
        accumulate: parts that krylax computes it in; one by one, what the attention
            stores stays in the cache.
    """

    cls: Any
    arguments: dict[str, Any]
    channels: int
    shape: tuple[int, ...]
    batch: int
    accumulate: int = 1

    def make(self, seed: int = 0, **more: Any) -> Any:
        """Draw the weights."""
        return self.cls(
            len(self.shape),
            self.channels,
            self.channels,
            **(self.arguments | more),
            key=jax.random.key(seed),
        )


FNO = {"num_modes": (16, 16), "width": 32, "num_layers": 4}
SMALL = {"width": 48, "num_heads": 4, "head_width": 24, "num_iterations": 6}
MIDDLE = {"width": 64, "num_heads": 4, "head_width": 32, "num_iterations": 8}

CASES = {
    "FNO, 64²": Case(no.FNO, FNO, 1, (64, 64), 20),
    "IFactFormer-m, 32²": Case(no.IFactFormer, SMALL, 1, (32, 32), 8, 8),
    "IFactFormer-m, 16 x 33 x 8": Case(no.IFactFormer, MIDDLE, 3, (16, 33, 8), 4, 4),
}
