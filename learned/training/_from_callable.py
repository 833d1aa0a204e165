"""Any module or function of fields as a surrogate.

The normalisers are those of mean 0 and deviation 1, so that the function is given what
the surrogate is given.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from ...operators._arguments import (
    counted,
    require_count,
    require_function,
    require_object,
)
from ._called_like_a_model import called_like_a_model
from ._normalizer import Normalizer
from ._surrogate import Surrogate, dtype_of


def from_callable(
    function: Callable[..., Any],
    *,
    num_dimensions: int,
    in_channels: int = 1,
    out_channels: int = 1,
    grid: Any = None,
    input_names: Sequence[str] = (),
    output_names: Sequence[str] = (),
) -> Surrogate:
    """Return a function or an Equinox module as a surrogate, as it is.

    Use it for models that were trained elsewhere: `evaluate`, `surrogate.start` and
    `neural_operators.rollout` take the result. Normalisation, if there is any, is part
    of the function. A map of residuals becomes a preconditioner by
    `conjugate_directions.from_callable`.

    Args:
        function: of a field (in_channels, *shape) in physical units, without a batch
            axis, to (out_channels, *shape). If its second parameter is called `grid`,
            it is also given the grid. It computes in the precision of its weights, or
            without weights in JAX's default.
        num_dimensions: axes of the grid.
        in_channels: of the input.
        out_channels: of the output.
        grid: that the function is given, None for its own default.
        input_names: of the channels, the names of the fields that `start` looks for
            in the parameters of a family; without them, give `start` the field.
        output_names: likewise.

    Raises:
        TypeError: function cannot be called, or is the class of a module.
        ValueError: a number of axes or channels below one, names of another number of
            channels; on use, a function that returns no real field of `out_channels` on
            as many axes.

    Examples:
        >>> import equinox as eqx, jax, jax.numpy as jnp
        >>> from krylax.learned import training
        >>> net = eqx.nn.Conv2d(1, 1, 3, padding=1, key=jax.random.key(0))
        >>> surrogate = training.from_callable(net, num_dimensions=2)
        >>> surrogate(jnp.ones((1, 8, 6))).shape
        (1, 8, 6)
    """
    require_object(function, "function")
    require_function(function, "function", "of a field to a field")
    counts = dict(num_dimensions=num_dimensions, in_channels=in_channels)
    for name, count in {**counts, "out_channels": out_channels}.items():
        require_count(count, name)
    sides = (("input_names", input_names, in_channels),)
    for name, names, size in (*sides, ("output_names", output_names, out_channels)):
        if isinstance(names, str) or len(names) not in (0, size):
            raise ValueError(
                f"{name} must name the {counted(size, 'channel')}, got {names!r}"
            )
    dtype = dtype_of(function)
    mean, std = jnp.zeros, jnp.ones
    return Surrogate(
        called_like_a_model(function),
        Normalizer(mean(in_channels, dtype), std(in_channels, dtype)),
        Normalizer(mean(out_channels, dtype), std(out_channels, dtype)),
        grid,
        num_dimensions=int(num_dimensions),
        input_names=tuple(input_names),
        output_names=tuple(output_names),
    )
