"""The commands `train`, `evaluate`, `predict` and `card`, of learned maps of fields."""

import difflib
import inspect
import io
import tomllib
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from tyro import conf

_DATA = {"path", "inputs", "outputs", "num_train", "num_validation"}
_NOT_IN_FILES = {"checkpoint"}


@dataclass(frozen=True)
class Train:
    """Train a model on a data set, or continue an interrupted training.

    The file has a `folder` to write and three tables: `[model]` with the name of its
    `class`, the arguments of its constructor, and a `seed` of its weights, 0 unless
    said; `[data]` with the `path` of a data set, the names of its `inputs` and
    `outputs`, and how many samples `num_train` and, behind them, `num_validation` are;
    and `[training]`, the settings of krylax.learned.training.Settings.

    Attributes:
        config: the TOML file.
    """

    config: conf.Positional[Path]


@dataclass(frozen=True)
class Evaluate:
    """Print the errors of a trained model on samples of a data set.

    Attributes:
        run: the folder of a training, or the file of a model.
        data: the data set.
        first: the first sample, such as the number of those that were trained on.
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
        data: the data set.
        out: the file to write, a NumPy array (samples, channels, *shape).
        first: the first sample.
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
        data: a data set, for the errors on its samples; none unless said.
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

    path = command.config
    config = _read(path)
    _require_keys(config, {"folder", "model", "data", "training"}, path, "the file")
    model = _model(_table(config, "model", path), path)
    data, validation = _examples(_table(config, "data", path), path)
    settings = _settings(_table(config, "training", path), path)
    folder = config.get("folder")
    if not isinstance(folder, str):
        raise ValueError(f"{path}: folder must be the name of a folder to write")
    result = training.train(model, data, validation, settings, folder=folder)
    assert result.surrogate is not None
    print(f"{folder}: {len(result.history['loss'])} steps")
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

    surrogate, data = _surrogate_and_data(command)

    @eqx.filter_jit
    def predictions(surrogate: Any, inputs: Any) -> Any:
        return jax.lax.map(surrogate, inputs, batch_size=min(16, len(inputs)))

    found = np.asarray(predictions(surrogate, data.inputs))
    file = io.BytesIO()
    np.save(file, found, allow_pickle=False)
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
    names = [
        list(dict.fromkeys(name.split("[")[0] for name in each))
        for each in (surrogate.input_names, surrogate.output_names)
    ]
    if not all(names):
        raise ValueError(
            f"{command.run} was trained on data without names, so that nothing says "
            "which arrays it is for; use krylax.learned.training.evaluate"
        )
    data = training.from_dataset(command.data, inputs=names[0], outputs=names[1])
    count = len(data) if command.num_samples is None else command.num_samples
    if command.first < 0 or count < 1 or command.first >= len(data):
        raise ValueError(
            f"{command.data} has the samples 0 to {len(data) - 1} with a solution, "
            f"none from {command.first} on by {count}"
        )
    return surrogate, data[command.first : command.first + count]


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

    from .learned.training._registry import class_of

    _register_models()
    name, seed = table.pop("class", None), table.pop("seed", 0)
    if not isinstance(name, str):
        raise ValueError(f"{path}: [model] needs the name of its class")
    try:
        cls = class_of(name)
        known = set(inspect.signature(cls).parameters) - {"key"}
        _require_keys(table, known, path, f"a {name}")
        arguments = {key: _as_tuple(value) for key, value in table.items()}
        return cls(**arguments, key=jax.random.key(seed))
    except TypeError as error:
        raise ValueError(f"{path}: [model] makes no {name}: {error}") from error


def _examples(table: dict[str, Any], path: Path) -> tuple[Any, Any]:
    from .learned import training

    _require_keys(table, _DATA, path, "[data]")
    missing = [name for name in ("path", "inputs", "outputs") if name not in table]
    if missing:
        raise ValueError(f"{path}: [data] needs {missing[0]}")
    data = training.from_dataset(
        table["path"], inputs=table["inputs"], outputs=table["outputs"]
    )
    num_validation = table.get("num_validation", 0)
    num_train = table.get("num_train", len(data) - num_validation)
    for name, count in (("num_train", num_train), ("num_validation", num_validation)):
        if not isinstance(count, int):
            raise ValueError(f"{path}: {name} must be an integer, got {count!r}")
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


def _settings(table: dict[str, Any], path: Path) -> Any:
    from .learned import training

    known = {field.name for field in fields(training.Settings)} - _NOT_IN_FILES
    _require_keys(table, known, path, "[training]")
    return training.Settings(**table)


def _require_keys(
    table: dict[str, Any], known: set[str], path: Path, owner: str
) -> None:
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, sorted(known), n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{path}: unknown key {key!r} for {owner}{hint}")


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _print_errors(found: dict[str, Any], what: str) -> None:
    per_sample = found["per_sample"]
    count = len(next(iter(per_sample.values())))
    print(f"{what}: {count} samples")
    for name, values in per_sample.items():
        print(f"  {name:12} mean {found[name]:.4g}, worst {values.max():.4g}")
