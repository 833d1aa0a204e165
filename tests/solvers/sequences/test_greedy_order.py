from typing import Any

import numpy as np
import pytest

from krylax.solvers.sequences import greedy_order, path_length

from ...helpers import types_unchecked

SEEDS = [0, 1, 2]


def features_of(seed: int, count: int = 60, dimensions: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimensions))


def naive_order(features: np.ndarray, members: list[int], start: int) -> list[int]:
    """Append the nearest that is left, again and again."""
    left = [i for i in members if i != start]
    order = [start]
    while left:
        distances = [np.linalg.norm(features[i] - features[order[-1]]) for i in left]
        order.append(left.pop(int(np.argmin(distances))))
    return order


@pytest.mark.parametrize("seed", SEEDS)
def test_order_is_that_of_the_naive_search(seed: int):
    features = features_of(seed)
    expected = naive_order(features, [*range(60)], 0)
    assert greedy_order(features).tolist() == expected


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e8])
def test_order_does_not_depend_on_the_origin(offset: float):
    features = features_of(0)
    assert np.array_equal(greedy_order(features + offset), greedy_order(features))


@pytest.mark.parametrize("scale", [1e-100, 1e-10, 1e10, 1e100])
def test_order_does_not_depend_on_the_unit(scale: float):
    features = features_of(0)
    assert np.array_equal(greedy_order(scale * features), greedy_order(features))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 60])
@pytest.mark.parametrize("group_size", [2, 5, 1000])
def test_order_is_a_permutation(count: int, group_size: int):
    order = greedy_order(features_of(0, count), group_size=group_size)
    assert sorted(order.tolist()) == [*range(count)]


def test_order_of_no_systems_is_empty():
    assert greedy_order(np.zeros((0, 3))).tolist() == []


def test_order_of_equal_systems_is_a_permutation():
    assert sorted(greedy_order(np.ones((9, 2)), group_size=4).tolist()) == [*range(9)]


def test_order_begins_at_the_first_system_when_there_is_one_group():
    assert greedy_order(features_of(1))[0] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_each_group_is_visited_before_the_next_one_begins(seed: int):
    features = features_of(seed, 40)
    order = greedy_order(features, group_size=20)
    widest = np.argmax(np.ptp(features, axis=0))
    low, high = features[order[:20], widest], features[order[20:], widest]
    assert low.max() <= high.min()


@pytest.mark.parametrize("seed", SEEDS)
def test_each_group_begins_nearest_to_where_the_last_one_ended(seed: int):
    features = features_of(seed, 40)
    order = greedy_order(features, group_size=20)
    second = features[order[20:]]
    distances = np.linalg.norm(second - features[order[19]], axis=1)
    assert np.argmin(distances) == 0
    expected = naive_order(features, sorted(order[20:].tolist()), int(order[20]))
    assert order[20:].tolist() == expected


@pytest.mark.parametrize("group_size", [100, 1000])
def test_greedy_path_is_shorter_than_the_given_one(group_size: int):
    features = features_of(0, 400, 2)
    greedy = path_length(features, greedy_order(features, group_size=group_size))
    assert greedy < 0.2 * path_length(features, np.arange(400))


def test_path_length_is_the_sum_of_the_steps():
    features = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 0.0]])
    assert path_length(features, np.array([0, 1, 2])) == 9


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros(4), r"one row per system, got shape \(4,\)"),
        (np.zeros((2, 2, 2)), r"one row per system, got shape \(2, 2, 2\)"),
        (np.array([[1.0], [np.nan]]), "finite"),
        (np.array([[np.inf], [1.0]]), "finite"),
    ],
    ids=["vector", "tensor", "nan", "infinite"],
)
def test_bad_features_are_refused(features: Any, message: str):
    with (
        types_unchecked(),
        pytest.raises(ValueError, match=f"features must.*{message}"),
    ):
        greedy_order(features)


@pytest.mark.parametrize("group_size", [1, 0, -5])
def test_groups_below_two_are_refused(group_size: int):
    with pytest.raises(ValueError, match=f"at least 2, got {group_size}"):
        greedy_order(features_of(0), group_size=group_size)
