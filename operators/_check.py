"""Probing what an operator promises: linearity, adjoint, symmetry, definiteness.

Random probes find a wrong transpose or a wrong symmetry with probability one; a
negative eigenvalue shows when it is among the extreme ones, which a short Lanczos run
reaches.
"""

from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from ._field import Field, Structure, real_dtype, size_of
from ._operator import AbstractLinearOperator

LANCZOS_STEPS = 30


def check_operator(
    operator: AbstractLinearOperator, key: PRNGKeyArray
) -> dict[str, float]:
    """Return the relative error of every promise that the operator makes.

    Probes, with random fields x and y: A(2x + y) = 2Ax + Ay, ⟨y, Ax⟩ = ⟨Aᴴy, x⟩, ⟨yᶜ,
    Ax⟩ = ⟨(Aᵀy)ᶜ, x⟩, Aᵀx = Ax and Aᴴx = Ax if tagged so, and A N = 0 for a declared
    null space; for the definite tags, the smallest Ritz value of a Lanczos run of 30
    steps (in units of the largest; the error is its negative part).

    Args:
        operator: the operator to probe.
        key: for the random probes.

    Raises:
        ValueError: a broken promise, named with its error.

    Cost: about ten products, and 30 more with a definite tag.

    Examples:
        >>> import jax, krylax as kx
        >>> A = kx.operators.Laplacian((4, 5))
        >>> sorted(kx.operators.check_operator(A, jax.random.key(0)))[:2]
        ['adjoint', 'definiteness']
    """
    keys = jax.random.split(key, 4)
    x, x2 = (random_field(operator.in_structure, k) for k in keys[:2])
    y = random_field(operator.out_structure, keys[2])
    Ax = operator.mv(x)
    mixed = operator.mv(jax.tree.map(lambda a, b: 2 * a + b, x, x2))
    expected = jax.tree.map(lambda a, b: 2 * a + b, Ax, operator.mv(x2))
    scale = _norm(Ax) * _norm(y)
    errors = {
        "linearity": _distance(mixed, expected) / _norm(expected),
        "adjoint": abs(_dot(y, Ax) - _dot(operator.H.mv(y), x)) / scale,
        "transpose": abs(_dot(_conj(y), Ax) - _dot(_conj(operator.T.mv(y)), x)) / scale,
    }
    errors |= _tagged_errors(operator, x, Ax, keys[3])
    errors = {name: float(error) for name, error in errors.items()}
    _raise_broken(errors, operator)
    return errors


def random_field(structure: Structure, key: PRNGKeyArray) -> Field:
    """Return a field of standard normal entries."""
    leaves, tree = jax.tree.flatten(structure)
    keys = jax.random.split(key, len(leaves))
    return tree.unflatten(
        jax.random.normal(k, s.shape, s.dtype)
        for k, s in zip(keys, leaves, strict=True)
    )


def _tagged_errors(
    operator: AbstractLinearOperator, x: Field, Ax: Field, key: PRNGKeyArray
) -> dict[str, Array]:
    errors = {}
    if "symmetric" in operator.tags:
        # The stored shortcut returns A itself, so the transpose is taken afresh.
        (ATx,) = jax.linear_transpose(operator.mv, operator.in_structure)(x)
        errors["symmetric"] = _distance(ATx, Ax) / _norm(Ax)
    if "hermitian" in operator.tags:
        (ATx,) = jax.linear_transpose(operator.mv, operator.in_structure)(_conj(x))
        errors["hermitian"] = _distance(_conj(ATx), Ax) / _norm(Ax)
    if operator.nullspace is not None:
        residual = operator.mm(operator.nullspace)
        errors["nullspace"] = _norm(residual) / _norm(Ax) * _norm(x)
    if "positive_semidefinite" in operator.tags:
        errors["definiteness"] = _negative_part(operator, key)
    return errors


def _negative_part(operator: AbstractLinearOperator, key: PRNGKeyArray) -> Array:
    """The negative part of the smallest Ritz value over the largest one's modulus."""
    steps = min(LANCZOS_STEPS, size_of(operator.in_structure))
    start = random_field(operator.in_structure, key)
    basis = [jax.tree.map(lambda a: a / _norm(start), start)]
    for _ in range(steps - 1):
        w = operator.mv(basis[-1])
        size = _norm(w)
        for _pass in range(2):
            for v in basis:
                h = _dot(v, w)
                w = jax.tree.map(lambda a, b, h=h: a - h * b, w, v)
        if _norm(w) <= 100 * steps * jnp.finfo(size.dtype).eps * size:
            break
        basis.append(jax.tree.map(lambda a, w=w: a / _norm(w), w))
    images = [operator.mv(v) for v in basis]
    projected = jnp.array([[_dot(v, image) for image in images] for v in basis])
    ritz = jnp.linalg.eigvalsh((projected + projected.conj().T) / 2)
    return jnp.maximum(-ritz[0], 0) / jnp.max(jnp.abs(ritz))


def _raise_broken(errors: dict[str, float], operator: AbstractLinearOperator) -> None:
    """Allow rounding: inner products of n terms err by about √n eps; 100 times that."""
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


def _dot(x: Field, y: Field) -> Array:
    terms = jax.tree.leaves(jax.tree.map(jnp.vdot, x, y))
    return reduce(jnp.add, terms)


def _norm(x: Field) -> Array:
    return jnp.sqrt(jnp.real(_dot(x, x)))


def _distance(x: Field, y: Field) -> Array:
    return _norm(jax.tree.map(jnp.subtract, x, y))


def _conj(x: Field) -> Field:
    return jax.tree.map(jnp.conj, x)
