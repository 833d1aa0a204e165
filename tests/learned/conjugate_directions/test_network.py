from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.learned import conjugate_directions as cd

KEY = jax.random.key(0)
NOISE = np.random.default_rng(0).standard_normal((13, 18))


def made(normalization: Any = "norm") -> Any:
    drawn = cd.DeepConjugateDirection(
        "from64", 2, key=KEY, normalization=normalization, dtype=jnp.float64
    )

    def biases(net: Any) -> Any:
        return [c.bias for c in (net.stem, *net.coarse, net.head)]

    # As training leaves them.
    return eqx.tree_at(biases, drawn, replace_fn=lambda b: b + 0.02)


@pytest.fixture(scope="module")
def net() -> Any:
    return made()


@jax.jit
def applied(net: Any, r: Any) -> Any:
    return net(r)


# The counts of the authors' code: 27 x 16 x 16 + 16 in each of 14 or 22 layers, and so
# on.
@pytest.mark.parametrize(
    ("architecture", "num_dimensions", "count", "radius"),
    [
        ("from64", 3, 97457, 22),
        ("from128", 3, 152881, 34),
        ("from64", 2, 32657, 22),
        ("from64", 1, 11057, 22),
    ],
)
def test_counts_are_the_published_ones(
    architecture: Any, num_dimensions: int, count: int, radius: int
):
    make = partial(cd.DeepConjugateDirection, architecture, num_dimensions)
    net = eqx.filter_eval_shape(make, key=KEY)
    found = sum(
        np.prod(leaf.shape)
        for leaf in jax.tree.leaves(net)
        if isinstance(leaf, jax.ShapeDtypeStruct)
    )
    assert (found, net.receptive_radius) == (count, radius)


def test_parameters_are_counted(net: Any):
    assert cd.num_parameters(net) == 32657


def test_layers_are_those_of_the_published_code(net: Any):
    """Against loops over the window, written from the authors' layers."""
    r = NOISE[:12]
    expected = reference(net, r / np.linalg.norm(r)) * np.linalg.norm(r)
    assert np.allclose(applied(net, r), expected, rtol=1e-11, atol=1e-13)


def reference(net: Any, r: np.ndarray) -> np.ndarray:
    def conv(layer: Any, x: np.ndarray) -> np.ndarray:
        weight, half = np.asarray(layer.weight), layer.weight.shape[0] // 2
        padded = np.pad(x, [(half, half), (half, half), (0, 0)])
        parts = (
            padded[i : i + x.shape[0], j : j + x.shape[1]] @ weight[i, j]
            for i in range(weight.shape[0])
            for j in range(weight.shape[1])
        )
        return sum(parts) + np.asarray(layer.bias)

    def act(layer: Any, x: np.ndarray) -> np.ndarray:
        return np.maximum(conv(layer, x), 0)

    x = conv(net.stem, r[..., None])
    a = act(net.fine_before[0], x)
    b = act(net.fine_before[1], a)
    a = act(net.fine_before[2], b) + a
    fine = act(net.fine_before[3], a)
    x = (fine[::2, ::2] + fine[1::2, ::2] + fine[::2, 1::2] + fine[1::2, 1::2]) / 4
    for k in range(0, 6, 2):
        x = act(net.coarse[k + 1], act(net.coarse[k], x)) + x
    x = np.kron(x, np.ones((2, 2, 1))) + fine
    for k in range(0, 4, 2):
        x = act(net.fine_after[k + 1], act(net.fine_after[k], x)) + x
    return conv(net.head, x)[..., 0]


@pytest.mark.parametrize("scale", [1e-300, 1e-8, 1e8, 1e300])
def test_map_is_homogeneous(net: Any, scale: float):
    found = np.asarray(applied(net, scale * NOISE)) / scale
    assert np.allclose(found, applied(net, NOISE), rtol=1e-9)


def test_zero_gives_zero_also_in_a_batch(net: Any):
    batch = np.stack([0 * NOISE, NOISE])
    found = jax.jit(jax.vmap(net))(batch)
    assert np.all(np.asarray(found[0]) == 0)
    assert np.allclose(found[1], applied(net, NOISE))


def test_result_has_the_dtype_of_the_residual():
    net = cd.DeepConjugateDirection("from64", 2, key=KEY)
    assert net.stem.weight.dtype == np.float32
    assert applied(net, NOISE).dtype == np.float64


def test_normalization_is_that_of_its_name(net: Any):
    norm, size = np.linalg.norm(NOISE), np.sqrt(NOISE.size)
    raw, rms = made("none"), made("rms")
    by_norm = norm * np.asarray(applied(raw, NOISE / norm))
    by_rms = norm / size * np.asarray(applied(raw, NOISE * size / norm))
    assert np.allclose(applied(net, NOISE), by_norm)
    assert np.allclose(applied(rms, NOISE), by_rms)
    # Of biases they are different maps.
    assert not np.allclose(by_norm, by_rms, rtol=1e-3)


def test_point_source_reaches_no_further_than_the_light_cone():
    """x_k is zero beyond k (R + 1) cells, whatever the weights are."""
    net = cd.DeepConjugateDirection("from64", 1, key=KEY, dtype=jnp.float64)
    A = kx.operators.Laplacian((201,))
    b = np.zeros(201)
    b[100] = 1
    solver = kx.solvers.FlexibleCG(truncation=2)
    reach = net.receptive_radius + 1
    distance = np.abs(np.arange(201) - 100)
    for k in (1, 2, 3):
        x = np.asarray(kx.solve(A, b, solver, preconditioner=net, unroll=k).value)
        # The first iterate comes of one call of the network, without a product.
        assert np.max(distance[x != 0]) <= k * reach - 1
        assert np.max(distance[x != 0]) >= k * (reach - 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "from32"}, "architecture must be one of from64, from128"),
        ({"num_dimensions": 4}, "num_dimensions must be one of 1, 2, 3; got 4"),
        ({"normalization": "l1"}, "normalization must be one of norm, rms, none"),
    ],
)
def test_bad_arguments_are_named(arguments: Any, message: str):
    with pytest.raises(ValueError, match=message):
        cd.DeepConjugateDirection(**arguments, key=KEY)


@pytest.mark.parametrize("r", [np.ones(4), np.ones((4, 4), complex), {"u": NOISE}])
def test_other_fields_are_refused(net: Any, r: Any):
    with pytest.raises(ValueError, match="the network is for"):
        net(r)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="function must be callable"):
        cd.from_callable(3)  # pyright: ignore[reportArgumentType]
