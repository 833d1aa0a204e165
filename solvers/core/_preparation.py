"""A system as its solver gets it: finite, compatible, measured, with a start.

b is measured in a power of two near its largest entry, so that squares of entries
neither overflow nor vanish. A system with NaN or infinity is replaced by A x = 0, which
takes no steps.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._arithmetic import (
    add,
    any_subnormal,
    divide,
    power_of_two,
    root,
    select,
    subtract,
    zeros_like,
)
from ...operators._field import Field
from ._inner_product import InnerProduct
from ._nullspace import complement_of
from ._scaled_start import nearest_multiple
from ._solver import LinearSystem
from ._stopping import MARGIN, Tolerance


class Start(eqx.Module):
    """What a solve gets besides its system.

    Attributes:
        x0: a start.
        carry: what the solve before returned.
        is_finite: whether these, the operator and the preconditioner are.
        is_scaled: whether the multiple of x0 is meant that is nearest to the solution.
    """

    x0: Field | None
    carry: Any
    is_finite: Bool[Array, ""]
    is_scaled: bool = eqx.field(static=True, default=False)


class Prepared(eqx.Module):
    """A system as its solver gets it.

    Attributes:
        system: measured in `unit`, and A x = 0 where the input is not finite.
        unit: a power of two.
        b: the right-hand side in that unit, its part in a null space included.
        tolerance: the residual norm that counts as converged, in that unit.
        is_finite: whether the input is.
        is_start_used: whether the system begins with the start that was given.
        is_readable: whether no part of b that counts is too small for the dtype.
    """

    system: LinearSystem
    unit: Float[Array, ""]
    b: Field
    tolerance: Float[Array, ""]
    is_finite: Bool[Array, ""]
    is_readable: Bool[Array, ""]
    is_start_used: Bool[Array, ""]


def prepare(
    A: AbstractLinearOperator,
    M: AbstractOperator | None,
    b: Field,
    start: Start,
    inner_product: InnerProduct,
    tolerance: Tolerance,
    keeps_start: bool = False,
) -> Prepared:
    """Return the system A x = b for a solver; a start may have to be kept."""
    complement = complement_of(A, inner_product)
    measured = measure(b, start.is_finite, inner_product)
    given, unit, is_finite = measured.b, measured.unit, measured.is_finite
    b_norm = inner_product.norm(given)
    largest_residual = tolerance.threshold(b_norm, unit)
    b = complement.project(given)
    reachable = largest_residual
    if not complement.is_everything:
        # The null part of b stays in the residual whatever x is.
        outside = inner_product.norm(subtract(given, b))
        reachable = root(jnp.maximum(largest_residual**2 - outside**2, 0))
    if start.x0 is not None and start.is_scaled:
        x0, r0, is_start_used = nearest_multiple(A, b, start.x0, inner_product)
    else:
        x0 = None if start.x0 is None else divide(start.x0, unit)
        x0, r0, is_start_used = _useful_start(A, b, x0, inner_product, keeps_start)
    system = LinearSystem(
        operator=A,
        preconditioner=complement.project_preconditioner(M),
        b=b,
        x0=x0,
        r0=r0,
        target=jnp.where(is_finite, MARGIN * reachable, 0),
        scale=jnp.where(b_norm > 0, b_norm, 1),
    )
    return Prepared(
        system,
        unit,
        given,
        largest_residual,
        is_finite,
        measured.is_readable,
        is_start_used,
    )


class Measured(eqx.Module):
    """A right-hand side in a unit in which squares of its entries are harmless.

    Attributes:
        b: in that unit, zero where the input is not finite.
        unit: a power of two.
        is_finite: whether the input is.
        is_readable: whether no part of b that counts is too small for the dtype.
    """

    b: Field
    unit: Float[Array, ""]
    is_finite: Bool[Array, ""]
    is_readable: Bool[Array, ""]


def measure(
    b: Field, is_finite: Bool[Array, ""], inner_product: InnerProduct
) -> Measured:
    """Return b in a unit of its own; the rest of the input may not be finite."""
    largest = inner_product.max_abs(b)
    is_finite = is_finite & jnp.isfinite(largest)
    # Compared with what is read as zero, b is not large.
    info = jnp.finfo(largest.dtype)
    is_small = largest < float(info.tiny) / float(info.eps)
    is_readable = inner_product.everywhere(~(is_small & any_subnormal(b)))
    unit = power_of_two(largest)
    given = select(is_finite, divide(b, unit), zeros_like(b))
    return Measured(given, unit, is_finite, is_readable)


def _useful_start(
    A: AbstractLinearOperator,
    b: Field,
    x0: Field | None,
    inner_product: InnerProduct,
    keeps_start: bool,
) -> tuple[Field, Field, Bool[Array, ""]]:
    """The start, its residual and True; zero, b and False where that is closer.

    Closer in energy for a definite A, of which the residual may be large and the error
    small: ‖x0 - x‖² - ‖x‖² is -x0ᴴ(b + r0) in that norm.
    """
    zero = zeros_like(b)
    if x0 is None:
        return zero, b, jnp.zeros((), bool)
    residual = subtract(b, A.mv(x0))
    if keeps_start:
        return x0, residual, jnp.ones((), bool)
    if "positive_definite" in A.tags:
        is_useful = jnp.real(inner_product.dot(x0, add(b, residual))) >= 0
    else:
        is_useful = inner_product.norm(residual) <= inner_product.norm(b)
    return select(is_useful, x0, zero), select(is_useful, residual, b), is_useful
