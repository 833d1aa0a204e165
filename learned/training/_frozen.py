"""Numbers of a model that training leaves as they are."""

import equinox as eqx
import jax
from jaxtyping import Array


class Frozen(eqx.Module):
    """An array of a model that is not trained: its derivative is zero, it has no decay.

    It is saved with the model, and `num_parameters` counts it.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from krylax.learned import training
        >>> frozen = training.Frozen(jnp.ones(2))
        >>> jax.grad(lambda f: jnp.sum(f() ** 2))(frozen).value.tolist()
        [0.0, 0.0]
    """

    value: Array

    def __call__(self) -> Array:
        """Return the array."""
        return jax.lax.stop_gradient(self.value)


def is_frozen(part: object) -> bool:
    """Whether a part of a model is `Frozen`."""
    return isinstance(part, Frozen)
