"""What scales a system so that its numbers neither overflow nor vanish."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.solvers.core._inner_product import power_of_two


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_power_of_two_is_near_and_divides_without_rounding(dtype: str):
    limits = np.finfo(dtype)
    # From the smallest normal numbers, of which there are no smaller powers, to the
    # largest.
    sizes = np.geomspace(4 * limits.tiny, limits.max / 4, 97).astype(dtype)
    sizes = np.r_[sizes, np.exp2(np.arange(-20, 20)), limits.max].astype(dtype)
    powers = np.asarray(jax.jit(jax.vmap(power_of_two))(sizes))
    assert np.all(np.frexp(powers)[0] == 0.5)
    assert np.all((sizes / powers >= 1) & (sizes / powers <= 2))


@pytest.mark.parametrize("size", [0.0, np.inf, np.nan])
def test_nothing_is_scaled_where_there_is_no_size(size: float):
    assert power_of_two(jnp.asarray(size)) == 1


def test_scale_has_no_derivative():
    assert jax.grad(power_of_two)(3.0) == 0
