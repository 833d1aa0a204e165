"""Surrogates in files that describe themselves.

One file in the format of `_checkpoint.py`: which class the model is of, with which
arguments it was made, and every weight by name; the grid and the settings of the
training; the constraint of its predictions; and the normalisers.
"""

from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ._called_like_a_model import called_like_a_model
from ._checkpoint import Contents, read_arrays, write_arrays
from ._constraint import constraint_from, records_of
from ._normalizer import Normalizer
from ._registry import filled, made, named_arrays, recorded
from ._settings import Settings
from ._state import name_of
from ._surrogate import Surrogate

KIND = "surrogate"
VERSION = 1
FILE = "model.safetensors"
"""In the folder of a training."""

MODEL = "model."
NORMALIZERS = ("input_normalizer", "output_normalizer")
FIELDS = ("input_names", "output_names", "num_dimensions")


@dataclass(frozen=True)
class Unavailable:
    """A function that a file names and does not hold."""

    name: str

    def __call__(self, *arguments: Any) -> Any:
        """Raise a `TypeError`."""
        raise TypeError(f"{self.name} is not kept in the file of the surrogate")


def save(path: str | PathLike[str], surrogate: Surrogate) -> None:
    """Write a surrogate to a file, which is then whole or as before.

    A model whose class is not registered (`training.register`) is read again with
    `load(path, like=model)`.

    Args:
        path: of the file, in the format safetensors.
        surrogate: what `load` or `train` returns.

    Raises:
        FileNotFoundError: there is no such folder.
        PermissionError: it cannot be written to.
        TypeError: no `Surrogate`; a grid or a constraint whose class is not registered;
            or a function without weights.
        ValueError: a weight is NaN or infinite.
    """
    if not isinstance(surrogate, Surrogate):
        raise TypeError(
            f"surrogate must be a Surrogate, got a {type(surrogate).__name__}; train "
            "returns a model, and load(folder) its surrogate"
        )
    configuration = {name: getattr(surrogate, name) for name in FIELDS}
    configuration["model"] = recorded(surrogate.model)
    configuration["grid"] = _grid_record(surrogate.grid)
    configuration["settings"] = _settings_record(surrogate.settings)
    if surrogate.constraint is not None:
        configuration["constraint"] = records_of(surrogate.constraint)
    arrays = {MODEL + name: a for name, a in named_arrays(surrogate.model).items()}
    if configuration["model"] is None and not arrays:
        raise TypeError(
            "the surrogate is a function without weights, which no file can hold; make "
            "it anew by from_callable"
        )
    for name in NORMALIZERS:
        normalizer = getattr(surrogate, name)
        arrays[f"{name}.mean"] = normalizer.mean
        arrays[f"{name}.std"] = normalizer.std
    write_arrays(path, KIND, VERSION, configuration, arrays)


def load(path: str | PathLike[str], *, like: Any = None) -> Surrogate:
    """Read a surrogate from a file, or the best one of the folder of a training.

    Args:
        path: of a file, or of a folder.
        like: a model of the same structure, for classes that are not registered, such
            as what `from_callable` was given.

    Raises:
        FileNotFoundError: there is no such file, or the folder holds no model yet.
        ValueError: the file is damaged or of another kind or version, names a class
            that is not registered, or holds other weights than its model or `like`.
    """
    path = Path(path)
    if path.is_dir():
        path = path / FILE
        if not path.exists():
            raise FileNotFoundError(
                f"{path.parent} holds no {FILE}: no training has validated there"
            )
    if not path.exists():
        raise FileNotFoundError(
            f"there is no trained model at {path}; give the folder of a training, or "
            "the file of training.save"
        )
    contents = read_arrays(path, KIND, VERSION)
    try:
        return _read(contents, like, path)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{path} describes no surrogate of this krylax: {error}"
        ) from error


def _read(contents: Contents, like: Any, path: Path) -> Surrogate:
    arrays, configuration = dict(contents.arrays), contents.configuration
    normalizers = {}
    for name in NORMALIZERS:
        mean, std = arrays.pop(f"{name}.mean"), arrays.pop(f"{name}.std")
        if mean.ndim != 1 or std.shape != mean.shape or not np.all(std > 0):
            raise ValueError(f"{path} holds a {name} that normalises nothing")
        normalizers[name] = Normalizer(jnp.asarray(mean), jnp.asarray(std))
    weights = {name.removeprefix(MODEL): a for name, a in arrays.items()}
    if like is None:
        if configuration["model"] is None:
            raise ValueError(
                f"{path} is of a model whose class was not registered; give a model of "
                "the same structure, load(path, like=model)"
            )
        like = _made(configuration["model"], path, weights)
    elif named_arrays(through := called_like_a_model(like)).keys() == weights.keys():
        # What `from_callable` has made of it.
        like = through
    grid = configuration["grid"]
    return Surrogate(
        filled(like, weights, str(path)),
        **normalizers,
        grid=None if grid is None else _made(grid, path),
        num_dimensions=int(configuration["num_dimensions"]),
        input_names=tuple(map(str, configuration["input_names"])),
        output_names=tuple(map(str, configuration["output_names"])),
        settings=_settings(configuration["settings"]),
        constraint=_constraint(configuration.get("constraint"), path),
    )


def _made(record: Any, path: Path, arrays: Any = None) -> Any:
    try:
        return made(record, arrays)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _constraint(records: Any, path: Path) -> Any:
    try:
        return constraint_from(records)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _grid_record(grid: Any) -> dict[str, Any] | None:
    if grid is None:
        return None
    record = recorded(grid)
    if record is None:
        raise TypeError(
            f"a grid of class {type(grid).__name__} is not registered, so that no file "
            "can name it; use training.register"
        )
    return record


def _settings_record(settings: Settings | None) -> dict[str, Any] | None:
    if settings is None:
        return None
    record = {field.name: getattr(settings, field.name) for field in fields(settings)}
    # Where a state was kept, and what was shown, is no part of the result.
    del record["checkpoint"], record["progress"]
    for name in ("loss", "augment"):
        if callable(record[name]):
            function = record[name]
            is_gone = isinstance(function, Unavailable)
            record[name] = {"function": function.name if is_gone else name_of(function)}
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in record.items()
    }


def _settings(record: Any) -> Settings | None:
    if record is None:
        return None
    given: dict[str, Any] = dict(record)
    for name, value in given.items():
        if isinstance(value, dict):
            given[name] = Unavailable(str(value["function"]))
    return Settings(**given)
