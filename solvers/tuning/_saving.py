"""Saving and loading states of tuners, bit for bit."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def save(path: str | Path, state: PyTree) -> None:
    """Write a state, such as that of a tuner or of `tune_sequence`.

    The file holds arrays in NumPy's format; nothing is pickled.

    Args:
        path: of the file. An existing file is replaced once the new one is complete.
        state: a pytree of arrays and random keys.
    """
    path = Path(path)
    draft = path.with_name(path.name + ".part")
    with draft.open("wb") as file:
        eqx.tree_serialise_leaves(file, _with_plain_keys(state))
    draft.replace(path)


def load(path: str | Path, like: PyTree) -> PyTree:
    """Return a state that `save` wrote.

    Args:
        path: of the file.
        like: a state of the same kind, such as `tuner.init(key)`.

    Raises:
        ValueError: the file holds a state of another kind or is damaged.
    """
    try:
        with Path(path).open("rb") as file:
            plain = eqx.tree_deserialise_leaves(file, _with_plain_keys(like))
            is_whole = not file.read(1)
    except (RuntimeError, ValueError, EOFError) as error:
        raise _unlike_error(path) from error
    if not is_whole:
        raise _unlike_error(path)
    return jax.tree.map(_as_key_like, like, plain)


def _unlike_error(path: str | Path) -> ValueError:
    return ValueError(
        f"{path} does not hold a state like the one given; load it with the tuner "
        "(the same arms, features and precision) that it was saved with"
    )


def _is_key(leaf: Any) -> bool:
    is_array = isinstance(leaf, jax.Array)
    return is_array and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _with_plain_keys(state: PyTree) -> PyTree:
    return jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state
    )


def _as_key_like(like: Any, leaf: Any) -> Any:
    if not _is_key(like):
        return leaf
    return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like))
