"""Banded matrices stored by diagonals (DIA)."""

from collections.abc import Iterable, Sequence
from functools import partial
from operator import index
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact
from typing_extensions import override

from ._arguments import as_items
from ._declared import AbstractDeclaredOperator, Declared, declare
from ._diagonal import Diagonal
from ._diagonal_blocks import blocks_of_diagonals
from ._field import Structure, array_structure, as_finite
from ._nullspace import conjugate
from ._operator import AbstractLinearOperator
from .grids._shift import shift_in_zero

_WANTED = "integers, column minus row"


class Banded(AbstractDeclaredOperator):
    """A square matrix with few diagonals, as an operator on vectors of length n.

    Entry (i, j) with j - i = `offsets[d]` is `diagonals[d, j]`, SciPy's `dia_array`
    convention; entries that would lie outside the matrix are ignored.

    Args:
        diagonals: one row of length n per diagonal.
        offsets: column minus row of each diagonal, distinct, between -(n-1) and n-1.
        tags: declared properties such as `symmetric` or `positive_definite`.
        nullspace: null vectors of A and Aᴴ, stacked along a first axis, or "constant".

    Raises:
        ValueError: shapes or offsets that do not fit, integer or non-finite values,
            64-bit values while `jax_enable_x64` is off, or an unknown tag.

    Cost: two operations per stored number; regular shifts, no gather.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> rows = jnp.array([[-1.0, -1.0, -1.0], [2.0, 2.0, 2.0], [-1.0, -1.0, -1.0]])
        >>> kx.operators.Banded(rows, (-1, 0, 1)) @ jnp.array([1.0, 2.0, 3.0])
        Array([0., 0., 4.], dtype=float64)
    """

    diagonals: Inexact[Array, "d n"]
    declared: Declared
    offsets: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        diagonals: Any,
        offsets: Sequence[int],
        *,
        tags: Iterable[str] = (),
        nullspace: Any | Literal["constant"] | None = None,
    ) -> None:
        self.diagonals = as_finite(diagonals, "diagonals")
        self.offsets = _as_offsets(offsets)
        _require_fit(self.diagonals.shape, self.offsets)
        self.declared = declare(tags, nullspace, self.in_structure)

    @property
    @override
    def in_structure(self) -> Structure:
        return array_structure(self.diagonals.shape[1:], self.diagonals.dtype)

    @property
    @override
    def T(self) -> "Banded":
        if "symmetric" in self.tags:
            return self
        rows = _transposed(self.diagonals, self.offsets)
        offsets = [-offset for offset in self.offsets]
        nullspace = conjugate(self.nullspace)
        return Banded(rows, offsets, tags=self.tags, nullspace=nullspace)

    @override
    def mv(self, x: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        rows = zip(self.offsets, self.diagonals, strict=True)
        terms = [_aligned(row * x, offset) for offset, row in rows]
        return sum(terms[1:], terms[0])

    @property
    @override
    def triangles(self) -> tuple[AbstractLinearOperator, AbstractLinearOperator]:
        return self._side(-1), self._side(1)

    @override
    def diagonal_blocks(self, size: int) -> Inexact[Array, "blocks size size"]:
        rows = zip(self.offsets, self.diagonals, strict=True)
        return blocks_of_diagonals([(o, _aligned(row, o)) for o, row in rows], size)

    def _side(self, sign: int) -> AbstractLinearOperator:
        """The diagonals on one side of the main one."""
        found = [i for i, offset in enumerate(self.offsets) if offset * sign > 0]
        if not found:
            return Diagonal(jnp.zeros_like(self.diagonals[0]))
        offsets = [self.offsets[i] for i in found]
        return Banded(self.diagonals[np.array(found)], offsets)

    def diagonal(self) -> Inexact[Array, " n"]:
        """The main diagonal, zeros where it is not stored."""
        if 0 in self.offsets:
            return self.diagonals[self.offsets.index(0)]
        return jnp.zeros_like(self.diagonals[0])


def _as_offsets(offsets: Sequence[int]) -> tuple[int, ...]:
    found = as_items(offsets, "offsets", _WANTED)
    try:
        return tuple(index(offset) for offset in found)
    except TypeError:
        raise ValueError(f"offsets must be {_WANTED}, got {found}") from None


@partial(jax.jit, static_argnames="offsets", inline=True)
def _transposed(
    diagonals: Inexact[Array, "d n"], offsets: tuple[int, ...]
) -> Inexact[Array, "d n"]:
    """The diagonals of the transpose."""
    rows = zip(offsets, diagonals, strict=True)
    return jnp.stack([_aligned(row, offset) for offset, row in rows])


def _aligned(row: Inexact[Array, " n"], offset: int) -> Inexact[Array, " n"]:
    """Bring entry j of a diagonal to its matrix row i = j - offset."""
    if offset == 0:
        return row
    return shift_in_zero(row, 0, "high" if offset > 0 else "low", abs(offset))


def _require_fit(shape: tuple[int, ...], offsets: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[0] != len(offsets) or not offsets:
        raise ValueError(
            "diagonals must have one row per offset, shape "
            f"({len(offsets)}, n), got {shape}"
        )
    if len(set(offsets)) != len(offsets) or max(map(abs, offsets)) >= shape[1]:
        raise ValueError(
            f"offsets must be distinct and lie between {1 - shape[1]} and "
            f"{shape[1] - 1} for n = {shape[1]}, got {offsets}"
        )
