"""A time step: a Runge-Kutta method of third order, with a projection in each stage.

uᵏ = P(uᵏ⁻¹ + Δt (γₖ N(uᵏ⁻¹) + ζₖ N(uᵏ⁻²))), k = 1, 2, 3, where N is convection,
diffusion and force, and P the projection onto flows without divergence. A. Wray's
coefficients, which need two fields to be kept: P. R. Spalart, R. D. Moser, M. M.
Rogers, J. Comput. Phys. 96 (1991), doi:10.1016/0021-9991(91)90238-G, appendix A.

A constant flux is a force that is uniform in space: after each stage a constant is
added to u, which leaves divergence and order as they are.
"""

from collections.abc import Callable

from jaxtyping import Array, Float

from ._grid import StaggeredGrid
from ._operators import Velocity, bulk_velocity

NEW = (8 / 15, 5 / 12, 3 / 4)
OLD = (0.0, -17 / 60, -5 / 12)


def runge_kutta_step(
    velocity: Velocity,
    dt: Float[Array, ""],
    acceleration: Callable[[Velocity], Velocity],
    constrain: Callable[[Velocity], Velocity],
) -> Velocity:
    """Return the velocity one step later.

    Args:
        velocity: at the start, without divergence.
        dt: the step.
        acceleration: N.
        constrain: P, and what else is to hold after each stage.
    """
    old = velocity
    for new_weight, old_weight in zip(NEW, OLD, strict=True):
        new = acceleration(velocity)
        # The first stage has nothing before it.
        slopes = (
            new_weight * n + old_weight * o if old_weight else new_weight * n
            for n, o in zip(new, old, strict=True)
        )
        u, v, w = (q + dt * slope for q, slope in zip(velocity, slopes, strict=True))
        velocity = constrain((u, v, w))
        old = new
    return velocity


def with_flux(
    velocity: Velocity, target: Float[Array, ""], grid: StaggeredGrid
) -> Velocity:
    """Return the velocity with this mean over the volume."""
    u, v, w = velocity
    return u + (target - bulk_velocity(u, grid)), v, w
