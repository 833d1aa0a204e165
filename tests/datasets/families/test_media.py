"""Random media: what they cover, and the families that are made of them."""

from typing import Any

import jax
import numpy as np
import pytest

import krylax as kx
from krylax.datasets import Darcy, Porous
from krylax.datasets.families import _media
from krylax.datasets.families._noise import generator
from krylax.datasets.families._porous import connected_to_border
from krylax.datasets.store._record import family_from_record, record

MEDIA = ["channels", "islands", "layers", "random"]
GRIDS = [(48, 32), (16, 20, 24)]
# The record of a default Darcy data set, as it was before there were media.
RECORDED = {
    "type": "Darcy",
    "num_points": [64, 64],
    "coefficient": "two_phase",
    "high": 12.0,
    "low": 3.0,
    "log_scale": 1.0,
    "alpha": 2.0,
    "tau": 3.0,
    "face_mean": "harmonic",
    "dtype": "float64",
    "seed": 0,
    "stream": "train",
}


def noise(sample_id: int) -> np.random.Generator:
    return generator(0, "train", sample_id)


@pytest.mark.parametrize("coefficient", MEDIA)
@pytest.mark.parametrize("shape", GRIDS)
def test_a_coefficient_has_its_contrast_and_no_more(
    coefficient: Any, shape: tuple[int, ...]
):
    family = Darcy(shape, coefficient, low=2.0, contrast=1e4, width=1 / 16)
    k = family.sample(3)["coefficient"]
    assert k.shape == shape
    assert 2.0 <= k.min() < 2.0 * 1.1
    assert 2e4 / 1.1 < k.max() <= 2e4


def test_barriers_have_a_contrast_below_one():
    k = Darcy(coefficient="channels", low=1.0, contrast=1e-4).sample(0)["coefficient"]
    assert sorted(set(k.flat)) == [1e-4, 1.0]


def test_two_phases_take_the_contrast():
    plain, hard = Darcy((16, 16)), Darcy((16, 16), low=1.0, contrast=1e6)
    expected = np.where(plain.sample(2)["coefficient"] == 12.0, 1e6, 1.0)
    np.testing.assert_array_equal(hard.sample(2)["coefficient"], expected)


@pytest.mark.parametrize("shape", GRIDS)
def test_channels_run_from_side_to_side(shape: tuple[int, ...]):
    for axis in range(len(shape)):
        # The last of so many runs along this axis, and nothing else does.
        random = noise(7)
        inside = _media.channels(shape, random, count=axis + 1, width=1 / 64)
        before = _media.channels(shape, noise(7), count=axis, width=1 / 64)
        full = inside & ~before if axis else inside
        assert np.any(np.all(inside, axis=axis))
        assert full.sum() <= shape[axis]


def test_a_thin_channel_is_one_cell_wide_and_a_thick_one_as_wide_as_it_says():
    shape = (64, 64)
    thin, thick = (
        [
            _media.channels(shape, noise(i), count=1, width=width).sum() / 64
            for i in range(20)
        ]
        for width in (1 / 500, 1 / 8)
    )
    assert set(thin) == {1.0}
    # At the border it is cut off.
    assert max(thick) in (8.0, 9.0)


def test_islands_cover_about_a_sixteenth():
    covered = [
        _media.islands((64, 64), noise(i), width=1 / 64).mean() for i in range(40)
    ]
    # Those of whole cells, cut off at the border and overlapping.
    assert 0.045 < np.mean(covered) < 0.065


@pytest.mark.parametrize("thickness", [1, 5])
def test_layers_are_as_thick_as_they_say(thickness: int):
    inside = _media.layers((60, 60), noise(2), width=thickness / 60)
    lines = inside if np.all(inside[:, :1] == inside) else inside.T
    assert np.all(lines == lines[:, :1])
    changes = np.flatnonzero(np.diff(lines[:, 0].astype(int)))
    assert set(np.diff(changes)) == {thickness}


def test_layers_lie_across_every_axis_in_turn_of_chance():
    axes = {
        axis
        for i in range(20)
        for axis in range(2)
        if np.any(np.diff(_media.layers((8, 8), noise(i), width=1 / 8), axis=axis))
    }
    assert axes == {0, 1}


def test_blocks_are_uniform_and_those_of_a_cell_all_differ():
    values = _media.blocks((64, 64), noise(0), width=1 / 64)
    assert len(set(values.flat)) == values.size
    # A mean of 4096 uniform numbers, and their share below 0.35: 4 standard deviations.
    assert abs(values.mean() - 0.5) < 4 * (1 / 12 / values.size) ** 0.5
    assert abs((values < 0.35).mean() - 0.35) < 4 * (0.35 * 0.65 / values.size) ** 0.5


def test_walls_are_planes_of_their_thickness_and_length():
    sizes = [
        sorted(int(np.ptp(place)) + 1 for place in np.nonzero(wall))
        for i in range(30)
        if (wall := _media.walls((64, 64), noise(i), count=1, width=1 / 64)).any()
    ]
    assert {thickness for thickness, _ in sizes} == {1}
    assert max(length for _, length in sizes) <= 17


@pytest.mark.parametrize("shape", GRIDS)
def test_every_pore_is_open_to_the_border(shape: tuple[int, ...]):
    pores = Porous(shape, width=1 / 16, solid=0.4).sample(1)["pores"] > 0
    np.testing.assert_array_equal(connected_to_border(pores), pores)
    A, _ = Porous(shape, width=1 / 16, solid=0.4).system({"pores": pores.astype(float)})
    assert "positive_definite" in A.tags


def test_a_pore_that_is_walled_in_counts_as_solid():
    is_open = np.zeros((6, 6), bool)
    is_open[2:4, 2:4] = is_open[0, 3] = True
    found = connected_to_border(is_open)
    assert found.sum() == 1
    assert found[0, 3]


def test_a_mask_without_open_pores_is_refused():
    family = Porous((3, 3), solid=0.999, width=0.4)
    with pytest.raises(ValueError, match="lower solid"):
        family.sample(0)


@pytest.mark.parametrize("coefficient", MEDIA)
def test_a_hard_solution_is_that_of_a_dense_solve(coefficient: Any):
    shape = (16, 12)
    family = Darcy(shape, coefficient, contrast=1e4, width=1 / 12, anisotropy=25.0)
    A, b = family.system(family.sample(0))
    M = kx.solvers.Multigrid(cycle="robust")
    u = kx.solve(A, b, kx.solvers.CG(rtol=1e-10), preconditioner=M).value
    expected = np.linalg.solve(A.as_matrix(), np.ravel(b)).reshape(shape)
    assert np.linalg.norm(u - expected) <= 1e-7 * np.linalg.norm(expected)


def test_anisotropy_is_a_spacing_along_the_last_axis():
    parameters = Darcy((6, 5)).sample(0)
    A, _ = Darcy((6, 5), anisotropy=1e4).system(parameters)
    B = kx.operators.Diffusion(parameters["coefficient"], (1 / 6, 1 / 500))
    u = np.random.default_rng(0).standard_normal((6, 5))
    np.testing.assert_allclose(A @ u, B @ u, rtol=1e-10)


@pytest.mark.parametrize(
    "family",
    [Darcy((8, 8), "random", width=1 / 8), Porous((8, 8), width=1 / 8)],
    ids=["darcy", "porous"],
)
def test_systems_are_made_under_vmap(family: Any):
    samples = [family.sample(i) for i in range(2)]
    stacked = {name: np.stack([p[name] for p in samples]) for name in samples[0]}
    products = jax.jit(jax.vmap(lambda p: family.system(p)[0] @ family.system(p)[1]))
    found = products(stacked)
    for product, parameters in zip(found, samples, strict=True):
        A, b = family.system(parameters)
        np.testing.assert_allclose(product, A @ b, rtol=1e-10, atol=1e-8)


def test_the_record_of_a_default_family_is_as_it_was():
    assert record(Darcy()) == RECORDED
    assert family_from_record(RECORDED, 1) == Darcy()


@pytest.mark.parametrize(
    "family",
    [
        Darcy(coefficient="channels", contrast=1e4, num_channels=30),
        Darcy(coefficient="random", width=1 / 32, anisotropy=1e4),
        Porous(mask="walls", num_walls=5),
    ],
)
def test_a_hard_family_is_read_from_its_record(family: Any):
    assert family_from_record(record(family), 1) == family
