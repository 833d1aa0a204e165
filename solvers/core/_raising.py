"""Raising where a solve has failed, outside of `jit` and inside of it."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from ...operators._control_flow import is_sharded
from ...operators._field import Field, is_traced
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
    value: PyTree, status: Int[Array, ""], subject: str = "The solve"
) -> Any:
    """Return the value; the compiled program raises if the status is a failure."""
    sentences = [member.sentence.replace("The solve", subject) for member in Status]
    if is_sharded():
        # The branch with which Equinox raises does not pass the checks of shard_map.
        jax.debug.callback(partial(_raise_on_host, sentences), status)
        return value
    return eqx.branched_error_if(value, ~is_solved(status), status, sentences)


def _raise_on_host(sentences: list[str], status: np.ndarray) -> None:
    if status not in (Status.converged, Status.attained):
        raise RuntimeError(sentences[list(Status).index(Status(int(status)))])


def require_derivative(value: Field, status: Int[Array, ""], throw: bool) -> Field:
    """Return what a derivative's solve found; where it failed, raise or give NaN."""
    if throw:
        return raise_traced(value, status, "The solve for a derivative")
    return jax.tree.map(lambda leaf: jnp.where(is_solved(status), leaf, jnp.nan), value)
