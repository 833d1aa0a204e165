"""Examples of a map of fields: inputs, and the outputs that belong to them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...datasets import Trajectory
from ...operators._arguments import counted, require_count, shown
from ._grid import Grid


class Data:
    """Examples of a map of fields, kept on the host.

    Args:
        inputs: (samples, channels, *shape).
        outputs: (samples, channels, *shape), or (samples, targets, channels, *shape)
            with one target for each step in time.
        input_names: names of the channels of the inputs, kept with the trained model.
        output_names: names of the channels of the outputs.
        grid: the grid of the fields, None for the default of each model.

    Attributes:
        inputs, outputs: arrays of floating-point numbers, the outputs with the axis of
            targets.

    Raises:
        ValueError: shapes or numbers of samples that do not fit each other; no samples;
            values that are not real, or are NaN or infinite, in which case the message
            names the sample.

    Examples:
        >>> import numpy as np
        >>> from krylax.learned import training
        >>> x = np.random.default_rng(0).random((10, 1, 8, 8))
        >>> data = training.Data(x, 2 * x)
        >>> data
        Data(10 samples: inputs (1, 8, 8), outputs (1, 8, 8))
        >>> train, test = data[:8], data[8:]
        >>> len(train), len(test)
        (8, 2)
    """

    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        *,
        input_names: Sequence[str] = (),
        output_names: Sequence[str] = (),
        grid: Grid | None = None,
    ) -> None:
        self.grid = grid
        self.inputs = _as_fields(inputs, "inputs")
        outputs = _as_fields(outputs, "outputs")
        if outputs.ndim == self.inputs.ndim:
            outputs = outputs[:, None]
        self.outputs = outputs
        self.input_names = tuple(input_names)
        self.output_names = tuple(output_names)
        self._require_fitting()
        _require_finite(self.inputs, "inputs")
        _require_finite(self.outputs, "outputs")

    @classmethod
    def of_trajectories(
        cls, fields: Any, *, num_frames: int = 1, num_targets: int = 1
    ) -> "Data":
        """Return all windows in time of trajectories as examples.

        Neighbouring windows are nearly the same. So validate and test on other
        trajectories, or on blocks of one with a gap between them (`blocks`).

        Args:
            fields: (trajectories, times, channels, *shape).
            num_frames: number of consecutive fields that the model is given, stacked as
                channels, the earliest first.
            num_targets: number of fields that follow them as targets, at least the
                `num_unrolled` of `Settings`.

        Raises:
            ValueError: trajectories of too few times, or the class refuses the fields.
        """
        require_count(num_frames, "num_frames")
        require_count(num_targets, "num_targets")
        fields = np.asarray(fields)
        if fields.ndim < 4:
            raise ValueError(
                "fields must have shape (trajectories, times, channels, *shape), got "
                f"{fields.shape}"
            )
        num_times, length = fields.shape[1], num_frames + num_targets
        if num_times < length:
            raise ValueError(
                f"trajectories of {counted(num_times, 'time')} are too short for "
                f"{counted(num_frames, 'frame')} and {counted(num_targets, 'target')}"
            )
        _require_finite(fields, "fields", "trajectory")
        shape = fields.shape[3:]
        windows = np.lib.stride_tricks.sliding_window_view(fields, length, axis=1)
        windows = np.moveaxis(windows, -1, 2).reshape(-1, length, *fields.shape[2:])
        inputs = windows[:, :num_frames].reshape(len(windows), -1, *shape)
        return cls(inputs, windows[:, num_frames:])

    @property
    def num_targets(self) -> int:
        """Number of steps in time that the outputs hold."""
        return self.outputs.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of points per axis of the grid."""
        return self.inputs.shape[2:]

    @property
    def num_channels(self) -> tuple[int, int]:
        """Number of channels of the inputs and of the outputs."""
        return self.inputs.shape[1], self.outputs.shape[2]

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, samples: Any) -> "Data":
        if isinstance(samples, int | np.integer):
            raise TypeError(
                f"data are indexed by several samples, such as data[:{len(self)}], got "
                f"{shown(samples)}"
            )
        samples = samples if isinstance(samples, slice) else np.asarray(samples)
        if not isinstance(samples, slice) and (
            samples.ndim != 1 or samples.dtype.kind not in "iub"
        ):
            raise TypeError(
                "data are indexed by a slice, or by a list of integers or truth "
                f"values, got {shown(samples)}"
            )
        found = object.__new__(Data)
        found.inputs, found.outputs = self.inputs[samples], self.outputs[samples]
        found.input_names, found.output_names = self.input_names, self.output_names
        found.grid = self.grid
        if not len(found):
            raise ValueError(f"no samples are left by {shown(samples)}")
        return found

    def __repr__(self) -> str:
        n = self.num_targets
        inputs, outputs = self.inputs.shape[1:], self.outputs.shape[2:]
        targets = f" at {n} times" if n > 1 else ""
        count = counted(len(self), "sample")
        return f"Data({count}: inputs {inputs}, outputs {outputs}{targets})"

    def _require_fitting(self) -> None:
        inputs, outputs = self.inputs.shape, self.outputs.shape
        wanted = "inputs (samples, channels, *shape) and outputs of the same grid"
        if len(inputs) < 3 or len(outputs) != len(inputs) + 1:
            raise ValueError(f"expected {wanted}, got shapes {inputs} and {outputs}")
        if inputs[0] != outputs[0]:
            raise ValueError(
                f"there are {inputs[0]} inputs and {outputs[0]} outputs, expected one "
                "output per input"
            )
        if inputs[2:] != outputs[3:]:
            raise ValueError(
                f"expected {wanted}, got the grids {inputs[2:]} and {outputs[3:]}"
            )
        if self.grid is not None and self.grid.shape != inputs[2:]:
            raise ValueError(
                f"the fields have shape {inputs[2:]}, the grid {self.grid.shape}"
            )
        if 0 in inputs or 0 in outputs:
            raise ValueError(f"no data: the inputs have shape {inputs}")
        for name, size in (("input_names", inputs[1]), ("output_names", outputs[2])):
            names = getattr(self, name)
            if names and len(names) != size:
                raise ValueError(
                    f"{name} must name the {counted(size, 'channel')}, got "
                    f"{shown(names)}"
                )


def blocks(
    times: Any, fractions: Sequence[float], *, gap: int = 0
) -> tuple[np.ndarray, ...]:
    """Cut one trajectory into contiguous blocks in time, as for training and test.

    Args:
        times: the trajectory, (times, ...), or the numbers of its snapshots; of one on
            the disk `range(len(trajectory))`, for `from_trajectory`.
        fractions: of the times that each block gets, with a sum of at most 1.
        gap: number of times left out between blocks, so that the end of one is not
            correlated with the beginning of the next.

    Raises:
        TypeError: a `Trajectory` itself.
        ValueError: fractions that are not positive or sum to more than 1, or too few
            times for a block.

    Examples:
        >>> import numpy as np
        >>> from krylax.learned import training
        >>> training.blocks(np.arange(12), (0.5, 0.5), gap=2)
        (array([0, 1, 2, 3, 4]), array([ 7,  8,  9, 10, 11]))
    """
    if isinstance(times, Trajectory):
        raise TypeError(
            "times must be fields or numbers of snapshots, got a Trajectory, which is "
            "read by trajectory.read('velocity'); or give its numbers, "
            "range(len(trajectory)), and each block to from_trajectory(trajectory, "
            "times=block)"
        )
    times = np.asarray(times)
    require_count(gap, "gap", 0)
    if not all(f > 0 for f in fractions) or not 0 < sum(fractions) <= 1 + 1e-9:
        raise ValueError(
            f"fractions must be positive and at most 1 in all, got {shown(fractions)}"
        )
    left = len(times) - gap * (len(fractions) - 1)
    sizes = [int(f * left + 1e-9) for f in fractions]
    if min(sizes) < 1:
        raise ValueError(
            f"{counted(len(times), 'time')} cannot be cut into "
            f"{counted(len(sizes), 'block')} of {shown(tuple(fractions))} with gaps of "
            f"{gap}"
        )
    starts = np.cumsum([0, *(size + gap for size in sizes[:-1])])
    return tuple(times[a : a + n] for a, n in zip(starts, sizes, strict=True))


def _as_fields(fields: Any, name: str) -> np.ndarray:
    fields = np.asarray(fields)
    if np.issubdtype(fields.dtype, np.integer) or fields.dtype == bool:
        return fields.astype(np.float64)
    if not np.issubdtype(fields.dtype, np.floating):
        raise ValueError(f"{name} must be real numbers, got {fields.dtype.name}")
    return fields


def _require_finite(fields: np.ndarray, name: str, unit: str = "sample") -> None:
    # A sum tells at once; which one it is matters only then.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(fields)):
            return
    is_finite = np.all(np.isfinite(fields), axis=tuple(range(1, fields.ndim)))
    if not np.all(is_finite):
        bad = np.flatnonzero(~is_finite)
        more = f" and {len(bad) - 1} others" if len(bad) > 1 else ""
        raise ValueError(
            f"{name} of {unit} {bad[0]}{more} hold NaN or infinity; leave them out"
        )
