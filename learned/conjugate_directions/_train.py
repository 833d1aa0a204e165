"""Training of a direction of search, on the errors that it leaves itself.

A batch is a set of solves, each in the middle of its way: an error e of known size, and
the last directions. A step of training is a step of all of these solves with the
network as it is then, and what is made small is how much is left, the mean of

    log ‖e - α p‖²_A / ‖e‖²_A,

the rate of convergence of the method itself, orthogonalisation included. The next step
of training goes on from the errors that are left, so that the network sees the
residuals of its own solves, and every solve ends at random after `horizon` steps on
average, to begin with another system and another error.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from ...datasets.families._family import (
    AbstractFamily,
    check_choice,
    require_family,
    stacked_samples,
)
from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._arguments import require_count
from ...operators._arithmetic import dot, select, subtract
from ...solvers import CG, FlexibleCG, LinearSystem, solve
from ...solvers.core._nullspace import complement_of
from ...solvers.krylov._flexible_cg import FlexibleVectors
from ..training import Result, Settings, fit
from ..training._settings import require_settings
from ._errors import solved_errors, spectral_error
from ._losses import residual_loss
from ._masked import Masked

SOLVER = FlexibleCG(truncation=2)
"""The method of the paper."""

MAX_PRODUCTS = 200
"""In a validation; a solve that does not converge counts as so many."""

FLOOR = 1e-12
"""Added to the contraction before its logarithm, far below what a step attains."""

TOLERANCES = {"float64": 1e-6, "float32": 1e-4}
"""Relative residuals of the validation; single precision attains no less for sure."""


class _Solves(eqx.Module):
    """A batch in the middle of its solves."""

    systems: Int[Array, " batch"]
    errors: Float[Array, "batch ..."]
    vectors: FlexibleVectors


class _Data(eqx.Module):
    """The systems, as their family draws them, and errors to begin from."""

    parameters: PyTree[Array]
    solved: Float[Array, "systems 3 ..."]
    solves: _Solves


def train(
    net: AbstractOperator,
    family: AbstractFamily,
    settings: Settings,
    *,
    loss: Literal["contraction", "residual"] = "contraction",
    reduction: Literal["mean", "worst"] = "mean",
    num_unrolled: int = 1,
    horizon: int = 20,
    num_systems: int = 64,
    validation: AbstractFamily | None = None,
    num_validation: int = 4,
) -> Result:
    """Train a direction of search for the systems of a family.

    The network does not see the geometry; on grids with solid cells it is trained as
    `Masked` uses it.

    Args:
        net: the direction, any operator r → z with trainable arrays.
        family: of definite or semidefinite systems on one grid, such as
            `PressureProjection()`.
        settings: how long, how fast, and where the state is kept.
        loss: "contraction", the logarithm of what a step of `FlexibleCG(truncation=2)`
            leaves of the error, or "residual", the published loss.
        reduction: of the losses of a batch, "mean" or "worst", the largest.
        num_unrolled: steps that are differentiated through at once, by contraction.
        horizon: mean number of steps after which a solve of the batch begins anew.
        num_systems: how many systems of the family are trained on, samples 0, 1, ...
        validation: family of the systems that the best model is chosen by. By default
            the same with twice as many points per axis and the stream "valid".
        num_validation: how many of them.

    Returns:
        The model with the fewest products of a solve to a relative residual of 1e-6
        (1e-4 in float32), and `history`, where `validation` is that number, 200 for a
        solve that takes more.

    Raises:
        FloatingPointError: the loss of a step is not finite.
        TypeError: net is no direction, family or validation no family, or settings
            something else.
        ValueError: a family of systems that are not definite, a direction that is
            safeguarded already, an argument out of range, or a checkpoint of another
            training.

    Examples:
        >>> import jax, krylax as kx
        >>> jax.config.update("jax_enable_x64", True)
        >>> from krylax.learned import conjugate_directions as cd, training
        >>> net = cd.DeepConjugateDirection("from64", 1, key=jax.random.key(0))
        >>> family = kx.datasets.Heat(num_points=(16,))
        >>> settings = training.Settings(num_steps=2, batch_size=2, progress=False)
        >>> result = cd.train(net, family, settings, num_systems=2, num_validation=1)
        >>> result.history["loss"].shape
        (2,)

    Cost: per step and example a call of the network, its derivative (about 2 calls
    more), 2 products for each step unrolled, and a solve by CG per system before.
    """
    require_family(family)
    require_settings(settings)
    check_choice(loss, ("contraction", "residual"), "loss")
    check_choice(reduction, ("mean", "worst"), "reduction")
    counts = {
        "num_unrolled": num_unrolled,
        "horizon": horizon,
        "num_systems": num_systems,
        "num_validation": num_validation,
    }
    for name, value in counts.items():
        require_count(value, name)
    if validation is None:
        validation = doubled(family)
    require_family(validation)
    _require_trainable(net, _first_definite(family))
    data = _begin(family, num_systems, settings)

    def batch_loss(
        net: AbstractOperator, data: _Data, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], _Data]:
        one = _residual_step if loss == "residual" else _contraction_step
        solves, for_reset = data.solves, jax.random.fold_in(key, 1)
        values, errors, vectors = jax.vmap(
            lambda i, e, v: one(net, _system(family, data, i), e, v, num_unrolled)
        )(solves.systems, solves.errors, solves.vectors)
        ended = jax.random.bernoulli(key, num_unrolled / horizon, values.shape)
        moved = _Solves(solves.systems, errors, vectors)
        solves = _renewed(family, data, moved, ended, for_reset)
        value = jnp.max(values) if reduction == "worst" else jnp.mean(values)
        return value, eqx.tree_at(lambda d: d.solves, data, solves)

    configuration = {
        "family": repr(family),
        "validation": repr(validation),
        "loss": [loss, reduction],
        **counts,
    }
    return fit(
        net,
        batch_loss,
        settings,
        data=data,
        validate=_Validation(validation, num_validation),
        configuration=configuration,
    )


def doubled(family: Any) -> AbstractFamily:
    """The family with twice as many points per axis, from its own stream."""
    names = {field.name for field in fields(family)}
    if not {"num_points", "stream"} <= names:
        raise ValueError(
            f"{type(family).__name__} has no num_points and stream, of which another "
            "family could be made; give one for validation"
        )
    twice: Any = {
        "num_points": tuple(2 * n for n in family.num_points),
        "stream": "valid",
    }
    return replace(family, **twice)  # a frozen dataclass, as all families are


class _Validation:
    """The mean number of products of solves that no training has seen."""

    def __init__(self, family: AbstractFamily, num_systems: int) -> None:
        self.samples = [family.sample(i) for i in range(num_systems)]
        _, b = family.system(self.samples[0])
        rtol = TOLERANCES.get(jnp.result_type(b).name, 1e-6)
        solver = FlexibleCG(rtol, truncation=2, max_steps=MAX_PRODUCTS)

        @eqx.filter_jit
        def count(net: Any, parameters: Any) -> Any:
            A, b = family.system(parameters)
            sol = solve(A, b, solver, preconditioner=Masked(net), throw=False)
            return sol.status, sol.stats.num_steps

        self.count = count

    def __call__(self, net: AbstractOperator) -> float:
        found = [self.count(net, parameters) for parameters in self.samples]
        products = [int(n) if s == 0 else MAX_PRODUCTS for s, n in found]
        return float(np.mean(products))


def _contraction_step(
    net: AbstractOperator,
    A: AbstractLinearOperator,
    e: Float[Array, "..."],
    vectors: FlexibleVectors,
    num_steps: int,
) -> tuple[Float[Array, ""], Float[Array, "..."], FlexibleVectors]:
    """The rate of convergence of steps from e, the error that is left, and its size."""
    r = A.mv(e)
    zero = jnp.zeros((), r.dtype)
    x = jnp.zeros_like(r)
    system = LinearSystem(A, Masked(net)(A), r, x, r, zero, zero + 1)
    vectors = eqx.tree_at(lambda v: v.r, vectors, r)
    for _ in range(num_steps):
        step = SOLVER.step(system, x, vectors)
        x, vectors = step.x, step.vectors
    left = _in_range(A, subtract(e, x))
    ratio = dot(left, A.mv(left)) / dot(e, r)
    rate = jnp.log(jnp.maximum(ratio, 0) + FLOOR) / num_steps
    left, vectors = jax.lax.stop_gradient((left, vectors))
    # Below it is rounding, and no error of the method.
    is_left = ratio > jnp.finfo(r.dtype).eps
    left = jnp.where(is_left, left / jnp.max(jnp.abs(left)), jnp.nan)
    return rate, left, vectors


def _in_range(A: AbstractLinearOperator, e: Float[Array, "..."]) -> Float[Array, "..."]:
    """An error without its part in the null space, of which no residual tells."""
    return complement_of(A, SOLVER.inner_product).project(e)


def _residual_step(
    net: AbstractOperator,
    A: AbstractLinearOperator,
    e: Float[Array, "..."],
    vectors: FlexibleVectors,
    num_steps: int,
) -> tuple[Float[Array, ""], Float[Array, "..."], FlexibleVectors]:
    """The published loss, and what a step leaves."""
    arrays, others = eqx.partition(net, eqx.is_array)
    fixed = eqx.combine(jax.lax.stop_gradient(arrays), others)
    _, left, vectors = _contraction_step(fixed, A, e, vectors, num_steps)
    return residual_loss(Masked(net)(A), A, A.mv(e)), left, vectors


def _system(family: AbstractFamily, data: _Data, i: Any) -> AbstractLinearOperator:
    return family.system(jax.tree.map(lambda a: a[i], data.parameters))[0]


def _begin(family: AbstractFamily, num_systems: int, settings: Settings) -> _Data:
    """All systems with some of their solutions, and a batch of solves to begin."""
    stacked = jax.tree.map(jnp.asarray, stacked_samples(family, range(num_systems)))
    key = jax.random.fold_in(jax.random.key(settings.seed), settings.num_steps or 0)
    solver = CG(rtol=1e-5)

    @jax.jit
    def solved(parameters: Mapping[str, Any], key: Key[Array, ""]) -> Any:
        return solved_errors(*family.system(parameters), solver, key)

    rows = [
        solved(jax.tree.map(lambda a, i=i: a[i], stacked), jax.random.fold_in(key, i))
        for i in range(num_systems)
    ]
    grid, dtype = rows[0].shape[1:], rows[0].dtype
    zeros = jnp.zeros((settings.batch_size, *grid), dtype)
    vectors = jax.vmap(lambda r: _fresh_vectors(r))(zeros)
    idle = _Solves(jnp.zeros(settings.batch_size, jnp.int32), zeros, vectors)
    data = _Data(stacked, jnp.stack(rows), idle)
    all_ended = jnp.ones(settings.batch_size, bool)
    solves = eqx.filter_jit(_renewed)(family, data, idle, all_ended, key)
    return eqx.tree_at(lambda d: d.solves, data, solves)


def _fresh_vectors(r: Float[Array, "..."]) -> Any:
    zero = jnp.zeros((), r.dtype)
    system = LinearSystem(None, None, r, r, r, zero, zero)  # type: ignore
    return SOLVER.begin(system, r)


def _renewed(
    family: AbstractFamily,
    data: _Data,
    solves: _Solves,
    ended: Bool[Array, " batch"],
    key: Key[Array, ""],
) -> _Solves:
    """The batch with those that ended begun anew, on random systems."""

    def begun(key: Key[Array, ""]) -> _Solves:
        for_system, for_source, for_field = jax.random.split(key, 3)
        i = jax.random.randint(for_system, (), 0, len(data.solved))
        source = jax.random.randint(for_source, (), 0, 4)
        e = spectral_error(for_field, data.solved.shape[2:], data.solved.dtype)
        A = _system(family, data, i)
        e = _in_range(A, e if A.is_fluid is None else jnp.where(A.is_fluid, e, 0))
        solution = data.solved[i, jnp.minimum(source, 2)]
        size = jnp.max(jnp.abs(solution))
        # A right-hand side of zeros has nothing to solve.
        is_solved = (source < 3) & (size > 0) & jnp.isfinite(size)
        e = jnp.where(is_solved, solution / jnp.where(is_solved, size, 1), e)
        return _Solves(i.astype(jnp.int32), e, _fresh_vectors(e))

    fresh = jax.vmap(begun)(jax.random.split(key, len(ended)))
    # An error that a step has removed is none to go on from.
    axes = tuple(range(1, solves.errors.ndim))
    has_error = jnp.all(jnp.isfinite(solves.errors), axes)
    return jax.vmap(select)(ended | ~has_error, fresh, solves)


def _first_definite(family: AbstractFamily) -> AbstractLinearOperator:
    """The first operator of a family, if it is a definite one."""
    A, _ = family.system(family.sample(0))
    if not A.tags & {"positive_definite", "positive_semidefinite"}:
        raise ValueError(
            f"family must be of definite systems, got a {type(A).__name__} with the "
            f"tags {sorted(A.tags)}; a direction of search is for those alone"
        )
    return A


def _require_trainable(net: Any, A: AbstractLinearOperator) -> None:
    # CG beside it would be trained on as well.
    if Masked(net)(A).is_safeguarded:
        raise ValueError(
            "net must be a direction without a safeguard, which hides what it does; "
            "train what is inside, and make it Safeguarded after that"
        )
