"""The projected equation with the mean of each coefficient: separable, and direct.

With functions U = Φ S⁻¹ of unit norm, J̄ the equation with the mean of each coefficient,
(⊗ Uᵀ) J̄ (⊗ S⁻¹) is a Sylvester equation of the lines T = Uᵀ D, D the derivatives of U
along an axis. Where coefficients are constant and the span of U is closed under
derivatives, J times its inverse is ⊗ U, orthonormal.

Of functions nearly as many as points D leaves the span, and T is far too small on some:
Poisson's equation on 20³ points did not converge in 5000 steps of LSMR, and does in 33
with the lines Q (DᵀD)^½, as large as D on every function, Q the orthogonal matrix
nearest to T (DᵀD)^-½ (N. J. Higham, Functions of Matrices, 2008, §8).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ... import solvers
from ...operators import Dense, KroneckerSum
from ...operators._arithmetic import ratio
from ._basis import mode_products
from ._collocation import Unknowns
from ._system import System


def projection(system: System) -> tuple[list[dict[int, Any]], list[Any]]:
    """Per axis, functions of unit norm with their derivatives, and their transposes."""
    (matrices,), (sizes,) = system.collocation.matrices, system.sizes
    scaled = [
        {order: matrix / size[None, :] for order, matrix in by_order.items()}
        for by_order, size in zip(matrices, sizes, strict=True)
    ]
    return scaled, [by_order[0].T for by_order in scaled]


def mean_operator(system: System, c: dict[Any, Any]) -> KroneckerSum:
    """The projected equation with the mean of each coefficient, of derivative zero."""
    c, (scaled, tests) = jax.lax.stop_gradient((c, projection(system)))
    pairs = zip(tests, _mean_derivatives(c, scaled, tests), strict=True)
    return KroneckerSum(*[Dense(_line(test, D)) for test, D in pairs])


def _mean_derivatives(
    c: dict[Any, Any], scaled: list[dict[int, Any]], tests: list[Any]
) -> list[Any]:
    """Per axis, the derivatives of its functions, times the means of the coefficients.

    Derivatives along several axes at once have no part in it.
    """
    along = [jnp.zeros(test.T.shape) for test in tests]
    for orders, coefficient in c.items():
        axes = [axis for axis, order in enumerate(orders) if order]
        if len(axes) > 1:
            continue
        axis = axes[0] if axes else 0
        along[axis] += jnp.mean(coefficient) * scaled[axis][orders[axis]]
    return along


def _line(test: Any, D: Any) -> Any:
    """Return the projection of D, rescaled to the norm of D on each function."""
    _, sizes, right = jnp.linalg.svd(D, full_matrices=False)
    # T (DᵀD)^-½ in the basis of the right singular vectors, without its zeros.
    turned = test @ (D @ right.T) * ratio(1, sizes)[None, :]
    left, _, nearest = jnp.linalg.svd(turned, full_matrices=False)
    return (left @ nearest * sizes[None, :]) @ right


def unscaled(system: System, y: Any) -> Any:
    """The coefficients of the functions, from those of functions of unit norm."""
    for axis, size in enumerate(system.sizes[0]):
        y = y / size.reshape([-1 if d == axis else 1 for d in range(y.ndim)])
    return y


def mean_response(system: System, c: dict[Any, Any]) -> Any:
    """Return the function from an error of the equation to that of z.

    By the projected equation with the mean of each coefficient.
    """
    M = solvers.Sylvester()(mean_operator(system, c))
    _, tests = projection(system)
    return lambda error: unscaled(system, M.mv(mode_products(tests, error)))


def smallest_mean_response(system: System, z: Unknowns, parameters: Any) -> Any:
    """Return the smallest |Aw|/|w| of the mean operator, by its eigenvalues, and |c_0|.

    c_0 is the mean of the coefficient of u. On concrete values.
    """
    c = _coefficients(system, z, parameters)
    scaled, tests = projection(system)
    total = np.zeros(())
    for test, D in zip(tests, _mean_derivatives(c, scaled, tests), strict=True):
        total = total[..., None] + np.linalg.eigvals(np.asarray(test @ D))
    zero = (0,) * len(tests)
    return np.min(np.abs(total)), float(jnp.abs(jnp.mean(c[zero])))


@eqx.filter_jit
def _coefficients(system: System, z: Unknowns, parameters: Any) -> Any:
    lifted = system.collocation.lifted(parameters)
    return system.collocation.coefficients(z, lifted, parameters)[0][0]


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
