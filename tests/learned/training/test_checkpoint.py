"""Files of arrays: what is written is read, and nothing else is."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned.training import _checkpoint
from krylax.learned.training._checkpoint import read_arrays, write_arrays

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.asarray(jnp.ones(3, jnp.bfloat16)),
    "empty": np.zeros((0, 4)),
    "number": np.asarray(3),
    "flags": np.array([True, False]),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    write_arrays(path, "example", 2, {"size": [1, 2]}, ARRAYS)
    return path


def test_what_is_written_is_read(file: Path):
    arrays, configuration = read_arrays(file, "example", 2)
    assert configuration == {"size": [1, 2]}
    assert arrays.keys() == ARRAYS.keys()
    for name, value in ARRAYS.items():
        assert arrays[name].dtype == value.dtype
        assert np.array_equal(arrays[name], value)


def test_the_format_is_that_of_safetensors(file: Path):
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert header["a"] == {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    assert all(type(v) is str for v in header["__metadata__"].values())
    assert np.array_equal(
        np.frombuffer(data[8 + size :][:24], np.float32), ARRAYS["a"].ravel()
    )


def test_every_truncation_is_refused(file: Path):
    data = file.read_bytes()
    for size in range(len(data)):
        file.write_bytes(data[:size])
        with pytest.raises(ValueError, match="damaged or no file of krylax"):
            read_arrays(file, "example", 2)


def changed(entry: Any) -> bytes:
    """A file whose header says something else about four bytes."""
    metadata = {"kind": "example", "version": "2", "configuration": "{}"}
    header = json.dumps({"__metadata__": metadata, "a": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


HOSTILE = {
    "nothing": b"",
    "a header beyond the file": (2**63).to_bytes(8, "little") + b"{}",
    "deep nesting": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "no text": (4).to_bytes(8, "little") + b"\xff\xfe\x00\x01",
    "a list": (2).to_bytes(8, "little") + b"[]",
    "no metadata": (2).to_bytes(8, "little") + b"{}",
    "a negative size": changed({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}),
    "a huge shape": changed(
        {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}
    ),
    "a place behind the end": changed(
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    ),
    "a gap": changed({"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}),
    "an unknown dtype": changed({"dtype": "O", "shape": [1], "data_offsets": [0, 4]}),
    "fractions": changed({"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}),
    "no entry": changed(3),
    "bytes left": changed({"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name: str, tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ValueError, match="damaged or no file of krylax"):
        read_arrays(path, "example", 2)


def test_other_kinds_and_versions_are_named(file: Path):
    with pytest.raises(ValueError, match="holds a 'example', expected a 'other'"):
        read_arrays(file, "other", 2)
    with pytest.raises(ValueError, match=r"has version 2 of 'example'.* reads 3"):
        read_arrays(file, "example", 3)


def test_what_is_not_finite_is_neither_written_nor_read(file: Path):
    with pytest.raises(ValueError, match="a was not written: it holds NaN"):
        write_arrays(file, "example", 2, {}, {"a": np.array([np.nan])})
    assert read_arrays(file, "example", 2).configuration == {"size": [1, 2]}
    data = bytearray(file.read_bytes())
    size = int.from_bytes(data[:8], "little")
    data[8 + size : 12 + size] = np.float32(np.inf).tobytes()
    file.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"a in .* holds NaN or infinity"):
        read_arrays(file, "example", 2)


def test_unknown_dtypes_are_refused(tmp_path: Path):
    with pytest.raises(TypeError, match="cannot store a, of dtype complex128"):
        write_arrays(tmp_path / "x", "example", 1, {}, {"a": np.ones(2, complex)})


def test_what_could_not_be_read_again_is_not_written(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    before = file.read_bytes()
    monkeypatch.setattr(_checkpoint, "MAX_HEADER", 1000)
    with pytest.raises(ValueError, match="was not written: what describes its arrays"):
        write_arrays(file, "kind", 1, {"mask": [0.5] * 1000}, {})
    assert file.read_bytes() == before
