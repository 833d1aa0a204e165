"""The separable operator near a network: conductances averaged over the other axes."""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from .._line import DenseLine
from .._separable import Separable
from ._network import Network
from ._shift import shift_in_zero


def mean_lines(
    network: Network, shift: Inexact[Array, "..."] | None = None
) -> Separable:
    """Return the lines of a real network, whose walls are half as far as cells.

    Exact for conductances that vary along no axis but their own, and a constant shift.
    """
    lines = tuple(
        DenseLine(_line_matrix(_mean_over_others(link, axis), network.faces[axis]))
        for axis, link in enumerate(network.links)
    )
    return Separable(lines, None if shift is None else jnp.mean(shift))


def _mean_over_others(x: Inexact[Array, "..."], axis: int) -> Inexact[Array, " n"]:
    return jnp.mean(x, axis=tuple(a for a in range(x.ndim) if a != axis))


def _line_matrix(
    link: Inexact[Array, " n"], pair: tuple[str, str]
) -> Inexact[Array, "n n"]:
    centre = link + shift_in_zero(link, 0, "low")
    matrix = jnp.diag(-link[:-1], 1)
    if pair[0] == "dirichlet":
        centre = centre.at[0].add(2 * link[0])
    if pair[1] == "dirichlet":
        centre = centre.at[-1].add(2 * link[-2])
    if pair[0] == "periodic":
        centre = centre.at[0].add(link[-1])
        matrix = matrix.at[0, -1].add(-link[-1])
    return matrix + matrix.T + jnp.diag(centre)
