import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from .helpers import (
    draw,
    observed_orders,
    relative_error,
    solution_tolerance,
    to_field,
    to_vector,
    tolerance,
    types_checked,
    types_unchecked,
)


def test_tolerance_is_factor_times_condition_times_eps():
    assert tolerance(1000, np.float32, factor=2) == 2000 * np.finfo(np.float32).eps


def test_tolerance_of_a_complex_type_is_that_of_its_parts():
    assert tolerance(1, np.complex128) == tolerance(1, np.float64)


@pytest.mark.parametrize("factor", [0, 101])
def test_tolerance_refuses_a_factor_that_hides_errors(factor: float):
    with pytest.raises(ValueError, match="factor must lie in"):
        tolerance(1, np.float64, factor)


def test_solution_tolerance_covers_the_worst_solution_of_its_residual():
    matrix, x, rtol = np.diag([1.0, 1e-3]), np.array([1.0, 0.0]), 1e-6
    worst = x + np.array([0.0, rtol / 1e-3])
    residual = np.linalg.norm(matrix @ (worst - x)) / np.linalg.norm(matrix @ x)
    assert residual <= rtol * (1 + tolerance(1, np.float64))
    assert relative_error(worst, x) <= solution_tolerance(1e3, rtol, np.float64)


def test_relative_error_is_in_units_of_what_is_expected():
    assert relative_error(np.array([3.0, 4.0]), np.array([0.0, 4.0])) == 0.75


def test_relative_error_from_zero_is_absolute():
    assert relative_error(np.array([3.0, 4.0]), np.zeros(2)) == 5


def test_relative_error_refuses_to_broadcast():
    with pytest.raises(ValueError, match="differ"):
        relative_error(np.ones(3), np.ones((1, 3)))


def test_relative_error_of_nan_passes_no_tolerance():
    assert not relative_error(np.array([np.nan]), np.ones(1)) <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
def test_drawn_values_have_the_dtype_and_both_parts(dtype: type):
    values = draw(np.random.default_rng(0), (50,), dtype)
    assert values.dtype == dtype
    assert np.iscomplexobj(values) == bool(np.any(np.imag(values)))


def test_vector_and_field_are_inverse():
    structure = {
        "u": jax.ShapeDtypeStruct((2, 2), jnp.float64),
        "v": jax.ShapeDtypeStruct((3,), jnp.float32),
    }
    vector = np.arange(7.0)
    field = to_field(vector, structure)
    assert jax.tree.map(lambda x: (x.shape, x.dtype.name), field) == {
        "u": ((2, 2), "float64"),
        "v": ((3,), "float32"),
    }
    assert to_vector(field).tolist() == vector.tolist()


def test_observed_orders_of_a_second_order_method_are_two():
    assert observed_orders([1.0, 0.25, 0.0625]).tolist() == [2, 2]


def test_types_are_checked_where_it_is_switched_on_and_not_where_it_is_off():
    with types_checked(), pytest.raises(TypeError, match="Type-check error"):
        kx.operators.Laplacian("four")  # pyright: ignore[reportArgumentType]  # what is tested
    with types_unchecked(), pytest.raises(ValueError, match="shape four"):
        kx.operators.Laplacian("four")  # pyright: ignore[reportArgumentType]  # what is tested
