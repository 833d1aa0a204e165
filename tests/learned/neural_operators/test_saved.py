"""Models in training and in files."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.learned import neural_operators as no
from krylax.learned import training
from krylax.learned.training._normalizer import Normalizer

KEY = jax.random.key(0)
SMALL: dict[str, Any] = {"width": 8, "num_heads": 2, "head_width": 4}
MAKERS = {
    "FNO": lambda: no.FNO(1, 1, 1, num_modes=(3,), width=4, num_layers=2, key=KEY),
    "IFNO": lambda: no.IFNO(1, num_modes=3, width=4, num_iterations=2, key=KEY),
    "UNet": lambda: no.UNet(1, 1, 1, width=4, num_levels=1, key=KEY),
    "IFactFormer": lambda: no.IFactFormer(
        1, 1, 1, **SMALL, num_iterations=2, mixing="chained", norm="heads", key=KEY
    ),
    "FactFormer": lambda: no.FactFormer(1, 1, 1, **SMALL, num_layers=1, key=KEY),
}
X = np.random.default_rng(0).standard_normal((4, 1, 12))
GRID = no.Grid((np.linspace(0, 1, 12) ** 2,), weights=(np.full(12, 1 / 12),))


@pytest.fixture(scope="module")
def models() -> Any:
    return eqx.filter_jit(lambda: {name: make() for name, make in MAKERS.items()})()


@pytest.mark.parametrize("name", MAKERS)
def test_model_in_a_file_predicts_what_it_did(tmp_path: Path, models: Any, name: str):
    model = models[name]
    surrogate = as_surrogate(model)
    training.save(tmp_path / "model", surrogate)
    found = training.load(tmp_path / "model")
    assert type(found.model) is type(model)
    assert np.array_equal(found(X[0]), surrogate(X[0]))
    assert np.array_equal(found.grid.coordinates[0], GRID.coordinates[0])


def as_surrogate(model: Any) -> training.Surrogate:
    unit = Normalizer(jnp.zeros(1, jnp.float32), jnp.ones(1, jnp.float32))
    return training.Surrogate(model, unit, unit, GRID, num_dimensions=1)


@pytest.fixture(scope="module")
def trained(models: Any) -> Any:
    settings = training.Settings(
        num_steps=6, batch_size=2, weight_decay=10.0, progress=False
    )
    data = training.Data(X, X)
    return training.train(models["IFactFormer"], data, None, settings, grid=GRID)


def test_frequencies_of_positions_are_neither_trained_nor_decayed(
    trained: Any, models: Any
):
    before, after = models["IFactFormer"], trained.model
    assert np.array_equal(after.ends.frequencies(), before.ends.frequencies())
    assert not np.allclose(after.ends.lift, before.ends.lift, rtol=1e-3)


def test_prediction_is_a_start_of_the_best_length(trained: Any):
    A = kx.operators.Laplacian((12,))
    start = trained.surrogate.start(X[0, 0])
    assert (start.shape, start.dtype) == ((12,), np.float64)
    sol = kx.solve(A, X[0, 0], kx.solvers.CG(1e-8), x0=start)
    assert kx.Status(int(sol.status)) == kx.Status.converged
    assert np.array_equal(start.value, trained.surrogate(X[0])[0])
