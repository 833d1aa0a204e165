"""Any map of residuals as a preconditioner."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from typing_extensions import override

from ...operators import AbstractOperator
from ...operators._arguments import shown


class CallableDirection(AbstractOperator):
    """A function or Equinox module r → z, on fields of any structure."""

    function: Callable[[Any], Any]

    @property
    @override
    def in_structure(self) -> None:
        return None

    @override
    def __call__(self, x: Any) -> Any:
        z = self.function(x)
        shapes = [jax.tree.map(jnp.shape, field) for field in (x, z)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "function must return a field of the structure of the residual, "
                f"{shown(shapes[0])}, got {shown(shapes[1])}"
            )
        return jax.tree.map(_as_dtype_of, x, z)


def from_callable(function: Callable[[Any], Any]) -> AbstractOperator:
    """Return a function r → z as a nonlinear preconditioner, for flexible solvers.

    The arrays of an Equinox module stay its leaves, so that other weights are the same
    program; a plain function is compiled once per object.

    Args:
        function: returns a field of the structure of r, of any scale; computed in
            another precision, it is converted to that of r. Like the fields of a
            solve, r has no axis of channels: `lambda r: net(r[None])[0]`.

    Raises:
        TypeError: it cannot be called.
        ValueError: on use, it returns another structure, or complex numbers for a real
            residual.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> from krylax.learned import conjugate_directions as cd
        >>> A, b = kx.operators.Laplacian((50,)), jnp.ones(50)
        >>> solver = kx.solvers.FlexibleCG(rtol=1e-10)
        >>> M = cd.from_callable(lambda r: r / 2)
        >>> int(kx.solve(A, b, solver, preconditioner=M).stats.num_steps)
        25
    """
    if not callable(function):
        raise TypeError(
            "function must be callable, a map of a residual to a direction, got "
            f"{type(function).__name__}"
        )
    return CallableDirection(function)


def _as_dtype_of(r: Any, z: Any) -> Array:
    """What was returned, in the dtype of the residual."""
    dtype = jnp.result_type(r)
    if jnp.iscomplexobj(z) and not jnp.issubdtype(dtype, jnp.complexfloating):
        raise ValueError(
            f"function must return real numbers for a residual of {dtype.name}, got "
            f"{jnp.result_type(z).name}; take the real part"
        )
    return jnp.asarray(z).astype(dtype)
