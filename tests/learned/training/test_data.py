"""Examples: what they are made of, and what is refused."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import krylax as kx
from krylax.learned import training
from krylax.learned.training import _grid
from krylax.learned.training._normalizer import Normalizer

from .models import fields, pointwise

X, Y = fields(6, 2, 4, 5), fields(6, 1, 4, 5, seed=1)


def with_nan(array: np.ndarray, *samples: int) -> np.ndarray:
    array = array.copy()
    array[list(samples), ..., 2] = np.nan
    return array


def test_data_are_counted_and_cut():
    data = training.Data(X, Y, input_names=("k", "f"), output_names=("u",))
    assert len(data) == 6
    assert (data.shape, data.num_channels, data.num_targets) == ((4, 5), (2, 1), 1)
    part = data[1:3]
    assert np.array_equal(part.inputs, X[1:3])
    assert np.array_equal(part.outputs[:, 0], Y[1:3])
    assert part.input_names == ("k", "f")
    assert np.array_equal(data[np.array([5, 0])].inputs, X[[5, 0]])


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (with_nan(X, 3), Y, "inputs of sample 3 hold NaN or infinity; leave them out"),
        (X, with_nan(Y, 2, 4), "outputs of sample 2 and 1 others hold NaN"),
        (X[:5], Y, "there are 5 inputs and 6 outputs"),
        (X, fields(6, 1, 4, 6), r"the grids \(4, 5\) and \(4, 6\)"),
        (X[:, 0, 0], Y[:, 0, 0], r"expected inputs \(samples, channels, \*shape\)"),
        (X, Y[:, 0], r"got shapes \(6, 2, 4, 5\) and \(6, 4, 5\)"),
        (X[:0], Y[:0], "no data"),
        (X * 1j, Y, "inputs must be real numbers, got complex128"),
    ],
)
def test_data_that_do_not_fit_are_refused(inputs: Any, outputs: Any, message: str):
    with pytest.raises(ValueError, match=message):
        training.Data(inputs, outputs)


def test_names_and_samples_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="input_names must name the 2 channels"):
        training.Data(X, Y, input_names=("k",))
    with pytest.raises(TypeError, match=r"several samples, such as data\[:6\], got 3"):
        training.Data(X, Y)[3]
    with pytest.raises(ValueError, match="no samples are left"):
        training.Data(X, Y)[6:]


def test_windows_of_trajectories_are_frames_and_what_follows():
    u = fields(3, 7, 2, 5)
    data = training.Data.of_trajectories(u, num_frames=2, num_targets=3)
    assert len(data) == 3 * 3
    assert data.inputs.shape == (9, 4, 5)
    assert data.outputs.shape == (9, 3, 2, 5)
    # The second window of the third trajectory.
    assert np.array_equal(data.inputs[7], u[2, 1:3].reshape(4, 5))
    assert np.array_equal(data.outputs[7], u[2, 3:6])


def test_trajectories_that_are_no_windows_are_refused():
    with pytest.raises(ValueError, match="2 times are too short for 2 frames and 1"):
        training.Data.of_trajectories(fields(1, 2, 1, 5), num_frames=2)
    with pytest.raises(ValueError, match="fields must have shape"):
        training.Data.of_trajectories(fields(4, 2, 5))
    with pytest.raises(ValueError, match="fields of trajectory 1 hold NaN"):
        training.Data.of_trajectories(with_nan(fields(2, 4, 1, 5), 1))


def test_blocks_are_apart_from_each_other():
    parts = training.blocks(np.arange(100), (0.6, 0.2, 0.2), gap=5)
    assert [len(part) for part in parts] == [54, 18, 18]
    assert [int(b[0] - a[-1]) for a, b in pairwise(parts)] == [6, 6]


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0.7, 0.7), "at most 1 in all"),
        ((0.5, -0.1), "fractions must be positive"),
        ((0.99, 0.01), "12 times cannot be cut into 2 blocks"),
    ],
)
def test_blocks_without_times_are_refused(fractions: Any, message: str):
    with pytest.raises(ValueError, match=message):
        training.blocks(np.arange(12), fractions, gap=1)


def test_normalised_channels_have_no_mean_and_unit_deviation():
    x = (X * [[[[3.0]], [[1e-3]]]] + 7).astype(np.float32)
    normalizer = Normalizer.fitted(x, np.float64)
    axes = (0, 2, 3)
    assert np.allclose(normalizer.mean, x.mean(axes, dtype=np.float64))
    assert np.allclose(normalizer.std, x.std(axes, dtype=np.float64))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_channels_become_zero(dtype: str):
    normalizer = Normalizer.fitted(np.full((9, 1, 7, 3), 0.1, dtype), dtype)
    assert np.array_equal(normalizer.std, [1])
    assert np.allclose(normalizer.mean, 0.1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (1e40 * X, "channel 0 of inputs holds numbers to 3.*beyond what float32"),
        (1e-50 * X, "channel 0 of inputs holds numbers to .*beyond what float32"),
        (1e200 * X, "channel 0 of inputs holds numbers to .*beyond what float32"),
        (X + 1e9, "channel 0 of inputs varies by .* less than float32.*resolves"),
    ],
)
def test_channels_that_the_weights_do_not_resolve_are_refused(
    fields: Any, message: str
):
    with pytest.raises(ValueError, match=message):
        Normalizer.fitted(fields, np.float32, "inputs")


def test_large_numbers_are_finite_and_bad_ones_are_named_without_a_warning():
    training.Data(np.full_like(X, 3e38, np.float32), X)
    bad = X.astype(np.float32)
    bad[3, 0, 0], bad[4, 0, 0] = np.inf, -np.inf
    with pytest.raises(ValueError, match="inputs of sample 3 and 1 others"):
        training.Data(bad, X)


@pytest.mark.parametrize("samples", [None, (slice(None), 0), np.array(3), [[1, 2]]])
def test_what_is_no_choice_of_samples_is_refused(samples: Any):
    with pytest.raises(TypeError, match="indexed by a slice, or by a list"):
        training.Data(X, X)[samples]


@pytest.fixture(scope="module")
def darcy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "darcy"
    family = kx.datasets.Darcy(num_points=(6, 5))
    solver = kx.solvers.GCRODR(rtol=1e-8, restart=20, num_recycled=4)
    kx.datasets.generate(family, 3, path, solver, progress=False)
    return path


def test_data_sets_of_krylax_are_examples(darcy: Path):
    data = training.from_dataset(darcy, inputs=["coefficient"], outputs=["solution"])
    dataset = kx.datasets.open_dataset(darcy)
    assert np.array_equal(data.inputs[:, 0], dataset["coefficient"][:])
    assert np.array_equal(data.outputs[:, 0, 0], dataset["solution"][:])
    assert (data.input_names, data.output_names) == (("coefficient",), ("solution",))
    numbers = training.from_dataset(
        dataset, inputs=["coefficient", "num_steps"], outputs=["solution"]
    )
    assert numbers.input_names == ("coefficient", "num_steps")
    steps = dataset["num_steps"][:]
    assert np.array_equal(
        numbers.inputs[:, 1], np.broadcast_to(steps[:, None, None], (3, 6, 5))
    )


def test_arrays_that_are_not_there_are_named(darcy: Path, as_users_run_it: None):
    with pytest.raises(ValueError, match="no array 'pressure', it has 'coefficient'"):
        training.from_dataset(darcy, inputs=["coefficient"], outputs=["pressure"])
    with pytest.raises(ValueError, match="; did you mean 'coefficient'"):
        training.from_dataset(darcy, inputs=["coeff"], outputs=["solution"])
    name: Any = "coefficient"
    with pytest.raises(ValueError, match="inputs must be a list of names"):
        training.from_dataset(darcy, inputs=name, outputs=["solution"])
    with pytest.raises(FileNotFoundError, match="there is no data set"):
        training.from_dataset(darcy / "nothing", inputs=["a"], outputs=["b"])


def test_grid_of_data_is_that_of_training_and_evaluation():
    grid = training.Grid((np.linspace(0, 1, 4) ** 2, np.arange(5.0)))
    x = fields(8, 1, 4, 5)
    data = training.Data(x, x, grid=grid)
    settings = training.Settings(num_steps=1, batch_size=4, progress=False)
    surrogate = training.train(pointwise(), data[:6], None, settings).surrogate
    assert surrogate is not None
    assert surrogate.grid is grid
    with pytest.raises(ValueError, match=r"shape \(4, 5\), the grid \(5, 4\)"):
        training.Data(x, x, grid=training.Grid(grid.coordinates[::-1]))


def test_cells_have_their_widths_as_weights():
    grid = _grid.grid_of_cells([(np.arange(4) + 0.5) / 4, np.array([0.0, 1.0, 3.0])])
    assert np.allclose(grid.weights[0], 0.25)
    assert np.allclose(grid.weights[1], [1.0, 1.5, 2.0])
