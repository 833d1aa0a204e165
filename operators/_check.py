"""Probing the tags of an operator: linearity, adjoint, symmetry, definiteness.

Random probes find a wrong transpose or a wrong symmetry with probability one; a
negative eigenvalue shows when it is among the extreme ones, which a short Lanczos run
reaches.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from ._arguments import require_key
from ._arithmetic import (
    add_scaled,
    block_dot,
    combine,
    conj,
    dot,
    gram,
    ratio,
    scale,
    subtract,
)
from ._control_flow import scan
from ._field import Field, Structure, real_dtype, size_of
from ._operator import AbstractLinearOperator, transpose
from ._tags import require_complete

LANCZOS_STEPS = 30


def check_operator(
    operator: AbstractLinearOperator, key: PRNGKeyArray
) -> dict[str, float]:
    """Return the relative error of each property that the operator declares.

    Probes, with random fields x and y: A(2x + y) = 2Ax + Ay, ⟨y, Ax⟩ = ⟨Aᴴy, x⟩,
    ⟨yᶜ, Ax⟩ = ⟨(Aᵀy)ᶜ, x⟩, Aᵀx = Ax and Aᴴx = Ax if tagged so, A N = 0 and Aᴴ N = 0 for
    a declared null space; for the definite tags, the smallest Ritz value of a Lanczos
    run of 30 steps, in units of the largest: the error is its negative part, and 1
    where it is zero though the operator is called positive definite.

    Args:
        operator: the operator to probe.
        key: for the random probes.

    Raises:
        ValueError: a property that does not hold, with its error, or tags that imply
            others that are not given.

    Cost: about ten products, and 30 more with a definite tag; two programs, compiled
    once per structure.

    Examples:
        >>> import jax, krylax as kx
        >>> A = kx.operators.Laplacian((4, 5))
        >>> sorted(kx.operators.check_operator(A, jax.random.key(0)))[:2]
        ['adjoint', 'definiteness']
    """
    if not isinstance(operator, AbstractLinearOperator):
        raise TypeError(
            f"check_operator probes a linear operator, got {type(operator).__name__}; "
            "of one that is not linear, probe its Jacobian"
        )
    require_key(key)
    require_complete(operator)
    structures = (operator.in_structure, operator.in_structure, operator.out_structure)
    x, z, y = map(random_field, structures, jax.random.split(key, 3))
    # First, since what is not linear may have no transpose to compare with.
    linearity = _linearity_error(operator, x, z)
    _raise_broken(linearity, operator)
    errors = linearity | _other_errors(operator, x, y)
    _raise_broken(errors, operator)
    return {name: float(error) for name, error in errors.items()}


def random_field(structure: Structure, key: PRNGKeyArray) -> Field:
    """Return a field of standard normal entries."""
    leaves, tree = jax.tree.flatten(structure)
    keys = jax.random.split(key, len(leaves))
    return tree.unflatten(
        jax.random.normal(k, s.shape, s.dtype)
        for k, s in zip(keys, leaves, strict=True)
    )


@eqx.filter_jit
def _linearity_error(
    operator: AbstractLinearOperator, x: Field, z: Field
) -> dict[str, Array]:
    two = jnp.asarray(2.0)
    got = operator.mv(add_scaled(z, two, x))
    expected = add_scaled(operator.mv(z), two, operator.mv(x))
    return {"linearity": _relative(_distance(got, expected), _norm(expected))}


@eqx.filter_jit
def _other_errors(
    operator: AbstractLinearOperator, x: Field, y: Field
) -> dict[str, Array]:
    Ax = operator.mv(x)
    adjoint = dot(y, Ax) - dot(operator.H.mv(y), x)
    transpose = dot(conj(y), Ax) - dot(conj(operator.T.mv(y)), x)
    size = _norm(Ax) * _norm(y)
    return {
        "adjoint": _relative(jnp.abs(adjoint), size),
        "transpose": _relative(jnp.abs(transpose), size),
        **_tagged_errors(operator, x, Ax),
    }


def _tagged_errors(
    operator: AbstractLinearOperator, x: Field, Ax: Field
) -> dict[str, Array]:
    errors = {}
    if "symmetric" in operator.tags:
        # The stored shortcut returns A itself, so the transpose is taken afresh.
        (ATx,) = transpose(operator.mv, operator.in_structure)(x)
        errors["symmetric"] = _relative(_distance(ATx, Ax), _norm(Ax))
    if "hermitian" in operator.tags:
        (ATx,) = transpose(operator.mv, operator.in_structure)(conj(x))
        errors["hermitian"] = _relative(_distance(conj(ATx), Ax), _norm(Ax))
    if operator.nullspace is not None:
        N, size = operator.nullspace, _norm(Ax) / _norm(x)
        residual = jnp.maximum(_norm(operator.mm(N)), _norm(operator.H.mm(N)))
        errors["nullspace"] = _relative(residual, size)
    if "positive_semidefinite" in operator.tags:
        smallest = _smallest_ritz_value(operator, x)
        is_zero = jnp.abs(smallest) <= 10 * jnp.finfo(smallest.dtype).eps
        is_broken = is_zero & ("positive_definite" in operator.tags)
        errors["definiteness"] = jnp.where(is_broken, 1, jnp.maximum(-smallest, 0))
    return errors


def _smallest_ritz_value(operator: AbstractLinearOperator, x: Field) -> Array:
    """The smallest Ritz value of a Lanczos run over the largest one's modulus."""
    num_steps = min(LANCZOS_STEPS, size_of(operator.in_structure))
    dtype = jnp.result_type(*jax.tree.leaves(operator.in_structure))
    first = scale(1 / _norm(x), x)
    empty = jax.tree.map(lambda a: jnp.zeros((num_steps, *a.shape), a.dtype), first)

    def step(carry: Any, k: Any) -> tuple[Any, Field]:
        basis, v = carry
        basis = jax.tree.map(lambda rows, row: rows.at[k].set(row), basis, v)
        Av = operator.mv(v)
        w = Av
        for _pass in range(2):
            w = subtract(w, combine(block_dot(basis, w), basis))
        size = _norm(w)
        # A basis that spans an invariant space is continued by zeros.
        is_done = size <= 100 * num_steps * jnp.finfo(size.dtype).eps * _norm(Av)
        factor = jnp.where(is_done, 0, 1 / jnp.where(is_done, 1, size))
        return (basis, scale(factor, w)), Av

    (basis, _), images = scan(step, (empty, first), jnp.arange(num_steps))
    projected = gram(basis, images)
    # Their Ritz values of zero are replaced by one that is between the others.
    is_zero = jax.vmap(_norm)(basis) == 0
    filling = jnp.where(is_zero, projected[0, 0], jnp.zeros((), dtype))
    projected = projected + jnp.diag(filling)
    ritz = jnp.linalg.eigvalsh((projected + projected.conj().T) / 2)
    return ritz[0] / jnp.max(jnp.abs(ritz))


def _raise_broken(errors: dict[str, Array], operator: AbstractLinearOperator) -> None:
    """Raise for errors above 100 √n eps; inner products of n terms err by √n eps."""
    eps = float(jnp.finfo(real_dtype(operator.in_structure)).eps)
    allowed = 100 * size_of(operator.in_structure) ** 0.5 * eps
    # `not <=` instead of `>`, so that NaN counts as broken.
    if broken := {name: e for name, e in errors.items() if not e <= allowed}:
        listed = ", ".join(
            f"{name} (relative error {e:.1e})" for name, e in broken.items()
        )
        raise ValueError(
            f"{type(operator).__name__} breaks its promises: {listed}; at most "
            f"{allowed:.1e} is rounding. Correct mv, T or the tags"
        )


def _norm(x: Field) -> Array:
    return jnp.sqrt(jnp.real(dot(x, x)))


def _distance(x: Field, y: Field) -> Array:
    return _norm(subtract(x, y))


def _relative(error: Array, size: Array) -> Array:
    """The relative error; the absolute one where the size is zero."""
    return jnp.where(size == 0, error, ratio(error, size))
