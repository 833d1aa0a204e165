"""The Darcy family: parameters, system, features, and what it refuses."""

from typing import Any

import jax
import numpy as np
import pytest

from krylax.datasets import CosineKL, Darcy


def _field(family: Darcy, sample_id: int) -> np.ndarray:
    return CosineKL().sample(
        family.num_points, seed=0, stream="train", sample_id=sample_id
    )


def test_two_phases_follow_the_sign_of_the_field() -> None:
    family = Darcy(num_points=(9, 7))
    expected = np.where(_field(family, 4) >= 0, 12.0, 3.0)
    np.testing.assert_array_equal(family.sample(4)["coefficient"], expected)


def test_log_normal_is_the_exponential_of_the_field() -> None:
    family = Darcy(num_points=(9, 7), coefficient="log_normal", log_scale=2.0)
    expected = np.exp(2.0 * _field(family, 4))
    np.testing.assert_allclose(family.sample(4)["coefficient"], expected, rtol=1e-15)


@pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 5)])
def test_the_system_under_jit_is_the_eager_one(shape: tuple[int, ...]) -> None:
    family = Darcy(num_points=shape)
    parameters = family.sample(0)
    u = np.random.default_rng(0).standard_normal(shape)

    def apply(parameters: Any) -> Any:
        A, b = family.system(parameters)
        return A @ u + b

    eager, compiled = apply(parameters), jax.jit(apply)(parameters)
    np.testing.assert_allclose(compiled, eager, rtol=1e-12)
    assert eager.shape == shape


@pytest.mark.parametrize("shape", [(40,), (20, 17), (33, 16, 18)])
def test_features_are_block_means(shape: tuple[int, ...]) -> None:
    family = Darcy(num_points=shape)
    features = family.features({"coefficient": np.full(shape, 3.0)})
    np.testing.assert_allclose(features, np.full(16 ** len(shape), 3.0))


def test_features_of_a_small_grid_are_the_coefficient() -> None:
    family = Darcy(num_points=(5, 6))
    parameters = family.sample(1)
    expected = parameters["coefficient"].ravel()
    np.testing.assert_array_equal(family.features(parameters), expected)


def test_features_average_uneven_blocks_by_their_sizes() -> None:
    family = Darcy(num_points=(17,))
    features = family.features({"coefficient": np.arange(17.0)})
    np.testing.assert_allclose(features[-2:], [14.0, 15.5])


@pytest.mark.parametrize(
    "options",
    [
        {"num_points": ()},
        {"num_points": 8},
        {"num_points": (4, 4, 4, 4)},
        {"num_points": (2, 8)},
        {"high": 0.0},
        {"low": -3.0},
        {"low": 1e-310},
        {"contrast": 1e308, "low": 1e10},
        {"contrast": 1e-40, "dtype": "float32"},
        {"high": 1e39, "dtype": "float32"},
        {"high": 1e200, "low": 1e-200},
        {"coefficient": "islands", "width": 1e-9},
        {"log_scale": float("nan")},
        {"alpha": 0.0},
        {"seed": -1},
        {"stream": "../x"},
    ],
)
def test_a_family_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Darcy(**options)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_coefficient_that_overflows_is_refused(dtype: Any) -> None:
    family = Darcy(coefficient="log_normal", log_scale=1e5, dtype=dtype)
    with pytest.raises(ValueError, match="lower log_scale"):
        family.sample(0)


def test_float64_without_x64_says_how_to_turn_it_on() -> None:
    family = Darcy(num_points=(4, 4))
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="jax_enable_x64"):
            family.system(family.sample(0))
    finally:
        jax.config.update("jax_enable_x64", True)


def test_float32_gives_float32_throughout() -> None:
    family = Darcy(num_points=(4, 4), dtype="float32")
    parameters = family.sample(0)

    def fields(parameters: Any) -> Any:
        A, b = family.system(parameters)
        return b, A @ b

    dtypes = {field.dtype for field in jax.eval_shape(fields, parameters)}
    assert {parameters["coefficient"].dtype, *dtypes} == {np.dtype("float32")}
