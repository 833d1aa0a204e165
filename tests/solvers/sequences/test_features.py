"""Features of systems: their distances are those that they stand for."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist

import krylax as kx
from krylax.solvers import sequences

RANDOM = np.random.default_rng(0)
FIELDS = RANDOM.standard_normal((7, 12, 10))
ROWS = FIELDS.reshape(7, -1)


def test_all_modes_keep_distances():
    modes = sequences.low_modes(FIELDS, 12)
    np.testing.assert_allclose(pdist(modes), pdist(ROWS), rtol=1e-12)


def test_low_modes_of_a_smooth_field_do_not_see_what_is_rough():
    x = (np.arange(16) + 0.5) / 16
    smooth = np.cos(np.pi * x)[None] * np.arange(1.0, 4.0)[:, None]
    rough = smooth + np.cos(np.pi * 12 * x)
    found = sequences.low_modes(rough, 4)
    np.testing.assert_allclose(found, sequences.low_modes(smooth, 4), atol=1e-12)


def test_all_components_keep_distances_and_few_keep_most_of_them():
    found = sequences.principal_components(ROWS, 7)
    np.testing.assert_allclose(pdist(found), pdist(ROWS), rtol=1e-12)
    plane = RANDOM.standard_normal((7, 2)) @ RANDOM.standard_normal((2, 50))
    found = sequences.principal_components(plane, 2)
    np.testing.assert_allclose(pdist(found), pdist(plane), rtol=1e-10)


def test_random_projection_about_keeps_distances():
    found = sequences.random_projection(ROWS, 400, seed=1)
    # For 7 systems the bound of Johnson and Lindenstrauss is √(8 ln 7 / 400) = 0.2.
    ratios = pdist(found) / pdist(ROWS)
    assert np.max(np.abs(ratios**2 - 1)) < 0.2


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_operator_features_measure_how_operators_differ_on_a_space(dtype: str):
    parts = [1.0, 1.0j] if dtype == "complex128" else [1.0]
    matrices: Any = sum(p * RANDOM.standard_normal((5, 20, 20)) for p in parts)
    U: Any = sum(p * RANDOM.standard_normal((3, 20)) for p in parts)
    operators = [kx.operators.Dense(jnp.asarray(m, dtype)) for m in matrices]
    found = sequences.operator_features(
        operators, jnp.asarray(U, dtype), num_features=500
    )
    images = np.einsum("sij,kj->ski", matrices, U).reshape(5, -1)
    expected = [
        np.linalg.norm(images[i] - images[j]) for i in range(5) for j in range(i)
    ]
    got = [np.linalg.norm(found[i] - found[j]) for i in range(5) for j in range(i)]
    np.testing.assert_allclose(got, expected, rtol=0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sequences.low_modes(FIELDS, 0), "num_modes must be at least 1"),
        (lambda: sequences.principal_components(ROWS, 8), "at most 7 for 7 systems"),
        (lambda: sequences.principal_components(ROWS, 0), "at least 1"),
        (lambda: sequences.random_projection(ROWS, 0), "num_features must be"),
        (lambda: sequences.operator_features([], np.ones((1, 3))), "not be empty"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, message: str):
    with pytest.raises(ValueError, match=message):
        call()
