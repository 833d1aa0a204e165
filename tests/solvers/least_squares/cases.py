"""Least-squares problems, one program for those of a shape, and their oracles."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import krylax as kx
from krylax.solvers.core._least_squares import AbstractLeastSquares, Correction

from ...helpers import draw


class ByPseudoInverse(AbstractLeastSquares):
    """A solver that takes NumPy's word for it: cheap to compile, for any rank."""

    rtol: float = 1e-12
    atol: float = 0.0
    damping: Any = 0.0
    miss: Any = 0.0  # added to every correction
    max_steps: int = 9
    inner_product: kx.solvers.InnerProduct = kx.solvers.InnerProduct()

    def prepare(self, B: Any) -> Any:
        return kx.operators.Dense(jnp.linalg.pinv(B.as_matrix(), rtol=1e-10))

    def correct(self, system: Any, num_steps: Any, history: Any) -> Correction:
        return Correction(
            value=system.inverse.mv(system.r) + self.miss,
            operator_norm=jnp.asarray(3.0),
            status=jnp.asarray(-1, jnp.int32),
            num_steps=num_steps + 1,
            num_matvecs=jnp.zeros((), jnp.int32),
            history=history,
        )


RTOL = {"float32": 1e-5, "float64": 1e-10, "complex128": 1e-10}
SOLVERS: dict[str, Any] = {"lsmr": kx.solvers.LSMR, "qr": kx.solvers.QR}
BATCH = 5
SHAPES = {"tall": (9, 5), "wide": (5, 9), "square": (6, 6)}


def matrix_of(
    shape: str, dtype: str = "float64", rank: int | None = None
) -> np.ndarray:
    """Return a matrix with singular values from 3 to 1, the last ones zero."""
    rng = np.random.default_rng(17)
    rows, columns = SHAPES[shape]
    size = min(rows, columns)
    left, _ = np.linalg.qr(draw(rng, (rows, size), dtype))
    right, _ = np.linalg.qr(draw(rng, (columns, size), dtype))
    values = np.linspace(3.0, 1.0, size)
    values[size if rank is None else rank :] = 0
    return ((left * values) @ right.conj().T).astype(dtype)


def rhs_of(shape: str, dtype: str = "float64") -> np.ndarray:
    return draw(np.random.default_rng(5), SHAPES[shape][:1], dtype)


def expected_of(matrix: np.ndarray, b: np.ndarray, damping: float = 0.0) -> np.ndarray:
    """Return the solution of least length, by the singular values."""
    rows = np.vstack([matrix, damping * np.eye(matrix.shape[1])])
    return np.linalg.pinv(rows, rcond=1e-12)[:, : len(b)] @ b


@cache
def batched_solve(solver: str, dtype: str, is_damped: bool) -> Any:
    """Return a compiled solve of many problems of a shape, any solver settings."""

    def solve(matrix: Any, b: Any, damping: Any) -> kx.Solution:
        made = SOLVERS[solver](RTOL[dtype], damping=damping if is_damped else 0.0)
        return kx.solve(kx.operators.Dense(matrix), b, made, throw=False)

    return jax.jit(jax.vmap(solve, in_axes=(0, 0, None)))


def solve_all(
    solver: str, matrices: list[np.ndarray], rhs: list[np.ndarray], damping: float = 0.0
) -> list[kx.Solution]:
    """Return the solutions of problems of one shape, solved together."""
    run = batched_solve(solver, matrices[0].dtype.name, damping > 0)
    # Always as many, which is one program.
    fill = BATCH - len(rhs)
    stacked = [np.stack([*given, *[given[0]] * fill]) for given in (matrices, rhs)]
    found = jax.tree.map(np.asarray, run(*stacked, jnp.asarray(damping)))
    return [jax.tree.map(lambda a, i=i: a[i], found) for i in range(len(rhs))]
