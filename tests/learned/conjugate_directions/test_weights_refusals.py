"""Networks in files and in records: what identifies them, and what is refused."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned import conjugate_directions as cd
from krylax.learned.conjugate_directions._weights import KIND, VERSION, fingerprint
from krylax.learned.training._checkpoint import read_arrays, write_arrays


def made(**arguments: Any) -> Any:
    return cd.DeepConjugateDirection("from64", 1, key=jax.random.key(0), **arguments)


NET = made()


def test_network_comes_back_from_its_file(tmp_path: Path):
    for path in (tmp_path / "net", str(tmp_path / "other")):
        cd.save(path, NET)
        found = cd.load(path)
        assert eqx.tree_equal(found, NET)
        assert fingerprint(found) == fingerprint(NET)


def test_number_of_axes_may_be_one_of_numpy(tmp_path: Path):
    one: Any = np.int64(1)
    net = cd.DeepConjugateDirection("from64", one, key=jax.random.key(0))
    cd.save(tmp_path / "net", net)
    assert cd.load(tmp_path / "net").num_dimensions == 1


def test_networks_that_make_other_directions_are_told_apart():
    wide = eqx.tree_at(
        lambda net: jax.tree.leaves(net),
        made(dtype=jnp.float64),
        [leaf.astype(jnp.float64) for leaf in jax.tree.leaves(NET)],
    )
    nets = [NET, made(normalization="rms"), made(normalization="none"), wide]
    assert len({fingerprint(net) for net in nets}) == 4


@pytest.mark.parametrize("dtype", [int, bool, complex])
def test_weights_are_kept_in_floating_point(dtype: Any, tmp_path: Path):
    with pytest.raises(ValueError, match="dtype must be one of floating-point"):
        cd.save(tmp_path / "net", NET, dtype=dtype)


def test_weights_beyond_the_dtype_are_named(tmp_path: Path):
    net = eqx.tree_at(lambda net: net.head.bias, NET, jnp.full(1, 1e6, jnp.float32))
    with pytest.raises(
        ValueError, match=r"head.bias .* in float16; keep it in a dtype"
    ):
        cd.save(tmp_path / "net", net, dtype="float16")


@pytest.mark.parametrize(
    "field",
    [{"dtype": None}, {"dtype": "int32"}, {"dtype": []}, {"num_dimensions": 1.0}],
)
def test_descriptions_of_no_network_are_refused(field: Any, tmp_path: Path):
    cd.save(tmp_path / "net", NET)
    arrays, configuration = read_arrays(tmp_path / "net", KIND, VERSION)
    altered = configuration | field
    write_arrays(tmp_path / "net", KIND, VERSION, altered, arrays)
    with pytest.raises(ValueError, match="describes no network of this krylax"):
        cd.load(tmp_path / "net")
