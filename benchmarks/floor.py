"""The time that memory alone asks of CG, measured in the same run.

A step of CG reads or writes a vector at least 11 times: A p reads p and writes A p, and
each of the updates of x, r and p reads two vectors and writes one. The inner products
need no more, if fused with them. Scaling a vector in place is two such passes. One
vector may stay in a cache that the five of CG overflow, so that both are measured.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from rivals.compiled import compile_program
from rivals.row import Prepared, Problem, Row, Sample

NUM_PASSES = 11
NUM_VECTORS = 5
REPEATS = 100


def memory_floor(num_vectors: int = 1) -> Row:
    """Return the row of one step, as long as NUM_PASSES passes over a vector take.

    Their speed is that of scaling as many vectors at once.
    """

    def prepare(problem: Problem) -> Prepared:
        x = jnp.stack(num_vectors * [jnp.asarray(problem.b[0])])
        scale = jax.jit(_scale_in_place)
        run, seconds = compile_program(scale, x, jnp.asarray(0.999, x.dtype))

        def sample() -> Sample:
            start = time.perf_counter()
            run(x, jnp.asarray(0.999, x.dtype)).block_until_ready()
            per_pass = (time.perf_counter() - start) / (2 * REPEATS * num_vectors)
            return Sample(0.0, NUM_PASSES * per_pass, 1.0, None)

        return Prepared(sample, seconds)

    name = f"floor: {NUM_PASSES} vector passes, {num_vectors} at once"
    return Row(name, "measured", prepare)


def _scale_in_place(x: Any, factor: Any) -> Any:
    return lax.fori_loop(0, REPEATS, lambda _, y: factor * y, x)
