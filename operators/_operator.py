"""Operators map fields to fields; linear operators form an algebra.

Stencils, matrices, inverses, preconditioners and learned maps are all operators. The
algebra's results (sum, multiple, product, transpose, conjugate) live here beside the
two abstract classes, because `A + B` must know `Sum` and `Sum` must know what an
operator is.
"""

from abc import abstractmethod
from collections.abc import Callable
from numbers import Number
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact
from typing_extensions import override

from ._arguments import shown
from ._arithmetic import conj, scale
from ._diagonal_blocks import blocks_of
from ._field import (
    Field,
    Structure,
    as_field,
    as_scalar,
    describe,
    real_dtype,
    require_square,
    require_structure,
    size_of,
)
from ._field import (
    ravel as _ravel,
)
from ._field import (
    unravel as _unravel,
)
from ._line import UniformLine
from ._nullspace import conjugate, constant_nullspace
from ._separable import Separable
from ._tags import is_real


class AbstractOperator(eqx.Module):
    """A map from fields to fields, linear or not.

    `op(x)` applies it, `op @ x` too, `op @ other` composes. `in_structure` and
    `out_structure` are pytrees of `jax.ShapeDtypeStruct`, or `None` for an operator
    that works at any resolution.
    """

    @property
    @abstractmethod
    def in_structure(self) -> Structure | None:
        """Structure of the fields that it takes, `None` if it takes any."""

    @property
    def out_structure(self) -> Structure | None:
        """Structure of the fields that it returns, by default `in_structure`.

        `None` if the input decides.
        """
        return self.in_structure

    @abstractmethod
    def __call__(self, x: Field) -> Field:
        """Return the operator's value at `x`."""

    @property
    def is_safeguarded(self) -> bool:
        """Whether CG is to run beside a flexible one that this preconditions.

        For a preconditioner that may be of any quality: no more steps than CG's.
        """
        return False

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, AbstractLinearOperator) and isinstance(
            self, AbstractLinearOperator
        ):
            return Product(self, other)
        if isinstance(other, AbstractOperator):
            return Composition(self, other)
        return self(as_field(other, "the operand of @"))


class AbstractLinearOperator(AbstractOperator):
    """A linear map A from fields to fields.

    A subclass gives `in_structure` and `mv`, and `out_structure` if it is not square;
    everything else has a default, which a subclass may override with a cheaper method.
    Derivatives: `mv` is linear, so JAX's forward and reverse modes go through it, with
    respect to x and to every array inside.

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> class NinePoints(kx.operators.AbstractLinearOperator):
        ...     weight: jax.Array
        ...     @property
        ...     def in_structure(self):
        ...         return jax.ShapeDtypeStruct((8, 8), self.weight.dtype)
        ...     @property
        ...     def tags(self):
        ...         definite = ["positive_definite", "positive_semidefinite"]
        ...         return frozenset(["symmetric", "hermitian", *definite])
        ...     @property
        ...     def stencil(self):
        ...         w, centre = self.weight, jnp.full((8, 8), 20 * self.weight)
        ...         offsets = {(0, 1): -4 * w, (1, 0): -4 * w, (1, 1): -w, (1, -1): -w}
        ...         return kx.operators.Stencil.of(centre, offsets, is_symmetric=True)
        ...     def mv(self, x):
        ...         return self.stencil.mv(x)
        >>> A, M = NinePoints(jnp.asarray(1 / 6)), kx.solvers.IncompleteCholesky()
        >>> solver = kx.solvers.CG(rtol=1e-8)
        >>> sol = kx.solve(A, jnp.ones((8, 8)), solver, preconditioner=M)
        >>> bool(sol.stats.num_steps < 12)
        True
    """

    @property
    @override
    def out_structure(self) -> Structure:
        """Structure of the fields that it returns, by default `in_structure`."""
        return self.in_structure

    @abstractmethod
    def mv(self, x: Field) -> Field:
        """Return A x without checking the structure of x."""

    @property
    def tags(self) -> frozenset[str]:
        """The declared properties of A; `check_operator` probes them.

        They are "symmetric", "hermitian", "positive_definite", "positive_semidefinite"
        and "singular". An override returns all that hold: a definite operator is
        semidefinite and hermitian too, and a real one that is hermitian or symmetric is
        both.
        """
        return frozenset()

    @property
    def nullspace(self) -> Field | None:
        """Orthonormal null vectors of A and Aᴴ along a new first axis, if declared.

        The solvers then work in its orthogonal complement, which must contain b and
        will contain the solution.
        """
        return None

    @property
    def annihilates_constants(self) -> bool:
        """Whether A 1 = 0 is known, as for a Laplacian between Neumann walls."""
        return False

    @property
    def stencil(self) -> Any:
        """The `Stencil` of an operator on a grid, `None` where there is none.

        This and those that follow are how a preconditioner sees the numbers of A.
        """
        return None

    @property
    def is_fluid(self) -> Bool[Array, "..."] | None:
        """The cells of a grid that hold unknowns, `None` where all do.

        On the others A is diagonal.
        """
        return None

    @property
    def separable(self) -> Separable | None:
        """A, or an operator near it, as a sum or product of 1-D ones, if known."""
        return None

    @property
    def uniform_lines(self) -> tuple[UniformLine, ...] | None:
        """The lines along the axes of a multiple of a `Laplacian`, if A is one."""
        return None

    @property
    def sparse(self) -> Any:
        """The `Sparse` matrix of A, if it is stored as one."""
        return None

    @property
    def dense_matrix(self) -> Inexact[Array, "rows columns"] | None:
        """The dense matrix of A, if it is stored as one."""
        return None

    @property
    def triangles(
        self,
    ) -> "tuple[AbstractLinearOperator, AbstractLinearOperator] | None":
        """The strictly lower and upper triangle of a stored matrix, if A is one."""
        return None

    def diagonal_blocks(self, size: int) -> Inexact[Array, "blocks size size"]:
        """Return consecutive square blocks along the diagonal of a square A.

        Args:
            size: number of unknowns of a block; the last one is padded with zeros.

        Raises:
            ValueError: more than 2048 unknowns of an operator that does not show its
                numbers.
        """
        return blocks_of(self, size)

    @property
    def T(self) -> "AbstractLinearOperator":
        """The transpose Aᵀ, without conjugation."""
        return self if "symmetric" in self.tags else Transpose(self)

    @property
    def H(self) -> "AbstractLinearOperator":
        """The adjoint Aᴴ, the conjugate of the transpose."""
        if "hermitian" in self.tags:
            return self
        return self.T if is_real(self.in_structure) else Conjugate(self.T)

    def mm(self, xs: Field) -> Field:
        """Return A applied to many fields, stacked along a new first axis."""
        return jax.vmap(self.mv)(xs)

    def diagonal(self) -> Field:
        """Return the diagonal of A as a field; needs a square A.

        Raises:
            ValueError: A is not square.

        Cost: by default one product per unknown, for small operators only.
        """
        require_square(self.in_structure, self.out_structure, "has a diagonal")
        return _unravel(jnp.diagonal(self.as_matrix()), self.in_structure)

    def as_matrix(self) -> Inexact[Array, "rows columns"]:
        """Return the dense matrix of A, fields flattened leaf after leaf, row-major.

        Cost: n products and n² numbers; meant for tests and small systems.
        """
        return _matrix_of(self)

    @override
    def __call__(self, x: Field) -> Field:
        """Return A x.

        Raises:
            ValueError: x has another structure.
        """
        x = as_field(x, "x")
        if self.in_structure is not None:
            require_structure(x, self.in_structure, "x")
        return self.mv(x)

    # NumPy's arrays then leave `array * A` to us instead of working entry by entry.
    __array_ufunc__ = None

    def __add__(self, other: Any) -> "AbstractLinearOperator":
        if not isinstance(other, AbstractLinearOperator):
            return NotImplemented
        return Sum(self, other)

    def __sub__(self, other: Any) -> "AbstractLinearOperator":
        if not isinstance(other, AbstractLinearOperator):
            return NotImplemented
        return Sum(self, -1.0 * other)

    def __mul__(self, factor: Any) -> "AbstractLinearOperator":
        if not is_scalar_like(factor):
            return NotImplemented
        return Scaled(factor, self)

    def __rmul__(self, factor: Any) -> "AbstractLinearOperator":
        return self * factor

    def __truediv__(self, divisor: Any) -> "AbstractLinearOperator":
        if not is_scalar_like(divisor):
            return NotImplemented
        return self * (1 / divisor)

    def __neg__(self) -> "AbstractLinearOperator":
        return Scaled(-1.0, self)


def is_scalar_like(value: Any) -> bool:
    """Whether this is a number or an array, whatever its shape."""
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return jnp.issubdtype(value.dtype, jnp.number) or value.dtype == bool
    return isinstance(value, Number)


def require_operator(A: Any, name: str = "A") -> None:
    """Raise a `TypeError` where an argument is no linear operator."""
    if not isinstance(A, AbstractLinearOperator):
        raise TypeError(
            f"{name} must be a linear operator, got {type(A).__name__}; wrap a matrix "
            "in Dense, a sparse one of SciPy in from_scipy (one of JAX converted to "
            "it), or a function in Function"
        )


@eqx.filter_jit
def _matrix_of(A: AbstractLinearOperator) -> Inexact[Array, "rows columns"]:
    structure = A.in_structure
    dtype = jnp.result_type(*jax.tree.leaves(structure))
    columns = jax.vmap(lambda e: _ravel(A.mv(_unravel(e, structure))), out_axes=1)
    return columns(jnp.eye(size_of(structure), dtype=dtype))


class Sum(AbstractLinearOperator):
    """The sum A + B of two linear operators between the same fields."""

    left: AbstractLinearOperator
    right: AbstractLinearOperator

    def __check_init__(self) -> None:
        require_operator(self.left, "left")
        require_operator(self.right, "right")
        _require_equal(self.left.in_structure, self.right.in_structure, "A + B")
        _require_equal(self.left.out_structure, self.right.out_structure, "A + B")

    @property
    @override
    def in_structure(self) -> Structure:
        return self.left.in_structure

    @property
    @override
    def out_structure(self) -> Structure:
        return self.left.out_structure

    @property
    def tags(self) -> frozenset[str]:
        """Tags that survive addition; one definite summand makes the sum definite."""
        left, right = self.left.tags, self.right.tags
        shared = (left & right) - {"singular"}
        if "positive_semidefinite" in shared:
            shared |= (left | right) & {"positive_definite"}
        return shared | {"singular"} if self.annihilates_constants else shared

    @property
    def annihilates_constants(self) -> bool:
        """Whether both do."""
        return self.left.annihilates_constants and self.right.annihilates_constants

    @property
    def nullspace(self) -> Field | None:
        """The constants, if A, B, Aᵀ and Bᵀ annihilate them and A or B declares it."""
        summands = (self.left, self.right)
        is_declared = [A.nullspace is not None for A in summands]
        is_mutual = [
            known or bool(A.tags & {"symmetric", "hermitian"})
            for known, A in zip(is_declared, summands, strict=True)
        ]
        if self.annihilates_constants and any(is_declared) and all(is_mutual):
            return constant_nullspace(self.in_structure)
        return None

    @property
    @override
    def T(self) -> AbstractLinearOperator:
        return self if "symmetric" in self.tags else Sum(self.left.T, self.right.T)

    @override
    def mv(self, x: Field) -> Field:
        return jax.tree.map(jnp.add, self.left.mv(x), self.right.mv(x))

    @property
    @override
    def stencil(self) -> Any:
        return _sum_of_forms(self.left.stencil, self.right.stencil)

    @property
    @override
    def is_fluid(self) -> Bool[Array, "..."] | None:
        """The cells of either, of which one that couples nothing has none."""
        left, right = self.left.is_fluid, self.right.is_fluid
        if left is None:
            return right if _couples_nothing(self.left) else None
        if right is None:
            return left if _couples_nothing(self.right) else None
        return left | right

    @property
    @override
    def separable(self) -> Separable | None:
        return _sum_of_forms(self.left.separable, self.right.separable)

    @override
    def diagonal_blocks(self, size: int) -> Inexact[Array, "blocks size size"]:
        return self.left.diagonal_blocks(size) + self.right.diagonal_blocks(size)

    @override
    def diagonal(self) -> Field:
        return jax.tree.map(jnp.add, self.left.diagonal(), self.right.diagonal())


class Scaled(AbstractLinearOperator):
    """The multiple c A of a linear operator by a scalar."""

    factor: Inexact[Array, ""]
    operator: AbstractLinearOperator

    def __init__(self, factor: Any, operator: AbstractLinearOperator) -> None:
        require_operator(operator, "operator")
        if not is_scalar_like(factor):
            raise ValueError(f"factor must be a number, got {shown(factor)}")
        if jnp.ndim(factor) != 0:
            raise ValueError(
                "an operator can be multiplied by a scalar, got an array of shape "
                f"{jnp.shape(factor)}; use Diagonal(array) @ A for a row scaling"
            )
        dtype = jnp.result_type(*jax.tree.leaves(operator.out_structure))
        if jnp.iscomplexobj(factor) and not jnp.issubdtype(dtype, jnp.complexfloating):
            raise ValueError(
                f"a complex factor needs a complex operator, got {dtype.name}; build "
                "the operator in a complex dtype"
            )
        real = not jnp.iscomplexobj(factor)
        self.factor = as_scalar(
            factor, real_dtype(operator.out_structure) if real else dtype
        )
        self.operator = operator

    @property
    @override
    def in_structure(self) -> Structure:
        return self.operator.in_structure

    @property
    @override
    def out_structure(self) -> Structure:
        return self.operator.out_structure

    @property
    def tags(self) -> frozenset[str]:
        """Symmetry stays; definiteness does not, since the sign of c is not static."""
        kept = {"symmetric", "singular"}
        kept |= set() if jnp.iscomplexobj(self.factor) else {"hermitian"}
        return self.operator.tags & kept

    @property
    @override
    def annihilates_constants(self) -> bool:
        return self.operator.annihilates_constants

    @property
    @override
    def nullspace(self) -> Field | None:
        return self.operator.nullspace

    @property
    @override
    def T(self) -> AbstractLinearOperator:
        if "symmetric" in self.tags:
            return self
        return Scaled(self.factor, self.operator.T)

    def mv(self, x: Field) -> Field:
        """Return c (A x)."""
        return scale(self.factor, self.operator.mv(x))

    @property
    @override
    def stencil(self) -> Any:
        stencil = self.operator.stencil
        return None if stencil is None else stencil.scaled(self.factor)

    @property
    @override
    def is_fluid(self) -> Bool[Array, "..."] | None:
        return self.operator.is_fluid

    @property
    @override
    def separable(self) -> Separable | None:
        form = self.operator.separable
        return None if form is None else form.scaled(self.factor)

    @property
    @override
    def uniform_lines(self) -> tuple[UniformLine, ...] | None:
        lines = self.operator.uniform_lines
        if lines is None or jnp.iscomplexobj(self.factor):
            return None
        return tuple(line.scaled(self.factor) for line in lines)

    @property
    @override
    def sparse(self) -> Any:
        matrix = self.operator.sparse
        return None if matrix is None else matrix.scaled(self.factor)

    @property
    @override
    def dense_matrix(self) -> Inexact[Array, "rows columns"] | None:
        matrix = self.operator.dense_matrix
        return None if matrix is None else scale(self.factor, matrix)

    @property
    @override
    def triangles(
        self,
    ) -> "tuple[AbstractLinearOperator, AbstractLinearOperator] | None":
        found = self.operator.triangles
        return (
            None if found is None else (self.factor * found[0], self.factor * found[1])
        )

    @override
    def diagonal_blocks(self, size: int) -> Inexact[Array, "blocks size size"]:
        return scale(self.factor, self.operator.diagonal_blocks(size))

    @override
    def diagonal(self) -> Field:
        return scale(self.factor, self.operator.diagonal())


class Product(AbstractLinearOperator):
    """The product A B of two linear operators."""

    left: AbstractLinearOperator
    right: AbstractLinearOperator

    def __check_init__(self) -> None:
        require_operator(self.left, "left")
        require_operator(self.right, "right")
        _require_equal(self.left.in_structure, self.right.out_structure, "A @ B")

    @property
    @override
    def in_structure(self) -> Structure:
        return self.right.in_structure

    @property
    @override
    def out_structure(self) -> Structure:
        return self.left.out_structure

    @property
    def T(self) -> AbstractLinearOperator:
        """The product Bᵀ Aᵀ."""
        return Product(self.right.T, self.left.T)

    def mv(self, x: Field) -> Field:
        """Return A (B x)."""
        return self.left.mv(self.right.mv(x))


class Transpose(AbstractLinearOperator):
    """The transpose Aᵀ by reverse-mode derivatives, for operators without a `T`.

    JAX cannot transpose every loop; an operator with a loop inside should give `T`
    itself.
    """

    operator: AbstractLinearOperator

    def __check_init__(self) -> None:
        require_operator(self.operator, "operator")

    @property
    @override
    def in_structure(self) -> Structure:
        return self.operator.out_structure

    @property
    @override
    def out_structure(self) -> Structure:
        return self.operator.in_structure

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.operator.tags

    @property
    @override
    def nullspace(self) -> Field | None:
        return conjugate(self.operator.nullspace)

    @property
    @override
    def T(self) -> AbstractLinearOperator:
        return self.operator

    @property
    @override
    def stencil(self) -> Any:
        stencil = self.operator.stencil
        return None if stencil is None else stencil.T

    @property
    @override
    def is_fluid(self) -> Bool[Array, "..."] | None:
        return self.operator.is_fluid

    @property
    @override
    def sparse(self) -> Any:
        matrix = self.operator.sparse
        return None if matrix is None else matrix.T

    @override
    def diagonal_blocks(self, size: int) -> Inexact[Array, "blocks size size"]:
        return self.operator.diagonal_blocks(size).mT

    @override
    def mv(self, x: Field) -> Field:
        (y,) = transpose(self.operator.mv, self.operator.in_structure)(x)
        return y


class Conjugate(AbstractLinearOperator):
    """The complex conjugate of A, entry by entry."""

    operator: AbstractLinearOperator

    def __check_init__(self) -> None:
        require_operator(self.operator, "operator")

    @property
    @override
    def in_structure(self) -> Structure:
        return self.operator.in_structure

    @property
    @override
    def out_structure(self) -> Structure:
        return self.operator.out_structure

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.operator.tags

    @property
    @override
    def nullspace(self) -> Field | None:
        return conjugate(self.operator.nullspace)

    @property
    @override
    def T(self) -> AbstractLinearOperator:
        return Conjugate(self.operator.T)

    @property
    @override
    def H(self) -> AbstractLinearOperator:
        return self.operator.T

    def mv(self, x: Field) -> Field:
        """Return the conjugate of A applied to the conjugate of x."""
        return conj(self.operator.mv(conj(x)))

    @property
    @override
    def stencil(self) -> Any:
        return conj(self.operator.stencil)

    @property
    @override
    def is_fluid(self) -> Bool[Array, "..."] | None:
        return self.operator.is_fluid

    @property
    @override
    def separable(self) -> Separable | None:
        return conj(self.operator.separable)

    @override
    def diagonal_blocks(self, size: int) -> Inexact[Array, "blocks size size"]:
        return self.operator.diagonal_blocks(size).conj()

    @override
    def diagonal(self) -> Field:
        return conj(self.operator.diagonal())


class Composition(AbstractOperator):
    """The composition of two operators of which at least one is not linear."""

    outer: AbstractOperator
    inner: AbstractOperator

    @property
    @override
    def in_structure(self) -> Structure | None:
        return self.inner.in_structure

    @property
    @override
    def out_structure(self) -> Structure | None:
        return self.outer.out_structure

    def __call__(self, x: Field) -> Field:
        """Return outer(inner(x))."""
        return self.outer(self.inner(x))


def _require_equal(first: Structure, second: Structure, expression: str) -> None:
    if first != second:
        raise ValueError(
            f"{expression} needs operators whose fields agree, got "
            f"{describe(first)} and {describe(second)}"
        )


def _couples_nothing(A: AbstractLinearOperator) -> bool:
    stencil = A.stencil
    return stencil is not None and not stencil.offsets


def _sum_of_forms(left: Any, right: Any) -> Any:
    return None if left is None or right is None else left.plus(right)


def transpose(
    function: Callable[[Field], Field], structure: Structure
) -> Callable[[Field], tuple[Field]]:
    """Return the transpose of a linear function of fields.

    `jax.linear_transpose` knows no rule for a function with derivatives of its own, as
    a solve is one; its derivative at zero is the function itself.
    """
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), structure)
    return jax.vjp(function, zeros)[1]
