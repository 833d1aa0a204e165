from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from krylax.learned import neural_operators as no

SMALL: dict[str, Any] = {"width": 8, "num_heads": 2, "head_width": 4}


@pytest.mark.parametrize("num_layers", [0, 1.5, True])
def test_bad_numbers_of_layers_are_refused(num_layers: Any):
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="num_layers must be"):
        no.FactFormer(2, 1, 1, num_layers=num_layers, key=key, **SMALL)


def test_layers_have_weights_of_their_own():
    key = jax.random.key(0)
    one, three = (
        no.FactFormer(2, 1, 1, num_layers=n, key=key, **SMALL) for n in (1, 3)
    )
    first, second, _ = three.blocks
    assert not jnp.array_equal(first.values.weight, second.values.weight)
    block = no.num_parameters(three) - no.num_parameters(one)
    shared = no.IFactFormer(2, 1, 1, mixing="chained", key=key, **SMALL)
    assert no.num_parameters(shared) == no.num_parameters(one)
    # Norm, values, inner, two reducers, queries and keys, output, at D = H = 8.
    assert block == 2 * (16 + 64 + 64 + 2 * (256 + 40) + 2 * 2 * 64 * 3 + 64 + 64)


@pytest.mark.parametrize("shape", [(5,), (4, 6), (3, 4, 5)])
def test_results_have_the_channels_asked_for_on_the_grid_of_the_input(
    shape: tuple[int, ...],
):
    model = no.FactFormer(
        len(shape), 3, 2, num_layers=2, num_frames=2, key=jax.random.key(0), **SMALL
    )
    assert model.in_structure is None
    x = jax.ShapeDtypeStruct((6, *shape), jnp.float32)
    found = eqx.filter_eval_shape(model, x)
    assert (found.shape, found.dtype) == ((2, *shape), jnp.float32)
