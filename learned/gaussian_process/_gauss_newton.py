"""Gauss-Newton steps for the unknowns of a collocation.

Each step solves the linearised equation. Few unknowns: by least squares over all points
of the grid, with the prior as a weak second term, dense and by its singular values.
Many: projected on the functions themselves, (⊗ Uᵀ) J (⊗ S⁻¹) y = -(⊗ Uᵀ) F with U =
Φ S⁻¹, by GMRES, preconditioned by the Sylvester equation that has the mean of each
coefficient; with constant coefficients that is the equation itself.

The last step is differentiable in the parameters at the solution, which is the implicit
function theorem: z* - J⁻¹ F(z*, θ) has the derivative -J⁻¹ ∂F/∂θ.
"""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ... import solvers
from ...operators import Dense, Function, KroneckerSum
from ...operators._control_flow import while_loop
from ._basis import mode_products
from ._collocation import Collocation
from ._pde import Orders

MAX_STEPS = 50
SHORTEST = 1e-3
"""Part of a step below which the residual is taken to be least."""
SETTLED = 0.99
"""How much of the residual a step must leave for the steps to have settled."""
MOST_DENSE = 1500
"""Unknowns up to which a step is dense least squares."""
MOST_ENTRIES = 4_000_000
"""Entries of its matrix, of which there are a few copies."""


class Found(eqx.Module):
    """The unknowns, and how they were found."""

    z: Float[Array, "..."]
    num_steps: Int[Array, ""]
    is_settled: Any


def solve_collocation(
    collocation: Collocation,
    sizes: tuple[Float[Array, " rank"], ...],
    parameters: Any,
    z0: Float[Array, "..."],
    noise: float,
) -> Found:
    """Return the unknowns that make the residual least.

    Args:
        collocation: the equation on a grid.
        sizes: the norms of the functions of each axis.
        parameters: of the equation.
        z0: a start.
        noise: standard deviation of the equation's error, relative to its largest term.
    """
    lifted = collocation.lifted(parameters)
    frozen = lax.stop_gradient((lifted, parameters))

    def correction(z: Any, F: Any) -> Any:
        c = collocation.coefficients(lax.stop_gradient(z), *frozen)
        return _step(collocation, sizes, c, lax.stop_gradient(z), F, noise)

    def advance(state: Any) -> Any:
        count, z, F, _ = state
        dz, norm = correction(z, F), jnp.linalg.norm(F)

        def is_too_long(trial: Any) -> Any:
            length, _, residual = trial
            return (length > SHORTEST) & ~(jnp.linalg.norm(residual) < norm)

        def halve(trial: Any) -> Any:
            length = trial[0] / 2
            moved = z + length * dz
            return length, moved, collocation.residual(moved, *frozen)

        # Half of twice the step is the step.
        _, moved, left = while_loop(is_too_long, halve, (jnp.asarray(2.0), z, F))
        after = jnp.linalg.norm(left)
        is_better = after < norm
        z, F = jax.tree.map(
            lambda new, old: jnp.where(is_better, new, old), (moved, left), (z, F)
        )
        return count + 1, z, F, ~(after < SETTLED * norm)

    F0 = collocation.residual(z0, *frozen)
    start = (jnp.zeros((), jnp.int32), z0, F0, ~jnp.any(F0 != 0))
    num_steps, z, _, is_settled = while_loop(
        lambda s: ~s[3] & (s[0] < MAX_STEPS), advance, start
    )
    z = lax.stop_gradient(z)
    # One step more, of which the right-hand side depends on the parameters.
    z = z + correction(z, collocation.residual(z, lifted, parameters))
    return Found(z, num_steps, is_settled)


def is_dense(ranks: Sequence[int], num_points: Sequence[int]) -> bool:
    """Whether a step is dense least squares: few functions, not many points."""
    return math.prod(ranks) <= MOST_DENSE and (
        math.prod(ranks) * math.prod(num_points) <= MOST_ENTRIES
    )


def _step(
    collocation: Collocation,
    sizes: tuple[Any, ...],
    c: dict[Orders, Any],
    z: Any,
    F: Any,
    noise: float,
) -> Any:
    """Solve J dz = -F."""
    if is_dense(z.shape, F.shape):
        return _dense_step(collocation, c, z, F, noise)
    return _galerkin_step(collocation, sizes, c, F)


def apply_linearised(
    collocation: Collocation, c: dict[Orders, Any], z: Any
) -> Float[Array, "..."]:
    """Return Σ_o c_o ∂^o (⊗ Φ_d) z on the grid."""
    derivatives = collocation.process(z)
    return sum(c[o] * derivatives[o] for o in collocation.orders)  # type: ignore[return-value]


def _dense_step(
    collocation: Collocation, c: dict[Orders, Any], z: Any, F: Any, noise: float
) -> Any:
    def column(unit: Any) -> Any:
        return apply_linearised(collocation, c, unit.reshape(z.shape)).ravel()

    J = jax.vmap(column, out_axes=1)(jnp.eye(z.size))
    weight = 1 / (noise * _largest_term(collocation, c, z, F))
    stacked = jnp.concatenate([weight * J, jnp.eye(z.size)])
    rhs = -jnp.concatenate([weight * F.ravel(), z.ravel()])
    U, s, Vt = lax.stop_gradient(jnp.linalg.svd(stacked, full_matrices=False))
    # The prior keeps every singular value above one.
    return (Vt.T @ ((U.T @ rhs) / s)).reshape(z.shape)


def _largest_term(
    collocation: Collocation, c: dict[Orders, Any], z: Any, F: Any
) -> Any:
    """The largest term of the equation."""
    derivatives = collocation.process(z)
    terms = [jnp.max(jnp.abs(c[o] * derivatives[o])) for o in collocation.orders]
    largest = jnp.max(jnp.stack([*terms, jnp.max(jnp.abs(F))]))
    return lax.stop_gradient(jnp.where(largest > 0, largest, 1))


def _galerkin_step(
    collocation: Collocation, sizes: tuple[Any, ...], c: dict[Orders, Any], F: Any
) -> Any:
    scaled = [
        {order: matrix / size[None, :] for order, matrix in matrices.items()}
        for matrices, size in zip(collocation.matrices, sizes, strict=True)
    ]
    tests = [matrices[0].T for matrices in scaled]

    def mv(y: Any) -> Any:
        total = 0.0
        for orders in collocation.orders:
            factors = [m[o] for m, o in zip(scaled, orders, strict=True)]
            total = total + c[orders] * mode_products(factors, y)
        return mode_products(tests, jnp.asarray(total))

    A = Function(mv, jax.ShapeDtypeStruct(collocation.shape, F.dtype))
    mean = KroneckerSum(*map(Dense, _mean_lines(collocation, scaled, tests, c)))
    solver = solvers.GMRES(rtol=1e-10, restart=30, max_steps=120)
    y = solvers.solve(
        A,
        -mode_products(tests, F),
        solver,
        preconditioner=solvers.Sylvester()(mean),
        throw=False,
    ).value
    for axis, size in enumerate(sizes):
        y = y / size.reshape([-1 if d == axis else 1 for d in range(y.ndim)])
    return y


def _mean_lines(
    collocation: Collocation,
    scaled: list[dict[int, Any]],
    tests: list[Any],
    c: dict[Orders, Any],
) -> list[Any]:
    """The one-dimensional operators with the means of the coefficients.

    Derivatives along several axes at once have no part in it.
    """
    lines = [jnp.zeros((test.shape[0], test.shape[0])) for test in tests]
    for orders in collocation.orders:
        axes = [axis for axis, order in enumerate(orders) if order]
        if len(axes) > 1:
            continue
        axis = axes[0] if axes else 0
        product = tests[axis] @ scaled[axis][orders[axis]]
        lines[axis] = lines[axis] + jnp.mean(c[orders]) * product
    return lines
