"""Matrices of operators."""

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import chain
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from ._arguments import as_items
from ._declared import AbstractDeclaredOperator, Declared, declare
from ._field import Field, Structure, describe, require_square
from ._operator import AbstractLinearOperator

Blocks: TypeAlias = tuple[tuple[AbstractLinearOperator | None, ...], ...]


class Block(AbstractDeclaredOperator):
    """A matrix of linear operators, y_i = Σ_j A_ij x_j, as in saddle-point systems.

    It maps a tuple with one field per block column to a tuple with one field per block
    row; the fields may have any structure.

    Args:
        rows: the blocks, row after row; None is a zero block.
        tags: such as `symmetric`; they are not derived from those of the blocks.
        nullspace: null vectors of A and Aᴴ, a tuple of fields stacked along a first
            axis, or "constant".

    Raises:
        TypeError: a block that is no linear operator.
        ValueError: no block, rows of different lengths, a row or a column with zero
            blocks only, blocks whose fields disagree or differ in dtype, or an unknown
            tag.

    Cost: one product with every block.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> B = kx.operators.Dense(jnp.array([[1.0, -1.0]]))
        >>> A = kx.operators.Laplacian((2,))
        >>> saddle = kx.operators.Block([[A, B.T], [B, None]], tags=["symmetric"])
        >>> velocity, divergence = saddle @ (jnp.array([1.0, 2.0]), jnp.array([3.0]))
        >>> velocity, divergence
        (Array([3., 0.], dtype=float64), Array([-1.], dtype=float64))
    """

    rows: Blocks
    declared: Declared

    def __init__(
        self,
        rows: Sequence[Sequence[AbstractLinearOperator | None]],
        *,
        tags: Iterable[str] = (),
        nullspace: Any | Literal["constant"] | None = None,
    ) -> None:
        wanted = "a sequence of rows, each a sequence of blocks"
        self.rows = tuple(
            as_items(row, "rows", wanted) for row in as_items(rows, "rows", wanted)
        )
        _require_rectangle(self.rows)
        _require_agreement(self.rows)
        self.declared = declare(tags, nullspace, self.in_structure, self.out_structure)

    @property
    def in_structure(self) -> Structure:
        """One structure per block column."""
        columns = _stored(_transposed(self.rows))
        return tuple(column[0].in_structure for column in columns)

    @property
    def out_structure(self) -> Structure:
        """One structure per block row."""
        return tuple(row[0].out_structure for row in _stored(self.rows))

    @property
    def T(self) -> "Block":
        """The transposed blocks in transposed places."""
        if "symmetric" in self.tags:
            return self
        rows = tuple(
            tuple(None if block is None else block.T for block in row)
            for row in _transposed(self.rows)
        )
        return eqx.tree_at(
            lambda A: (A.rows, A.declared), self, (rows, self.declared.T)
        )

    def mv(self, x: Field) -> Field:
        """Return the tuple of Σ_j A_ij x_j."""
        return tuple(_row_product(row, x) for row in self.rows)

    def diagonal(self) -> Field:
        """The diagonals of the diagonal blocks; zeros for a zero block."""
        require_square(self.in_structure, self.out_structure, "has a diagonal")
        blocks = [row[i] for i, row in enumerate(self.rows)]
        return tuple(
            _zeros(structure) if block is None else block.diagonal()
            for block, structure in zip(blocks, self.in_structure, strict=True)
        )


def _require_rectangle(rows: Blocks) -> None:
    lengths = [len(row) for row in rows]
    if not rows or len(set(lengths)) != 1 or lengths[0] == 0:
        raise ValueError(
            "rows must be one or more rows of equally many blocks, got rows of "
            f"lengths {lengths}"
        )
    for block in chain(*rows):
        if not isinstance(block, AbstractLinearOperator | None):
            raise TypeError(
                f"blocks must be linear operators or None, got {type(block).__name__}; "
                "wrap a matrix in Dense"
            )
    for name, lines in (("row", rows), ("column", _transposed(rows))):
        for position, line in enumerate(lines):
            if all(block is None for block in line):
                raise ValueError(
                    f"block {name} {position} holds zero blocks alone, so that its "
                    "field is unknown; put a zero operator there, such as "
                    "0.0 * Identity(structure)"
                )


def _require_agreement(rows: Blocks) -> None:
    outputs = [[block.out_structure for block in row] for row in _stored(rows)]
    columns = _stored(_transposed(rows))
    inputs = [[block.in_structure for block in column] for column in columns]
    for name, lines in (("row return", outputs), ("column take", inputs)):
        for position, line in enumerate(lines):
            for other in line[1:]:
                if other != line[0]:
                    raise ValueError(
                        f"all blocks of a {name} the same field, got "
                        f"{describe(line[0])} and {describe(other)} in number "
                        f"{position}"
                    )


def _stored(lines: Blocks) -> list[list[AbstractLinearOperator]]:
    return [[block for block in line if block is not None] for line in lines]


def _transposed(rows: Blocks) -> Blocks:
    return tuple(zip(*rows, strict=True))


def _row_product(row: Sequence[AbstractLinearOperator | None], x: Field) -> Field:
    terms = [
        block.mv(part) for block, part in zip(row, x, strict=True) if block is not None
    ]
    return reduce(lambda a, b: jax.tree.map(jnp.add, a, b), terms)


def _zeros(structure: Structure) -> Field:
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), structure)
