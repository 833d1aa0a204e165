"""A trained model in physical units."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float
from typing_extensions import override

from ...operators import AbstractOperator
from ...operators._arguments import counted, shown
from ...solvers import ScaledStart
from ._called_like_a_model import name_of_model
from ._constraint import constrained
from ._normalizer import Normalizer
from ._parameters import num_parameters
from ._settings import Settings


class Surrogate(AbstractOperator):
    """A model of normalised fields, as a map of fields in physical units.

    On another grid than that of the training, give it: `surrogate(x, grid)`. Batches by
    `jax.vmap`.

    Attributes:
        model: (x, grid) → y, an Equinox module.
        input_normalizer: of the channels of the inputs, fitted to those of training.
        output_normalizer: of the outputs.
        grid: that the model is given, None for its own default.
        num_dimensions: axes of the grid.
        input_names: of the channels, where they are known.
        output_names: likewise.
        settings: of the training.
        constraint: (fields, grid) → fields, that predictions in physical units go
            through, or several, one after the other; None for predictions as they are.

    Raises:
        ValueError: on use, a field of another number of channels or axes, or one that
            the constraint is not for.
    """

    model: Any
    input_normalizer: Normalizer
    output_normalizer: Normalizer
    grid: Any = None
    num_dimensions: int = eqx.field(static=True, kw_only=True)
    input_names: tuple[str, ...] = eqx.field(static=True, default=())
    output_names: tuple[str, ...] = eqx.field(static=True, default=())
    settings: Settings | None = eqx.field(static=True, default=None)
    constraint: Any = None

    @property
    @override
    def in_structure(self) -> None:
        return None

    @override
    def __call__(self, x: Any, grid: Any = None) -> Float[Array, "..."]:
        """Return the prediction, in the dtype of x.

        Args:
            x: (channels, *shape), in physical units.
            grid: another one than that of the training.
        """
        x = jnp.asarray(x)
        num_channels = self.input_normalizer.mean.shape[0]
        if x.ndim != self.num_dimensions + 1 or x.shape[0] != num_channels:
            raise ValueError(
                f"the surrogate is for fields (channels, *shape) of "
                f"{counted(num_channels, 'channel')} on "
                f"{counted(self.num_dimensions, 'axis', 'axes')}, got shape {x.shape}; "
                "batches by jax.vmap"
            )
        if jnp.iscomplexobj(x):
            raise ValueError("the surrogate is for real fields, got complex numbers")
        dtype = (
            x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.result_type(0.0)
        )
        if grid is not None:
            self._require_fitting(x.shape[1:], grid)
        y = _predicted(self, x, self.grid if grid is None else grid)
        return y.astype(dtype)

    def predict(
        self, x: Float[Array, "..."], grid: Any, dtype: DTypeLike | None = None
    ) -> Float[Array, "..."]:
        """Return the prediction in the dtype of the normalisers.

        Args:
            x: (channels, *shape), in physical units.
            grid: that the model is given.
            dtype: of what the model is given, by default that of the normalisers.
        """
        own = self.input_normalizer.mean.dtype
        x = self.input_normalizer.normalized(x.astype(own))
        y = self.model(x if dtype is None else x.astype(dtype), grid)
        _require_field(y, x.ndim)
        y = self.output_normalizer.denormalized(y.astype(own))
        return constrained(self.constraint, y, grid)

    def start(self, parameters: Any, grid: Any = None) -> ScaledStart:
        """Return a prediction as a start of a solve, `solve(A, b, x0=...)`.

        `solve` multiplies it by the number that brings it nearest to the solution, so
        that it is never worse than zero, and certifies the result. The prediction
        itself is the start's `value`.

        Args:
            parameters: what a family draws, a table with the fields that
                `input_names` names; or a field (channels, *shape), or (*shape) for one
                channel.
            grid: another one than that of the training.

        Returns:
            The prediction in the dtype of the parameters, (*shape) for one channel.

        Raises:
            ValueError: a field is missing, or does not fit.
        """
        if isinstance(parameters, Mapping):
            x = self._stacked(parameters)
        else:
            x = jnp.asarray(parameters)
            x = x[None] if x.ndim == self.num_dimensions else x
        y = self(x, grid)
        return ScaledStart(y[0] if y.shape[0] == 1 else y)

    def __repr__(self) -> str:
        inputs, outputs = (
            ", ".join(names) or counted(normalizer.mean.shape[0], "channel")
            for names, normalizer in (
                (self.input_names, self.input_normalizer),
                (self.output_names, self.output_normalizer),
            )
        )
        return (
            f"Surrogate({name_of_model(self.model)}, "
            f"{counted(num_parameters(self.model), 'parameter')}: "
            f"{inputs} -> {outputs}, {counted(self.num_dimensions, 'axis', 'axes')})"
        )

    def _require_fitting(self, shape: tuple[int, ...], grid: Any) -> None:
        """Let the constraint look at the numbers of a grid, that are then traced."""
        mean = self.output_normalizer.mean
        y = jax.ShapeDtypeStruct((*mean.shape, *shape), mean.dtype)
        jax.eval_shape(lambda y: constrained(self.constraint, y, grid), y)

    def _stacked(self, parameters: Mapping[str, Any]) -> Array:
        """The fields of a table as channels; a number is a constant one."""
        names = list(dict.fromkeys(name.split("[")[0] for name in self.input_names))
        missing = [name for name in names if name not in parameters]
        if missing or not names:
            wanted = (
                f"takes the fields {', '.join(names)}"
                if names
                else "has no input_names, so give it the field itself"
            )
            raise ValueError(
                f"the surrogate {wanted}; parameters hold {shown(sorted(parameters))}"
            )
        fields = [jnp.asarray(parameters[name]) for name in names]
        shapes = [field.shape[-self.num_dimensions :] for field in fields if field.ndim]
        if not shapes:
            raise ValueError("parameters must hold a field, got numbers alone")
        shape = shapes[0]
        if any(other != shape for other in shapes):
            raise ValueError(
                f"the fields {', '.join(names)} must lie on one grid, got those of "
                f"shapes {', '.join(map(str, shapes))}"
            )
        channels = [
            jnp.broadcast_to(field, shape) if field.ndim == 0 else field
            for field in fields
        ]
        return jnp.concatenate([c.reshape(-1, *shape) for c in channels])


def _require_field(y: Any, ndim: int) -> None:
    is_array = isinstance(y, jax.Array | np.ndarray)
    if not is_array or y.ndim != ndim or jnp.iscomplexobj(y):
        dtype = f" of {y.dtype.name}" if is_array else ""
        raise ValueError(
            "the model must return a real field (channels, *shape) on "
            f"{counted(ndim - 1, 'axis', 'axes')}, got {shape_of(y)}{dtype}"
        )


def shape_of(found: Any) -> str:
    """Return the shape of an array in words, or what else it is."""
    shape = getattr(found, "shape", None)
    return f"a {type(found).__name__}" if shape is None else f"shape {shape}"


@eqx.filter_jit
def _predicted(surrogate: Surrogate, x: Any, grid: Any) -> Any:
    return surrogate.predict(x, grid)


def dtype_of(model: Any) -> np.dtype:
    """Return the real dtype of the weights of a model."""
    leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    if not leaves:
        return np.dtype(jnp.result_type(0.0))
    dtypes = {jnp.finfo(leaf.dtype).dtype for leaf in leaves}
    return np.dtype(max(dtypes, key=lambda dtype: jnp.finfo(dtype).bits))
