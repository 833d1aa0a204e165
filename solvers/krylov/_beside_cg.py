"""Flexible CG and CG beside it: no more steps than either of them.

Both go their ways from the same start, with a product each, x with the preconditioner
and y without. The iterate is x or y, whichever has the error of the lesser A-norm,

    ‖e_y‖² - ‖e_x‖² = dᴴAd - 2 Re dᴴr,    d = y - x,    A d = r - (b - A y),

or that which meets the tolerance.

Theorem. Whatever the preconditioner returns, the A-norm of the error never grows before
the last step, and after k steps is at most that of CG after k steps. So it is at most
2 ((√κ - 1)/(√κ + 1))^k times that of the start, and at most that of k steps of steepest
descent. The solve takes no more steps than CG.

Proof. Each step of CG and, by its line search, each of flexible CG lowers the A-norm of
its error or leaves it; the iterate has the lesser one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, PyTree

from ...operators._arithmetic import add, add_scaled, select, subtract, zeros_like
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._recurrence import Step
from ..core._solver import LinearSystem
from ._cg import CG


class Vectors(eqx.Module):
    """What flexible CG and CG need for their next steps."""

    flexible: Any
    plain: PyTree
    ahead: Field  # d, from the iterate of flexible CG to that of CG
    is_plain: Bool[Array, ""]  # whether the iterate is that of CG


def is_safeguarded(system: LinearSystem) -> bool:
    """Whether the preconditioner asks for CG beside."""
    M = system.preconditioner
    return M is not None and M.is_safeguarded


def begin(system: LinearSystem, flexible: Any, inner_product: InnerProduct) -> Vectors:
    """Start both from one iterate."""
    r = flexible.r
    plain = CG(inner_product=inner_product).begin(system, r)
    return Vectors(flexible, plain, zeros_like(r), jnp.zeros((), bool))


def step(
    system: LinearSystem,
    x: Field,
    vectors: Vectors,
    search: Callable[..., tuple[Any, Field, Step]],
    inner_product: InnerProduct,
) -> Step:
    """Take a step of each, and go on from the better one."""
    alpha, p, own = search(system, vectors.flexible)
    is_usable = own.is_taken & jnp.isfinite(own.norm)
    p = select(is_usable, p, zeros_like(p))
    flexible = select(is_usable, own.vectors, vectors.flexible)
    alone = replace(system, preconditioner=None)
    plain = CG(inner_product=inner_product).step(alone, vectors.ahead, vectors.plain)

    d = add_scaled(plain.x, -alpha, p)
    Ad = subtract(flexible.r, plain.vectors.r)
    dAd, dr = map(jnp.real, inner_product.dots((d, Ad), (d, flexible.r)))
    is_plain = (dAd < 2 * dr) & ~(is_usable & (own.norm <= system.target))
    is_plain = is_plain | (plain.norm <= system.target)
    r = select(is_plain, plain.vectors.r, flexible.r)
    x = subtract(x, select(vectors.is_plain, vectors.ahead, zeros_like(d)))
    x = add_scaled(x, alpha, p)
    return Step(
        x=add(x, select(is_plain, d, zeros_like(d))),
        vectors=Vectors(flexible, plain.vectors, d, is_plain),
        norm=inner_product.norm(lax.stop_gradient(r)),
        status=plain.status,
        is_taken=plain.is_taken | is_usable,
    )
