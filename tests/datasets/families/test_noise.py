"""Noise belongs to (seed, stream, id) and to the mode, not to the run or the grid."""

from typing import Any

import numpy as np
import pytest
from scipy.fft import dctn

from krylax.datasets import CosineKL

FIELD = CosineKL()


def _sample(num_points: tuple[int, ...], sample_id: int, **changes: Any) -> np.ndarray:
    options: dict[str, Any] = {"seed": 0, "stream": "train", **changes}
    return FIELD.sample(num_points, sample_id=sample_id, **options)


def _coefficients(field: np.ndarray) -> np.ndarray:
    return dctn(field, norm="ortho") / np.sqrt(field.size)


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [((9,), (40,)), ((32, 32), (128, 128)), ((8, 5), (11, 30)), ((4, 5, 3), (9, 6, 7))],
)
def test_a_sample_is_the_same_field_on_every_grid(
    coarse: tuple[int, ...], fine: tuple[int, ...]
) -> None:
    few = _coefficients(_sample(coarse, 7))
    many = _coefficients(_sample(fine, 7))
    common = tuple(slice(min(n, m)) for n, m in zip(coarse, fine, strict=True))
    np.testing.assert_allclose(few[common], many[common], rtol=0, atol=1e-14)


def test_a_sample_does_not_depend_on_the_ones_before_it() -> None:
    forwards = [_sample((6, 6), i) for i in range(4)]
    backwards = [_sample((6, 6), i) for i in reversed(range(4))]
    np.testing.assert_array_equal(forwards, backwards[::-1])


@pytest.mark.parametrize("changes", [{"seed": 1}, {"stream": "test"}])
def test_seed_and_stream_change_every_sample(changes: dict[str, Any]) -> None:
    assert not np.any(_sample((6, 6), 3, **changes) == _sample((6, 6), 3))


def test_the_first_numbers_are_what_they_have_always_been() -> None:
    golden = [
        -0.24332456501767358,
        -0.10076660199145138,
        -0.14894204268030348,
        -0.041188490106981404,
    ]
    np.testing.assert_allclose(_sample((3, 3), 7).ravel()[:4], golden, rtol=1e-12)


@pytest.mark.parametrize("stream", ["", ".hidden", "a/b", "..", "x" * 101, "trägt"])
def test_a_stream_with_an_unsafe_name_is_refused(stream: str) -> None:
    with pytest.raises(ValueError, match="stream must be"):
        _sample((4, 4), 0, stream=stream)


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        _sample((4, 4), -1)
