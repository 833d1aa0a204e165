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
from ._operator import AbstractLinearOperator, _conj

LANCZOS_STEPS = 30


def check_operator(
    operator: AbstractLinearOperator, key: PRNGKeyArray
) -> dict[str, float]:
    """Return the relative error of every promise that the operator makes.

    Probes, with random fields x and y: A(2x + y) = 2Ax + Ay, ⟨y, Ax⟩ = ⟨Aᴴy, x⟩,
    ⟨yᶜ, Ax⟩ = ⟨(Aᵀy)ᶜ, x⟩, Aᵀx = Ax and Aᴴx = Ax if tagged so, A N = 0 and Aᴴ N = 0 for
    a declared null space; for the definite tags, the smallest Ritz value of a Lanczos
    run of 30 steps, in units of the largest: the error is its negative part, and 1
    where it is zero though the operator is called positive definite.

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
    # First, since what is not linear may have no transpose to compare with.
    linearity = _linearity_error(operator, x, Ax, x2)
    _raise_broken({"linearity": linearity}, operator)
    adjoint = _dot(y, Ax) - _dot(operator.H.mv(y), x)
    transpose = _dot(_conj(y), Ax) - _dot(_conj(operator.T.mv(y)), x)
    scale = _norm(Ax) * _norm(y)
    errors = {
        "linearity": linearity,
        "adjoint": _ratio(jnp.abs(adjoint), scale),
        "transpose": _ratio(jnp.abs(transpose), scale),
        **_tagged_errors(operator, x, Ax, keys[3]),
    }
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


def _linearity_error(
    operator: AbstractLinearOperator, x: Field, Ax: Field, x2: Field
) -> Array:
    got = operator.mv(jax.tree.map(lambda a, b: 2 * a + b, x, x2))
    expected = jax.tree.map(lambda a, b: 2 * a + b, Ax, operator.mv(x2))
    return _ratio(_distance(got, expected), _norm(expected))


def _tagged_errors(
    operator: AbstractLinearOperator, x: Field, Ax: Field, key: PRNGKeyArray
) -> dict[str, Array]:
    errors = {}
    if "symmetric" in operator.tags:
        # The stored shortcut returns A itself, so the transpose is taken afresh.
        (ATx,) = jax.linear_transpose(operator.mv, operator.in_structure)(x)
        errors["symmetric"] = _ratio(_distance(ATx, Ax), _norm(Ax))
    if "hermitian" in operator.tags:
        (ATx,) = jax.linear_transpose(operator.mv, operator.in_structure)(_conj(x))
        errors["hermitian"] = _ratio(_distance(_conj(ATx), Ax), _norm(Ax))
    if operator.nullspace is not None:
        N, scale = operator.nullspace, _norm(Ax) / _norm(x)
        residual = jnp.maximum(_norm(operator.mm(N)), _norm(operator.H.mm(N)))
        errors["nullspace"] = _ratio(residual, scale)
    if "positive_semidefinite" in operator.tags:
        smallest = _smallest_ritz_value(operator, key)
        is_zero = jnp.abs(smallest) <= 10 * jnp.finfo(smallest.dtype).eps
        is_broken = is_zero & ("positive_definite" in operator.tags)
        errors["definiteness"] = jnp.where(is_broken, 1, jnp.maximum(-smallest, 0))
    return errors


def _smallest_ritz_value(operator: AbstractLinearOperator, key: PRNGKeyArray) -> Array:
    """The smallest Ritz value of a Lanczos run over the largest one's modulus."""
    steps = min(LANCZOS_STEPS, size_of(operator.in_structure))
    start = random_field(operator.in_structure, key)
    basis = [_scaled(1 / _norm(start), start)]
    for _ in range(steps - 1):
        w = operator.mv(basis[-1])
        size = _norm(w)
        for _pass in range(2):
            for v in basis:
                w = jax.tree.map(jnp.subtract, w, _scaled(_dot(v, w), v))
        if _norm(w) <= 100 * steps * jnp.finfo(size.dtype).eps * size:
            break
        basis.append(_scaled(1 / _norm(w), w))
    images = [operator.mv(v) for v in basis]
    projected = jnp.array([[_dot(v, image) for image in images] for v in basis])
    ritz = jnp.linalg.eigvalsh((projected + projected.conj().T) / 2)
    return ritz[0] / jnp.max(jnp.abs(ritz))


def _raise_broken(errors: dict[str, Array], operator: AbstractLinearOperator) -> None:
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


def _scaled(factor: Array, x: Field) -> Field:
    return jax.tree.map(lambda a: factor.astype(a.dtype) * a, x)


def _ratio(error: Array, scale: Array) -> Array:
    """Error over scale, the error itself where the scale is zero."""
    return jnp.where(scale == 0, error, error / jnp.where(scale == 0, 1, scale))
