"""Training of directions: what is refused before it begins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax import datasets
from krylax.learned import conjugate_directions as cd
from krylax.learned.conjugate_directions._errors import spectral_error
from krylax.learned.conjugate_directions._train import (
    _contraction_step,
    _fresh_vectors,
    _Validation,
    doubled,
)
from krylax.learned.training import Settings

FAMILY = datasets.Darcy(num_points=(8, 8))
NET = cd.DeepConjugateDirection("from64", 2, key=jax.random.key(0))
SETTINGS = Settings(num_steps=1, batch_size=1, progress=False)


@dataclass(frozen=True)
class Lines(datasets.AbstractFamily):
    """Laplacians in single precision, of which no field says so."""

    name: ClassVar[str] = "lines"
    num_points: tuple[int, ...] = (8,)

    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        return {"source": np.full(8, 1 + sample_id, np.float32)}

    def system(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        A = kx.operators.Laplacian((8,), dtype=jnp.float32)
        return A, jnp.asarray(parameters["source"])

    def features(self, parameters: Mapping[str, Any]) -> Any:
        return np.zeros(1)

    def array_types(self) -> Any:
        return {}

    def coordinates(self) -> Any:
        return {}

    def card(self) -> Any:
        return {}


def test_what_is_left_between_walls_has_no_part_that_no_residual_tells_of():
    """The constants that a direction adds are no error, and none is left by A⁻¹."""
    A = kx.operators.MaskedPoisson(np.full(5, 2), nullspace="constant")
    inverse = np.linalg.pinv(np.asarray(A.as_matrix()))

    @jax.jit
    def left(e: Any) -> Any:
        directions = [lambda r: inverse @ r + 5, lambda r: r + 5]
        return [
            _contraction_step(cd.from_callable(f), A, e, _fresh_vectors(e), 1)[:2]
            for f in directions
        ]

    (removed_rate, removed), (rate, error) = left(jnp.array([1.0, 0.5, 0, -0.5, -1]))
    assert np.isfinite(removed_rate)
    assert np.all(np.isnan(removed))
    assert -3 < float(rate) < 0
    assert abs(np.mean(error)) < 1e-14


def test_random_errors_are_drawn_with_strict_promotion_of_dtypes():
    draw = jax.jit(lambda key: spectral_error(key, (6, 5), jnp.float32))
    assert np.max(np.abs(draw(jax.random.key(0)))) == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"net": cd.Safeguarded(NET)}, ValueError, "without a safeguard"),
        ({"net": cd.Masked(cd.Safeguarded(NET))}, ValueError, "without a safeguard"),
        ({"net": None}, TypeError, "must be a map of residuals"),
        ({"validation": "darcy"}, TypeError, "must be a problem family"),
        ({"settings": None}, TypeError, "settings must be Settings, got None"),
    ],
)
def test_what_cannot_be_trained_is_named(change: Any, error: Any, message: str):
    given: Any = {"net": NET, "family": FAMILY, "settings": SETTINGS, **change}
    with pytest.raises(error, match=message):
        cd.train(**given)


def test_family_without_a_stream_needs_one_for_validation():
    with pytest.raises(ValueError, match="Lines has no num_points and stream"):
        doubled(Lines())


def test_precision_of_a_validation_is_that_of_its_systems():
    measure = _Validation(Lines(), 1)
    assert measure(kx.operators.Identity(jax.ShapeDtypeStruct((8,), np.float32))) <= 8
