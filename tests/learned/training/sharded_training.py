"""A training on four devices and on one, the same to rounding.

Run by test_sharded_training.py in a process of its own, which has four devices.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from krylax.learned import training
from krylax.learned.training import _train

SETTINGS: dict[str, Any] = {"num_epochs": 3, "batch_size": 8, "progress": False}


class Curve(eqx.Module):
    """y = slope x + bend x², in single precision."""

    slope: Any
    bend: Any

    def __call__(self, x: Any, grid: Any = None) -> Any:
        return self.slope * x + self.bend * x**2


def losses() -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((24, 1, 5, 5))
    data = training.Data(x, np.maximum(x, 0))
    model = Curve(jnp.asarray(0.5, jnp.float32), jnp.asarray(0.1, jnp.float32))
    settings = training.Settings(**SETTINGS, augment="square", noise=0.1)
    result = training.train(model, data[:16], data[16:], settings)
    return np.append(result.history["loss"], result.history["validation"])


def main() -> None:
    assert len(jax.devices()) == 4
    shared = _train._mesh(training.Settings(**SETTINGS))
    assert shared is not None
    assert shared.size == 4
    many = losses()
    assert _train._mesh(training.Settings(num_epochs=1, batch_size=6)) is None
    _train._mesh = lambda settings: None
    print(np.max(np.abs(losses() / many - 1)))


if __name__ == "__main__":
    main()
