import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned import neural_operators as no
from krylax.learned.neural_operators._axial_kernel import axes_of

from ...helpers import observed_orders, relative_error
from . import oracle

SMALL: dict[str, Any] = {
    "width": 8,
    "num_heads": 2,
    "head_width": 4,
    "num_iterations": 2,
    "dtype": jnp.float64,
}
SHAPES = {1: (7,), 2: (5, 6), 3: (3, 5, 4)}
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "1-D parallel": (1, {}),
    "1-D slab": (1, {"norm": "slab"}),
    "2-D parallel": (2, {"in_channels": 1, "out_channels": 1}),
    "2-D chained": (2, {"mixing": "chained", "kernel_multiplier": 2}),
    "2-D parallel heads": (2, {"norm": "heads"}),
    "2-D chained slab": (2, {"mixing": "chained", "norm": "slab"}),
    "3-D parallel": (3, {"num_frames": 2, "width": 12, "in_channels": 3}),
    "3-D chained heads": (3, {"mixing": "chained", "norm": "heads"}),
    "3-D first release": (3, {"norm": "slab", "num_output_mlps": 2}),
}


def randomised(model: Any, seed: int = 0) -> Any:
    """Weights of ordinary size, for which no ε of a norm hides the kernels."""
    rng = np.random.default_rng(seed)

    def draw(x: Any) -> Any:
        return jax.device_put((rng.normal(size=x.shape) * 0.5).astype(x.dtype))

    arrays, static = eqx.partition(model, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(draw, arrays), static)


def make(num_dimensions: int, **settings: Any) -> Any:
    settings = {"in_channels": 2, "out_channels": 2, **SMALL, **settings}
    return randomised(no.IFactFormer(num_dimensions, key=jax.random.key(0), **settings))


def draw_input(model: Any, shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    channels = model.layout.num_frames * model.layout.in_channels
    return np.random.default_rng(seed).normal(size=(channels, *shape))


def stretched(shape: tuple[int, ...]) -> no.Grid:
    return no.Grid([np.linspace(0, 0.9, n) ** (1 + a) for a, n in enumerate(shape)])


@eqx.filter_jit
def apply(models: Any, inputs: Any, grids: Any) -> Any:
    return [m(x, g) for m, x, g in zip(models, inputs, grids, strict=True)]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("IFactFormer-m", 1_163_331),
        ("IFactFormer-o", 1_071_171),
        ("HIT-o", 1_396_803),
        ("first-release", 1_181_763),
    ],
)
def test_published_models_have_the_published_numbers_of_parameters(
    name: Any, count: int
):
    assert no.num_parameters(no.from_paper(name, key=jax.random.key(0))) == count


def test_models_agree_with_the_formulas_in_numpy():
    models = [make(d, **settings) for d, settings in CASES.values()]
    factformer = {**SMALL, "num_layers": 2, "kernel_multiplier": 2}
    factformer.pop("num_iterations")
    models.append(
        randomised(no.FactFormer(2, 3, 1, key=jax.random.key(0), **factformer))
    )
    shapes = [SHAPES[m.layout.num_dimensions] for m in models]
    grids = [stretched(shape) for shape in shapes]
    inputs = [draw_input(m, s) for m, s in zip(models, shapes, strict=True)]
    got = apply(models, inputs, grids)
    expected = [
        oracle.model_value(m, x, g.coordinates)
        for m, x, g in zip(models, inputs, grids, strict=True)
    ]
    errors = dict(
        zip([*CASES, "FactFormer"], map(relative_error, got, expected), strict=True)
    )
    assert max(errors.values()) < 1e-12, errors


def test_cyclic_shifts_are_kept_by_a_periodic_encoding():
    options = {"periodic_rotary": True, "quadrature": True}
    models = [
        make(2, **options),
        make(2, **options, downsample=True),
        make(2, mixing="chained", **options),
    ]
    grid = no.Grid((np.arange(8) * 0.4 + 0.3, np.linspace(0, 1, 5) ** 2), (True, False))
    x = draw_input(models[0], (8, 5))
    shifted = np.roll(x, 2, axis=1)
    values = apply([*models, *models], [x] * 3 + [shifted] * 3, [grid] * 6)
    errors = [
        relative_error(b, np.roll(a, 2, axis=1))
        for a, b in zip(values[:3], values[3:], strict=True)
    ]
    assert max(errors) < 1e-12
    # The published encoding is not periodic.
    plain = make(2)
    a, b = apply([plain] * 2, [x, shifted], [grid] * 2)
    assert relative_error(b, np.roll(a, 2, axis=1)) > 1e-2


def test_common_shift_of_the_coordinates_changes_no_kernel():
    model = make(2)

    @jax.jit
    def kernels(offset: Any) -> Any:
        x, y = jnp.linspace(0, 1, 5) ** 2 + offset, jnp.linspace(0, 1, 6) - 2 * offset
        w = jnp.sin(jnp.arange(5 * 6 * 8.0).reshape(5, 6, 8))
        return model.block.axial_kernels(
            w, axes_of(no.Grid((x, y)), model.layout, w.dtype)
        )

    for there, here in zip(kernels(0.7), kernels(0.0), strict=True):
        assert relative_error(there, here) < 1e-12


def test_quadrature_converges_on_stretched_grids_at_the_order_of_its_rule():
    model = make(2, quadrature=True, feature_scale=1.0)
    coarse = make(2, quadrature=True, downsample=True)
    sizes = (9, 17, 33, 65)
    grids = []
    for n in sizes:
        s = np.linspace(0, 1, n)
        grids.append(no.Grid((0.05 * (s + s**2), 0.05 * (1 + np.tanh(2 * s - 1)))))
    inputs = []
    for grid in grids:
        x, y = np.meshgrid(*map(np.asarray, grid.coordinates), indexing="ij")
        inputs.append(np.stack([np.sin(20 * x + 10 * y), np.cos(15 * y) * x * 10]))
    values = apply([model] * 4 + [coarse] * 4, inputs * 2, grids * 2)
    # A convolution of two points a cell apart is one at their mean up to O(h).
    for found, order in ((values[:4], 2), (values[4:], 1)):
        samples = [np.asarray(u)[:, :: 2**i, :: 2**i] for i, u in enumerate(found)]
        errors = [relative_error(a, b) for a, b in itertools.pairwise(samples)]
        assert observed_orders(errors)[-1] > order - 0.2


@pytest.fixture(scope="module")
def trained() -> Any:
    """The gradient of a loss, in several ways, and its value along a direction."""
    model = make(2, norm="heads")
    other = make(2, norm="heads", remat=False)
    x = np.stack([draw_input(model, (5, 6), seed) for seed in range(3)])
    direction = randomised(model, seed=5)

    def loss(model: Any, run: Any = jax.vmap) -> Any:
        return jnp.mean(jnp.asarray(run(model)(x)) ** 2)

    def loop(model: Any) -> Any:
        return lambda x: jnp.stack([model(one) for one in x])

    def unrolled(model: Any) -> Any:
        def one(x: Any) -> Any:
            def advance(v: Any, axes: Any) -> Any:
                for _ in range(model.num_iterations):
                    v = v + model.block(v, axes) / model.num_iterations
                return v

            return model.ends(x, None, advance)

        return jax.vmap(one)

    def moved(t: Any) -> Any:
        arrays, static = eqx.partition(model, eqx.is_inexact_array)
        other, _ = eqx.partition(direction, eqx.is_inexact_array)
        fixed = arrays.ends.frequencies
        moved = jax.tree.map(lambda a, b: a + t * b, arrays, other)
        moved = eqx.tree_at(lambda m: m.ends.frequencies, moved, fixed)
        return loss(eqx.combine(moved, static))

    @eqx.filter_jit
    def everything(model: Any, other: Any) -> Any:
        gradient = eqx.filter_value_and_grad(loss)
        return {
            "remat": gradient(model),
            "kept": gradient(other),
            "unrolled": gradient(model, unrolled),
            "loop": loss(model, loop),
            "forward": jax.jvp(moved, (0.0,), (1.0,))[1],
            "differences": (moved(1e-5) - moved(-1e-5)) / 2e-5,
        }

    return direction, everything(model, other)


def leaves(gradient: Any) -> np.ndarray:
    arrays = jax.tree.leaves(eqx.filter(gradient, eqx.is_array))
    return np.concatenate([np.ravel(a) for a in arrays])


@pytest.mark.parametrize("way", ["kept", "unrolled"])
def test_derivatives_do_not_depend_on_how_iterations_are_run(way: str, trained: Any):
    _, found = trained
    assert float(found[way][0]) == pytest.approx(float(found["remat"][0]), rel=1e-13)
    assert relative_error(leaves(found[way][1]), leaves(found["remat"][1])) < 1e-11


def test_batch_is_the_loop_over_its_samples(trained: Any):
    _, found = trained
    assert float(found["loop"]) == pytest.approx(float(found["remat"][0]), rel=1e-13)


def test_gradient_agrees_with_differences_and_the_frozen_frequencies_have_none(
    trained: Any,
):
    direction, found = trained
    gradient = found["remat"][1]
    assert not np.any(gradient.ends.frequencies.value)
    slope = np.vdot(leaves(gradient), leaves(direction))
    assert slope == pytest.approx(float(found["forward"]), rel=1e-10)
    assert slope == pytest.approx(float(found["differences"]), rel=1e-6)


def test_one_iteration_is_one_layer_of_a_factformer():
    model = make(2, num_iterations=1)
    options = {k: v for k, v in SMALL.items() if k != "num_iterations"}
    layer = no.FactFormer(
        2, 2, 2, num_layers=1, mixing="parallel", norm="instance", kernel_multiplier=3,
        key=jax.random.key(0), **options,
    )  # fmt: skip
    layer = eqx.tree_at(
        lambda m: (m.ends, m.blocks), layer, (model.ends, (model.block,))
    )
    x = draw_input(model, (5, 6))
    a, b = apply([model, layer], [x] * 2, [None] * 2)
    assert relative_error(a, b) < 1e-13


def test_increment_adds_the_last_frame_in_the_dtype_of_the_input():
    options = {"num_frames": 2, "dtype": jnp.float32}
    plain, increment = make(2, **options), make(2, increment=True, **options)
    x = draw_input(plain, (5, 6))
    a, b, c = apply([plain, increment, plain], [x, x, x.astype(np.float32)], [None] * 3)
    assert a.dtype == b.dtype == np.float64
    assert c.dtype == np.float32
    assert relative_error(b, a + x[2:]) < 1e-12
    assert relative_error(a, c) < 1e-6


def test_weights_may_be_cast():
    model = make(2, dtype=jnp.float32)

    def cast(x: Any) -> Any:
        return x.astype(jnp.bfloat16) if eqx.is_inexact_array(x) else x

    def value(model: Any, x: Any) -> Any:
        return jax.tree.map(cast, model)(x)

    x = jax.ShapeDtypeStruct((2, 5, 6), jnp.float32)
    assert eqx.filter_eval_shape(value, model, x).dtype == jnp.float32


@pytest.mark.parametrize("shape", [(6, 8), (5, 7), (3, 4)])
def test_half_resolution_fits_even_and_odd_grids(shape: tuple[int, ...]):
    model = no.IFactFormer(
        2, 1, 2, width=8, num_heads=2, head_width=4, downsample=True,
        key=jax.random.key(0),
    )  # fmt: skip
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    assert eqx.filter_eval_shape(model, x).shape == (2, *shape)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_dimensions": 4}, "num_dimensions must be 1, 2 or 3, got 4"),
        ({"in_channels": 0}, "in_channels must be at least 1"),
        ({"width": 7}, "width must be even"),
        ({"head_width": 3}, "kernel_multiplier \\* head_width must be even"),
        ({"mixing": "serial"}, "mixing must be one of parallel, chained; got 'serial'"),
        ({"norm": ["heads"]}, "norm must be one of instance, slab, heads"),
        ({"increment": True, "out_channels": 1}, "as many in_channels as out_channels"),
        ({"quadrature": 1}, "quadrature must be True or False"),
        ({"num_iterations": 2.5}, "num_iterations must be an integer"),
        ({"feature_scale": -1.0}, "feature_scale must be positive and finite"),
        ({"dtype": jnp.int32}, "dtype must be a real one"),
        ({"key": 3}, "key must be one random key"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str):
    arguments = {
        "num_dimensions": 2, "in_channels": 2, "out_channels": 2,
        "key": jax.random.key(0), **SMALL, **settings,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        no.IFactFormer(**arguments)


def test_bad_inputs_are_refused():
    model, half = make(2), make(2, downsample=True)
    x = jnp.asarray(np.ones((2, 5, 6)))
    for bad, grid, message in (
        (
            x[:1],
            None,
            r"\(2, \*grid\), its channels first .* got \(1, 5, 6\); batches by",
        ),
        (x[0], None, "channels first and 2 axes"),
        (x, stretched((6, 5)), "the grid has shape \\(6, 5\\), the field \\(5, 6\\)"),
    ):
        with pytest.raises(ValueError, match=message):
            eqx.filter_eval_shape(model, bad, grid)
    with pytest.raises(ValueError, match="needs three points on each axis"):
        eqx.filter_eval_shape(half, x[:, :2])
    with pytest.raises(ValueError, match="name must be one of IFactFormer-m"):
        no.from_paper("IFactFormer", key=jax.random.key(0))  # pyright: ignore[reportArgumentType]
