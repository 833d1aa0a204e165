"""Gauss-Newton steps for the unknowns of a collocation.

Each step solves the linearised equations by least squares over all points of the grid.
Few unknowns: with all measurements, and the prior as a weak last term, dense and by a
QR factorisation. Many: J (⊗ S⁻¹) y = -F for y of functions of unit norm, by LSMR. Its
preconditioner is the Sylvester equation of the mean of each coefficient, projected on
the functions U = Φ S⁻¹ themselves, (⊗ Uᵀ) J̄ (⊗ S⁻¹): for constant coefficients and a
span of U that is closed under derivatives, J times its inverse is ⊗ U, orthonormal.

The last two steps are differentiable in the parameters, which is the implicit function
theorem: with J at the solution z* kept, z* - J⁻¹ F(z*, θ) has the derivative
-J⁻¹ ∂F/∂θ, and one step more the second derivative too. Where the equations leave
something open what is left is not zero: Jᵀr = 0 is then what is solved, whose own
derivative has those of J.
"""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Int

from ... import solvers
from ...operators import AbstractLinearOperator, Dense, Function, KroneckerSum
from ...operators._control_flow import while_loop
from ._basis import mode_products
from ._collocation import Collocation, Unknowns, Values
from ._measurements import Measurements
from ._pde import PDE

MAX_STEPS = 50
SHORTEST = 1e-3
"""Part of a step below which the residual is taken to be least."""
DIFFERENTIABLE = 2
"""Steps at the end that have derivatives, each for one order of these."""
BALANCING = 4
"""Corrections, of which each leaves the square of what other rows have of a direction
that the equations determine."""
SETTLED = 0.99
"""How much of the residual a step must leave for the steps to have settled."""
MAX_LSMR_STEPS = 100
MAX_DERIVATIVE_STEPS = 1000
"""A derivative is one step, and NaN where that does not settle."""
MOST_PREFERRED = 1500
"""Unknowns up to which a step is dense least squares, where LSMR is another way."""
MOST_POSSIBLE = 2500
"""The same for several fields or measurements, which have no preconditioner."""
MOST_ENTRIES = 16_000_000
"""Entries of the matrix of dense least squares, of which there are a few copies."""
NOISE = 1e-13
"""Standard deviation of the equations' errors, relative to their largest terms."""
UNDETERMINED_NOISE = 1e-9
"""The same where the equations leave something open. Functions that solve an equation
are in the span of others only up to 1e-12, which does not exclude them."""


def needs_dense(pde: PDE, is_exact: bool) -> bool:
    """Whether an equation has no preconditioner for LSMR."""
    return pde.fields > 1 or not is_exact or bool(pde.observations)


def is_dense(
    pde: PDE,
    is_exact: bool,
    ranks: Sequence[Sequence[int]],
    num_points: Sequence[int],
) -> bool:
    """Whether a step is dense least squares, from functions and points per axis."""
    if needs_dense(pde, is_exact):
        return True
    unknowns = sum(map(math.prod, ranks))
    entries = unknowns * math.prod(num_points)
    return unknowns <= MOST_PREFERRED and entries <= MOST_ENTRIES


class System(eqx.Module):
    """The equations on a grid, and measurements.

    Attributes:
        collocation: the equations.
        measurements: observations, and conditions that are not exact.
        sizes: per field and axis, the norms of the functions.
    """

    collocation: Collocation
    measurements: tuple[Measurements, ...]
    sizes: tuple[tuple[Any, ...], ...]

    @property
    def is_dense(self) -> bool:
        """Whether a step is dense least squares; else it is by LSMR."""
        return is_dense(
            self.collocation.pde,
            self.collocation.is_lifted,
            self.collocation.shapes,
            self.collocation.grid,
        )


class Weights(eqx.Module):
    """Inverse standard deviations.

    Attributes:
        equations: per equation.
        measurements: per set of them, one for each point.
        prior: of z.
    """

    equations: Float[Array, " equations"]
    measurements: tuple[Any, ...]
    prior: Any


class Found(eqx.Module):
    """The unknowns, and how they were found."""

    z: Unknowns
    num_steps: Int[Array, ""]
    is_settled: Any


def solve_system(
    system: System,
    parameters: Any,
    z0: Unknowns,
    amplitude: Any = 1.0,
    noise: Any = 0.0,
) -> Found:
    """Return the unknowns that make the residual least.

    Args:
        system: equations and measurements.
        parameters: of the equations.
        z0: a start.
        amplitude: the prior standard deviation of the unknowns.
        noise: that of the equations' errors, as in `weights_of`.
    """
    collocation = system.collocation
    lifted = collocation.lifted(parameters)
    frozen = lax.stop_gradient((lifted, parameters))
    wanted = [m.wanted(collocation, parameters) for m in system.measurements]
    aim = lax.stop_gradient(wanted)
    weights = weights_of(system, z0, *frozen, amplitude, noise)

    def left(z: Any) -> Any:
        return collocation.residual(z, *frozen), misfits(system, z, aim)

    def size(z: Any, errors: Any) -> Any:
        return jnp.linalg.norm(_stack(weights, z, *errors))

    def correction(z: Any, errors: Any) -> Any:
        z = lax.stop_gradient(z)
        c = collocation.coefficients(z, *frozen)
        if system.is_dense:
            return _dense_step(system, weights, c, z, errors)
        return (iterative_step(system, c[0][0], errors[0][0]),)

    def advance(state: Any) -> Any:
        count, z, errors, norm, _ = state
        dz = correction(z, errors)

        def is_too_long(trial: Any) -> Any:
            return (trial[0] > SHORTEST) & ~(trial[3] < norm)

        def halve(trial: Any) -> Any:
            length = trial[0] / 2
            moved = jax.tree.map(lambda a, b: a + length * b, z, dz)
            after = left(moved)
            return length, moved, after, size(moved, after)

        # Half of twice the step is the step.
        trial = while_loop(is_too_long, halve, (jnp.asarray(2.0), z, errors, norm))
        after = trial[3]
        is_better = after < norm
        z, errors = jax.tree.map(
            lambda new, old: jnp.where(is_better, new, old), trial[1:3], (z, errors)
        )
        least = jnp.where(is_better, after, norm)
        return count + 1, z, errors, least, ~(after < SETTLED * norm)

    errors = left(z0)
    norm = size(z0, errors)
    start = (jnp.zeros((), jnp.int32), z0, errors, norm, ~(norm > 0))
    num_steps, z, _, _, is_settled = while_loop(
        lambda s: ~s[-1] & (s[0] < MAX_STEPS), advance, start
    )
    z = lax.stop_gradient(z)

    def live(z: Any) -> Any:
        return collocation.residual(z, lifted, parameters), misfits(system, z, wanted)

    # Steps of which the right-hand sides depend on the parameters.
    c = collocation.coefficients(z, *frozen)
    if not system.is_dense:
        for _ in range(DIFFERENTIABLE):
            z = (_solving(z[0], live(z)[0][0], system, c[0][0]),)
    elif collocation.pde.is_determined:
        factors = _factors(system, weights, c)
        for _ in range(DIFFERENTIABLE):
            dz = _least_squares(factors, _stack(weights, z, *live(z)), z)
            z = jax.tree.map(jnp.add, z, dz)
    else:
        z = _open_steps(
            _factors(system, weights, c),
            lambda z: _stack(weights, z, *live(z)),
            lambda z: _stack(weights, z, *left(z)),
            z,
            math.prod(collocation.grid) * len(c),
        )
    return Found(z, num_steps, is_settled)


def misfits(system: System, z: Unknowns, wanted: Any) -> tuple[Any, ...]:
    """Return what the process has too much at the measurements."""
    return tuple(
        m.predicted(z) - aim for m, aim in zip(system.measurements, wanted, strict=True)
    )


def weights_of(
    system: System,
    z: Unknowns,
    lifted: Values,
    parameters: Any,
    amplitude: Any,
    noise: Any = 0.0,
) -> Weights:
    """Return the inverse standard deviations.

    Args:
        system: equations and measurements.
        z: the unknowns at which terms of the equations are compared.
        lifted: derivatives of the lift.
        parameters: of the equations.
        amplitude: prior standard deviation of z.
        noise: standard deviation of the equations' errors, relative to their largest
            terms, if more than is assumed at least.
    """
    collocation = system.collocation
    is_determined = collocation.pde.is_determined
    noise = jnp.maximum(noise, NOISE if is_determined else UNDETERMINED_NOISE)
    c = collocation.coefficients(z, lifted, parameters)
    terms = collocation.terms(c, z, lifted, parameters)
    wanted = [m.wanted(collocation, parameters) for m in system.measurements]
    responses = _responses(system, c)
    # Of what has no term or value, as before the first step: what the prior has.
    natural = _amplitude(system, terms, responses, wanted)
    expected = jnp.where(jnp.isfinite(amplitude), amplitude, natural)
    terms = jnp.where(terms > 0, terms, expected * responses)
    terms = jnp.where(terms > 0, terms, 1)
    deviations = [
        m.deviation(aim, expected)
        for m, aim in zip(system.measurements, wanted, strict=True)
    ]
    return lax.stop_gradient(
        Weights(
            equations=1 / (noise * terms),
            measurements=tuple(1 / d for d in deviations),
            prior=1 / jnp.asarray(amplitude),
        )
    )


def natural_amplitude(system: System, z: Unknowns, parameters: Any) -> Any:
    """Return the standard deviation of z that has the size of sources and conditions.

    The prior is weak, but not whatever the unit of u.
    """
    collocation = system.collocation
    lifted = collocation.lifted(parameters)
    c = collocation.coefficients(z, lifted, parameters)
    terms = collocation.terms(c, z, lifted, parameters)
    wanted = [m.wanted(collocation, parameters) for m in system.measurements]
    found = _amplitude(system, terms, _responses(system, c), wanted)
    return lax.stop_gradient(found)


def _amplitude(system: System, terms: Any, responses: Any, wanted: Any) -> Any:
    sizes = [*terms, *(jnp.max(jnp.abs(aim)) for aim in wanted)]
    units = [*responses, *(m.largest for m in system.measurements)]
    size, unit = jnp.stack(sizes), jnp.stack(units)
    ratio = jnp.max(jnp.where(unit > 0, size / jnp.where(unit > 0, unit, 1), 0))
    return jnp.where((ratio > 0) & jnp.isfinite(ratio), ratio, 1)


def _responses(system: System, c: tuple[Values, ...]) -> Float[Array, " equations"]:
    """Bounds of the standard deviations of the equations' values for z ~ N(0, I)."""

    def response(matrices: Any, orders: Any, coefficient: Any) -> Any:
        total = jnp.max(jnp.abs(coefficient))
        for by_order, order in zip(matrices, orders, strict=True):
            total = total * jnp.max(jnp.linalg.norm(by_order[order], axis=1))
        return total

    return jnp.stack(
        [
            jnp.sum(
                jnp.stack(
                    [
                        response(matrices, orders, coefficient)
                        for matrices, own in zip(
                            system.collocation.matrices, by_field, strict=True
                        )
                        for orders, coefficient in own.items()
                    ]
                )
            )
            for by_field in c
        ]
    )


def weighted_jacobian(
    system: System, weights: Weights, c: tuple[Values, ...]
) -> Float[Array, "rows unknowns"]:
    """Return the Jacobian of equations, measurements and prior, over their errors."""
    rows = [*equation_rows(system, weights, c), *measurement_rows(system, weights)]
    rows.append(weights.prior * jnp.eye(rows[0].shape[1]))
    return jnp.concatenate(rows)


def equation_rows(
    system: System, weights: Weights, c: tuple[Values, ...]
) -> list[Float[Array, "points unknowns"]]:
    """Return the rows of each equation."""
    jacobian = system.collocation.jacobian(c)
    return [w * J for w, J in zip(weights.equations, jacobian, strict=True)]


def measurement_rows(
    system: System, weights: Weights
) -> list[Float[Array, "points unknowns"]]:
    """Return the rows of each set of measurements."""
    counts = [math.prod(shape) for shape in system.collocation.shapes]
    rows = []
    for w, m in zip(weights.measurements, system.measurements, strict=True):
        before, after = sum(counts[: m.field]), sum(counts[m.field + 1 :])
        rows.append(jnp.pad(w[:, None] * m.matrix, ((0, 0), (before, after))))
    return rows


def _stack(weights: Weights, z: Unknowns, residuals: Any, misfit: Any) -> Any:
    """All that is to be small, over its standard deviation."""
    rows = [w * F.ravel() for w, F in zip(weights.equations, residuals, strict=True)]
    rows += [w * e for w, e in zip(weights.measurements, misfit, strict=True)]
    return jnp.concatenate([*rows, weights.prior * ravel_pytree(z)[0]])


def _dense_step(
    system: System, weights: Weights, c: tuple[Values, ...], z: Unknowns, errors: Any
) -> Any:
    """The least-squares step, by QR; the rows descend in size as it asks for."""
    factors = _factors(system, weights, c)
    return _least_squares(factors, _stack(weights, z, *errors), z)


def _factors(system: System, weights: Weights, c: tuple[Values, ...]) -> Any:
    """Q and R of the Jacobian."""
    return lax.stop_gradient(jnp.linalg.qr(weighted_jacobian(system, weights, c)))


def _least_squares(factors: Any, errors: Any, z: Unknowns) -> Any:
    Q, R = factors
    _, unravel = ravel_pytree(z)
    return unravel(-solve_triangular(R, Q.T @ errors))


def _balanced(Q: Any, r: Any, num_equations: int) -> Any:
    """Return r with what the equations must leave for Jᵀr = 0.

    What they leave is small and lost in rounding. By least norm it follows from the
    other rows, whose part of Jᵀr it balances.
    """
    top, rest = Q[:num_equations], Q[num_equations:]
    aim = rest.T @ r[num_equations:]
    y = aim
    for _ in range(BALANCING):
        y = y + aim - top.T @ (top @ y)
    return r.at[:num_equations].set(-top @ y)


def _open_steps(
    factors: Any, live: Any, frozen: Any, z: Unknowns, num_equations: int
) -> Unknowns:
    """The differentiable steps for Jᵀr = 0 where r is not zero.

    With H = RᵀR + Σ_i r_i ∇²r_i and R⁻ᵀJᵀr = Qᵀr + R⁻ᵀ(J - QR)ᵀr, where the difference
    of J from that at z is zero but for its derivatives.

    Args:
        factors: Q and R of J at z.
        live: r as a function of z.
        frozen: the same, whose parameters have no derivatives.
        z: the solution, without derivatives.
        num_equations: rows of r that are equations, which come first.
    """
    Q, R = factors
    start, unravel = ravel_pytree(z)
    r = lax.stop_gradient(_balanced(Q, frozen(z), num_equations))

    def slope(function: Any, flat: Any, cotangent: Any) -> Any:
        return jax.vjp(lambda f: function(unravel(f)), flat)[1](cotangent)[0]

    curvature = lax.stop_gradient(
        jax.jacfwd(lambda flat: slope(frozen, flat, r))(start)
    )
    half = solve_triangular(R, curvature, trans=1)
    curved = jnp.eye(len(start)) + solve_triangular(R, half.T, trans=1)
    curved = lax.stop_gradient(curved)
    flat = start
    for _ in range(DIFFERENTIABLE):
        errors = live(unravel(flat))
        # The derivative of r is in Qᵀr already; twice, with two signs, it is rounding.
        change = slope(live, flat, r) - slope(frozen, start, r)
        q = Q.T @ errors + solve_triangular(R, change, trans=1)
        kept = lax.stop_gradient(q)
        flat = flat - solve_triangular(R, kept + jnp.linalg.solve(curved, q - kept))
    return unravel(flat)


def iterative_step(
    system: System, c: dict[Any, Any], F: Any, max_steps: int = MAX_LSMR_STEPS
) -> Any:
    """Return the least-squares step of one field without measurements, by LSMR."""
    scaled, _ = _projection(system)

    def mv(y: Any) -> Any:
        total = 0.0
        for orders, coefficient in c.items():
            factors = [m[o] for m, o in zip(scaled, orders, strict=True)]
            total = total + coefficient * mode_products(factors, y)
        return jnp.asarray(total)

    y = solvers.solve(
        Function(mv, jax.ShapeDtypeStruct(system.collocation.shapes[0], F.dtype)),
        -F,
        solvers.LSMR(rtol=1e-11, max_steps=max_steps),
        preconditioner=solvers.Sylvester()(_mean_operator(system, c)),
        throw=False,
    ).value
    return _unscaled(system, y)


@jax.custom_jvp
def _solving(z: Any, F: Any, system: System, c: dict[Any, Any]) -> Any:
    """Return z, whose derivative is that of z - J⁻¹F.

    No step is taken, nor compiled, where there is nothing to differentiate.
    """
    del F, system, c
    return z


@_solving.defjvp
def _(primals: Any, tangents: Any) -> Any:
    z, F, system, c = primals
    dz, dF, *_ = tangents

    def step(change: Any) -> Any:
        return iterative_step(system, c, change, MAX_DERIVATIVE_STEPS)

    # A derivative of a solve can be transposed, the solve itself cannot.
    _, moved = jax.jvp(step, (jnp.zeros_like(F),), (dF,))
    return _solving(z, F, system, c), dz + moved


def _unscaled(system: System, y: Any) -> Any:
    """The coefficients of the functions, from those of functions of unit norm."""
    for axis, size in enumerate(system.sizes[0]):
        y = y / size.reshape([-1 if d == axis else 1 for d in range(y.ndim)])
    return y


def _projection(system: System) -> tuple[list[dict[int, Any]], list[Any]]:
    """Per axis, functions of unit norm with their derivatives, and their transposes."""
    (matrices,), (sizes,) = system.collocation.matrices, system.sizes
    scaled = [
        {order: matrix / size[None, :] for order, matrix in by_order.items()}
        for by_order, size in zip(matrices, sizes, strict=True)
    ]
    return scaled, [by_order[0].T for by_order in scaled]


def _mean_operator(system: System, c: dict[Any, Any]) -> KroneckerSum:
    """The projected equation with the mean of each coefficient."""
    return KroneckerSum(*map(Dense, _mean_lines(c, *_projection(system))))


def smallest_mean_response(system: System, z: Unknowns, parameters: Any) -> Any:
    """Return the smallest |Aw|/|w| of the mean operator, by its eigenvalues, and |c_0|.

    c_0 is the mean of the coefficient of u. On concrete values.
    """
    c = _coefficients(system, z, parameters)
    lines = _mean_lines(c, *_projection(system))
    total = np.zeros(())
    for line in lines:
        total = total[..., None] + np.linalg.eigvals(np.asarray(line))
    zero = (0,) * len(lines)
    return np.min(np.abs(total)), float(jnp.abs(jnp.mean(c[zero])))


@eqx.filter_jit
def _coefficients(system: System, z: Unknowns, parameters: Any) -> Any:
    lifted = system.collocation.lifted(parameters)
    return system.collocation.coefficients(z, lifted, parameters)[0][0]


def inverse_operator(
    system: System, z: Unknowns, parameters: Any
) -> AbstractLinearOperator:
    """Return the operator from sources on the grid to solutions on it."""
    collocation = system.collocation
    (matrices,) = collocation.matrices
    grid = jax.ShapeDtypeStruct(collocation.grid, jnp.float64)
    lifted = collocation.lifted(parameters)
    c = collocation.coefficients(z, lifted, parameters)
    if system.is_dense:
        amplitude = natural_amplitude(system, z, parameters)
        weights = weights_of(system, z, lifted, parameters, amplitude)
        Q, R = jnp.linalg.qr(weighted_jacobian(system, weights, c))
        rows = Q[: math.prod(collocation.grid)]

        def apply(f: Any) -> Any:
            y = rows.T @ (weights.equations[0] * f.ravel())
            own = solve_triangular(R, y).reshape(z[0].shape)
            return mode_products([m[0] for m in matrices], own)

        return Function(apply, grid)
    scaled, tests = _projection(system)
    M = solvers.Sylvester()(_mean_operator(system, c[0][0]))

    def project(f: Any) -> Any:
        return mode_products([m[0] for m in scaled], M.mv(mode_products(tests, f)))

    return Function(project, grid)


def _mean_lines(
    c: dict[Any, Any], scaled: list[dict[int, Any]], tests: list[Any]
) -> list[Any]:
    """The one-dimensional operators with the means of the coefficients.

    Derivatives along several axes at once have no part in it.
    """
    lines = [jnp.zeros((test.shape[0], test.shape[0])) for test in tests]
    for orders, coefficient in c.items():
        axes = [axis for axis, order in enumerate(orders) if order]
        if len(axes) > 1:
            continue
        axis = axes[0] if axes else 0
        product = tests[axis] @ scaled[axis][orders[axis]]
        lines[axis] = lines[axis] + jnp.mean(coefficient) * product
    return lines


def mean_response(system: System, c: dict[Any, Any]) -> Any:
    """Return the function from an error of the equation to that of z.

    By the projected equation with the mean of each coefficient.
    """
    M = solvers.Sylvester()(_mean_operator(system, c))
    _, tests = _projection(system)
    return lambda error: _unscaled(system, M.mv(mode_products(tests, error)))


@eqx.filter_jit
def perturbed(
    system: System, z: Unknowns, parameters: Any, noise: Any, keys: Any
) -> Unknowns:
    """Return solutions with errors drawn for the equation.

    Where the equation determines the unknowns, these are draws of the posterior; that
    of the projected equation with the mean of each coefficient.
    """
    collocation = system.collocation
    lifted = collocation.lifted(parameters)
    (c,) = collocation.coefficients(z, lifted, parameters)
    terms = collocation.largest_terms(z, lifted, parameters)
    respond = mean_response(system, c[0])

    def draw(key: Any) -> Any:
        error = noise * terms[0] * jax.random.normal(key, collocation.grid)
        return (z[0] + respond(error),)

    return jax.lax.map(draw, keys)
