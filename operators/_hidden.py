"""Traced arrays that a function within a pytree closes over: no leaf shows them.

A rule of derivatives, `jax.custom_jvp`, is told of the arrays that it is given alone.
What else a function closes over would be a constant to it, without a word.
"""

import functools
import types
from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero

from ._field import Field


def without_hidden(tree: Any, x: Field, what: str) -> Field:
    """Return x, of which no derivative is taken by what a tree hides.

    Args:
        tree: a pytree of modules.
        x: what is computed with it.
        what: what the tree is, for the message.

    Raises:
        ValueError: while derivatives are taken, by an array that is hidden.
    """
    hidden = hidden_in(tree)
    return _attached(what, x, hidden) if hidden else x


def hidden_in(tree: Any) -> list[Tracer]:
    """Return the traced arrays that functions in a tree close over."""
    found, seen = [], set[int]()
    waiting = [(tree, False)]
    while waiting:
        item, is_closed_over = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tracer):
            if is_closed_over and jnp.issubdtype(item.dtype, jnp.inexact):
                found.append(item)
        elif isinstance(item, types.FunctionType | types.MethodType):
            waiting += [(part, True) for part in _closed_over(item)]
        else:
            waiting += [(part, is_closed_over) for part in _parts(item)]
    return found


def _closed_over(function: Any) -> Iterable[Any]:
    if isinstance(function, types.MethodType):
        return function.__self__, function.__func__
    # A cell may be empty while its function is being made.
    cells = function.__closure__ or ()
    return [c.cell_contents for c in cells if c != types.CellType()]


def _parts(item: Any) -> Iterable[Any]:
    if isinstance(item, list | tuple):
        return item
    if isinstance(item, dict):
        return item.values()
    if isinstance(item, functools.partial):
        return item.func, item.args, item.keywords
    return vars(item).values() if isinstance(item, eqx.Module) else ()


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _attached(what: str, x: Field, hidden: list[Any]) -> Field:
    del what, hidden
    return x


def _refused(what: str, primals: Any, tangents: Any) -> Any:
    (x, _), (x_dot, hidden_dot) = primals, tangents
    if not all(isinstance(dot, SymbolicZero) for dot in jax.tree.leaves(hidden_dot)):
        raise ValueError(
            f"{what} holds a function that closes over an array by which derivatives "
            "are taken, where they would be lost; make that array a field of its own, "
            "or use operators.Function, which finds it"
        )
    return x, jax.tree.map(
        lambda a, dot: jnp.zeros_like(a) if isinstance(dot, SymbolicZero) else dot,
        x,
        x_dot,
    )


_attached.defjvp(_refused, symbolic_zeros=True)
