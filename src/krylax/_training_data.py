"""The tables [data] and [grid] of `krylax train`, and the samples of what is trained.

Data are a data set, which knows its grid, or a file of NumPy arrays, which does not.
"""

import difflib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

_DATA = {"path", "inputs", "outputs", "num_train", "num_validation"}
_GRID = {"num_points", "coordinates", "lengths", "periodic", "weights"}
_ROUNDING = 1e-6
"""Of coordinates, which may be in single precision, over the length."""


def examples(
    table: dict[str, Any], grid: dict[str, Any] | None, path: Path
) -> tuple[Any, Any]:
    """Return the data of training and, if there are any, those of its validation.

    Args:
        table: [data].
        grid: [grid], instead of the grid of the data set; a file of arrays needs it.
        path: of the TOML, for messages.

    Raises:
        ValueError: a table that says something else.
    """
    require_keys(table, _DATA, path, "[data]")
    missing = [name for name in ("path", "inputs", "outputs") if name not in table]
    if missing:
        raise ValueError(f"{path}: [data] needs {missing[0]}")
    if not isinstance(table["path"], str):
        raise ValueError(
            f"{path}: [data] needs a path in quotes, got {table['path']!r}"
        )
    made = None if grid is None else _grid(grid, path)
    data = read(Path(table["path"]), table["inputs"], table["outputs"], made)
    for name in ("num_train", "num_validation"):
        count = table.get(name, 0)
        if isinstance(count, bool) or not isinstance(count, int):
            raise ValueError(f"{path}: {name} must be an integer, got {count!r}")
    num_validation = table.get("num_validation", 0)
    num_train = table.get("num_train", len(data) - num_validation)
    if num_train < 1 or num_validation < 0 or num_train + num_validation > len(data):
        raise ValueError(
            f"{path}: [data] asks for {num_train} and {num_validation} of {len(data)} "
            "samples with a solution; num_train must be at least 1, num_validation at "
            "least 0, and together they cannot be more than there are"
        )
    validation = None
    if num_validation:
        validation = data[num_train : num_train + num_validation]
    return data[:num_train], validation


def read(path: Path, inputs: Any, outputs: Any, grid: Any) -> Any:
    """Return the samples of a data set or of a file of arrays.

    Args:
        path: of a data set, or of an `.npz`.
        inputs: names of arrays.
        outputs: likewise.
        grid: where the values lie; None for that of the data set.

    Raises:
        FileNotFoundError: there is none.
        ValueError: arrays that are not there, or no fields on the grid; a file of
            arrays without a grid.
    """
    from .learned import training

    if path.suffix == ".npz":
        return _read_arrays(path, inputs, outputs, grid)
    data = training.from_dataset(path, inputs=inputs, outputs=outputs)
    return data if grid is None else on_grid(data, grid)


def on_grid(data: Any, grid: Any) -> Any:
    """Return data with another grid.

    Raises:
        ValueError: it has another shape.
    """
    from .learned import training

    names = {"input_names": data.input_names, "output_names": data.output_names}
    return training.Data(data.inputs, data.outputs, **names, grid=grid)


def chosen(data: Any, path: Path, first: int, num_samples: int | None) -> Any:
    """Return the samples of data that a command line asks for.

    Raises:
        ValueError: there are none or not as many.
    """
    from .operators._arguments import counted

    kind = "" if path.suffix == ".npz" else " with a solution"
    total = f"{path} has {counted(len(data), 'sample')}{kind}"
    if not 0 <= first < len(data):
        raise ValueError(
            f"{total}, so that --first must be from 0 to {len(data) - 1}, got {first}"
        )
    left = len(data) - first
    if num_samples is not None and not 1 <= num_samples <= left:
        raise ValueError(
            f"{total}, {left} of them from --first {first} on, so that --num-samples "
            f"must be from 1 to {left}, got {num_samples}"
        )
    return data[first : None if num_samples is None else first + num_samples]


def require_keys(
    table: dict[str, Any], known: set[str], path: Path, owner: str
) -> None:
    """Raise a `ValueError` where a table has a key that is not known."""
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, sorted(known), n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{path}: unknown key {key!r} for {owner}{hint}")


def _read_arrays(path: Path, inputs: Any, outputs: Any, grid: Any) -> Any:
    from .learned import training
    from .learned.training._from_dataset import (
        as_channels,
        require_known,
        require_names,
    )

    if grid is None:
        raise ValueError(
            f"{path} is a file of arrays, which does not say where their values lie; "
            "add a table [grid] to the file of the training"
        )
    sides = []
    with _opened(path) as file:
        for names, side in ((inputs, "inputs"), (outputs, "outputs")):
            require_names(names, side)
            require_known(names, file.files, path)
            fields = {name: _member(file, name, path) for name in names}
            sides.append(as_channels(fields, len(grid.shape), grid.shape))
    (x, x_names), (y, y_names) = sides
    return training.Data(x, y, input_names=x_names, output_names=y_names, grid=grid)


def _opened(path: Path) -> Any:
    import numpy as np

    with _damage_named(path):
        # NumPy leaves a file open that is no archive.
        file = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array without a name")
    return file


def _member(file: Any, name: str, path: Path) -> Any:
    with _damage_named(path):
        values = file[name]
        # Of a member that is no array NumPy returns the bytes.
        if isinstance(values, bytes):
            raise ValueError(f"{name} is no array")
    return values


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Say of which file it is that something cannot be read.

    Raises:
        ValueError: it cannot.
    """
    try:
        yield
    except (ValueError, EOFError, BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(
            f"{path} is damaged or no file of numpy.savez: {error}; write it again"
        ) from error


def _grid(table: dict[str, Any], path: Path) -> Any:
    from .learned import training

    require_keys(table, _GRID, path, "[grid]")
    if ("num_points" in table) == ("coordinates" in table):
        raise ValueError(
            f"{path}: [grid] needs either num_points, of equally spaced points, or "
            "coordinates, a list of numbers per axis"
        )
    periodic = table.get("periodic", False)
    try:
        if "num_points" in table:
            if "weights" in table:
                raise ValueError("weights are for coordinates")
            lengths = table.get("lengths", 1.0)
            return training.Grid.uniform(table["num_points"], lengths, periodic)
        axes = table["coordinates"]
        if not isinstance(axes, list):
            raise ValueError(f"coordinates must be a list per axis, got {axes!r}")
        coordinates = [_numbers(x, "coordinates") for x in axes]
        flags = (
            periodic if isinstance(periodic, list) else [periodic] * len(coordinates)
        )
        lengths = _periods(table.get("lengths"), coordinates, flags)
        weights = table.get("weights")
        return training.Grid(coordinates, flags, lengths, weights)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: [grid] makes no grid: {error}") from error


def _numbers(values: Any, name: str) -> Any:
    import numpy as np

    array = np.asarray(values)
    if array.dtype.kind not in "if" or not array.size:
        raise ValueError(f"{name} must be a list of numbers per axis, got {values!r}")
    return array.astype(np.float64)


def _periods(lengths: Any, coordinates: Any, periodic: Any) -> Any:
    """The lengths as the grid takes them: TOML has no word for none."""
    import numpy as np

    from .operators._arguments import require_number

    if lengths is None:
        return None
    given = lengths if isinstance(lengths, list) else [lengths] * len(coordinates)
    if len(given) != len(coordinates) or len(periodic) != len(coordinates):
        raise ValueError(
            "lengths and periodic must be one value for all axes, or one for each of "
            f"the {len(coordinates)}"
        )
    found = []
    for x, length, is_periodic in zip(coordinates, given, periodic, strict=True):
        if x.ndim != 1:
            raise ValueError("coordinates must be a list of numbers per axis")
        require_number(length, "lengths", 0, np.inf, "positive and finite")
        extent = x[-1] - x[0]
        if not is_periodic and abs(extent - length) > _ROUNDING * abs(length):
            raise ValueError(
                f"lengths of an axis that is not periodic must be {extent:g}, from its "
                f"first point to its last, got {length:g}"
            )
        found.append(length if is_periodic else None)
    return found
