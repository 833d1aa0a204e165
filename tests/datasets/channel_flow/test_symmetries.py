"""Symmetries: a step of the image is the image of the step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.datasets import channel_flow
from krylax.datasets.channel_flow import random_symmetry, reflect_y, reflect_z, shift

SYMMETRIES = {
    "reflect_y": (reflect_y, reflect_y),
    "reflect_z": (reflect_z, reflect_z),
    "shift_x": (partial(shift, x=4), partial(shift, x=2)),
    "shift_z": (partial(shift, z=-2), partial(shift, z=-1)),
}


@pytest.mark.parametrize("subgrid", [None, "dynamic_smagorinsky"])
@pytest.mark.parametrize("name", SYMMETRIES)
def test_step_of_the_image_is_the_image_of_the_step(
    state: channel_flow.State, name: str, subgrid: Any
):
    flow = channel_flow.Channel(180, (8, 12, 6), subgrid=subgrid)
    image, _ = SYMMETRIES[name]
    one, other = flow.run(image(state), 3), image(flow.run(state, 3))
    for component in "uvw":
        assert np.asarray(getattr(one, component)) == pytest.approx(
            np.asarray(getattr(other, component)), abs=1e-11
        )
    assert np.max(np.abs(one.w - state.w)) > 0.1


@pytest.mark.parametrize("name", SYMMETRIES)
def test_filter_of_the_image_is_the_image_of_the_filtered_field(
    flow: channel_flow.Channel, state: channel_flow.State, name: str
):
    image, coarse_image = SYMMETRIES[name]
    one = flow.filtered(image(state), (4, 6, 3))
    other = coarse_image(flow.filtered(state, (4, 6, 3)))
    assert np.asarray(one) == pytest.approx(np.asarray(other), abs=1e-12)


@pytest.mark.parametrize("reflect", [reflect_y, reflect_z])
def test_reflecting_twice_is_the_flow(
    state: channel_flow.State, reflect: Callable[[Any], Any]
):
    twice = reflect(reflect(state))
    assert all(
        (np.asarray(a) == np.asarray(b)).all()
        for a, b in zip(twice.velocity, state.velocity, strict=True)
    )


def test_shifts_of_a_batch_may_be_traced():
    fields = jnp.arange(96.0).reshape(2, 3, 4, 2, 2)
    shifted = jax.jit(jax.vmap(lambda f, n: shift(f, x=n, z=n)))(
        fields, jnp.array([0, 1])
    )
    assert (shifted[0] == fields[0]).all()
    assert (shifted[1] == np.roll(fields[1], (1, 1), (1, 3))).all()


def test_random_symmetry_moves_all_fields_of_an_example_alike():
    u = jnp.asarray(np.random.default_rng(0).standard_normal((6, 4, 3, 2)))
    later = u.reshape(2, 3, 4, 3, 2)
    found = set()
    many = jax.jit(jax.vmap(lambda k: random_symmetry(u, later, k)))
    for one, other in zip(*many(jax.random.split(jax.random.key(0), 200)), strict=True):
        assert (np.asarray(other).reshape(one.shape) == one).all()
        found.add(np.asarray(one[:3]).tobytes())
    images = {
        np.asarray(shift(b, x=x, z=z)).tobytes()
        for a in (u[:3], reflect_y(u[:3]))
        for b in (a, reflect_z(a))
        for x in range(4)
        for z in range(2)
    }
    assert len(images) == 32
    assert found == images


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: reflect_y(jnp.zeros((2, 3, 4))), ValueError, "must be a State or an"),
        (lambda: shift(jnp.zeros((3, 2, 2, 2)), x=0.5), ValueError, "x must be an int"),
    ],
)
def test_bad_input_is_named(call: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()
