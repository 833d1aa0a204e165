"""Shards are written as Zarr writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from krylax.datasets.store._shards import write_shard

zarr: Any = pytest.importorskip("zarr")
Tree = Callable[[Path], dict[str, bytes]]
# Five samples in shards of two: the last one is not full.
LENGTH, SIZE = 5, 2


def created(path: Path, values: np.ndarray, **options: Any) -> Any:
    shape = values.shape[1:]
    return zarr.create_group(str(path), zarr_format=3).create_array(
        "x",
        shape=values.shape,
        dtype=values.dtype,
        chunks=(1, *shape),
        shards=(SIZE, *shape),
        fill_value=np.nan if np.issubdtype(values.dtype, np.inexact) else -1,
        **options,
    )


def write_all(array: Any, root: Path, values: np.ndarray) -> None:
    for shard, start in enumerate(range(0, LENGTH, SIZE)):
        rows = [values[i : i + 1] for i in range(start, min(start + SIZE, LENGTH))]
        write_shard(array, root, shard, rows)


@pytest.mark.parametrize("shape", [(), (7,), (4, 3), (4, 1, 3)])
@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "complex64", "int32", "int8", ">f8"]
)
def test_shards_are_those_of_zarr(
    shape: tuple[int, ...], dtype: str, tree: Tree, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).uniform(0, 99, (LENGTH, *shape)).astype(dtype)
    created(tmp_path / "theirs", values)[...] = values
    write_all(created(tmp_path / "ours", values), tmp_path / "ours" / "x", values)
    assert tree(tmp_path / "ours") == tree(tmp_path / "theirs")


@pytest.mark.parametrize("failed", [[1], [0, 1], [4], [0, 1, 2, 3, 4]])
def test_samples_that_hold_nothing_are_not_stored(
    failed: list[int], tree: Tree, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).uniform(0, 1, (LENGTH, 4, 3))
    values[failed] = np.nan
    created(tmp_path / "theirs", values)[...] = values
    ours = created(tmp_path / "ours", values)
    write_all(ours, tmp_path / "ours" / "x", values)
    assert tree(tmp_path / "ours") == tree(tmp_path / "theirs")
    np.testing.assert_array_equal(ours[...], values)


def test_other_codecs_are_left_to_zarr(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 1, (LENGTH, 4, 3))
    array = created(tmp_path / "x", values, compressors=None)
    write_all(array, tmp_path / "x" / "x", values)
    np.testing.assert_array_equal(array[...], values)
