"""Channels by name: boxes and grids for three Reynolds numbers.

| name | box in h | box in wall units | grid | Δx⁺, Δy⁺, Δz⁺ |
|---|---|---|---|---|
| 180-toy | π x 2 x 0.34 π | 565 x 360 x 192 | 24 x 48 x 16 | 24, 2 to 13, 12 |
| 180-minimal | π x 2 x 0.34 π | 565 x 360 x 192 | 48 x 96 x 32 | 12, 1 to 7, 6 |
| 180-quarter | 2π x 2 x 2π/3 | 1131 x 360 x 377 | 96 x 96 x 64 | 12, 1 to 7, 6 |
| 180-full | 4π x 2 x 4π/3 | 2262 x 360 x 754 | 192 x 128 x 128 | 12, 0.7 to 5, 6 |
| 395-minimal | π/2 x 2 x π/6 | 620 x 790 x 207 | 48 x 160 x 32 | 13, 1 to 9, 6.5 |
| 590-minimal | π/3 x 2 x π/9 | 618 x 1180 x 206 | 48 x 192 x 32 | 13, 1 to 11, 6.4 |

A minimal box holds one pair of near-wall streaks: J. Jiménez, P. Moin, J. Fluid Mech.
225 (1991). Its statistics are those of a channel up to y⁺ of about a third of its
width: O. Flores, J. Jiménez, Phys. Fluids 22 (2010), doi:10.1063/1.3464157.
"""

import math
from typing import Any

from ...operators._arguments import shown
from ._channel import Channel

_MINIMAL = (3.14, 2.0, 1.07)

PRESETS: dict[str, dict[str, Any]] = {
    "180-toy": {"re_tau": 180, "num_points": (24, 48, 16), "lengths": _MINIMAL},
    "180-minimal": {
        "re_tau": 180,
        "num_points": (48, 96, 32),
        "lengths": _MINIMAL,
        "dt": 1e-3,
    },
    "180-quarter": {
        "re_tau": 180,
        "num_points": (96, 96, 64),
        "lengths": (2 * math.pi, 2.0, 2 * math.pi / 3),
        "dt": 1e-3,
    },
    "180-full": {
        "re_tau": 180,
        "num_points": (192, 128, 128),
        "lengths": (4 * math.pi, 2.0, 4 * math.pi / 3),
        "dt": 1e-3,
    },
    "395-minimal": {
        "re_tau": 395,
        "num_points": (48, 160, 32),
        "lengths": (math.pi / 2, 2.0, math.pi / 6),
        "stretching": 2.0,
    },
    "590-minimal": {
        "re_tau": 590,
        "num_points": (48, 192, 32),
        "lengths": (math.pi / 3, 2.0, math.pi / 9),
        "stretching": 2.2,
    },
}


def preset(name: str, **changes: Any) -> Channel:
    """Return a channel by name: its Reynolds number, and its box or resolution.

    Args:
        name: 180-toy, 180-minimal, 180-quarter, 180-full, 395-minimal or 590-minimal.
        changes: arguments of `Channel` that replace those of the preset.

    Raises:
        ValueError: there is no preset of that name, or `Channel` refuses a change.

    Examples:
        >>> import krylax as kx
        >>> kx.datasets.channel_flow.preset("180-toy", forcing="flux").grid.shape
        (24, 48, 16)
    """
    if name not in PRESETS:
        raise ValueError(f"name must be one of {', '.join(PRESETS)}, got {shown(name)}")
    return Channel(**{**PRESETS[name], **changes})
