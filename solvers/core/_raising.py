"""Raising where a solve has failed, outside of `jit` and inside of it."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, PyTree

from ...operators._control_flow import is_sharded
from ...operators._field import Field, is_traced
from ._lanes import any_lane
from ._solution import Solution
from ._status import SolveError, Status, is_solved


def raise_failure(solution: Solution) -> Solution:
    """Raise where the system is not solved, under `jit` at run time.

    Raises:
        SolveError: with the solution, outside of `jit`.
    """
    if is_traced(solution.status):
        # A and b are constants of a function that is being traced.
        return raise_traced(solution, solution.status)
    # Half as long as int() takes.
    if (code := solution.status.item()) in (Status.converged, Status.attained):
        return solution
    raise SolveError(
        f"{Status(code).sentence} (status {Status(code).name}, "
        f"{int(solution.stats.num_steps)} steps, relative residual "
        f"{float(solution.stats.relative_residual):.2e}); throw=False returns it",
        solution,
    )


def raise_traced(
    value: PyTree,
    status: Int[Array, ""],
    subject: str = "The solve",
    own: Mapping[Status, str] | None = None,
) -> Any:
    """Return the value; the compiled program raises if the status is a failure.

    Args:
        value: what is returned.
        status: of a solve.
        subject: what the sentences call the solve.
        own: sentences in the place of some of those of `Status`.
    """
    said = {member: member.sentence.replace("The solve", subject) for member in Status}
    sentences = list({**said, **(own or {})}.values())
    raise_on_host: Any = partial(_raise_on_host, sentences)
    status = lax.stop_gradient(status)
    if is_sharded():
        jax.debug.callback(raise_on_host, status)
        return value

    def raise_instead(value: Any) -> Any:
        passed = jax.pure_callback(
            raise_on_host,
            jax.ShapeDtypeStruct((), bool),
            status,
            vmap_method="legacy_vectorized",
        )
        # What is returned needs it, so that it is called.
        return jax.tree.map(
            lambda leaf: jnp.where(passed, leaf, jnp.zeros_like(leaf)), value
        )

    # One branch for a whole batch: none of it calls the host where all are solved.
    is_failed = any_lane(~is_solved(status))
    return lax.cond(is_failed, raise_instead, lambda value: value, value)


def _raise_on_host(sentences: list[str], status: Any) -> np.ndarray:
    for code in np.ravel(status):
        if code not in (Status.converged, Status.attained):
            raise SolveError(sentences[list(Status).index(Status(int(code)))], None)
    return np.ones(np.shape(status), bool)


def require_derivative(value: Field, status: Int[Array, ""], throw: bool) -> Field:
    """Return what a derivative's solve found; where it failed, raise or give NaN."""
    if throw:
        return raise_traced(value, status, "The solve for a derivative")
    return jax.tree.map(lambda leaf: jnp.where(is_solved(status), leaf, jnp.nan), value)
