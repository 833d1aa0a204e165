"""Fields and their structures: what operators take and return.

A field is an array of any rank (grid-shaped where there is a grid) or a pytree of such
arrays; its structure is the same pytree of `jax.ShapeDtypeStruct`. Arrays that enter
the library pass through `as_field` once, which is where invalid input is rejected.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, DTypeLike, Inexact, PyTree

from ._arguments import shown

Field: TypeAlias = PyTree[Inexact[Array, "..."]]
Structure: TypeAlias = PyTree[jax.ShapeDtypeStruct]
FrozenStructure: TypeAlias = tuple[Any, tuple[jax.ShapeDtypeStruct, ...]]


def as_field(values: Any, name: str) -> Field:
    """Convert the leaves of `values` to JAX arrays of a floating or complex type.

    Args:
        values: array or pytree of arrays, NumPy's or JAX's.
        name: the caller's name for it, for the error message.

    Raises:
        ValueError: a leaf is an integer or boolean array, or asks for 64 bits while
            `jax_enable_x64` is off.
    """
    return jax.tree.map(lambda leaf: as_inexact(leaf, name), values)


def as_inexact(values: Any, name: str) -> Inexact[Array, "..."]:
    """Convert one array; see `as_field`."""
    if isinstance(values, jax.Array) and jnp.issubdtype(values.dtype, jnp.inexact):
        # A weak type would be another program.
        is_weak = values.weak_type
        return lax.convert_element_type(values, values.dtype) if is_weak else values
    if not isinstance(values, jax.Array | np.ndarray | np.generic):
        # Of a sequence, some may be traced and others not.
        values = jnp.asarray(values) if is_traced(values) else np.asarray(values)
        # Python numbers have no precision of their own.
        if values.dtype in (np.float64, np.complex128):
            values = values.astype(jax.dtypes.canonicalize_dtype(values.dtype))
    if isinstance(values, np.ndarray):
        # JAX takes numbers in the order of bytes of the machine alone.
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if values.dtype in (np.longdouble, np.clongdouble):
            raise ValueError(
                f"{name} must be of 64 bits or fewer, as JAX computes, got "
                f"{values.dtype}; convert it, for example with {name}.astype(float)"
            )
    if not jnp.issubdtype(values.dtype, jnp.inexact):
        raise ValueError(
            f"{name} must be an array of a floating or complex type, got dtype "
            f"{values.dtype}; convert it, for example with {name}.astype(float)"
        )
    require_x64(values.dtype, name)
    return on_device(values)


def as_finite(values: Any, name: str) -> Inexact[Array, "..."]:
    """Convert one array as `as_inexact` does, and refuse infinities and NaN.

    What is known is looked at on the host, before it becomes part of a program: also
    where a constant is given inside of `jax.jit`.
    """
    converted = as_inexact(values, name)
    require_finite(values, name)
    return converted


def on_device(values: Any) -> Array:
    """Return an array that was set up on the host.

    `jnp.asarray` would compile a program for each of the many shapes. Inside
    of a program it is a constant, whose values stay known.
    """
    with jax.ensure_compile_time_eval():
        return jax.device_put(values)


def as_scalar(value: Any, dtype: DTypeLike) -> Inexact[Array, ""]:
    """Return one number, traced or not, in this dtype."""
    if isinstance(value, jax.Array):
        return jnp.asarray(value, dtype)
    return on_device(np.asarray(value, dtype))


def as_dtype(dtype: DTypeLike | None) -> jnp.dtype:
    """Return the dtype of an operator's fields, by default JAX's.

    Raises:
        ValueError: an integer type, or 64 bits while `jax_enable_x64` is off.
    """
    try:
        dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    except (TypeError, ValueError):
        raise ValueError(
            "dtype must be a floating or complex type, such as jnp.float64, got "
            f"{shown(dtype)}"
        ) from None
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise ValueError(f"dtype must be floating or complex, got {dtype}")
    require_x64(dtype, "dtype")
    return dtype


def require_x64(dtype: DTypeLike, name: str) -> None:
    """Refuse 64-bit types while JAX would silently turn them into 32-bit ones."""
    wide = np.dtype(dtype) in (np.dtype(np.float64), np.dtype(np.complex128))
    if wide and not jax.config.read("jax_enable_x64"):
        raise ValueError(
            f"{name} asks for {np.dtype(dtype).name} while jax_enable_x64 is off; turn "
            'it on at the start of the program with jax.config.update("jax_enable_x64",'
            f" True), or convert {name} to 32 bits"
        )


def require_finite(values: Any, name: str) -> None:
    """Refuse infinities and NaN in a concrete array; traced ones get a status later."""
    if is_traced(values):
        return
    is_finite = np.isfinite(np.asarray(values))
    if not np.all(is_finite):
        count = int(np.sum(~is_finite))
        raise ValueError(
            f"{name} must be finite, got {count} of {is_finite.size} values that are "
            "infinite or NaN; look at where they come from"
        )


def is_traced(values: Any) -> bool:
    """Whether any leaf is being traced, so that its values are not known yet."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def structure_of(field: Field) -> Structure:
    """Shapes and types of a field."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), field)


def freeze(structure: Structure) -> FrozenStructure:
    """A hashable form of a structure, for static fields: a dict is not hashable."""
    leaves, tree = jax.tree.flatten(structure)
    for leaf in leaves:
        if not isinstance(leaf, jax.ShapeDtypeStruct | jax.Array | np.ndarray):
            raise ValueError(
                f"a structure is made of jax.ShapeDtypeStruct, got {leaf!r}; for that "
                "of a field x use jax.eval_shape(lambda: x)"
            )
    # Afresh, because eval_shape's may say "weakly typed", which is no part of it.
    return tree, tuple(array_structure(leaf.shape, leaf.dtype) for leaf in leaves)


def thaw(frozen: FrozenStructure) -> Structure:
    """The structure that was frozen."""
    tree, leaves = frozen
    return tree.unflatten(leaves)


def array_structure(shape: Sequence[int], dtype: DTypeLike) -> jax.ShapeDtypeStruct:
    """Structure of a field that is one array."""
    return jax.ShapeDtypeStruct(tuple(shape), jnp.dtype(dtype))


def require_field(structure: Structure) -> None:
    """Raise a `ValueError` unless this is the structure of a field.

    Raises:
        ValueError: no entry in some array, integers, arrays of several dtypes, or 64
            bits while `jax_enable_x64` is off.
    """
    leaves = jax.tree.leaves(structure)
    if not leaves or any(0 in leaf.shape for leaf in leaves):
        raise ValueError(
            "a field must have at least one entry in every array, got "
            f"{describe(structure)}; leave out what is empty"
        )
    dtypes = {leaf.dtype for leaf in leaves}
    if len(dtypes) > 1 or not jnp.issubdtype(leaves[0].dtype, jnp.inexact):
        raise ValueError(
            "all arrays of a field must have one floating or complex dtype, got "
            f"{describe(structure)}; convert them to one"
        )
    require_x64(leaves[0].dtype, "the field")


def require_square(
    structure: Structure, out_structure: Structure, property_of_square: str
) -> None:
    """Raise a `ValueError` unless the operator is square."""
    if structure != out_structure:
        raise ValueError(
            f"only a square operator {property_of_square}, got one from "
            f"{describe(structure)} to {describe(out_structure)}"
        )


def require_structure(field: Field, structure: Structure, name: str) -> None:
    """Raise a `ValueError` that names both structures if they differ."""
    got = structure_of(field)
    same_tree = jax.tree.structure(got) == jax.tree.structure(structure)
    if same_tree and jax.tree.leaves(got) == jax.tree.leaves(structure):
        return
    is_list = isinstance(got, list | tuple) and not isinstance(structure, list | tuple)
    hint = f"; for a {type(got).__name__} of numbers use np.asarray" if is_list else ""
    raise ValueError(
        f"{name} has structure {describe(got)}, the operator expects "
        f"{describe(structure)}; reshape or convert {name}, or build the operator in "
        f"its shape and dtype{hint}"
    )


_MAX_DESCRIBED = 8
"""Arrays of a field that a message lists."""


def describe(structure: Structure) -> str:
    """Short text of a structure, such as `float64[64, 64]`."""
    leaves = jax.tree.leaves(structure)
    if len(leaves) > _MAX_DESCRIBED:
        # A list of numbers is a pytree of as many leaves.
        first = describe(leaves[0])
        return f"a {type(structure).__name__} of {len(leaves)} arrays, first {first}"
    texts = jax.tree.map(lambda s: f"{s.dtype.name}{list(s.shape)}", structure)
    return str(texts).replace("'", "")


def real_dtype(structure: Structure) -> jnp.dtype:
    """The real type in which norms of a field are measured."""
    dtype = jnp.result_type(*jax.tree.leaves(structure))
    return jnp.finfo(dtype).dtype


def size_of(structure: Structure) -> int:
    """Number of unknowns."""
    return sum(int(np.prod(s.shape)) for s in jax.tree.leaves(structure))


def ravel(field: Field) -> Inexact[Array, " n"]:
    """The entries of a field, leaf after leaf, row-major."""
    return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(field)])


def unravel(vector: Inexact[Array, " n"], structure: Structure) -> Field:
    """The field that has these entries."""
    leaves, tree = jax.tree.flatten(structure)
    ends = np.cumsum([int(np.prod(s.shape)) for s in leaves])[:-1]
    pieces = jnp.split(vector, ends)
    return tree.unflatten(
        piece.reshape(s.shape).astype(s.dtype)
        for piece, s in zip(pieces, leaves, strict=True)
    )
