"""What is measured: one method of one package on one problem."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
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
    """

    name: str
    operator: Any
    matrices: tuple[csr_array, ...]
    b: Float[np.ndarray, "systems ..."]
    rtol: float
    is_definite: bool = True


class Sample(NamedTuple):
    """One run of a row: seconds, iterations per system, and the solutions.

    Solutions are None where nothing was solved.
    """

    setup: float
    solve: float
    iterations: float | None
    solutions: Any


class Prepared(NamedTuple):
    """A row that is ready to run, and how long compilation took."""

    run: Callable[[], Sample]
    compile_seconds: float = 0.0


class Row(NamedTuple):
    """A method of a package; `prepare` raises ImportError where it is missing."""

    method: str
    package: str
    prepare: Callable[[Problem], Prepared]


def mean(counts: list[int]) -> float | None:
    """Mean iterations of the systems; None where nothing was counted."""
    return float(np.mean(counts)) if any(counts) else None
