"""What is measured: one method of one package on one problem."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array


class Problem(NamedTuple):
    """Systems that are solved to one tolerance on the true residual.

    Attributes:
        name: such as 64³.
        operator: the operator of krylax, which is the product that all JAX packages
            use; for several systems its arrays are stacked.
        matrices: the matrix of each system, made without krylax.
        b: the right-hand side of each system, along the first axis.
        rtol: the tolerance, in units of ‖b‖.
        is_definite: whether the matrices are symmetric positive definite.
        features: a row for each system of a family, what an order goes by.
        family: that the systems are of, if of any.
    """

    name: str
    operator: Any
    matrices: tuple[csr_array, ...]
    b: Float[np.ndarray, "systems ..."]
    rtol: float
    is_definite: bool = True
    features: Any = None
    family: Any = None


class Sample(NamedTuple):
    """One run of a row: seconds, iterations per system, and the solutions.

    Solutions are None where nothing was solved.
    """

    setup: float
    solve: float
    iterations: float | None
    solutions: Any


class Prepared(NamedTuple):
    """A row that is ready to run, how long compilation took, and what it turned out."""

    run: Callable[[], Sample]
    compile_seconds: float = 0.0
    note: str = ""


class Row(NamedTuple):
    """A method of a package; `prepare` raises ImportError where it is missing."""

    method: str
    package: str
    prepare: Callable[[Problem], Prepared]


def rearranged(problem: Problem, ids: Int[np.ndarray, " systems"]) -> Problem:
    """Return the problem with its systems, or some of them, in another order."""
    return problem._replace(
        operator=jax.tree.map(lambda leaf: leaf[ids], problem.operator),
        matrices=tuple(problem.matrices[i] for i in ids),
        b=problem.b[ids],
        features=problem.features[ids],
    )


def in_order(row: Row, order: Callable[[Any], Int[np.ndarray, " systems"]]) -> Row:
    """Return the row that solves the systems in another order.

    Sorting counts as set-up; rearranging the arrays, which a generator does not need to
    do, does not.

    Args:
        row: one that hands on what it learns.
        order: features -> a permutation.
    """

    def prepare(problem: Problem) -> Prepared:
        ids = order(problem.features)
        prepared = row.prepare(rearranged(problem, ids))

        def run() -> Sample:
            start = time.perf_counter()
            order(problem.features)
            sorting = time.perf_counter() - start
            sample = prepared.run()
            solutions = np.empty_like(sample.solutions)
            solutions[ids] = sample.solutions
            return sample._replace(setup=sample.setup + sorting, solutions=solutions)

        return prepared._replace(run=run)

    return Row(row.method, row.package, prepare)


def mean(counts: list[int]) -> float | None:
    """Mean iterations of the systems; None where nothing was counted."""
    return float(np.mean(counts)) if any(counts) else None
