"""Writes the shards of a Zarr array that has one chunk per sample.

    chunk | chunk | ... | offset and length of every chunk | CRC-32C of these

The bytes are those that Zarr writes itself. Zarr hands every chunk to another thread
and back, which for 64 x 64 numbers takes five times as long as compressing them.

Zarr v3 specification, codec `sharding_indexed`, version 1.0.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from .._optional import require
from ._files import open_new

# The index entry of a chunk that is not stored, as it holds the fill value alone.
_ABSENT = np.uint64(2**64 - 1)
_LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}
_ZSTD = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
_INDEX_CODECS = [_LITTLE_ENDIAN, {"name": "crc32c"}]


def write_shard(
    array: Any, root: Path, index: int, samples: Sequence[Shaped[np.ndarray, "1 ..."]]
) -> None:
    """Write one shard, and so the samples from `index` times its size on.

    Args:
        array: a Zarr array with chunks of one sample, and shards of whole samples.
        root: the array's folder.
        index: which shard.
        samples: an array for each, with a first axis of length 1; as many as a shard
            has, in the last one those that are left.
    """
    size = array.shards[0]
    if not _is_known(array):
        array[index * size : index * size + len(samples)] = np.concatenate(samples)
        return
    # Without the cast, bytes in the order of another machine.
    dtype = array.dtype.newbyteorder("<")
    chunks = [
        _encoded(np.asarray(s, dtype, order="C"), array.fill_value) for s in samples
    ]
    if any(chunk is not None for chunk in chunks):
        key = (index, *[0] * (array.ndim - 1))
        path = root / array.metadata.encode_chunk_key(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_new(path) as file:
            file.writelines(chunk for chunk in chunks if chunk is not None)
            file.write(_index_bytes(chunks, size))


def _is_known(array: Any) -> bool:
    """Whether the array's codecs are those that are written here.

    A Zarr with other defaults, and numbers of one byte, are left to Zarr.
    """
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": array.chunks,
            "codecs": (_LITTLE_ENDIAN, _ZSTD),
            "index_codecs": tuple(_INDEX_CODECS),
            "index_location": "end",
        },
    }
    codecs = array.metadata.to_dict()["codecs"]
    return array.dtype.kind in "iufc" and tuple(codecs) == (sharding,)


def _encoded(sample: np.ndarray, fill_value: Any) -> bytes | None:
    if _is_filled(sample.flat[0], fill_value) and np.all(
        _is_filled(sample, fill_value)
    ):
        return None
    return _zstd().encode(sample)


def _is_filled(values: Any, fill_value: Any) -> Any:
    # NaN, the fill value of all but integers, does not equal itself.
    return (values == fill_value) | ((values != values) & (fill_value != fill_value))


@lru_cache(maxsize=1)
def _zstd() -> Any:
    return require("numcodecs", "data").Zstd(level=0, checksum=False)


def _index_bytes(chunks: list[bytes | None], size: int) -> bytes:
    index: Int[np.ndarray, "chunks 2"] = np.full((size, 2), _ABSENT, "<u8")
    offset = 0
    for place, chunk in enumerate(chunks):
        if chunk is not None:
            index[place] = offset, len(chunk)
            offset += len(chunk)
    data = index.tobytes()
    checksum = require("google_crc32c", "data").value(data)
    return data + int(checksum).to_bytes(4, "little")
