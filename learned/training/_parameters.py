"""How large a learned operator is."""

import equinox as eqx
import jax
import jax.numpy as jnp

from ...operators import AbstractOperator


def num_parameters(net: AbstractOperator) -> int:
    """Return the number of real weights and biases; a complex one is two."""
    leaves = jax.tree.leaves(eqx.filter(net, eqx.is_inexact_array))
    return sum(leaf.size * (2 if jnp.iscomplexobj(leaf) else 1) for leaf in leaves)
