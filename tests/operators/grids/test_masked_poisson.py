"""The pressure matrix of a fluid among solids and air."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, tolerance
from ..cases import CELLS

MaskedPoisson: Any = kx.operators.MaskedPoisson
CellType = kx.operators.CellType
DEFINITE = {
    "symmetric",
    "hermitian",
    "positive_semidefinite",
    "positive_definite",
}


@pytest.mark.parametrize("boundary", ["neumann", "dirichlet", "periodic"])
def test_fluid_everywhere_is_the_laplacian(boundary: Any):
    A = MaskedPoisson(np.full((3, 4), CellType.FLUID), (0.5, 2.0), boundary=boundary)
    B = kx.operators.Laplacian((3, 4), (0.5, 2.0), boundary=boundary)
    assert relative_error(A.as_matrix(), B.as_matrix()) <= tolerance(1, "float64")


def test_rows_are_those_of_the_deep_conjugate_direction_method():
    """The diagonal is 4 less the solid neighbours, -1 for each fluid neighbour."""
    cells = np.array([[1, 1, 1, 1], [1, 2, 2, 1], [1, 2, 3, 1], [1, 1, 1, 1]])
    A = MaskedPoisson(cells)
    expected = np.array([[2.0, -1, -1], [-1, 2, 0], [-1, 0, 2]])
    fluid = np.flatnonzero(cells.ravel() == 2)
    assert np.array_equal(np.asarray(A.as_matrix())[np.ix_(fluid, fluid)], expected)


def test_air_and_solid_are_the_identity_and_coupled_to_nothing():
    matrix = np.asarray(MaskedPoisson(CELLS["pool"], 0.1).as_matrix())
    others = CELLS["pool"].ravel() != CellType.FLUID
    assert np.array_equal(matrix[others], np.eye(12)[others])
    assert np.array_equal(matrix[:, others], np.eye(12)[:, others])


def test_cells_of_the_boundary_kind_count_as_solid():
    cells = CELLS["pool"]
    A, B = MaskedPoisson(cells), MaskedPoisson(np.where(cells == 1, 0, cells))
    assert relative_error(A.as_matrix(), B.as_matrix()) == 0


def test_a_walled_in_cell_is_the_identity_and_leaves_the_operator_definite():
    A = MaskedPoisson(np.array([1, 2, 1, 2, 3]), 0.1)
    assert A.tags == DEFINITE
    assert np.array_equal(A.as_matrix()[1], np.eye(5)[1])


def test_fluid_that_touches_air_is_definite():
    assert MaskedPoisson(CELLS["pool"]).tags == DEFINITE


def test_air_outside_of_the_grid_opens_a_region():
    cells = np.full((3, 4), CellType.FLUID)
    assert "singular" in MaskedPoisson(cells).tags
    assert MaskedPoisson(
        cells, boundary=["neumann", ("neumann", "dirichlet")]
    ).tags == (DEFINITE)


def test_one_closed_region_makes_the_operator_singular():
    assert "singular" in MaskedPoisson(CELLS["closed"]).tags


def test_each_closed_region_has_its_constant():
    A = MaskedPoisson(CELLS["closed"], nullspace="constant")
    # Neither the region beside the air nor the last cell, which is walled in.
    expected = np.zeros((2, 15))
    expected[0, [0, 1, 5]], expected[1, [11, 12]] = 3**-0.5, 0.5**0.5
    got = np.abs(np.reshape(A.nullspace, (2, 15)))
    assert relative_error(got, expected) <= tolerance(1, "float64")


def test_regions_join_across_a_periodic_face():
    cells = np.array([[2, 1, 2], [2, 1, 2]])
    walls = MaskedPoisson(cells, nullspace="constant")
    wrapped = MaskedPoisson(
        cells, boundary=["neumann", "periodic"], nullspace="constant"
    )
    assert len(walls.nullspace) == 2
    assert len(wrapped.nullspace) == 1


def test_null_vectors_of_the_caller_are_made_orthonormal():
    A = MaskedPoisson(np.full((2, 2), 2), nullspace=np.ones((1, 2, 2)))
    error = relative_error(np.abs(A.nullspace), np.full((1, 2, 2), 0.5))
    assert error <= tolerance(1, "float64")


def test_traced_cells_promise_semidefiniteness_and_take_one_region():
    A = jax.jit(lambda cells: MaskedPoisson(cells, nullspace="constant"))(
        jnp.asarray([[2, 2, 1], [2, 1, 2]])
    )
    assert A.tags == DEFINITE - {"positive_definite"}
    expected = np.array([[[1, 1, 0], [1, 0, 0]]]) / 3**0.5
    assert relative_error(np.abs(A.nullspace), expected) <= tolerance(1, "float64")


def test_one_compilation_serves_a_moving_solid():
    @jax.jit
    def product(cells: Any, x: Any) -> Any:
        return MaskedPoisson(cells).mv(x)

    x = jnp.arange(12.0).reshape(3, 4)
    product(jnp.asarray(CELLS["pool"]), x)
    with jax.no_tracing(True):
        got = product(jnp.asarray(CELLS["pool"][::-1].copy()), x)
    expected = MaskedPoisson(CELLS["pool"][::-1].copy()) @ x
    assert relative_error(got, expected) <= tolerance(1, "float64")


def test_known_cells_stay_known_while_the_spacing_is_traced():
    build = jax.jit(lambda h: MaskedPoisson(CELLS["closed"], h, nullspace="constant"))
    A, B = build(0.5), MaskedPoisson(CELLS["closed"], 0.5, nullspace="constant")
    assert A.tags == B.tags
    assert relative_error(A.nullspace, B.nullspace) <= tolerance(1, "float64")


def test_declaring_a_null_space_where_air_is_everywhere_in_reach_is_refused():
    with pytest.raises(ValueError, match=r"touches air.*leave out"):
        MaskedPoisson(CELLS["pool"], nullspace="constant")
