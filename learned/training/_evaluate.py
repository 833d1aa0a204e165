"""How good a surrogate is on examples that it was not trained on."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...operators._arguments import counted, require_count
from ._data import Data
from ._losses import h1, relative_l2, vrmse
from ._surrogate import Surrogate

METRICS = ("relative_l2", "h1", "vrmse")


def evaluate(
    surrogate: Surrogate, data: Data, *, grid: Any = None, batch_size: int = 16
) -> dict[str, Any]:
    """Return the errors of a surrogate's predictions in physical units.

    Args:
        surrogate: maps the inputs of the examples to their outputs.
        data: the examples. Where their outputs hold several times, the first is used.
        grid: given to the model; by default that of the data, or that of the training
            where the data have none.
        batch_size: number of samples computed at once.

    Returns:
        The mean errors "relative_l2", "h1" and "vrmse" by name, and under "per_sample"
        a table of the same names with an array of the errors of all samples.

    Raises:
        TypeError: surrogate is not a `Surrogate`, or data are not `Data`.
        ValueError: the data have other channels or dimensions than the surrogate.
    """
    for value, cls in ((surrogate, Surrogate), (data, Data)):
        if not isinstance(value, cls):
            raise TypeError(
                f"expected a {cls.__name__}, got a {type(value).__name__}; evaluate "
                "takes a surrogate and training.Data"
            )
    require_count(batch_size, "batch_size")
    wanted = surrogate.output_normalizer.mean.shape[0]
    if data.num_channels[1] != wanted:
        raise ValueError(
            f"the surrogate is for outputs of {counted(wanted, 'channel')}, the data "
            f"have {data.num_channels[1]}"
        )
    dtype = surrogate.input_normalizer.mean.dtype
    x, y = data.inputs.astype(dtype), data.outputs[:, 0].astype(dtype)
    grid = data.grid if grid is None else grid
    grid = surrogate.grid if grid is None else grid
    size = min(batch_size, len(data))
    found = np.asarray(_errors(surrogate, grid, jnp.asarray(x), jnp.asarray(y), size))
    per_sample = dict(zip(METRICS, found.T, strict=True))
    means = {name: float(np.mean(values)) for name, values in per_sample.items()}
    return {**means, "per_sample": per_sample}


@eqx.filter_jit
def _errors(surrogate: Surrogate, grid: Any, x: Array, y: Array, size: int) -> Array:
    """All metrics of all samples, (samples, metrics)."""

    def one(example: Any) -> Array:
        inputs, target = example
        prediction = surrogate(inputs, grid)
        found = (
            relative_l2(prediction, target),
            h1(prediction, target, grid),
            vrmse(prediction, target),
        )
        return jnp.stack(found)

    return jax.lax.map(one, (x, y), batch_size=size)
