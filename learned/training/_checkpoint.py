"""Arrays with a description in one file, in the format safetensors.

Eight bytes say how long the header is, JSON, which gives each array's dtype, shape and
place in the bytes that follow, and under `__metadata__` strings of our own: the kind of
the file, its version, and the configuration, as JSON. Nothing in a file is executed,
and nothing is believed before it has been compared with the size of the file.

https://huggingface.co/docs/safetensors, "Format".
"""

import errno
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ...datasets.store._files import open_plain, write_whole

MAX_HEADER = 10_000_000
"""Bytes; a larger one is none of ours."""

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "U32": "uint32",
    "U8": "uint8",
    "BOOL": "bool",
}
NAMES = {name: code for code, name in DTYPES.items()}


class Contents(NamedTuple):
    """What a file holds."""

    arrays: dict[str, np.ndarray]
    configuration: dict[str, Any]


@contextmanager
def refusals_named(path: str | PathLike[str]) -> Iterator[None]:
    """Say in a sentence which place cannot be written to.

    Raises:
        PermissionError: the system does not let it be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        reason = (error.strerror or "not permitted").lower()
        raise PermissionError(
            f"{path} cannot be written: {reason}; give another place, or the right to "
            "write there"
        ) from error


def write_arrays(
    path: str | PathLike[str],
    kind: str,
    version: int,
    configuration: Mapping[str, Any],
    arrays: Mapping[str, Any],
) -> None:
    """Write a file, which is then whole or as before.

    Args:
        path: of the file.
        kind: of the contents, which `read_arrays` has to name.
        version: of what the kind means.
        configuration: what JSON can hold.
        arrays: by name.

    Raises:
        FileNotFoundError: there is no such folder.
        PermissionError: it cannot be written to.
        TypeError: an array of another dtype than those of `DTYPES`.
        ValueError: a floating-point array holds NaN or infinity; the configuration is
            longer than what is read.
    """
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} to write {path} to")
    values = {name: np.asarray(value) for name, value in arrays.items()}
    metadata = {
        "kind": kind,
        "version": str(version),
        "configuration": json.dumps(dict(configuration)),
    }
    header: dict[str, Any] = {"__metadata__": metadata}
    place = 0
    for name, value in values.items():
        if value.dtype.name not in NAMES:
            raise TypeError(f"cannot store {name}, of dtype {value.dtype.name}")
        _require_finite(value, name, "was not written")
        end = place + value.nbytes
        header[name] = {
            "dtype": NAMES[value.dtype.name],
            "shape": list(value.shape),
            "data_offsets": [place, end],
        }
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(
            f"{path} was not written: what describes its arrays has {len(text)} "
            f"bytes, and no more than {MAX_HEADER} are read again; give a constraint "
            "or a grid of fewer numbers"
        )
    data = [value.tobytes() for value in values.values()]
    with refusals_named(path):
        write_whole(Path(path), len(text).to_bytes(8, "little"), text, *data)


def read_arrays(path: str | PathLike[str], kind: str, version: int) -> Contents:
    """Read a file of this kind and version.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, of another kind or version, or no such file; or a
            floating-point array holds NaN or infinity.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected a file")
    with open_plain(path) as file:
        data = file.read()
    try:
        header, body = _parted(data)
        metadata = header.pop("__metadata__")
        found = {key: metadata[key] for key in ("kind", "version", "configuration")}
        configuration = json.loads(found["configuration"])
        if not isinstance(configuration, dict):
            raise ValueError("configuration is no table")
        arrays = _arrays(header, body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged or no file of krylax: {error or type(error).__name__}; "
            "write it again"
        ) from error
    if found["kind"] != kind:
        raise ValueError(f"{path} holds a {found['kind']!r}, expected a {kind!r}")
    if found["version"] != str(version):
        raise ValueError(
            f"{path} has version {found['version']} of {kind!r}, this krylax reads "
            f"{version}; read it with the krylax that wrote it"
        )
    for name, value in arrays.items():
        _require_finite(value, name, f"in {path}")
    return Contents(arrays, configuration)


def _parted(data: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, MAX_HEADER):
        raise ValueError(f"its header would be {size} bytes of {len(data)}")
    header = json.loads(data[8 : 8 + size])
    if not isinstance(header, dict) or not isinstance(header["__metadata__"], dict):
        raise ValueError("its header is no table")
    return header, data[8 + size :]


def _arrays(header: Mapping[str, Any], body: bytes) -> dict[str, np.ndarray]:
    """The arrays, which have to follow each other without a gap."""
    arrays, place = {}, 0
    places = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    for name, entry in places:
        begin, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        if not all(type(n) is int and n >= 0 for n in (begin, end, *shape)):
            raise ValueError(f"{name} has a shape or a place that is no integer")
        dtype = jnp.dtype(DTYPES[entry["dtype"]])
        if begin != place or end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name} has another size than its shape")
        if end > len(body):
            raise ValueError(f"it ends within {name}")
        arrays[name] = np.frombuffer(body[begin:end], dtype).reshape(shape)
        place = end
    if place != len(body):
        raise ValueError(f"{len(body) - place} bytes follow its arrays")
    return arrays


def _require_finite(value: np.ndarray, name: str, where: str) -> None:
    is_float = value.dtype.name in ("float64", "float32", "float16", "bfloat16")
    if is_float and not np.all(np.isfinite(value)):
        raise ValueError(
            f"{name} {where}: it holds NaN or infinity in {value.dtype.name}; keep it "
            "in a dtype of larger numbers, or train again with a smaller learning rate"
        )
