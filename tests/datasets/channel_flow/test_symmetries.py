"""Symmetries: a step of the image is the image of the step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.datasets import channel_flow
from krylax.datasets.channel_flow import reflect_y, reflect_z, shift

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
