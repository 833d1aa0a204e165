"""Separable form of an operator: A = T_1 ⊗ I ⊗ I + I ⊗ T_2 ⊗ I + ... + shift.

Exact for what is separable, else a nearby operator: coefficients are averaged over the
other axes.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ...operators import (
    Diffusion,
    Helmholtz,
    Identity,
    KroneckerSum,
    Laplacian,
    Scaled,
    Sum,
)
from ...operators._lowered import Lowered, lower
from ...operators.grids._network import Network
from ...operators.grids._shift import shift_in_zero
from ._line import DenseLine, Line, UniformLine


class Separable(eqx.Module):
    """One line per axis, and a multiple of the identity."""

    lines: tuple[Line, ...]
    shift: Inexact[Array, ""]


def separable_form(A: Any) -> Separable:
    """Return the separable form of an operator, or of one nearby.

    Raises:
        ValueError: none is known for this kind of operator, or a coefficient is
            complex.
    """
    if isinstance(A, Laplacian):
        return _of_laplacian(A)
    if isinstance(A, Diffusion):
        return _of_network(A.network)
    if isinstance(A, Helmholtz):
        # What damps a wave is in k²; of a complex c the real part has to do.
        form = _of_network(jax.tree.map(jnp.real, A.diffusion.network))
        return Separable(form.lines, -jnp.mean(A.wavenumber_squared))
    if isinstance(A, KroneckerSum) and "hermitian" in A.tags:
        lines = tuple(DenseLine(factor.as_matrix()) for factor in A.factors)
        return Separable(lines, jnp.zeros((), lines[0].matrix.dtype))
    if isinstance(A, Scaled):
        _require_real(A.factor)
        form = separable_form(A.operator)
        factor = A.factor.astype(form.shift.dtype)
        lines = tuple(line.scaled(factor) for line in form.lines)
        return Separable(lines, factor * form.shift)
    if isinstance(A, Sum):
        return _of_sum(A)
    if isinstance(A, Lowered):
        return lower(separable_form(A.operator))
    raise ValueError(
        "fast diagonalisation knows Laplacian, Diffusion, Helmholtz, a hermitian "
        f"KroneckerSum, their multiples and sums with Identity, got {type(A).__name__};"
        " give it a nearby operator of these: preconditioner=FastDiagonalization()(B)"
    )


def _of_sum(A: Sum) -> Separable:
    for identity, other in ((A.left, A.right), (A.right, A.left)):
        factor = _multiple_of_identity(identity)
        if factor is not None:
            form = separable_form(other)
            shift = form.shift + jnp.asarray(factor, form.shift.dtype)
            return Separable(form.lines, shift)
    left, right = separable_form(A.left), separable_form(A.right)
    lines = tuple(
        DenseLine(S.as_matrix() + T.as_matrix())
        for S, T in zip(left.lines, right.lines, strict=True)
    )
    return Separable(lines, left.shift + right.shift)


def _multiple_of_identity(A: Any) -> Any:
    if isinstance(A, Identity):
        return 1.0
    if isinstance(A, Scaled):
        _require_real(A.factor)
        inner = _multiple_of_identity(A.operator)
        return None if inner is None else A.factor * inner
    return None


def _require_real(coefficients: Inexact[Array, "..."]) -> None:
    if jnp.iscomplexobj(coefficients):
        raise ValueError(
            "fast diagonalisation needs real coefficients; use those of a nearby real "
            "operator"
        )


def _of_laplacian(A: Laplacian) -> Separable:
    lines = tuple(
        UniformLine(A.weights[axis].astype(A.dtype), size, A.faces[axis])
        for axis, size in enumerate(A.shape)
    )
    return Separable(lines, jnp.zeros((), A.dtype))


def _of_network(network: Network) -> Separable:
    _require_real(network.centre)
    lines = tuple(
        DenseLine(_line_matrix(_mean_over_others(link, axis), network.faces[axis]))
        for axis, link in enumerate(network.links)
    )
    return Separable(lines, jnp.zeros((), network.centre.dtype))


def _mean_over_others(x: Inexact[Array, "..."], axis: int) -> Inexact[Array, " n"]:
    return jnp.mean(x, axis=tuple(a for a in range(x.ndim) if a != axis))


def _line_matrix(
    link: Inexact[Array, " n"], pair: tuple[str, str]
) -> Inexact[Array, "n n"]:
    """The matrix of a line of cells; a wall is half as far as the next cell."""
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
