"""The loss of a batch of examples, and its gradient.

Which examples are in the batch of a step follows from (seed, step) alone: an epoch
takes all of them in an order that is drawn from the seed and its number, and leaves out
what is less than a batch at its end.

J. Brandstetter, D. Worrall, M. Welling, Message passing neural PDE solvers, ICLR 2022,
arXiv 2202.03376, section 3.1 (`pushforward`).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from ._augment import named as named_augmentation
from ._losses import named as named_loss
from ._normalizer import Normalizer
from ._precision import lowered
from ._settings import Settings
from ._surrogate import Surrogate

AXIS = "batch"
"""Of a mesh of devices."""


class Objective(eqx.Module):
    """What a step of training makes small.

    Attributes:
        input_normalizer: of the training's examples.
        output_normalizer: likewise.
        grid: that the model is given.
        noise_std: of a noise of one in each channel of the inputs.
        settings: of the training.
        num_examples: in all.
        mesh: of devices that share each batch; None for one.
        constraint: that predictions go through; None for none.
    """

    input_normalizer: Normalizer
    output_normalizer: Normalizer
    grid: Any
    noise_std: Float[Array, " channels"]
    settings: Settings = eqx.field(static=True)
    num_examples: int = eqx.field(static=True)
    num_dimensions: int = eqx.field(static=True)
    mesh: Mesh | None = eqx.field(static=True)
    constraint: Any = None

    def __call__(
        self,
        model: Any,
        order: Int[Array, " samples"],
        examples: Any,
        step: Int[Array, ""],
        key: Key[Array, ""],
        stage: int,
    ) -> tuple[Float[Array, ""], Any, Int[Array, " samples"]]:
        """Return the loss of a step, its gradient, and the order of the epoch."""
        settings = self.settings
        order_key, batch_key = jax.random.split(key)
        order = self._renewed(order, step, order_key)
        begin = step % self.num_batches * settings.batch_size
        chosen = jax.lax.dynamic_slice_in_dim(order, begin, settings.batch_size)
        keys = jax.random.split(
            jax.random.fold_in(batch_key, step), settings.batch_size
        )
        inputs, outputs = (array[chosen] for array in examples)
        parts = jax.tree.map(self._parted, (inputs, outputs, keys))
        slope = eqx.filter_value_and_grad(self.loss)

        def found(part: Any) -> tuple[Float[Array, ""], Any]:
            inputs, outputs, keys = self._shared(part)
            return slope(model, inputs, outputs, keys, stage)

        def summed(total: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, found(part)), None

        if settings.accumulate == 1:
            return *found(_first(parts)), order
        shapes = jax.eval_shape(found, _first(parts))
        zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        total, _ = jax.lax.scan(summed, zero, parts)
        value, gradient = jax.tree.map(lambda a: a / settings.accumulate, total)
        return value, gradient, order

    @property
    def num_batches(self) -> int:
        """Steps in an epoch."""
        return self.num_examples // self.settings.batch_size

    def loss(
        self, model: Any, inputs: Array, outputs: Array, keys: Any, num_unrolled: int
    ) -> Float[Array, ""]:
        """Return the mean loss of a batch, augmented and with noise."""

        def one(x: Array, y: Array, key: Key[Array, ""]) -> Float[Array, ""]:
            for_noise, for_symmetry = jax.random.split(key)
            augment = named_augmentation(self.settings.augment)
            if augment is not None:
                x, y = augment(x, y, for_symmetry)
            given = self._noisy(x, for_noise)
            return self._unrolled(model, x, given, y, num_unrolled)

        return jnp.mean(jax.vmap(one)(inputs, outputs, keys))

    def validation_loss(
        self, model: Any, x: Array, y: Array, num_unrolled: int
    ) -> Float[Array, ""]:
        """Return the loss of one example as it is."""
        return self._unrolled(model, x, x, y, num_unrolled)

    def surrogate(self, model: Any) -> Surrogate:
        """Return a model in physical units."""
        return Surrogate(
            model,
            self.input_normalizer,
            self.output_normalizer,
            num_dimensions=self.num_dimensions,
            constraint=self.constraint,
        )

    def _unrolled(
        self, model: Any, x: Array, given: Array, y: Array, num_unrolled: int
    ) -> Float[Array, ""]:
        """The mean loss of some steps in time, from inputs that may have noise."""
        loss = named_loss(self.settings.loss, self.grid)
        dtype = None
        if self.settings.precision == "bfloat16":
            model, dtype = lowered(model, jnp.bfloat16), jnp.bfloat16
        surrogate = self.surrogate(model)
        total = jnp.zeros((), x.dtype)
        for i in range(num_unrolled):
            prediction = surrogate.predict(given, self.grid, dtype)
            value = jnp.asarray(loss(prediction, y[i], x))
            if value.shape:
                raise ValueError(
                    "loss must return one number for an example, got shape "
                    f"{value.shape}; take a mean"
                )
            total = total + value.astype(x.dtype)
            if i + 1 < num_unrolled:
                behind = prediction
                if self.settings.pushforward:
                    behind = jax.lax.stop_gradient(behind)
                given = jnp.concatenate([given[len(behind) :], behind])
                x = jnp.concatenate([x[len(behind) :], y[i]])
        return total / num_unrolled

    def _noisy(self, x: Array, key: Key[Array, ""]) -> Array:
        if self.settings.noise == 0:
            return x
        std = self.noise_std.reshape((-1,) + (1,) * (x.ndim - 1))
        return x + self.settings.noise * std * jax.random.normal(key, x.shape, x.dtype)

    def _renewed(
        self, order: Int[Array, " n"], step: Int[Array, ""], key: Key[Array, ""]
    ) -> Int[Array, " n"]:
        """The order of the epoch of a step, drawn anew at its first one."""
        epoch = step // self.num_batches

        def drawn() -> Int[Array, " n"]:
            n = self.num_examples
            drawn = jax.random.permutation(jax.random.fold_in(key, epoch), n)
            return drawn.astype(order.dtype)

        return jax.lax.cond(step % self.num_batches == 0, drawn, lambda: order)

    def _parted(self, array: Array) -> Array:
        return array.reshape(self.settings.accumulate, -1, *array.shape[1:])

    def _shared(self, part: Any) -> Any:
        """A part of a batch, spread over the devices."""
        if self.mesh is None:
            return part
        sharding = NamedSharding(self.mesh, PartitionSpec(AXIS))
        return jax.lax.with_sharding_constraint(part, sharding)


def _first(parts: Any) -> Any:
    return jax.tree.map(lambda array: array[0], parts)
