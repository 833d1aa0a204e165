"""Networks in files: what is saved is loaded, and what is damaged is not."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.datasets import PressureProjection
from krylax.learned import conjugate_directions as cd
from krylax.learned.conjugate_directions._weights import FOLDER, fingerprint
from krylax.learned.training._checkpoint import read_arrays, write_arrays

KEY = jax.random.key(0)
KIND = "conjugate direction"


@pytest.fixture(scope="module")
def net() -> cd.DeepConjugateDirection:
    return cd.DeepConjugateDirection("from64", 1, key=KEY, normalization="rms")


@pytest.fixture
def file(net: Any, tmp_path: Path) -> Path:
    cd.save(tmp_path / "net", net)
    return tmp_path / "net"


def test_what_is_saved_is_loaded(net: Any, file: Path):
    found = cd.load(file)
    assert fingerprint(found) == fingerprint(net)
    assert found.normalization == "rms"
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(net), strict=True)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


def test_half_precision_is_kept_and_single_computed_with(net: Any, tmp_path: Path):
    cd.save(tmp_path / "x", net, dtype="float16")
    found = cd.load(tmp_path / "x")
    assert found.stem.weight.dtype == jnp.float32
    assert np.allclose(found.stem.weight, net.stem.weight, rtol=1e-3, atol=1e-6)


def test_all_shipped_networks_load_and_are_small():
    assert "from64-2d" in cd.available()
    for name in cd.available():
        assert (FOLDER / f"{name}.safetensors").stat().st_size < 200_000
        assert cd.num_parameters(cd.load(name)) > 0


def test_the_shipped_network_beats_cg_on_a_flow_that_it_has_not_seen():
    """With float32 weights in a float64 solve."""
    flow = PressureProjection((32, 32), "obstacle", num_frames=4, stream="test")
    A, b = flow.system(flow.sample(3))
    net = cd.load("from64-2d")

    @jax.jit
    def steps(A: Any, b: Any) -> Any:
        cg = kx.solve(A, b, kx.solvers.CG(1e-8))
        solver = kx.solvers.FlexibleCG(1e-8, truncation=2)
        learned = kx.solve(A, b, solver, preconditioner=cd.Masked(net))
        return cg.stats.num_steps, learned.stats.num_steps

    cg, learned = steps(A, b)
    assert 4 * learned <= cg


def test_names_that_are_neither_are_listed():
    with pytest.raises(FileNotFoundError, match=r"neither a file nor .*from64-2d"):
        cd.load("from63")


def test_other_models_are_refused(tmp_path: Path):
    other: Any = eqx.nn.Identity()
    with pytest.raises(TypeError, match="must be a DeepConjugateDirection"):
        cd.save(tmp_path / "x", other)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("architecture", "from128", "holds other weights than its architecture"),
        ("architecture", "from32", "describes no network.*architecture must be one"),
        ("num_dimensions", 2, "its architecture has"),
        ("dtype", "O", "describes no network"),
        ("normalization", 3, "describes no network"),
    ],
)
def test_files_of_other_networks_are_refused(
    file: Path, field: str, value: Any, message: str
):
    arrays, configuration = read_arrays(file, KIND, 1)
    write_arrays(file, KIND, 1, configuration | {field: value}, arrays)
    with pytest.raises(ValueError, match=message):
        cd.load(file)


def test_weights_that_are_not_finite_are_refused(net: Any, tmp_path: Path):
    broken = eqx.tree_at(lambda n: n.head.bias, net, jnp.full(1, jnp.nan))
    with pytest.raises(ValueError, match=r"head.bias was not written: it holds NaN"):
        cd.save(tmp_path / "x", broken)
    large = eqx.tree_at(lambda n: n.head.bias, net, jnp.full(1, 1e30))
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        cd.save(tmp_path / "x", large, dtype="float16")
