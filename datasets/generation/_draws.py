"""The samples of a run, drawn for the solve order and kept for the solve.

The order asks for the features of all samples before the first system is solved. What
was drawn for it is kept up to a bound; what is beyond it is drawn again, so that a run
of a million samples needs no more memory than one of a few thousand.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from ..families._family import AbstractFamily

Sample = dict[str, np.ndarray]
# 8192 samples of 64 x 64 cells.
_KEPT_BYTES = 256 * 2**20


class Draws:
    """Draws samples, and keeps those that fit until they are taken.

    Attributes:
        family: whose samples.
    """

    def __init__(self, family: AbstractFamily, kept_bytes: int = _KEPT_BYTES) -> None:
        self.family = family
        self._free_bytes = kept_bytes
        self._kept: dict[int, Sample] = {}

    def features(self, num_samples: int) -> Float[np.ndarray, "samples features"]:
        """Return the features of the first samples, one row each."""
        rows = (self.family.features(self._drawn(i)) for i in range(num_samples))
        first = next(rows)
        # Filled row by row: a list of rows would hold them twice.
        features = np.empty((num_samples, *first.shape), first.dtype)
        features[0] = first
        for sample_id, row in enumerate(rows, start=1):
            features[sample_id] = row
        return features

    def take(self, sample_ids: Iterable[int]) -> dict[int, Sample]:
        """Return those of the samples that are kept, and forget them."""
        kept = {i: self._kept.pop(i) for i in sample_ids if i in self._kept}
        self._free_bytes += sum(map(_num_bytes, kept.values()))
        return kept

    def _drawn(self, sample_id: int) -> Sample:
        sample = self.family.sample(sample_id)
        size = _num_bytes(sample)
        if size <= self._free_bytes:
            self._free_bytes -= size
            self._kept[sample_id] = sample
        return sample


def _num_bytes(sample: Sample) -> int:
    return sum(values.nbytes for values in sample.values())
