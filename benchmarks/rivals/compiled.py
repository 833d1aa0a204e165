"""Rows of JAX packages: compiled ahead of time, or called as a user types it."""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .row import Prepared, Problem, Row, Sample


def compiled(
    method: str,
    package: str,
    solve: Callable[..., tuple[Any, Any]],
    *,
    setup: Callable[[Any], Any] | None = None,
    over: Callable[..., Any] | None = None,
) -> Row:
    """Return the row of a program that is compiled before it is timed.

    Args:
        method: its name.
        package: whose it is.
        solve: (A, b, rtol) -> (x, iterations), and with `setup` (A, b, rtol, M).
        setup: A -> M, a program of its own, timed apart.
        over: `jax.vmap`, or something with its call, for problems of many systems.
    """

    # One program for all problems with an rtol, so that JAX compiles it once for
    # operators of one structure.
    @cache
    def program(rtol: float) -> Callable[..., Any]:
        def solved(A: Any, b: Any, *M: Any) -> Any:
            return solve(A, b, rtol, *M)

        return eqx.filter_jit(solved if over is None else over(solved))

    made = eqx.filter_jit(setup or (lambda A: ()))

    def prepare(problem: Problem) -> Prepared:
        A = problem.operator
        b = jnp.asarray(problem.b if over else problem.b[0])
        make, make_seconds = compile_program(made, A)
        parts = (make(A),) if setup else ()
        run, run_seconds = compile_program(program(problem.rtol), A, b, *parts)

        def sample() -> Sample:
            start = time.perf_counter()
            parts = (jax.block_until_ready(make(A)),) if setup else ()
            middle = time.perf_counter() if setup else start
            x, iterations = jax.block_until_ready(run(A, b, *parts))
            end = time.perf_counter()
            return _sample(problem, start, middle, end, x, iterations)

        return Prepared(sample, run_seconds + (make_seconds if setup else 0))

    return Row(method, package, prepare)


def called(
    method: str, package: str, bind: Callable[[Any, Any, float], Callable[[], Any]]
) -> Row:
    """Return the row of a call outside of `jit`.

    Args:
        method: its name.
        package: whose it is.
        bind: (A, b, rtol) -> a call without arguments that returns (x, iterations);
            what it makes beforehand is not timed.
    """

    def prepare(problem: Problem) -> Prepared:
        call = bind(problem.operator, jnp.asarray(problem.b[0]), problem.rtol)
        start = time.perf_counter()
        jax.block_until_ready(call())
        first = time.perf_counter() - start

        def sample() -> Sample:
            start = time.perf_counter()
            x, iterations = call()
            # What counts is the solution; not every method counts iterations.
            jax.block_until_ready(x)
            end = time.perf_counter()
            return _sample(problem, start, start, end, x, iterations)

        return Prepared(sample, first)

    return Row(method, package, prepare)


def compile_program(program: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Return the executable of a jitted program, and the seconds it took."""
    start = time.perf_counter()
    jitted: Any = program
    executable = jitted.lower(*arguments).compile()
    return executable, time.perf_counter() - start


def _sample(
    problem: Problem, start: float, middle: float, end: float, x: Any, iterations: Any
) -> Sample:
    count = None if iterations is None else float(np.mean(iterations))
    solutions = np.asarray(x).reshape(len(problem.matrices), -1)
    return Sample(middle - start, end - middle, count, solutions)
