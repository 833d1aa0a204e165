"""One row per preconditioner: its factory and the operators that it is for.

The generic tests in test_all_preconditioners.py run every pair. A new preconditioner is
a new row.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

import krylax as kx

from .. import gallery
from ..helpers import draw, to_vector

RTOL = {"complex64": 1e-4, "float64": 1e-10}
GRID = gallery.GRID
SSOR = kx.solvers.SSOR


class Row(NamedTuple):
    """A factory, its operators, and those for which it is made before the solve."""

    make: Callable[[], Any]
    operators: tuple[str, ...]
    made_before: tuple[str, ...] = ()


ROWS = {
    "jacobi": Row(kx.solvers.Jacobi, ("diffusion", "flow", "tree")),
    "multigrid": Row(kx.solvers.Multigrid, ("diffusion", "flow", "laplacian")),
    "block_jacobi": Row(
        lambda: kx.solvers.BlockJacobi(6), ("diffusion", "flow", "banded", "tree")
    ),
    "chebyshev_polynomial": Row(
        lambda: kx.solvers.ChebyshevPolynomial(4), ("diffusion", "sparse", "tree")
    ),
    "ssor_natural": Row(
        lambda: SSOR(1.3), ("diffusion", "flow", "sparse"), ("sparse",)
    ),
    "ssor_multicolour": Row(
        lambda: SSOR(order=kx.solvers.Multicolour()), ("diffusion", "flow")
    ),
    "ssor_neumann": Row(
        lambda: SSOR(1.2, kx.solvers.Neumann(3)), ("diffusion", "flow", "sparse")
    ),
    "incomplete_cholesky": Row(
        kx.solvers.IncompleteCholesky, ("diffusion", "sparse"), ("sparse",)
    ),
    "incomplete_lu": Row(kx.solvers.IncompleteLU, ("flow",)),
}
PAIRS = [(row, name) for row in ROWS for name in ROWS[row].operators]
COMPLEX = ("laplacian", "flow", "sparse", "banded", "tree")
"""Hermitian or nonsymmetric with complex entries; a complex diffusion is neither."""


def diffusion(dtype: str, scale: float) -> Any:
    k = np.where(np.random.default_rng(1).random(GRID) < 0.5, 12.0, 3.0)
    return kx.operators.Diffusion((scale * k).astype(dtype))


def laplacian(dtype: str, scale: float) -> Any:
    h = scale**-0.5
    faces = ["periodic", ("dirichlet", "neumann")]
    return kx.operators.Laplacian(GRID, h, boundary=faces, dtype=jnp.dtype(dtype))


def flow(dtype: str, scale: float) -> Any:
    k = scale * np.ones(GRID)
    along, across = 2 * np.ones(GRID), np.cos(np.arange(48.0)).reshape(GRID)
    velocity = scale * np.stack([along, across]).astype(jnp.finfo(dtype).dtype)
    phase = np.exp(0.3j) if dtype.startswith("complex") else 1.0
    faces = [("dirichlet", "neumann"), "periodic"]
    return kx.operators.ConvectionDiffusion(
        (phase * k).astype(dtype), velocity, boundary=faces
    )


def matrix_of(dtype: str, scale: float) -> np.ndarray:
    """That of a 2-D diffusion, hermitian and not symmetric where complex."""
    matrix = scale * gallery.diffusion_2d().matrix
    phases = np.exp(1j * np.arange(len(matrix)))
    if dtype.startswith("complex"):
        matrix = matrix * np.outer(phases, phases.conj())
    return matrix.astype(dtype)


def sparse(dtype: str, scale: float) -> Any:
    matrix = scipy.sparse.csr_array(matrix_of(dtype, scale))
    return kx.operators.Sparse.from_scipy(matrix, tags=["positive_definite"])


def banded(dtype: str, scale: float) -> Any:
    matrix = scipy.sparse.dia_array(matrix_of(dtype, scale))
    return kx.operators.Banded(
        matrix.data, matrix.offsets.tolist(), tags=["positive_definite"]
    )


def tree(dtype: str, scale: float) -> Any:
    structure = {
        "u": jax.ShapeDtypeStruct((8, 4), jnp.dtype(dtype)),
        "v": jax.ShapeDtypeStruct((16,), jnp.dtype(dtype)),
    }
    product = jax.tree_util.Partial(
        multiply_tree, jax.device_put(matrix_of(dtype, scale))
    )
    return kx.operators.Function(product, structure, tags=["positive_definite"])


def multiply_tree(matrix: Any, x: Any) -> Any:
    y = matrix @ jnp.concatenate([x["u"].reshape(-1), x["v"]])
    return {"u": y[:32].reshape(8, 4), "v": y[32:]}


OPERATORS: dict[str, Callable[[str, float], Any]] = {
    factory.__name__: factory
    for factory in (diffusion, laplacian, flow, sparse, banded, tree)
}


def operator(name: str, dtype: str = "float64", scale: float = 1.0) -> Any:
    """An operator, times `scale`."""
    return OPERATORS[name](dtype, scale)


def preconditioner(row: str, name: str, A: Any) -> Any:
    """What to hand to a solve: the factory, or the operator if it is made before."""
    factory = ROWS[row].make()
    return factory(A) if name in ROWS[row].made_before else factory


@cache
def matrices(row: str, name: str, dtype: str = "float64") -> tuple[np.ndarray, ...]:
    """Those of A, of M⁻¹ and of its adjoint."""
    A = operator(name, dtype)
    M = preconditioner(row, name, A)

    @jax.jit
    def as_matrices(A: Any, M: Any) -> Any:
        M = M if name in ROWS[row].made_before else M(A)
        return A.as_matrix(), M.as_matrix(), M.H.as_matrix()

    return tuple(np.asarray(matrix) for matrix in as_matrices(A, M))


def right_hand_side(A: Any) -> Any:
    """A field that excites everything."""
    rng = np.random.default_rng(3)
    return jax.tree.map(
        lambda s: jax.device_put(draw(rng, s.shape, s.dtype)), A.in_structure
    )


def solver(name: str, dtype: str = "float64") -> Any:
    """CG, or GMRES where it does not apply."""
    method = kx.solvers.GMRES if name == "flow" else kx.solvers.CG
    return method(rtol=RTOL[dtype])


@cache
def solved(row: str | None, name: str, dtype: str = "float64") -> Any:
    """A solve with a row's preconditioner, or without one."""
    A = operator(name, dtype)
    M = None if row is None else preconditioner(row, name, A)
    return kx.solve(A, right_hand_side(A), solver(name, dtype), preconditioner=M)


@jax.jit
def as_matrix(A: Any) -> Any:
    return A.as_matrix()


def true_residual(A: Any, x: Any) -> float:
    """‖b - A x‖ / ‖b‖ by dense algebra."""
    b = to_vector(right_hand_side(A))
    r = b - np.asarray(as_matrix(A)) @ to_vector(x)
    return float(np.linalg.norm(r) / np.linalg.norm(b))
