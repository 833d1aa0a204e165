"""Loops and branches that also run on the devices of a `jax.shard_map`.

There JAX knows of every array over which axes of the mesh it varies, and a loop has to
begin, a branch to end, with arrays that vary as those that come out: a zero that a
loop adds to does not. These are the functions of `jax.lax`, which see to that.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def while_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any
) -> Any:
    """Loop as `jax.lax.while_loop` does."""
    axes = _axes_of_loop(body_fun, init_val)
    if not axes:
        return lax.while_loop(cond_fun, body_fun, init_val)
    return lax.while_loop(
        cond_fun, lambda s: _vary(body_fun(s), axes), _vary(init_val, axes)
    )


def fori_loop(
    lower: int, upper: int, body_fun: Callable[[Any, Any], Any], init_val: Any
) -> Any:
    """Loop as `jax.lax.fori_loop` does."""
    axes = _axes_of_loop(lambda s: body_fun(lower, s), init_val)
    if not axes:
        return lax.fori_loop(lower, upper, body_fun, init_val)
    return lax.fori_loop(
        lower, upper, lambda i, s: _vary(body_fun(i, s), axes), _vary(init_val, axes)
    )


def scan(
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> Any:
    """Loop as `jax.lax.scan` does."""
    axes: frozenset[Any] = frozenset()
    if is_sharded():
        first = jax.tree.map(lambda leaf: leaf[0], xs)
        axes = _axes_of_loop(lambda s: f(s, first)[0], init) | _varying_axes(xs)

    def body(state: Any, x: Any) -> Any:
        state, y = f(state, x)
        return _vary(state, axes), y

    return lax.scan(
        body if axes else f, _vary(init, axes), xs, length=length, reverse=reverse
    )


def cond(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
) -> Any:
    """Branch as `jax.lax.cond` does; on the devices of a mesh, take both branches.

    JAX 0.10.2 cannot batch a branch there: `jax.vmap` makes it two branches and a
    choice, of which it loses track how they vary.
    """
    if not is_sharded():
        # Methods of modules that hold traced numbers cannot be hashed, as JAX would.
        branches = (lambda *args: true_fun(*args)), (lambda *args: false_fun(*args))
        return lax.cond(pred, *branches, *operands)
    ends = true_fun(*operands), false_fun(*operands)
    return jax.tree.map(lambda x, y: jnp.where(pred, x, y), *ends)


def vary_alike(tree: Any) -> Any:
    """Return arrays that all count as varying where one of them does."""
    return _vary(tree, _varying_axes(tree)) if is_sharded() else tree


def is_sharded() -> bool:
    """Whether what is being traced runs on the devices of a `jax.shard_map`."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def _axes_of_loop(body: Callable[[Any], Any], start: Any) -> frozenset[Any]:
    """The axes of the mesh over which some array of a loop varies."""
    if not is_sharded():
        return frozenset()
    return _varying_axes(start) or _varying_axes(jax.eval_shape(body, start))


def _varying_axes(tree: Any) -> frozenset[Any]:
    axes: frozenset[Any] = frozenset()
    for leaf in jax.tree.leaves(tree):
        axes |= _axes_of(leaf)
    return axes


def _axes_of(leaf: Any) -> frozenset[Any]:
    is_structure = isinstance(leaf, jax.ShapeDtypeStruct)
    kind: Any = leaf if is_structure else jax.typeof(leaf)
    manual = getattr(kind, "manual_axis_type", None)
    return frozenset() if manual is None else manual.varying


def _vary(tree: Any, axes: frozenset[Any]) -> Any:
    """Return arrays that count as varying over these axes."""

    def vary(leaf: Any) -> Any:
        missing = tuple(sorted(axes - _axes_of(leaf)))
        return lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, tree) if axes else tree
