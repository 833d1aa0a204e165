"""LSMR, for least-squares problems of any shape and rank.

D. C.-L. Fong and M. Saunders, LSMR: an iterative algorithm for sparse least-squares
problems, SIAM J. Sci. Comput. 33 (2011), doi:10.1137/10079687X. Of all y in the Krylov
space of BᴴB and Bᴴr it takes the one with the least ‖Bᴴ(r − B y)‖: MINRES for the
normal equations, of which it never forms the product. Letters are those of section 2.8
of the paper, with its A called B; ρ' and the like are rho_bar, θ_{k+1} is theta_new.

Differs from the paper:
1. Damping and a preconditioner are part of B: ../_least_squares.py makes them so.
2. ‖B‖ is estimated by the longest column or row of the bidiagonal matrix, a lower
   bound, and not by its Frobenius norm, which grows with the steps.
3. No estimate of the condition number, and no limit on it.
4. Where the recurrence has met the tolerance, the residuals are computed anew, and the
   iteration begins again from them if they do not meet it.
"""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from typing_extensions import override

from ...operators._arithmetic import add_scaled, ratio, root, zeros_like
from ...operators._control_flow import while_loop
from ...operators._field import Field
from ..core._history import History
from ..core._inner_product import InnerProduct
from ..core._least_squares import (
    AbstractLeastSquares,
    Correction,
    LeastSquaresSystem,
)
from ..core._status import RUNNING, Status, first_of
from ..core._stopping import as_max_steps, require_damping, require_settings
from ._golub_kahan import GolubKahan, golub_kahan_step, start_golub_kahan


class _Rotations(eqx.Module):
    """The two QR factorisations, of the bidiagonal matrix and of its triangle."""

    alpha_bar: Float[Array, ""]
    rho: Float[Array, ""]
    rho_bar: Float[Array, ""]
    c_bar: Float[Array, ""]
    s_bar: Float[Array, ""]
    zeta: Float[Array, ""]
    zeta_bar: Float[Array, ""]  # ± the norm of Bᴴ(r − B y), B in its unit


class _ResidualNorm(eqx.Module):
    """What section 5.1 of the paper keeps to estimate ‖r − B y‖."""

    beta_dd: Float[Array, ""]
    beta_d: Float[Array, ""]
    rho_d: Float[Array, ""]
    tau: Float[Array, ""]
    theta: Float[Array, ""]


class _State(eqx.Module):
    """Between steps."""

    y: Field
    h: Field
    h_bar: Field
    basis: GolubKahan
    rotations: _Rotations
    residual: _ResidualNorm
    norm: Float[Array, ""]
    num_steps: Int[Array, ""]
    history: History


class LSMR(AbstractLeastSquares):
    """LSMR, for min ‖A x − b‖² + damping² ‖x‖² with an operator of any shape and rank.

    It asks for products with A and Aᴴ. Of several solutions it returns the one with the
    least ‖x‖, of a consistent system that with A x = b. Both ‖b − A x‖ and the residual
    of the normal equations fall in every step.

    A preconditioner is an operator M on the same fields as x, with an adjoint; the
    problem is solved for y with x = M y, and is fast where the columns of (A; damping
    I) M are nearly orthonormal: M Mᴴ is near the inverse of AᴴA + damping². It changes
    the speed and not the solution, unless there are several: then it is the one with
    the least ‖y‖, and for M without an inverse the one among all M y. The damping
    measures x; for a prior on y give the operator `A @ M` and no preconditioner.

    Args:
        rtol: relative tolerance: ‖r‖ ≤ rtol ‖b‖ or ‖Aᴴr‖ ≤ rtol ‖A‖ ‖r‖, for r = b − A
            x, with damping for (A; damping I) and (b; 0) in place of A and b.
        atol: absolute tolerance on ‖r‖.
        damping: the weight of ‖x‖, zero or positive; a traced one has derivatives.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`, or one of
        the general ones.

    Raises:
        ValueError: tolerances, damping or max_steps out of range.

    Cost: per step 1 product with A, 1 with Aᴴ, as many with M and Mᴴ, and 2 reductions;
    per solve 1 of each more and the certificate. 6 fields like x and 3 like b besides
    b; with damping those like b are longer by a field like x.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Dense(jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]))
        >>> b = jnp.array([6.0, 0.0, 0.0])
        >>> kx.solve(A, b, kx.solvers.LSMR(rtol=1e-10)).value.round(6)
        Array([ 5., -3.], dtype=float64)

    References:
        D. C.-L. Fong, M. Saunders, SIAM J. Sci. Comput. 33 (2011),
        doi:10.1137/10079687X.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    damping: Any = 0.0
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self) -> None:
        require_settings(self)
        require_damping(self)

    @override
    def correct(
        self, system: LeastSquaresSystem, num_steps: Int[Array, ""], history: History
    ) -> Correction:
        state = self._start(system, num_steps, history)
        beta = state.norm

        def is_going_on(state: _State) -> Bool[Array, ""]:
            return (_status(system, state, beta) == RUNNING) & (
                state.num_steps < self.max_steps
            )

        state = while_loop(is_going_on, lambda s: self._step(system, s), state)
        ended = _status(system, state, beta)
        return Correction(
            value=state.y,
            operator_norm=state.basis.unit * state.basis.largest,
            status=jnp.where(ended == Status.converged, RUNNING, ended),
            num_steps=state.num_steps,
            num_matvecs=1 + 2 * (state.num_steps - num_steps),
            history=state.history,
        )

    def _start(
        self, system: LeastSquaresSystem, num_steps: Int[Array, ""], history: History
    ) -> _State:
        basis = start_golub_kahan(system.operator, system.r, self.inner_product)
        zero, one = jnp.zeros_like(basis.alpha), jnp.ones_like(basis.alpha)
        return _State(
            y=zeros_like(basis.v),
            h=basis.v,
            h_bar=zeros_like(basis.v),
            basis=basis,
            rotations=_Rotations(
                basis.alpha, one, one, one, zero, zero, basis.alpha * basis.beta
            ),
            residual=_ResidualNorm(basis.beta, zero, one, zero, zero),
            norm=basis.beta,
            num_steps=num_steps,
            history=history,
        )

    def _step(self, system: LeastSquaresSystem, state: _State) -> _State:
        before = state.rotations
        basis = golub_kahan_step(system.operator, state.basis, self.inner_product)
        # Steps 3 to 5 of the algorithm, in the order of its section 2.8.
        c, s, rho = _rotate(before.alpha_bar, basis.beta)
        theta_new = s * basis.alpha
        theta_bar = before.s_bar * rho
        c_bar, s_bar, rho_bar = _rotate(before.c_bar * rho, theta_new)
        rotations = _Rotations(
            alpha_bar=c * basis.alpha,
            rho=rho,
            rho_bar=rho_bar,
            c_bar=c_bar,
            s_bar=s_bar,
            zeta=c_bar * before.zeta_bar,
            zeta_bar=-s_bar * before.zeta_bar,
        )
        shrink = ratio(theta_bar * rho, before.rho * before.rho_bar)
        h_bar = add_scaled(state.h, -shrink, state.h_bar)
        stride = ratio(ratio(rotations.zeta, rho * rho_bar), basis.unit)
        residual, norm = _next_norm(state.residual, before, rotations, c, s)
        num_steps = state.num_steps + 1
        return replace(
            state,
            y=add_scaled(state.y, stride, h_bar),
            h=add_scaled(basis.v, -ratio(theta_new, rho), state.h),
            h_bar=h_bar,
            basis=basis,
            rotations=rotations,
            residual=residual,
            norm=norm,
            num_steps=num_steps,
            history=state.history.record(num_steps, norm / system.scale),
        )


def _status(
    system: LeastSquaresSystem, state: _State, beta: Float[Array, ""]
) -> Int[Array, ""]:
    normal = jnp.abs(state.rotations.zeta_bar)
    largest = state.basis.largest
    is_small = normal <= system.normal_target * largest * state.norm
    # Below it the recurrence knows nothing more of r.
    is_rounding = normal <= jnp.finfo(normal.dtype).eps * largest * beta
    has_met = (state.norm <= system.target) | is_small | is_rounding
    return first_of(
        (~jnp.isfinite(normal), Status.nonfinite), (has_met, Status.converged)
    )


def _next_norm(
    state: _ResidualNorm,
    before: _Rotations,
    after: _Rotations,
    c: Float[Array, ""],
    s: Float[Array, ""],
) -> tuple[_ResidualNorm, Float[Array, ""]]:
    """Rotate the triangle from the left once more; its last rows are the residual."""
    theta_bar = before.s_bar * after.rho
    beta_hat, beta_dd = c * state.beta_dd, -s * state.beta_dd
    c_tilde, s_tilde, rho_tilde = _rotate(state.rho_d, theta_bar)
    theta = s_tilde * after.rho_bar
    rho_d = c_tilde * after.rho_bar
    beta_d = -s_tilde * state.beta_d + c_tilde * beta_hat
    tau = ratio(before.zeta - state.theta * state.tau, rho_tilde)
    tau_d = ratio(after.zeta - theta * tau, rho_d)
    norm = root((beta_d - tau_d) ** 2 + beta_dd**2)
    return _ResidualNorm(beta_dd, beta_d, rho_d, tau, theta), norm


def _rotate(
    a: Float[Array, ""], b: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Return c, s and ρ with c a + s b = ρ and s a = c b; c = 1 where both are zero."""
    rho = root(a**2 + b**2)
    return jnp.where(rho > 0, ratio(a, rho), 1), ratio(b, rho), rho
