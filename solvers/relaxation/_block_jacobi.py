"""The block Jacobi preconditioner: the inverses of blocks along the diagonal.

The unknowns, leaf after leaf and row-major, are cut into consecutive blocks; M is A
without the couplings between blocks (Y. Saad, Iterative Methods for Sparse Linear
Systems, 2nd ed., 2003, §4.1.1).

Differs from the source: nothing known.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Inexact
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._arguments import require_count
from ...operators._field import (
    Field,
    FrozenStructure,
    Structure,
    freeze,
    ravel,
    require_square,
    size_of,
    thaw,
    unravel,
)
from ..core._compilation import compile_factory


class BlockJacobi(eqx.Module):
    """The factory of M⁻¹ = diag(A₁, A₂, ...)⁻¹ with blocks of A along its diagonal.

    Blocks are taken from where `Dense`, `Banded`, `Sparse`, `Diagonal`, operators on
    grids, and multiples and sums of them keep their numbers; from the dense matrix of
    another operator up to 2048 unknowns. On a grid whose last axis has block_size cells
    the blocks are its lines.

    Args:
        block_size: number of unknowns of a block; the last one may be shorter.

    Returns:
        When called: an operator with the symmetry of A, positive definite if A is. With
        a singular block a solve ends with status `nonfinite_input`.

    Raises:
        ValueError: block_size below 1, or, when called, an operator that is not square
            or a larger one of another kind.

    Cost: n block_size numbers and two operations for each per application; set-up of
    order n block_size².

    Examples:
        >>> import krylax as kx
        >>> A = kx.operators.Laplacian((4,))
        >>> kx.solvers.BlockJacobi(2)(A).as_matrix().round(3)[1]
        Array([0.333, 0.667, 0.   , 0.   ], dtype=float64)
    """

    block_size: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        require_count(self.block_size, "block_size")

    @compile_factory
    def __call__(self, A: AbstractLinearOperator) -> "BlockDiagonal":
        """Return the preconditioner of A."""
        require_square(A.in_structure, A.out_structure, "has diagonal blocks")
        blocks = _filled(A.diagonal_blocks(self.block_size), A.in_structure)
        inverse = jnp.linalg.inv(blocks)
        if "hermitian" in A.tags:
            # Elimination leaves rounding errors that are not.
            inverse = (inverse + inverse.mT.conj()) / 2
        return BlockDiagonal(inverse, freeze(A.in_structure), A.tags - {"singular"})


class BlockDiagonal(AbstractLinearOperator):
    """A block-diagonal matrix on the unknowns of a field; made by `BlockJacobi`."""

    blocks: Inexact[Array, "blocks size size"]
    frozen: FrozenStructure = eqx.field(static=True)
    promised: frozenset[str] = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return thaw(self.frozen)

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.promised

    @property
    def T(self) -> "BlockDiagonal":
        """The blocks transposed."""
        if "symmetric" in self.promised:
            return self
        return BlockDiagonal(self.blocks.mT, self.frozen, self.promised)

    @override
    def mv(self, x: Field) -> Field:
        flat = ravel(x)
        num_blocks, size, _ = self.blocks.shape
        parts = jnp.pad(flat, (0, num_blocks * size - flat.size))
        products = jnp.einsum(
            "bij,bj->bi",
            self.blocks,
            parts.reshape(num_blocks, size),
            precision=Precision.HIGHEST,
        )
        return unravel(products.reshape(-1)[: flat.size], self.in_structure)


def _filled(
    blocks: Inexact[Array, "blocks size size"], structure: Structure
) -> Inexact[Array, "blocks size size"]:
    """Put ones on the diagonal of the last block where there are no unknowns."""
    num_blocks, size, _ = blocks.shape
    is_missing = np.arange(num_blocks * size) >= size_of(structure)
    ones = is_missing.reshape(-1, size, 1) * np.eye(size)
    return blocks + jnp.asarray(ones, blocks.dtype)
