"""Which matrices are taken for systems of several fields."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from krylax.solvers.multigrid._node_blocks import num_fields

pyamg: Any = pytest.importorskip("pyamg")


def bands(*weights: float) -> Any:
    """A symmetric Toeplitz matrix of 600 unknowns."""
    offsets = np.arange(len(weights))
    diagonals: Any = scipy.sparse.diags_array
    upper = diagonals(list(weights), offsets=list(offsets), shape=(600, 600))
    return scipy.sparse.csr_array(upper + scipy.sparse.triu(upper, 1).T)


def stencil(shape: tuple[int, ...], kind: str) -> Any:
    return scipy.sparse.csr_array(pyamg.gallery.poisson(shape, format="csr", type=kind))


def elastic(num_nodes: int) -> Any:
    matrix = scipy.sparse.csr_array(
        pyamg.gallery.linear_elasticity((num_nodes, num_nodes))[0]
    )
    matrix.eliminate_zeros()
    return matrix


def in_space() -> Any:
    return scipy.sparse.csr_array(pyamg.gallery.load_example("bar")["A"])


def quadratic(num_elements: int) -> Any:
    """Poisson's equation with quadratic elements on a square."""
    stiffness = np.array([[7, -8, 1], [-8, 16, -8], [1, -8, 7]]) / 3
    mass = np.array([[4, 2, -1], [2, 16, 2], [-1, 2, 4]]) / 30
    K, M = np.zeros((2, 2 * num_elements + 1, 2 * num_elements + 1))
    for first in range(0, 2 * num_elements, 2):
        K[first : first + 3, first : first + 3] += stiffness
        M[first : first + 3, first : first + 3] += mass
    K, M = K[1:, 1:], M[1:, 1:]
    return scipy.sparse.csr_array(np.kron(K, M) + np.kron(M, K))


CASES: dict[str, Any] = {
    "elasticity in the plane": (lambda: elastic(30), 2),
    "elasticity in space": (in_space, 3),
    "five points": (lambda: stencil((30, 30), "FD"), 1),
    "nine points": (lambda: stencil((30, 30), "FE"), 1),
    "27 points": (lambda: stencil((12, 12, 12), "FE"), 1),
    "quadratic elements": (lambda: quadratic(10), 1),
    "five bands": (lambda: bands(6.5, -4.0, 1.0), 1),
    "diagonal": (lambda: bands(2.0), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_fields_of_a_node_are_counted(name: str):
    make, expected = CASES[name]
    assert num_fields(make()) == expected


def test_many_nodes_are_judged_by_those_in_the_middle():
    assert num_fields(elastic(60)) == 2
