"""Orders and trees of systems: what defines each of them, and what all refuse."""

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import scipy.sparse.csgraph
from scipy.spatial.distance import cdist

from krylax.solvers import sequences
from krylax.solvers.sequences._hilbert_order import hilbert_index

from ...helpers import types_unchecked

SEEDS = [0, 1, 2]


def features_of(seed: int, count: int = 60, dimensions: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimensions))


def improved(features: np.ndarray) -> np.ndarray:
    return sequences.two_opt(features, np.arange(len(features)))


ORDERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "greedy": sequences.greedy_order,
    "two_opt": improved,
    "hilbert": sequences.hilbert_order,
    "kd": sequences.kd_order,
    "spanning_tree": lambda features: sequences.spanning_tree(features).order,
    "median_tree": lambda features: sequences.median_tree(features).order,
}
TREES = {"spanning": sequences.spanning_tree, "median": sequences.median_tree}
each_order = pytest.mark.parametrize("name", ORDERS)
each_tree = pytest.mark.parametrize("name", TREES)


@each_order
@pytest.mark.parametrize("count", [1, 2, 3, 7, 60])
def test_order_is_a_permutation(name: str, count: int):
    assert sorted(ORDERS[name](features_of(0, count)).tolist()) == [*range(count)]


@each_order
def test_order_of_equal_systems_is_a_permutation(name: str):
    assert sorted(ORDERS[name](np.ones((9, 2))).tolist()) == [*range(9)]


@each_order
def test_order_of_systems_without_features_is_a_permutation(name: str):
    assert sorted(ORDERS[name](np.zeros((4, 0))).tolist()) == [*range(4)]


@each_order
def test_complex_features_are_refused(name: str):
    with types_unchecked(), pytest.raises(ValueError, match="must be real"):
        ORDERS[name](np.array([[1j], [2.0]]))


@each_order
def test_order_does_not_depend_on_the_origin(name: str):
    features = features_of(0)
    assert np.array_equal(ORDERS[name](features + 1e6), ORDERS[name](features))


@each_order
@pytest.mark.parametrize(
    "features", [np.zeros(4), np.array([[1.0], [np.nan]]), np.array([[np.inf]])]
)
def test_features_that_are_no_finite_matrix_are_refused(name: str, features: Any):
    with types_unchecked(), pytest.raises(ValueError, match="finite matrix"):
        ORDERS[name](features)


@pytest.mark.parametrize("name", ["greedy", "two_opt", "hilbert", "kd"])
def test_order_along_a_line_is_shorter_than_that_of_the_ids(name: str):
    features = np.random.default_rng(0).permutation(200)[:, None].astype(float)
    length = sequences.path_length(features, ORDERS[name](features))
    # The shortest is 199; greedy begins inside and comes back once.
    assert length <= 2 * 199
    assert sequences.path_length(features, np.arange(200)) > 10_000


@pytest.mark.parametrize("name", ["hilbert", "kd"])
def test_curves_sort_a_line(name: str):
    features = np.random.default_rng(0).permutation(64)[:, None].astype(float)
    found = features[ORDERS[name](features)].ravel()
    assert np.array_equal(np.sort(found), found) or np.array_equal(
        np.sort(found), found[::-1]
    )


@pytest.mark.parametrize(("num_axes", "num_bits"), [(1, 4), (2, 4), (3, 3), (4, 2)])
def test_hilbert_curve_visits_every_point_and_steps_to_neighbours(
    num_axes: int, num_bits: int
):
    points = np.array(list(product(range(2**num_bits), repeat=num_axes)))
    digits = hilbert_index(points, num_bits)
    index = (2 ** np.arange(len(digits))[::-1]) @ digits
    assert sorted(index.tolist()) == [*range(len(points))]
    path = points[np.argsort(index)]
    assert all(np.abs(b - a).sum() == 1 for a, b in pairwise(path))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_piece_is_left_that_two_opt_could_turn_round(seed: int):
    features = features_of(seed, 30, 2)
    order = sequences.two_opt(features, np.arange(30), max_sweeps=100)
    shortest = sequences.path_length(features, order)
    for i in range(30):
        for j in range(i + 1, 30):
            turned = np.r_[order[:i], order[i : j + 1][::-1], order[j + 1 :]]
            assert sequences.path_length(features, turned) >= shortest - 1e-9


@pytest.mark.parametrize("window", [3, 7, 20, 1000])
def test_two_opt_never_lengthens_whatever_the_window(window: int):
    features = features_of(3, 50, 3)
    greedy = sequences.greedy_order(features)
    order = sequences.two_opt(features, greedy, window=window)
    assert sorted(order.tolist()) == [*range(50)]
    lengths = [sequences.path_length(features, o) for o in (order, greedy)]
    assert lengths[0] <= lengths[1] + 1e-9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": np.zeros(9, int)}, "permutation of the 9 systems"),
        ({"order": np.arange(5)}, "of the 9 systems, got array"),
        ({"window": 2}, "at least 3"),
        ({"max_sweeps": 0}, "at least 1"),
    ],
)
def test_two_opt_refuses_what_makes_no_sense(options: dict[str, Any], message: str):
    arguments = {"order": np.arange(9), **options}
    with types_unchecked(), pytest.raises(ValueError, match=message):
        sequences.two_opt(features_of(0, 9), **arguments)


def test_hilbert_order_refuses_a_curve_without_axes():
    with pytest.raises(ValueError, match="num_axes must be at least 1"):
        sequences.hilbert_order(features_of(0), num_axes=0)


@each_tree
@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_parents_stand_one_level_above_their_children(name: str, count: int):
    tree = TREES[name](features_of(1, count))
    levels = {int(i): n for n, level in enumerate(tree.levels) for i in level}
    root = tree.levels[0]
    assert (len(root), tree.parents[root[0]]) == (1, -1)
    for i, parent in enumerate(tree.parents):
        assert parent == -1 or levels[int(parent)] == levels[i] - 1


@each_tree
def test_tree_of_no_systems_is_refused(name: str):
    with pytest.raises(ValueError, match="at least one row"):
        TREES[name](np.zeros((0, 3)))


@pytest.mark.parametrize("seed", SEEDS)
def test_spanning_tree_is_as_short_as_that_of_scipy(seed: int):
    features = features_of(seed)
    tree = sequences.spanning_tree(features)
    found = sum(
        np.linalg.norm(features[i] - features[p])
        for i, p in enumerate(tree.parents)
        if p >= 0
    )
    distances = cdist(features, features)
    expected = scipy.sparse.csgraph.minimum_spanning_tree(distances).sum()
    assert abs(found - expected) <= 1e-9 * expected


@pytest.mark.parametrize("seed", SEEDS)
def test_spanning_tree_is_least_deep_from_its_root(seed: int):
    features = features_of(seed)
    tree = sequences.spanning_tree(features)
    pairs = [(i, int(p)) for i, p in enumerate(tree.parents) if p >= 0]
    graph = np.zeros((60, 60))
    for i, p in pairs:
        graph[i, p] = graph[p, i] = 1
    hops = scipy.sparse.csgraph.shortest_path(graph, unweighted=True)
    assert len(tree.levels) - 1 == np.min(np.max(hops, axis=1))


@pytest.mark.parametrize("count", [1, 2, 3, 100, 1000])
def test_median_tree_has_as_few_levels_as_a_balanced_one(count: int):
    tree = sequences.median_tree(features_of(0, count))
    assert len(tree.levels) <= 1 + np.log2(count)
