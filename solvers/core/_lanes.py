"""Loops that `jax.vmap` turns into lanes, without a copy of all that they carry.

A `while_loop` whose condition differs from lane to lane selects between the old and the
new value of everything that it carries, in each step: for a Krylov basis of m vectors
two passes over all of them to write one. With `any_lane` around the condition it has
none of that to do, and what a finished lane must keep is kept by `in_active_lane`, row
by row. Outside of `vmap` both are nothing.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, PyTree


@custom_vmap
def any_lane(condition: Array) -> Array:
    """Return the condition, under `vmap` whether it holds in any lane."""
    return condition


@any_lane.def_vmap
def _any_lane(
    num_lanes: int, is_batched: list[bool], condition: Array
) -> tuple[Array, bool]:
    del num_lanes
    return (jnp.any(condition) if is_batched[0] else condition), False


@custom_vmap
def in_active_lane(is_active: Array, new: PyTree, old: PyTree) -> PyTree:
    """Return the new values, under `vmap` the old ones in lanes that are not active."""
    del is_active, old
    return new


@in_active_lane.def_vmap
def _in_active_lane(
    num_lanes: int,
    is_batched: list[Any],
    is_active: Bool[Array, " lanes"],
    new: PyTree,
    old: PyTree,
) -> tuple[PyTree, PyTree]:
    del num_lanes
    if not is_batched[0]:
        return new, is_batched[1]

    def choose(a: Array, b: Array, has_lanes: bool, had_lanes: bool) -> Array:
        a, b = (a if has_lanes else a[None]), (b if had_lanes else b[None])
        return jnp.where(is_active.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    chosen = jax.tree.map(choose, new, old, is_batched[1], is_batched[2])
    return chosen, jax.tree.map(lambda _: True, new)
