"""Jacobians of functions between fields, without their matrix."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import equinox as eqx
import jax
from typing_extensions import override

from ._declared import AbstractDeclaredOperator, Declared, declare
from ._field import (
    Field,
    FrozenStructure,
    Structure,
    as_field,
    freeze,
    require_field,
    structure_of,
    thaw,
)
from ._operator import AbstractLinearOperator
from ._traced_function import trace


class Jacobian(AbstractDeclaredOperator):
    """The Jacobian J of a function at a point, x ↦ d/dt f(point + t x) at t = 0.

    The Hessian of an energy is the Jacobian of its gradient, tagged `symmetric`. The
    operator keeps the function, traced as in `Function`, and the point, not a
    linearisation, so another point needs no compilation. XLA moves what does not depend
    on x out of a solver's loop. Gradients flow to the point, to arrays that the
    function closes over when the operator is built inside the differentiated function,
    and to the leaves of `function` when it is an Equinox module.

    Args:
        function: differentiable map f from a field to a field; holomorphic if complex.
        point: the field at which it is linearised.
        tags: declared properties such as `symmetric` or `positive_definite`.
        nullspace: null vectors of J and Jᴴ, stacked along a first axis, or "constant".

    Raises:
        ValueError: an integer point, 64 bits while `jax_enable_x64` is off, an unknown
            tag, or null vectors of another structure.

    Cost: J x is one forward-mode pass, Jᵀ y one reverse-mode pass; a pass costs two to
    three evaluations of f.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> J = kx.operators.Jacobian(jnp.square, jnp.array([1.0, 2.0, 3.0]))
        >>> J @ jnp.ones(3)
        Array([2., 4., 6.], dtype=float64)
    """

    function: Callable[[Field], Field]
    point: Field
    declared: Declared
    frozen_out: FrozenStructure = eqx.field(static=True)

    def __init__(
        self,
        function: Callable[[Any], Any],
        point: Any,
        *,
        tags: Iterable[str] = (),
        nullspace: Any | Literal["constant"] | None = None,
    ) -> None:
        self.point = as_field(point, "point")
        require_field(self.in_structure)
        self.function, out_structure = trace(function, self.in_structure)
        self.frozen_out = freeze(out_structure)
        self.declared = declare(tags, nullspace, self.in_structure, self.out_structure)

    @property
    @override
    def in_structure(self) -> Structure:
        return structure_of(self.point)

    @property
    @override
    def out_structure(self) -> Structure:
        return thaw(self.frozen_out)

    @property
    @override
    def T(self) -> AbstractLinearOperator:
        if "symmetric" in self.tags:
            return self
        return TransposedJacobian(jacobian=self, declared=self.declared.T)

    @override
    def mv(self, x: Field) -> Field:
        return jax.jvp(self.function, (self.point,), (x,))[1]


class TransposedJacobian(AbstractDeclaredOperator):
    """The transpose Jᵀ of a `Jacobian`; made by its `T`."""

    jacobian: Jacobian
    declared: Declared

    @property
    @override
    def in_structure(self) -> Structure:
        return self.jacobian.out_structure

    @property
    @override
    def out_structure(self) -> Structure:
        return self.jacobian.in_structure

    @property
    def T(self) -> Jacobian:
        """J itself."""
        return self.jacobian

    @override
    def mv(self, x: Field) -> Field:
        _, pull_back = jax.vjp(self.jacobian.function, self.jacobian.point)
        return pull_back(x)[0]
