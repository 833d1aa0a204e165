"""Where the frequencies of a solution are: peaks of a periodogram.

A field is windowed along an axis, transformed, and averaged over the others. The
window has sidelobes below 1e-4 (F. J. Harris, Proc. IEEE 66 (1978),
doi:10.1109/PROC.1978.10837), so that what is above them is a frequency of the field; a
parabola through the logarithms around a maximum places it between the transform's
frequencies.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ._basis import Axis
from ._kernels import Envelope, SpectralMixture

NUM_PEAKS = 8
"""Peaks that are kept along an axis, the largest ones."""

LENGTHS = (0.2, 0.5, 1.0)
"""Length-scales of components, in lengths of the axis. The first one's envelope is half
a period of what the boundaries add to a wave, and functions of other frequencies are
near it; longer ones have fewer functions."""

_PADDING = 8
_SIDELOBES = 1e-4
_HARRIS = (0.35875, -0.48829, 0.14128, -0.01168)


def peaks(field: Float[np.ndarray, "..."], axis: Axis, index: int) -> np.ndarray:
    """Return the frequencies of a field along an axis, in cycles per unit.

    Args:
        field: on the grid.
        axis: with the field's points along it.
        index: which axis of the field it is.
    """
    rows = np.moveaxis(np.asarray(field, float), index, -1).reshape(-1, axis.num_points)
    largest = np.max(np.abs(rows))
    if largest == 0:
        return np.zeros(0)
    position = np.linspace(0, 2 * np.pi, axis.num_points, endpoint=axis.is_periodic)
    window = sum(a * np.cos(n * position) for n, a in enumerate(_HARRIS))
    transformed = np.fft.rfft(rows / largest * window, _PADDING * axis.num_points)
    power = np.sqrt(np.mean(np.abs(transformed) ** 2, axis=0))
    spacing = 2 * axis.nyquist / (_PADDING * axis.num_points)
    inner = power[1:-1]
    is_peak = (inner >= power[:-2]) & (inner > power[2:])
    is_peak &= inner > _SIDELOBES * power.max()
    places = 1 + np.flatnonzero(is_peak)
    places = places[np.argsort(-power[places])][:NUM_PEAKS]
    before, at, after = (np.log(power[places + shift]) for shift in (-1, 0, 1))
    offset = 0.5 * (before - after) / (before - 2 * at + after)
    return spacing * (places + offset)


def mixture(
    frequencies: Sequence[float] | np.ndarray,
    axis: Axis,
    envelope: Envelope,
    length: float = LENGTHS[0],
) -> SpectralMixture:
    """Return equal components at frequencies that the grid resolves, and at zero."""
    resolved = [f for f in frequencies if f < 0.95 * axis.nyquist]
    merged = merge([0.0, *resolved], 0.5 / axis.length)
    weights = np.full(len(merged), 1 / len(merged))
    return SpectralMixture(weights, merged, length * axis.length, envelope)


def with_slow_part(kernel: SpectralMixture, axis: Axis) -> SpectralMixture:
    """Return a kernel with a component of frequency zero, as heavy as the heaviest."""
    return SpectralMixture(
        [*kernel.weights, np.max(kernel.weights)],
        [*kernel.frequencies, 0.0],
        [*kernel.lengths, LENGTHS[1] * axis.length],
        kernel.envelope,
    )


def merge(frequencies: Sequence[float], distance: float) -> np.ndarray:
    """Return frequencies without those that are near an earlier one."""
    kept: list[float] = []
    for f in frequencies:
        if all(abs(f - other) > distance for other in kept):
            kept.append(float(f))
    return np.sort(kept)


def broadband(axis: Axis, highest: float | None, envelope: Envelope) -> SpectralMixture:
    """Return 30 components evenly up to a frequency, wide enough to overlap."""
    top = 0.95 * axis.nyquist if highest is None else min(highest, 0.95 * axis.nyquist)
    frequencies = np.linspace(0, top, 30)
    # Standard deviation in frequency of one spacing.
    length = 1 / (2 * np.pi * max(frequencies[1], 1e-300))
    weights = np.full(30, 1 / 30)
    return SpectralMixture(
        weights, frequencies, min(length, LENGTHS[0] * axis.length), envelope
    )
