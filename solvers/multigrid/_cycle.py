"""The multigrid cycle, over levels of any kind.

On each level, with its operator A, restriction R and prolongation P,

    x ← S b,    x ← x + P M_c R (b - A x),    x ← x + S' (b - A x),

where M_c is the cycle of the level below, and on the last one an approximate inverse:
U. Trottenberg, C. W. Oosterlee, A. Schüller, Multigrid (2001), §2.4. S and S' are the
smoother's `before` and `after`. W- and F-cycles visit the level below twice.

The cycle is hermitian if on each level A is, R = Pᴴ and S' = Sᴴ. It then has

    I - M A = (I - S A)* (I - P M_c R A) (I - S A),    * the adjoint in ⟨x, A y⟩,

so that a V-cycle is positive definite if S reduces the energy norm of every error and
M_c is semidefinite. Of two visits this does not follow: they can make M_c indefinite
where the coarse operator is much smaller than R A P.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import add, subtract, zeros_like
from ...operators._control_flow import scan
from ...operators._field import Field, Structure, describe
from ...operators._materialise import materialise
from ...operators._operator import Transpose
from ._level import AbstractLevel, require_part

Shape = Literal["V", "W", "F"]


class MultigridCycle(AbstractLinearOperator):
    """One multigrid cycle from zero, as a linear operator.

    Made by `Multigrid` and `AlgebraicMultigrid`, or from levels of one's own: other
    transfers, or another smoother on the same levels.

    The tags follow from the parts: symmetric or hermitian if the operators and the
    coarse inverse are, the transfers and the smoothers are adjoint, and the shape is
    "V" or "W"; also definite if the shape is "V", the operators are definite, and the
    smoothers reduce every error. A cycle that promises nothing is for `GMRES` and
    `BiCGStab`, and for `CG` only if it is known to be definite.

    Args:
        levels: from the finest to the last but one, each with its smoother and the
            transfers to the next.
        coarse_inverse: an approximate inverse on the last level.
        shape: "V" visits each coarser level once, "W" twice; "F" makes an F-cycle and
            then a V-cycle, and is not symmetric.
        dtype: of the fields that it takes, if not that of the levels, which may be of
            single precision.

    Raises:
        TypeError: a level or the coarse inverse is something else.
        ValueError: an unknown shape, or fields of one level that do not fit the next.

    Cost: per visit of a level one product, both transfers and the smoother's products.

    Examples:
        >>> import equinox as eqx, jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((64, 64))
        >>> M = kx.solvers.Multigrid()(A)
        >>> class Richardson(kx.solvers.AbstractSmoother):
        ...     step: float
        ...     def before(self, level, b):
        ...         return self.step * b
        ...     def after(self, level, x, b):
        ...         return x + self.step * (b - level.mv(x))
        >>> other = eqx.tree_at(lambda M: M.levels[0].smoother, M, Richardson(0.2))
        >>> solver = kx.solvers.BiCGStab(1e-8)
        >>> sol = kx.solve(A, jnp.ones((64, 64)), solver, preconditioner=other)
        >>> bool(sol.stats.num_steps < 12)
        True
    """

    levels: tuple[AbstractLevel, ...]
    coarse_inverse: AbstractLinearOperator
    shape: Shape = eqx.field(static=True)
    dtype: jnp.dtype | None = eqx.field(static=True)

    def __init__(
        self,
        levels: Sequence[AbstractLevel],
        coarse_inverse: AbstractLinearOperator,
        *,
        shape: Shape = "V",
        dtype: DTypeLike | None = None,
    ) -> None:
        self.levels = tuple(levels)
        self.coarse_inverse = coarse_inverse
        self.shape = shape
        self.dtype = None if dtype is None else jnp.dtype(dtype)

    def __check_init__(self) -> None:
        require_shape(self.shape)
        for index, level in enumerate(self.levels):
            require_part(level, AbstractLevel, f"level {index}")
        require_part(self.coarse_inverse, AbstractLinearOperator, "coarse_inverse")
        made = [level.coarse_structure for level in self.levels]
        taken = [part.in_structure for part in (*self.levels, self.coarse_inverse)]
        for index, (coarse, expected) in enumerate(zip(made, taken[1:], strict=True)):
            if coarse != expected:
                raise ValueError(
                    f"level {index} restricts to {describe(coarse)}, but level "
                    f"{index + 1} has {describe(expected)}; give levels from fine to "
                    "coarse, each with the transfers to the next"
                )

    @property
    @override
    def in_structure(self) -> Structure:
        inner = self._inner_structure
        if self.dtype is None:
            return inner
        return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, self.dtype), inner)

    @property
    @override
    def tags(self) -> frozenset[str]:
        parts = [level.tags for level in self.levels]
        shared = frozenset.intersection(self.coarse_inverse.tags - {"singular"}, *parts)
        smoothers = [level.smoother for level in self.levels]
        is_adjoint = all(level.has_adjoint_transfers for level in self.levels) and all(
            smoother.is_adjoint for smoother in smoothers
        )
        if not is_adjoint or self.shape == "F":
            return frozenset()
        visits_once = self.shape == "V" or len(self.levels) < 2
        if visits_once and all(smoother.is_convergent for smoother in smoothers):
            return shared
        return shared & {"symmetric", "hermitian"}

    @property
    @override
    def T(self) -> AbstractLinearOperator:
        if "symmetric" in self.tags:
            return self
        levels = [level.T for level in self.levels]
        known = [level for level in levels if level is not None]
        if self.shape == "F" or len(known) < len(levels):
            return Transpose(self)
        return MultigridCycle(
            known, self.coarse_inverse.T, shape=self.shape, dtype=self.dtype
        )

    @override
    def mv(self, x: Field) -> Field:
        """Return the result of a cycle for the right-hand side x, from zero."""
        inner = x
        if self.dtype is not None:
            inner = jax.tree.map(_cast, x, self._inner_structure)
        y = self._cycle(0, inner, self.shape)
        return jax.tree.map(lambda a, b: a.astype(b.dtype), y, x)

    @property
    def _inner_structure(self) -> Structure:
        finest = self.levels[0] if self.levels else self.coarse_inverse
        return finest.in_structure

    def _cycle(self, index: int, b: Field, shape: Shape) -> Field:
        """Run one cycle on a level: smooth, correct from the level below, smooth."""
        if index == len(self.levels):
            return self.coarse_inverse.mv(b)
        level = self.levels[index]
        state, r = level.descend(b)
        return level.ascend(state, self._correct(index + 1, r, shape))

    def _correct(self, index: int, b: Field, shape: Shape) -> Field:
        """Visit a coarser level as often as the shape says."""
        if shape == "V" or index == len(self.levels):
            return self._cycle(index, b, shape)
        level, b = self.levels[index], _hold(b)
        if shape == "F":
            x = self._cycle(index, b, "F")
            r = _hold(subtract(b, level.mv(x)))
            return _hold(add(x, self._cycle(index, r, "V")))

        def visit(x: Field, _: None) -> tuple[Field, None]:
            r = _hold(subtract(b, level.mv(x)))
            return add(x, self._cycle(index, r, "W")), None

        # A loop, since a program that holds every visit grows as 2^levels.
        return scan(visit, zeros_like(b), length=2)[0]


def require_shape(shape: str) -> None:
    """Raise where the shape of a cycle is unknown."""
    if not isinstance(shape, str) or shape not in get_args(Shape):
        raise ValueError(f"shape must be one of {get_args(Shape)}, got {shape!r}")


def _cast(x: jax.Array, structure: jax.ShapeDtypeStruct) -> jax.Array:
    return x if x.dtype == structure.dtype else materialise(x.astype(structure.dtype))


def _hold(x: Field) -> Field:
    """Keep XLA from computing x anew where it is read."""
    return jax.tree.map(materialise, x)
