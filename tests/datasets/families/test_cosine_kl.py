"""The random field's exact moments, as sums over its modes."""

import math

import numpy as np
import pytest

from krylax.datasets import CosineKL


def _variances(s: int) -> np.ndarray:
    """Sums amplitude² times the orthonormal DCT basis squared, at every point."""
    k, x = np.arange(s)[:, None], (np.arange(s)[None, :] + 0.5) / s
    weight = np.where(k == 0, 1 / s, 2 / s)
    basis_squared = weight * np.cos(math.pi * k * x) ** 2
    return basis_squared.T @ CosineKL().amplitudes((s, s)) ** 2 @ basis_squared


@pytest.mark.parametrize(("s", "mean"), [(16, 0.0850587), (85, 0.0853046)])
def test_mean_variance_has_the_known_value(s: int, mean: float) -> None:
    assert _variances(s).mean() == pytest.approx(mean, abs=5e-8)


def test_unit_noise_through_the_transform_has_the_known_variance() -> None:
    noise = np.eye(256).reshape(256, 16, 16)
    fields = np.stack([CosineKL().field(mode) for mode in noise])
    np.testing.assert_allclose(np.sum(fields**2, axis=0), _variances(16), rtol=1e-12)


def test_the_variance_at_421_points_has_the_known_values() -> None:
    variances = _variances(421)
    found = [variances.mean(), variances[210, 210], variances[0, 0]]
    np.testing.assert_allclose(found, [0.0853126, 0.02551, 0.21848], atol=5e-6)


def test_sampled_variance_agrees_with_the_exact_one() -> None:
    draws = [
        CosineKL().sample((8, 8), seed=3, stream="test", sample_id=i)
        for i in range(4000)
    ]
    found = np.var(draws, axis=0)
    # The variance of n normal draws has relative deviation sqrt(2/n) = 0.022; five of
    # them leave one failure in 30000 over the 64 points.
    np.testing.assert_allclose(found, _variances(8), rtol=5 * math.sqrt(2 / 4000))


@pytest.mark.parametrize("shape", [(7,), (6, 9), (4, 5, 6)])
def test_the_mean_over_the_domain_is_zero(shape: tuple[int, ...]) -> None:
    field = CosineKL().sample(shape, seed=0, stream="train", sample_id=0)
    assert abs(field.mean()) < 1e-15


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"tau": -1.0}, {"tau": math.inf}])
def test_parameters_that_make_no_field_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive and finite"):
        CosineKL(**options)
