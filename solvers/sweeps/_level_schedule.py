"""Level scheduling of computations on a sparse pattern.

An item that depends on others gets a level, one more than the highest of theirs; items
of one level can be computed together (E. Anderson, Y. Saad, Solving sparse triangular
linear systems on parallel computers, Int. J. High Speed Comput. 1, 1989,
doi:10.1142/S0129053389000056). Levels are cut into steps of one width, padded at their
ends, so that a scan runs over them and every step writes one row of places.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Inexact, Int32, Shaped

from ...operators._control_flow import scan
from ...operators._field import on_device


class Schedule(eqx.Module):
    """Which items each step computes, and from which places.

    Attributes:
        items: the item of each place, an index beyond their end in padding.
        terms: the terms that each place sums, likewise.
        sources: for every source of a term, the place where it stands.
        places: the position of each item, counted through all steps.
    """

    items: Int32[Array, "steps width"]
    terms: Int32[Array, "steps count width"]
    sources: tuple[Int32[Array, "steps count width"], ...]
    places: Int32[Array, " items"]


def make_schedule(
    num_items: int,
    targets: np.ndarray,
    sources: tuple[np.ndarray, ...],
    ranks: np.ndarray | None = None,
) -> Schedule:
    """Order items of which some are sums of terms over others.

    Args:
        num_items: the number of items.
        targets: the item that each term belongs to.
        sources: one or more arrays, the items that each term is made of.
        ranks: the place of each item in an order in which it depends only on items
            before it; by default the order of their numbers.
    """
    if ranks is None:
        ranks = np.arange(num_items)
    targets, sources = ranks[targets], tuple(ranks[source] for source in sources)
    levels = _levels(num_items, targets, sources)
    # Of the mean width of a level: then cutting at most doubles the number of steps,
    # and padding at most the number of places.
    width = -(-num_items // (int(np.max(levels)) + 1))
    places, num_steps = _places(levels, width)
    items = np.full(num_steps * width, num_items, np.int32)
    items[places] = np.argsort(ranks)
    counts = np.bincount(targets, minlength=num_items)
    index = _index_of_terms(targets, counts, places, width)
    shape = (num_steps, int(np.max(counts)), width)

    def laid_out(values: np.ndarray, fill: int) -> Int32[Array, "steps count width"]:
        found = np.full(shape, fill, np.int32)
        found[index] = values
        return on_device(found)

    return Schedule(
        items=on_device(items.reshape(num_steps, width)),
        terms=laid_out(np.arange(len(targets)), len(targets)),
        sources=tuple(laid_out(places[source], 0) for source in sources),
        places=on_device(places[ranks].astype(np.int32)),
    )


def compute(
    schedule: Schedule,
    initial: Inexact[Array, " items"],
    weights: Shaped[Array, "steps count width"],
    term: Callable[..., Inexact[Array, "count width"]],
) -> Inexact[Array, " items"]:
    """Return x_i = initial_i - Σ term(weight, x_source, ...) over the item's terms.

    Args:
        schedule: the order.
        initial: what to begin with.
        weights: one per term, as `of_terms` lays them out.
        term: the value of a term, zero for the weight of padding.
    """
    num_steps, width = schedule.items.shape
    start = initial.at[schedule.items].get(mode="fill", fill_value=0)

    def step(x: Any, rows: Any) -> tuple[Any, None]:
        first, row, weight, sources = rows
        found = [x.at[source].get(mode="promise_in_bounds") for source in sources]
        row = row - jnp.sum(term(weight, *found), axis=0)
        return lax.dynamic_update_slice(x, row, (first,)), None

    first = width * jnp.arange(num_steps, dtype=jnp.int32)
    x = jnp.zeros(num_steps * width, initial.dtype)
    x, _ = scan(step, x, (first, start, weights, schedule.sources))
    return x.at[schedule.places].get(mode="promise_in_bounds")


def gather(
    schedule: Schedule,
    x: Inexact[Array, " items"],
    weights: Shaped[Array, "steps count width"],
) -> Inexact[Array, " items"]:
    """Return Σ weight x_source over the terms of every item."""
    stored = x.at[schedule.items].get(mode="fill", fill_value=0).reshape(-1)
    found = stored.at[schedule.sources[0]].get(mode="promise_in_bounds")
    sums = jnp.sum(weights * found, axis=1).reshape(-1)
    return sums.at[schedule.places].get(mode="promise_in_bounds")


def of_terms(
    schedule: Schedule, values: Shaped[Array, " terms"]
) -> Shaped[Array, "steps count width"]:
    """Lay out one value per term, zeros in padding."""
    return values.at[schedule.terms].get(mode="fill", fill_value=0)


def _levels(
    num_items: int, targets: np.ndarray, sources: tuple[np.ndarray, ...]
) -> np.ndarray:
    """The level of every item: zero, or one more than the highest that it needs."""
    by_target = np.argsort(targets, kind="stable")
    needed = np.stack(sources, axis=1)[by_target]
    ends = np.cumsum(np.bincount(targets, minlength=num_items))
    levels = np.zeros(num_items, np.int64)
    for item in np.unique(targets):
        first = ends[item - 1] if item else 0
        levels[item] = 1 + np.max(levels[needed[first : ends[item]]])
    return levels


def _places(levels: np.ndarray, width: int) -> tuple[np.ndarray, int]:
    """The place of every item, and the number of steps: each has one level's items."""
    counts = np.bincount(levels)
    steps = -(-counts // width)
    first = width * (np.cumsum(steps) - steps)
    by_level = np.argsort(levels, kind="stable")
    rank = np.arange(len(levels)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.empty(len(levels), np.int64)
    places[by_level] = first[levels[by_level]] + rank
    return places, int(np.sum(steps))


def _index_of_terms(
    targets: np.ndarray, counts: np.ndarray, places: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step, rank among the terms of its item, and position in the step of each term."""
    by_target = np.argsort(targets, kind="stable")
    rank = np.empty(len(targets), np.int64)
    ends = np.cumsum(counts)
    rank[by_target] = np.arange(len(targets)) - np.repeat(ends - counts, counts)
    step, position = np.divmod(places[targets], width)
    return step, rank, position
