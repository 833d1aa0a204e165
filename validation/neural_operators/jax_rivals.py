"""Fourier neural operators of other JAX libraries, of the size of ours.

Each is a function of (channels, *shape) with as many spectral weights as `FNO` at the
same arguments; the layers around them are those of the library. phydrax has one too,
but demands a version of Equinox that krylax does not run with.
"""

# pyright: basic, reportMissingImports=false

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from models import Case

from krylax.learned import neural_operators as no


def pdequinox(case: Case, key: Any) -> Any:
    """ClassicFNO of pdequinox."""
    from pdequinox.arch import ClassicFNO

    return ClassicFNO(
        len(case.shape),
        case.channels,
        case.channels,
        hidden_channels=case.arguments["width"],
        num_modes=case.arguments["num_modes"][0],
        num_blocks=case.arguments["num_layers"],
        key=key,
    )


def neojax(case: Case, key: Any) -> Any:
    """FNO of neojax-operators, without its embedding of positions."""
    from neojax.models.fno import FNO

    return FNO(
        key=key,
        in_channels=case.channels,
        out_channels=case.channels,
        hidden_channels=case.arguments["width"],
        n_layers=case.arguments["num_layers"],
        modes=case.arguments["num_modes"],
        positional_embedding=None,
    )


class _ChannelsFirst(eqx.Module):
    model: Any

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.model(x.transpose(1, 2, 0)).transpose(2, 0, 1)


def foundax(case: Case, key: Any) -> Any:
    """FNO2D of foundax, as published: with neither norm nor zeros around the signal."""
    from foundax.architectures.fno import FNO2D

    model = FNO2D(
        case.channels,
        case.arguments["width"],
        case.arguments["num_modes"][0],
        d_vars=case.channels,
        n_layers=case.arguments["num_layers"],
        norm=None,
        linear_conv=False,
        key=key,
    )
    return _ChannelsFirst(model)


RIVALS: dict[Any, dict[str, Callable[[Case, Any], Any]]] = {
    no.FNO: {"pdequinox": pdequinox, "neojax-operators": neojax, "foundax": foundax},
}
"""By the class of krylax that they are rivals of."""
