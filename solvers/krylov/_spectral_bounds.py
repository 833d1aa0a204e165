"""Estimates of the extreme eigenvalues, by a few Lanczos steps.

Largest: Y. Zhou and R.-C. Li, Bounding the spectrum of large Hermitian matrices, Linear
Algebra Appl. 435 (2011), doi:10.1016/j.laa.2010.06.034: the largest Ritz value and the
norm of what the last step leaves, β_{m+1} |e_mᵀy|.

Differs from the paper: nothing known.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._arguments import require_count, require_key
from ...operators._check import random_field
from ...operators._control_flow import scan
from ...operators._field import Field, real_dtype
from ...operators._operator import require_operator
from ..core._arguments import require_inner_product
from ..core._inner_product import InnerProduct
from ..core._solver import LinearSystem
from ._lanczos import Lanczos, lanczos_step, start_lanczos

EUCLIDEAN = InnerProduct()


def spectral_bounds(
    A: AbstractLinearOperator,
    preconditioner: AbstractOperator | None = None,
    *,
    key: PRNGKeyArray,
    num_steps: int = 20,
    inner_product: InnerProduct = EUCLIDEAN,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Estimate the least and the largest eigenvalue of M⁻¹A, as `Chebyshev` needs them.

    For hermitian A and M, M positive definite. The least comes from inside, so the true
    one may be smaller (which slows Chebyshev); the largest is an upper bound but for
    directions of which the random start has almost nothing.

    Args:
        A: the operator.
        preconditioner: M⁻¹, `None` for the identity.
        key: for the random start.
        num_steps: of the Lanczos recurrence.
        inner_product: how fields are reduced to numbers.

    Returns:
        The two estimates, real scalars.

    Raises:
        ValueError: num_steps below 1, or a key that is none.
        TypeError: A, the preconditioner or the inner product is something else.

    Cost: `num_steps` products, one preconditioner call more, 4 vectors.

    Examples:
        >>> import jax, krylax as kx
        >>> A = kx.operators.Laplacian((50,))
        >>> bounds = kx.solvers.spectral_bounds(A, key=jax.random.key(0), num_steps=50)
        >>> [round(float(bound), 3) for bound in bounds]
        [0.004, 3.996]

    References:
        Y. Zhou, R.-C. Li, Linear Algebra Appl. 435 (2011),
        doi:10.1016/j.laa.2010.06.034.
    """
    require_operator(A)
    if preconditioner is not None:
        require_operator(preconditioner, "preconditioner")
    require_key(key)
    require_count(num_steps, "num_steps")
    require_inner_product(inner_product)
    start = random_field(A.in_structure, key)
    one = jnp.ones((), real_dtype(A.in_structure))
    system = LinearSystem(
        operator=A,
        preconditioner=preconditioner,
        b=start,
        x0=start,
        r0=start,
        target=one,
        scale=one,
    )
    return ritz_bounds(system, start, num_steps, inner_product)


def ritz_bounds(
    system: LinearSystem, r: Field, num_steps: int, inner_product: InnerProduct
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """As `spectral_bounds`, from a given start."""

    def body(state: Lanczos, _: None) -> tuple[Lanczos, tuple[Array, Array]]:
        Az = system.operator.mv(state.z)
        state = lanczos_step(system, state, Az, inner_product)
        return state, (state.alpha, state.beta)

    # Bounds steer an iteration; how they depend on A is nobody's derivative.
    system, r = lax.stop_gradient((system, r))
    start, _ = start_lanczos(system, r, inner_product)
    state, (alphas, betas) = scan(body, start, length=num_steps)
    # Behind an exhausted space T is filled with what is no new extreme value.
    is_inside = jnp.cumprod(betas[:-1] > 0, dtype=jnp.int32) > 0
    alphas = jnp.concatenate([alphas[:1], jnp.where(is_inside, alphas[1:], alphas[0])])
    T = jnp.diag(alphas) + jnp.diag(betas[:-1], 1) + jnp.diag(betas[:-1], -1)
    ritz, Y = jnp.linalg.eigh(T)
    left = betas[-1] * jnp.abs(Y[-1, -1])
    return state.unit * ritz[0], state.unit * (ritz[-1] + left)
