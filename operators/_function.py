"""Matrix-free linear operators from a function."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import equinox as eqx
from typing_extensions import override

from ._declared import AbstractDeclaredOperator, Declared, declare
from ._field import Field, FrozenStructure, Structure, freeze, require_field, thaw
from ._traced_function import trace


class Function(AbstractDeclaredOperator):
    """The linear operator x ↦ function(x).

    The function is traced once, when the operator is made: what it closes over is taken
    as it is then, without another compilation where only its values are new. Gradients
    flow to these arrays when the operator is built inside the differentiated function,
    and to the leaves of `function` when it is an Equinox module.

    Args:
        function: linear map from a field to a field; linearity is trusted, and probed
            by `check_operator`.
        in_structure: the field's structure, such as `jax.eval_shape(lambda: x)`.
        tags: declared properties such as `symmetric` or `positive_definite`. The
            transpose of an operator that is not tagged symmetric is made by
            reverse-mode derivatives.
        nullspace: null vectors of A and Aᴴ, stacked along a first axis, or "constant".

    Raises:
        ValueError: integer or empty fields, an unknown tag, or null
            vectors of another structure.

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> x = jnp.array([1.0, 2.0, 3.0])
        >>> A = kx.operators.Function(jnp.cumsum, jax.eval_shape(lambda: x))
        >>> A.T @ x
        Array([6., 5., 3.], dtype=float64)
    """

    function: Callable[[Field], Field]
    declared: Declared
    frozen_in: FrozenStructure = eqx.field(static=True)
    frozen_out: FrozenStructure = eqx.field(static=True)

    def __init__(
        self,
        function: Callable[[Any], Any],
        in_structure: Structure,
        *,
        tags: Iterable[str] = (),
        nullspace: Any | Literal["constant"] | None = None,
    ) -> None:
        self.frozen_in = freeze(in_structure)
        require_field(self.in_structure)
        self.function, out_structure = trace(function, in_structure)
        self.frozen_out = freeze(out_structure)
        self.declared = declare(tags, nullspace, self.in_structure, self.out_structure)

    @property
    @override
    def in_structure(self) -> Structure:
        return thaw(self.frozen_in)

    @property
    @override
    def out_structure(self) -> Structure:
        return thaw(self.frozen_out)

    @override
    def mv(self, x: Field) -> Field:
        return self.function(x)
