"""A function as the program that it is when an operator is made of it.

A Python function is known by its identity: each new closure would be compiled again and
kept for ever with the arrays that it closes over, and one whose object has changed
would go on as it was. So a function is traced where it enters the library: what it
closes over become leaves, and two functions of the same operations are one program.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun
from jaxtyping import Array

from ._arguments import shown
from ._control_flow import is_sharded, vary_alike
from ._field import Structure, on_device


class Program:
    """The operations of a traced function; equal to another one of the same text.

    The parameters of the operations have to be equal too. A rule of a `jax.custom_jvp`
    or a callback is so only to itself: functions that use one compile each time.
    """

    def __init__(self, jaxpr: Jaxpr, structure: Structure, out_structure: Structure):
        self.jaxpr = jaxpr
        self.structure = structure
        self.out_structure = out_structure
        leaves = [jax.tree.flatten(s) for s in (structure, out_structure)]
        self._key = (str(jaxpr), *((tree, *found) for found, tree in leaves))
        self._parameters = list(_parameters(jaxpr))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: Any) -> bool:
        return (
            isinstance(other, Program)
            and self._key == other._key
            and len(self._parameters) == len(other._parameters)
            and all(map(_is_same, self._parameters, other._parameters))
        )


class TracedFunction(eqx.Module):
    """The function of a program and of the arrays that it closes over."""

    constants: list[Array]
    program: Program = eqx.field(static=True)

    def __call__(self, x: Any) -> Any:
        """Return f(x), computed in the dtype in which f was traced."""
        given = jax.tree.leaves(x)
        jaxpr: Any = self.program.jaxpr
        leaves = _cast(given, [v.aval.dtype for v in jaxpr.invars])
        constants = _cast(self.constants, [v.aval.dtype for v in jaxpr.constvars])
        leaves, constants = vary_alike((leaves, constants))
        found = jaxpr_as_fun(ClosedJaxpr(jaxpr, constants))(*leaves)
        if any(a.dtype != b.dtype for a, b in zip(given, leaves, strict=True)):
            # On fields of another precision, such as those of `Refinement` inside.
            real = jnp.finfo(given[0].dtype).dtype
            found = _cast(found, [_of_precision(real, leaf.dtype) for leaf in found])
        return jax.tree.structure(self.program.out_structure).unflatten(found)


def _cast(leaves: Sequence[Array], dtypes: Iterable[Any]) -> list[Array]:
    return [leaf.astype(dtype) for leaf, dtype in zip(leaves, dtypes, strict=True)]


def _of_precision(real: Any, dtype: Any) -> Any:
    is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
    return jnp.result_type(real, jnp.complex64) if is_complex else real


def trace(
    function: Callable[[Any], Any], structure: Structure
) -> tuple[Callable[[Any], Any], Structure]:
    """Return a function as a pytree of its arrays, and the structure of its result.

    One that is a pytree already, such as an Equinox module, stays what it is, unless a
    function in it closes over what is being traced: of that no leaf knows, and rules of
    derivatives, `jax.custom_jvp`, would take it for a constant without a word.
    """
    if not callable(function):
        raise TypeError(
            f"function must be a function of a field, got {shown(function)}; wrap a "
            "matrix in Dense"
        )
    is_partial = type(function) is jax.tree_util.Partial
    is_pytree = not (is_partial or is_leaf(function))
    if is_sharded():
        # A program for arrays that vary in one way does not run on others.
        found = function if is_pytree else jax.tree_util.Partial(function)
        return found, jax.eval_shape(function, structure)
    closed, out_structure = jax.make_jaxpr(function, return_shape=True)(structure)
    if is_pytree and not _hides_traced(function, closed.consts):
        return function, out_structure
    program = Program(closed.jaxpr, structure, out_structure)
    constants = [
        c if isinstance(c, jax.Array) else on_device(np.asarray(c))
        for c in closed.consts
    ]
    return TracedFunction(constants, program), out_structure


def _hides_traced(function: Any, constants: Iterable[Any]) -> bool:
    """Whether a pytree depends on traced arrays that are none of its leaves."""
    own = {id(leaf) for leaf in jax.tree.leaves(function)}
    return any(isinstance(c, Tracer) and id(c) not in own for c in constants)


def is_leaf(function: Any) -> bool:
    """Whether a function is no pytree of its own, as those of Python are not."""
    leaves = jax.tree.leaves(function)
    return len(leaves) == 1 and leaves[0] is function


def _parameters(jaxpr: Jaxpr) -> Iterator[Any]:
    """What the equations of a program are given beside arrays.

    A text does not show all of it, such as the rule of a `jax.custom_jvp`.
    """
    for equation in jaxpr.eqns:
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if isinstance(value, ClosedJaxpr):
                yield from value.consts
                yield from _parameters(value.jaxpr)
            elif isinstance(value, Jaxpr):
                yield from _parameters(value)
            else:
                yield value


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)


def _is_same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    is_array = isinstance(a, jax.Array | np.ndarray)
    return not is_array and type(a) is type(b) and bool(a == b)
