"""Models computed in a lower precision than their weights are kept in."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import DTypeLike


def lowered(model: Any, dtype: DTypeLike) -> Any:
    """Return a model with its weights in another precision.

    A module with an attribute `keeps_precision` that is true, such as one that
    transforms by FFT, keeps its weights; what it is given it has to raise itself.
    """

    def keeps(node: Any) -> bool:
        return isinstance(node, eqx.Module) and getattr(node, "keeps_precision", False)

    def cast(node: Any) -> Any:
        is_real = eqx.is_inexact_array(node) and not jax.numpy.iscomplexobj(node)
        return node.astype(dtype) if is_real else node

    return jax.tree.map(cast, model, is_leaf=keeps)
