"""The equations of the paper, with the numbers of points of its code.

Poisson is Δu = f, Allen-Cahn Δu + u (u² - 1) = f, f made of the solution; Dirichlet
values on all faces, from the solution. Where the paper's text and its code differ, both
are here. Errors and seconds are those of the authors' logs for the settings nearest to
the final ones; the errors are the least of 20 checkpoints, measured by the solution.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from rows import Logged, Row, laplacian, laplacian_of

from krylax.learned.gaussian_process import Dirichlet, Initial

PI = np.pi
UNIT, ROUND = (0.0, 1.0), (0.0, 2 * PI)
SPEED = 200.0


def poisson(
    name: str,
    formula: str,
    u: Callable[..., Any],
    domain: Sequence[tuple[float, float]],
    num_points: int,
    **more: Any,
) -> Row:
    """Δu = f."""
    num_axes = len(domain)
    f = laplacian(u, num_axes)
    return Row(
        name,
        f"Poisson, {formula}, {_box(domain)}",
        domain,
        lambda x, v: laplacian_of(v, num_axes) - f(*x),
        [Dirichlet(u)],
        u,
        num_points,
        **more,
    )


def allen_cahn(
    name: str,
    formula: str,
    u: Callable[..., Any],
    domain: Sequence[tuple[float, float]],
    num_points: int,
    **more: Any,
) -> Row:
    """Δu + u (u² - 1) = f."""
    num_axes = len(domain)
    Lu = laplacian(u, num_axes)

    def f(*x: Any) -> Any:
        return Lu(*x) + u(*x) * (u(*x) ** 2 - 1)

    return Row(
        name,
        f"Allen-Cahn, {formula}, {_box(domain)}",
        domain,
        lambda x, v: laplacian_of(v, num_axes) + v() * (v() ** 2 - 1) - f(*x),
        [Dirichlet(u)],
        u,
        num_points,
        **more,
    )


def advection(name: str, how: str, conditions: Sequence[Any], **more: Any) -> Row:
    """200 u_x + u_t = 0, u = sin(x - 200 t)."""
    return Row(
        name,
        f"advection at speed 200, {how}, [0, 1]²",
        [UNIT, UNIT],
        lambda x, v: SPEED * v(1, 0) + v(0, 1),
        conditions,
        wave,
        200,
        **more,
    )


def _box(domain: Sequence[tuple[float, float]]) -> str:
    side = "[0, 2π]" if domain[0][1] > 1 else "[0, 1]"
    return side + {1: "", 2: "²"}[len(domain)]


def wave(x: Any, t: Any) -> Any:
    """Of the advection."""
    return jnp.sin(x - SPEED * t)


def p1(x: Any) -> Any:
    """One frequency."""
    return jnp.sin(100 * x)


def p2_sin(x: Any) -> Any:
    """Three frequencies, as in the code."""
    return jnp.sin(x) + 0.1 * jnp.sin(20 * x) + 0.05 * jnp.sin(100 * x)


def p2_cos(x: Any) -> Any:
    """Three frequencies, as in the text."""
    return jnp.sin(x) + 0.1 * jnp.sin(20 * x) + 0.05 * jnp.cos(100 * x)


def p3(x: Any) -> Any:
    """Frequencies 94 and 106."""
    return jnp.sin(6 * x) * jnp.cos(100 * x)


def p4(x: Any) -> Any:
    """An amplitude that grows."""
    return x * jnp.sin(200 * x)


def p5(x: Any) -> Any:
    """A wave on a parabola."""
    return jnp.sin(500 * x) - 2 * (x - 0.5) ** 2


def p6(x: Any, y: Any) -> Any:
    """One frequency in each direction."""
    return jnp.sin(100 * x) * jnp.sin(100 * y)


def p7_code(x: Any, y: Any) -> Any:
    """A sum of functions of one coordinate, as in the code."""
    return jnp.sin(6 * x) * jnp.cos(20 * x) + jnp.sin(6 * y) * jnp.cos(20 * y)


def p7_text(x: Any, y: Any) -> Any:
    """As in the figures."""
    return jnp.sin(6 * x) * jnp.sin(20 * x) + jnp.sin(6 * y) * jnp.sin(20 * y)


def a3(x: Any, y: Any) -> Any:
    """Three frequencies in each direction."""

    def p(s: Any) -> Any:
        return jnp.sin(s) + 0.1 * jnp.sin(20 * s) + jnp.cos(100 * s)

    return p(x) * p(y)


MIXED = "sin x + 0.1 sin 20x + 0.05 {} 100x"
TRIVIAL = "Exact conditions make it trivial: the blending of its boundary values is u."
LOGGED_P2 = {
    "unit": Logged((3.51e-4, 4667), (5.45e-4, 5045), (0.169, 3024), (0.403, 4392)),
    "round": Logged((2.13e-3, 4452), (2.73e-3, 3044), (0.973, None), (0.989, None)),
}
LOGGED_P6 = Logged((6.46e-5, 5586), (6.87e-5, 8209), (1.0, 2944), (0.629, 4178))
LOGGED_P7 = Logged((1.06e-3, 6132), (1.02e-3, 6627), (0.953, 5329), (3.55e-2, 5750))

ROWS = [
    poisson(
        "P1",
        "sin 100x",
        p1,
        [ROUND],
        400,
        target=5e-6,
        logged=Logged((3.99e-7, 1329), (6.53e-7, 1665), (2.7e-2, 561), (3.32e-2, 696)),
    ),
    *(
        poisson(
            f"P2 {name}",
            MIXED.format(last),
            u,
            [interval],
            900,
            target=1e-5,
            logged=LOGGED_P2[where] if last == "sin" else None,
        )
        for where, interval, suffix in (("unit", UNIT, "1"), ("round", ROUND, "2π"))
        for last, u in (("sin", p2_sin), ("cos", p2_cos))
        for name in (f"{last} {suffix}",)
    ),
    poisson(
        "P3",
        "sin 6x cos 100x",
        p3,
        [ROUND],
        400,
        target=5e-6,
        logged=Logged((1.52e-6, 1329), (3.54e-6, 1663), (1.0, None), (5.16e-2, 690)),
    ),
    poisson(
        "P4",
        "x sin 200x",
        p4,
        [ROUND],
        900,
        target=1e-4,
        logged=Logged((1.55e-6, 6043), (8.98e-7, 7451), (0.32, 2206), (1.83e-2, 2780)),
    ),
    poisson("P4 500", "x sin 200x", p4, [ROUND], 500, target=1e-4),
    poisson(
        "P4 400",
        "x sin 200x",
        p4,
        [ROUND],
        400,
        logged=Logged((0.889, None), (3.97e-3, None), (0.766, None), (0.765, None)),
        note="Two points per wavelength are 400: it must warn.",
    ),
    poisson(
        "P5",
        "sin 500x - 2 (x - 0.5)²",
        p5,
        [UNIT],
        400,
        target=1e-4,
        logged=Logged((1.82e-3, 4033), (4.22e-4, 5705), (0.975, None), (0.629, None)),
    ),
    poisson(
        "P6 300",
        "sin 100x sin 100y",
        p6,
        [ROUND] * 2,
        300,
        target=6e-5,
        logged=Logged((4.69e-6, None), (1.5e-4, None)),
    ),
    poisson(
        "P6",
        "sin 100x sin 100y",
        p6,
        [ROUND] * 2,
        400,
        target=6e-5,
        logged=LOGGED_P6,
    ),
    poisson(
        "P7 code",
        "sin 6x cos 20x + sin 6y cos 20y",
        p7_code,
        [ROUND] * 2,
        200,
        target=1e-3,
        logged=LOGGED_P7,
        note=TRIVIAL,
    ),
    poisson(
        "P7 text",
        "sin 6x sin 20x + sin 6y sin 20y",
        p7_text,
        [ROUND] * 2,
        200,
        target=1e-3,
        note=TRIVIAL,
    ),
    allen_cahn(
        "A1",
        "sin 100x",
        p1,
        [ROUND],
        400,
        target=1e-5,
        logged=Logged(
            (7.71e-7, 1998), (4.90e-6, 2333), (2.75e-2, 847), (3.33e-2, 1164)
        ),
    ),
    allen_cahn(
        "A2",
        "sin 6x cos 100x",
        p3,
        [ROUND],
        400,
        target=1e-5,
        logged=Logged(
            (4.24e-6, 1996), (4.76e-6, 2319), (1.06e-2, 850), (5.16e-2, 1154)
        ),
    ),
    allen_cahn(
        "A3",
        "p(x) p(y), p(s) = sin s + 0.1 sin 20s + cos 100s",
        a3,
        [UNIT] * 2,
        200,
        target=1e-4,
        logged=Logged(
            (2.58e-3, 15926), (5.68e-3, 18244), (0.343, 12506), (0.295, 14460)
        ),
    ),
    advection(
        "advection 4",
        "values on all four sides",
        [Dirichlet(wave)],
        target=1e-4,
        logged=Logged(
            (1.35e-3, 9654), (1.43e-4, 11152), (1.15e-2, 6311), (2.29e-2, 7034)
        ),
        note="As in the paper: u at the final time and at the outflow is data.",
    ),
    advection(
        "advection",
        "initial and inflow values only",
        [
            Initial(lambda x: wave(x, 0.0)),
            Dirichlet(wave, faces=[(0, "low")]),
        ],
        target=1e-4,
        logged=Logged(None, (0.995, 2231)),
        note="The logged run had initial values only.",
    ),
]
