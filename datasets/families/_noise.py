"""White noise that belongs to a sample, not to a run or a resolution.

Sample i of a stream draws from Philox(SeedSequence(seed, spawn_key=(stream, i))), so
its numbers depend on nothing else: not on the samples before it, the number of
workers or the device. The normals go to the modes k shell by shell of growing
max(k); the first s^d of them are the modes with max(k) < s at every resolution, so
the same sample is the same field on a coarse and on a fine grid.
"""

import zlib
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from .._names import check_name


def generator(seed: int, stream: str, sample_id: int) -> np.random.Generator:
    """Return the random generator of one sample.

    Args:
        seed: the data set's master seed, not negative.
        stream: "train", "valid", "test" or any other valid name; hashed with CRC-32,
            which is the same on every machine (Python's own hash is not).
        sample_id: the sample's number, not negative.

    Raises:
        ValueError: a negative number or a name that is not valid.
    """
    stream_key = _stream_key(stream)
    if seed < 0 or sample_id < 0:
        raise ValueError(
            f"seed and sample_id must not be negative, got {seed} and {sample_id}"
        )
    key = (stream_key, int(sample_id))
    sequence = np.random.SeedSequence(int(seed), spawn_key=key)
    return np.random.Generator(np.random.Philox(sequence))


@lru_cache(maxsize=8)
def _stream_key(stream: str) -> int:
    return zlib.crc32(check_name(stream, "stream").encode("ascii"))


def shell_noise(
    num_points: tuple[int, ...], random: np.random.Generator
) -> Float[np.ndarray, "*num_points"]:
    """Return one standard normal per mode k, 0 <= k_a < num_points[a].

    Cost: max(num_points)^d normals are drawn and the surplus is dropped, so that
    stretched grids share their low modes with cubic ones.
    """
    size = max(num_points)
    order = _shell_order(size, len(num_points))
    noise = np.empty(order.size)
    noise[order] = random.standard_normal(order.size)
    cube = noise.reshape((size,) * len(num_points))
    return cube[tuple(slice(n) for n in num_points)]


def noise_bytes(num_points: tuple[int, ...]) -> int:
    """Return the memory that `shell_noise` takes: numbers, their order and its key."""
    return 20 * max(num_points) ** len(num_points)


# The order is the same for every sample of a data set; two are kept for families
# that are used side by side.
@lru_cache(maxsize=2)
def _shell_order(size: int, rank: int) -> Int[np.ndarray, " modes"]:
    largest = np.max(np.indices((size,) * rank, dtype=np.int32), axis=0)
    return np.argsort(largest, axis=None, kind="stable")
