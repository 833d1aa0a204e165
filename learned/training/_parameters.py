"""How large a learned operator is."""

import equinox as eqx
import jax

from ...operators import AbstractOperator


def num_parameters(net: AbstractOperator) -> int:
    """Return the number of weights and biases of a learned operator."""
    leaves = jax.tree.leaves(eqx.filter(net, eqx.is_inexact_array))
    return sum(leaf.size for leaf in leaves)
