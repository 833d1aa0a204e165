"""What is drawn for the order is kept for the solve, as far as memory allows."""

import numpy as np

import krylax as kx
from krylax.datasets.families._family import stacked_samples
from krylax.datasets.generation._draws import Draws


def test_features_are_those_of_the_samples(family: kx.datasets.Darcy) -> None:
    expected = [family.features(family.sample(i)) for i in range(5)]
    np.testing.assert_array_equal(Draws(family).features(5), expected)


def test_samples_that_fit_are_handed_out_once(family: kx.datasets.Darcy) -> None:
    draws = Draws(family)
    draws.features(5)
    taken = draws.take([3, 1])
    assert list(taken) == [3, 1]
    np.testing.assert_array_equal(
        taken[3]["coefficient"], family.sample(3)["coefficient"]
    )
    assert list(draws.take(range(9))) == [0, 2, 4]


def test_memory_is_bounded_and_free_again_once_samples_are_taken(
    family: kx.datasets.Darcy,
) -> None:
    draws = Draws(family, kept_bytes=2 * family.sample(0)["coefficient"].nbytes)
    for _ in range(2):
        draws.features(5)
        assert len(draws.take(range(5))) == 2


def test_samples_that_are_not_kept_are_drawn(family: kx.datasets.Darcy) -> None:
    ids = [2, 0, 1]
    mixed = stacked_samples(family, ids, {0: family.sample(0)})["coefficient"]
    expected = [family.sample(i)["coefficient"] for i in ids]
    np.testing.assert_array_equal(mixed, expected)
