"""The commands `train`, `evaluate`, `predict` and `card`, of learned maps of fields."""

import inspect
import io
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from tyro import conf

from ._training_data import chosen, examples, on_grid, read, require_keys

_TABLES = {"folder", "model", "data", "grid", "training", "constraint"}
_NOT_IN_FILES = {"checkpoint"}


@dataclass(frozen=True)
class Train:
    """Train a model on a data set, or continue an interrupted training.

    The file has a `folder` to write and three tables: `[model]` with the name of its
    `class`, the arguments of its constructor, and a `seed` of its weights, 0 unless
    said; `[data]` with the `path` of a data set, the names of its `inputs` and
    `outputs`, and how many samples `num_train` and, behind them, `num_validation` are;
    and `[training]`, the settings of krylax.learned.training.Settings. A table `[grid]`
    replaces the grid of the data set, and a file of NumPy arrays, `.npz`, needs it:
    `num_points` or `coordinates`, `lengths` and `periodic`. Each `[[constraint]]` has
    the name of its `class` and its arguments; predictions satisfy all of them.

    Attributes:
        config: the TOML file.
    """

    config: conf.Positional[Path]


@dataclass(frozen=True)
class Evaluate:
    """Print the errors of a trained model on samples of a data set.

    The model is given the grid of its training, and that of the data where they have
    another number of points.

    Attributes:
        run: the folder of a training, or the file of a model.
        data: the data set, or a file of NumPy arrays.
        first: the first sample, counted from 0 among those with a solution, as training
            counts them: after num_train + num_validation, those that it has not seen.
        num_samples: how many samples, all that follow unless said.
    """

    run: conf.Positional[Path]
    data: conf.Positional[Path]
    first: int = 0
    num_samples: int | None = None


@dataclass(frozen=True)
class Predict:
    """Write the predictions of a trained model for samples of a data set.

    Attributes:
        run: the folder of a training, or the file of a model.
        data: the data set, or a file of NumPy arrays; the inputs are all that is read.
        out: the file to write, a NumPy array (samples, channels, *shape).
        first: the first sample, counted from 0 among those with a solution.
        num_samples: how many samples, all that follow unless said.
    """

    run: conf.Positional[Path]
    data: conf.Positional[Path]
    out: Path
    first: int = 0
    num_samples: int | None = None


@dataclass(frozen=True)
class Card:
    """Print what a trained model is, in Markdown.

    Attributes:
        run: the folder of a training, or the file of a model.
        data: a data set or a file of NumPy arrays, for the errors on its samples.
        first: the first sample, such as the number of those that were trained on.
        num_samples: how many samples, all that follow unless said.
    """

    run: conf.Positional[Path]
    data: Path | None = None
    first: int = 0
    num_samples: int | None = None


def train(command: Train) -> int:
    """Train as a file says, and print the errors on its validation.

    Returns:
        The exit code, 0.

    Raises:
        ValueError: the file is no such TOML, or as `training.train`.
    """
    from .learned import training
    from .operators._arguments import counted

    path = command.config
    config = _read(path)
    require_keys(config, _TABLES, path, "the file")
    model = _model(_table(config, "model", path), path)
    constraints = _constraints(config, path)
    grid = _table(config, "grid", path) if "grid" in config else None
    data, validation = examples(_table(config, "data", path), grid, path)
    settings = _settings(_table(config, "training", path), path)
    folder = config.get("folder")
    if not isinstance(folder, str):
        raise ValueError(f"{path}: folder must be the name of a folder to write")
    result = training.train(
        model,
        data,
        validation,
        settings,
        constraint=constraints,
        folder=folder,
    )
    assert result.surrogate is not None
    print(f"{folder}: {counted(len(result.history['loss']), 'step')}")
    if validation is not None:
        _print_errors(training.evaluate(result.surrogate, validation), "validation")
    return 0


def evaluate(command: Evaluate) -> int:
    """Print errors; return the exit code, 0."""
    from .learned import training

    surrogate, data = _surrogate_and_data(command)
    _print_errors(training.evaluate(surrogate, data), str(command.data))
    return 0


def predict(command: Predict) -> int:
    """Write predictions; return the exit code, 0."""
    import equinox as eqx
    import jax
    import numpy as np

    from .datasets.store._files import write_whole
    from .learned.training._checkpoint import refusals_named

    # No news for after the predictions.
    if not command.out.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {command.out.parent} to write {command.out} to"
        )
    surrogate, data = _surrogate_and_data(command)

    @eqx.filter_jit
    def predictions(surrogate: Any, grid: Any, inputs: Any) -> Any:
        size = min(16, len(inputs))
        return jax.lax.map(lambda x: surrogate(x, grid), inputs, batch_size=size)

    found = np.asarray(predictions(surrogate, data.grid, data.inputs))
    file = io.BytesIO()
    np.save(file, found, allow_pickle=False)
    with refusals_named(command.out):
        write_whole(command.out, file.getvalue())
    print(f"wrote {command.out}: {found.dtype} {found.shape}")
    return 0


def card(command: Card) -> int:
    """Print a model card; return the exit code, 0."""
    from .learned import training

    _register_models()
    errors = None
    if command.data is not None:
        of = Evaluate(command.run, command.data, command.first, command.num_samples)
        errors = training.evaluate(*_surrogate_and_data(of))
    print(training.card(command.run, errors=errors), end="")
    return 0


def _surrogate_and_data(command: Evaluate | Predict) -> tuple[Any, Any]:
    from .learned import training

    _register_models()
    surrogate = training.load(command.run)
    # Of a prediction nobody looks at the outputs, which new inputs do not have.
    is_prediction = isinstance(command, Predict)
    used = surrogate.input_names if is_prediction else surrogate.output_names
    inputs, outputs = (
        list(dict.fromkeys(name.split("[")[0] for name in each))
        for each in (surrogate.input_names, used)
    )
    if not inputs or not outputs:
        instead = "the surrogate" if is_prediction else "training.evaluate"
        raise ValueError(
            f"{command.run} was trained on data without names, so that nothing says "
            f"which arrays it is for; call {instead} in Python"
        )
    grid = surrogate.grid if command.data.suffix == ".npz" else None
    data = read(command.data, inputs, outputs, grid)
    if surrogate.grid is not None and surrogate.grid.shape == data.shape:
        # That of the training may have been another one than that of its data.
        data = on_grid(data, surrogate.grid)
    return surrogate, chosen(data, command.data, command.first, command.num_samples)


def _register_models() -> None:
    """Let files name the models of krylax, which register themselves."""
    import_module(".learned.neural_operators", __package__)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None


def _table(config: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = config.get(name)
    if not isinstance(table, dict):
        raise ValueError(f"{path} needs a table [{name}]")
    return dict(table)


def _model(table: dict[str, Any], path: Path) -> Any:
    import jax

    from .learned.training._registry import model_of

    seed = table.pop("seed", 0)
    is_integer = isinstance(seed, int) and not isinstance(seed, bool)
    if not is_integer or not -(2**63) <= seed < 2**63:
        raise ValueError(f"{path}: seed must be an integer of 64 bits, got {seed!r}")
    key = jax.random.key(seed)
    return _made(table, path, "[model]", model_of, key=key)


def _constraints(config: dict[str, Any], path: Path) -> list[Any]:
    from .learned.training._registry import constraint_of

    name = "[[constraint]]"
    tables = config.get("constraint", [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ValueError(f"{path}: constraints are tables {name}, in double brackets")
    return [_made(dict(table), path, name, constraint_of) for table in tables]


def _made(
    table: dict[str, Any],
    path: Path,
    place: str,
    class_of: Callable[[str], type],
    **more: Any,
) -> Any:
    """Return what a table describes by the name of its class and its arguments."""
    _register_models()
    name = table.pop("class", None)
    if not isinstance(name, str):
        raise ValueError(f"{path}: {place} needs the name of its class")
    for key, value in table.items():
        # Beyond them XLA ends the process.
        if _largest(value) >= 2**31:
            raise ValueError(f"{path}: {place} {key} must be below 2**31, got {value}")
    try:
        cls = class_of(name)
        known = set(inspect.signature(cls).parameters) - set(more)
        require_keys(table, known, path, f"a {name}")
        arguments = {key: _as_tuple(value) for key, value in table.items()}
        return cls(**arguments, **more)
    except TypeError as error:
        raise ValueError(f"{path}: {place} makes no {name}: {error}") from error


def _settings(table: dict[str, Any], path: Path) -> Any:
    from .learned import training

    known = {field.name for field in fields(training.Settings)} - _NOT_IN_FILES
    require_keys(table, known, path, "[training]")
    try:
        return training.Settings(**table)
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error


def _largest(value: Any) -> float:
    if isinstance(value, list):
        return max(map(_largest, value), default=0)
    return abs(value) if isinstance(value, int | float) else 0


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _print_errors(found: dict[str, Any], what: str) -> None:
    from .operators._arguments import counted

    per_sample = found["per_sample"]
    count = len(next(iter(per_sample.values())))
    print(f"{what}: {counted(count, 'sample')}")
    for name, values in per_sample.items():
        print(f"  {name:12} mean {found[name]:.4g}, worst {values.max():.4g}")
