from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned.neural_operators import _spectral
from krylax.learned.neural_operators._spectral import SpectralConvolution

RNG = np.random.default_rng(0)
# Of the last two, the last axis is transformed by an FFT.
CASES = [
    ((12,), (4,)),
    ((8,), (5,)),
    ((10, 13), (3, 5)),
    ((6, 9, 8), (3, 2, 4)),
    ((64,), (20,)),
    ((4, 6, 64), (2, 1, 33)),
]


def made(num_modes: Any, inputs: int = 3, outputs: int = 2) -> Any:
    """A spectral convolution with weights of order one."""
    convolution = eqx.filter_eval_shape(
        SpectralConvolution,
        inputs,
        outputs,
        num_modes,
        key=jax.random.key(0),
        dtype=jnp.float64,
    )
    return eqx.tree_at(
        lambda c: c.weight, convolution, RNG.standard_normal(convolution.weight.shape)
    )


@eqx.filter_jit
def compiled(convolution: Any, v: Any) -> Any:
    return convolution(v)


def applied(convolution: Any, v: Any) -> np.ndarray:
    return np.asarray(compiled(convolution, v))


def kept(num_modes: Any) -> Any:
    """The indices of the modes in the result of `rfftn`."""
    *others, last = num_modes
    return np.ix_(
        *(np.r_[0:m, -m:0] for m in others),
        np.arange(last),
    )


def reference(weight: Any, v: np.ndarray) -> np.ndarray:
    *modes, inputs, outputs = weight.shape[1:]
    del inputs
    shape, axes = v.shape[:-1], tuple(range(v.ndim - 1))
    complex_weight = weight[0] + 1j * weight[1]
    where = kept([*(m // 2 for m in modes[:-1]), modes[-1]])
    coefficients = np.fft.rfftn(v, axes=axes)[where]
    mapped = np.einsum("...i,...io->...o", coefficients, complex_weight)
    full = np.zeros((*shape[:-1], shape[-1] // 2 + 1, outputs), complex)
    full[where] = mapped
    return np.fft.irfftn(full, s=shape, axes=axes)


@pytest.mark.parametrize(("shape", "num_modes"), CASES)
def test_convolution_is_that_of_complex_weights(shape: Any, num_modes: Any):
    convolution, v = made(num_modes), RNG.standard_normal((*shape, 3))
    expected = reference(convolution.weight, v)
    assert np.max(np.abs(applied(convolution, v) - expected)) < 1e-11


def test_cases_are_of_both_transforms():
    dense = [_spectral._is_dense(m[-1], shape[-1]) for shape, m in CASES]
    assert dense == [True] * 4 + [False] * 2


@eqx.filter_jit
def synthesised(z: Any, shape: Any) -> Any:
    return _spectral.synthesised(z, shape)


@pytest.mark.parametrize(("shape", "num_modes"), CASES)
def test_imaginary_parts_of_real_modes_are_ignored_as_by_irfftn(
    shape: Any, num_modes: Any
):
    *others, last = num_modes
    size = (*(2 * m for m in others), last, 2)
    z = RNG.standard_normal(size) + 1j * RNG.standard_normal(size)
    full = np.zeros((*shape[:-1], shape[-1] // 2 + 1, 2), complex)
    full[kept(num_modes)] = z
    axes = tuple(range(len(shape)))
    expected = np.fft.irfftn(full, s=shape, axes=axes, norm="forward")
    assert np.max(np.abs(synthesised(z, shape) - expected)) < 1e-11


def band_limited(shape: Any, num_modes: Any) -> np.ndarray:
    """A random trigonometric polynomial on a grid, the same for all of its sizes."""
    rng = np.random.default_rng(1)
    x = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), -1)
    v = np.zeros((*shape, 3))
    for _ in range(20):
        k = [rng.integers(1 - m, m) for m in num_modes]
        v += np.cos(2 * np.pi * (x @ k + rng.random()))[..., None] * rng.random(3)
    return v


@pytest.mark.parametrize(("shape", "num_modes"), [CASES[0], CASES[2], CASES[3]])
def test_band_limited_fields_give_the_same_at_all_resolutions(
    shape: Any, num_modes: Any
):
    convolution = made(num_modes)
    coarse = applied(convolution, band_limited(shape, num_modes))
    fine = applied(convolution, band_limited([2 * n for n in shape], num_modes))
    shared = fine[(slice(None, None, 2),) * len(shape)]
    assert np.max(np.abs(shared - coarse)) < 1e-11


def test_shifts_of_the_field_shift_the_result():
    convolution, v = made((3, 5)), RNG.standard_normal((10, 13, 3))
    shifted = applied(convolution, np.roll(v, (4, 5), (0, 1)))
    expected = np.roll(applied(convolution, v), (4, 5), (0, 1))
    assert np.max(np.abs(shifted - expected)) < 1e-11


@pytest.mark.parametrize(("shape", "num_modes"), CASES)
def test_float32_is_accurate_in_a_program_of_float64(shape: Any, num_modes: Any):
    convolution, v = made(num_modes), RNG.standard_normal((*shape, 3))
    expected = reference(convolution.weight, v)
    single = jax.tree.map(lambda w: w.astype(np.float32), convolution)
    found = applied(single, v.astype(np.float32))
    assert found.dtype == np.float32
    assert np.max(np.abs(found - expected)) < 1e-6 * np.max(np.abs(expected)) * 4


def test_half_precision_is_computed_in_float32():
    convolution = made((3, 5))
    v = jnp.asarray(RNG.standard_normal((10, 13, 3)), jnp.bfloat16)
    half = jax.tree.map(lambda w: w.astype(jnp.bfloat16), convolution)
    found = applied(half, v)
    assert found.dtype == jnp.bfloat16
    weight = np.asarray(half.weight, np.float64)
    expected = reference(weight, np.asarray(v, np.float64))
    error = np.abs(np.asarray(found, np.float64) - expected)
    # No more than rounding the result.
    assert np.all(error <= 2.0**-8 * np.abs(expected) + 1e-5)


@eqx.filter_jit
def derivatives(convolution: Any, v: Any, direction: Any, seed: Any) -> Any:
    def value(convolution: Any, v: Any) -> Any:
        return jnp.sum(seed * jnp.tanh(convolution(v)))

    grads = jax.grad(value, argnums=(0, 1))(convolution, v)
    slope = sum(
        jnp.sum(g * d)
        for g, d in zip(jax.tree.leaves(grads), jax.tree.leaves(direction), strict=True)
    )

    def moved(step: Any) -> Any:
        where = (convolution, v)
        return value(*jax.tree.map(lambda a, d: a + step * d, where, direction))

    high, low = jax.lax.map(moved, jnp.array([1e-5, -1e-5]))
    return slope, (high - low) / 2e-5


@pytest.mark.parametrize(("shape", "num_modes"), [CASES[2], CASES[5]])
def test_gradient_is_the_slope(shape: Any, num_modes: Any):
    convolution, v = made(num_modes), RNG.standard_normal((*shape, 3))
    direction = jax.tree.map(lambda a: RNG.standard_normal(a.shape), (convolution, v))
    seed = RNG.standard_normal((*shape, 2))
    slope, difference = derivatives(convolution, v, direction, seed)
    assert float(slope) == pytest.approx(float(difference), rel=1e-6)


def test_batch_is_the_loop():
    convolution, v = made((3, 5)), RNG.standard_normal((4, 10, 13, 3))
    batch = jax.jit(jax.vmap(convolution))(v)
    loop = np.stack([applied(convolution, one) for one in v])
    assert np.max(np.abs(batch - loop)) < 1e-12


def test_weights_are_drawn_as_by_the_authors():
    make = eqx.filter_jit(SpectralConvolution)
    weight = np.asarray(make(4, 8, (6, 6), key=jax.random.key(0)).weight) * 32
    assert weight.shape == (2, 12, 6, 4, 8)
    assert 0 <= weight.min() < weight.max() < 1
    assert weight.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("shape", "num_modes"), [((9,), (7,)), ((5, 16), (3, 4)), ((6, 5), (3, 4))]
)
def test_more_modes_than_points_are_refused(shape: Any, num_modes: Any):
    with pytest.raises(ValueError, match="more modes than points"):
        eqx.filter_eval_shape(made(num_modes), np.zeros((*shape, 3)))


@pytest.mark.parametrize(
    ("num_modes", "message"),
    [(0, "at least 1"), (2.5, "integer"), ((3, 3), "or 3, one for each axis, got 2")],
)
def test_bad_numbers_of_modes_are_refused(num_modes: Any, message: str):
    with pytest.raises(ValueError, match=message):
        _spectral.modes_per_axis(num_modes, 3)
