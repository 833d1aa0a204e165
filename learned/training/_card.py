"""The model card: what a trained model is, for someone who finds only its file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.store._card import table
from ...operators._arguments import counted
from ._called_like_a_model import called, name_of_model
from ._constraint import as_sequence
from ._grid import Grid
from ._normalizer import Normalizer
from ._parameters import num_parameters
from ._registry import recorded
from ._settings import Settings
from ._state import name_of
from ._surrogate import Surrogate, dtype_of
from ._surrogate_file import Unavailable, load

CARD = "card.md"
SETTINGS = "settings.json"
METRICS = "metrics.jsonl"
"""In the folder of a training."""

_PACKAGES = ("krylax", "jax", "equinox", "optax", "numpy")
_NOT_SHOWN = ("checkpoint", "progress", "loss")


def card(
    source: Surrogate | str | PathLike[str],
    *,
    errors: Mapping[str, Any] | None = None,
    like: Any = None,
) -> str:
    """Return what a trained model is, in Markdown.

    Its class, arguments and size, the channels and the grid, the settings of the
    training, errors, and limits; of a folder also the data, steps and seconds of the
    training. `train` writes it into its folder as `card.md`, without errors.

    Args:
        source: a surrogate, the file of one, or the folder of a training.
        errors: of data that it was not trained on, as `evaluate` returns them.
        like: as for `load`.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: errors are something else; a file is damaged, or as `load`.

    Examples:
        >>> import jax, numpy as np
        >>> from krylax.learned import neural_operators as no, training
        >>> x = np.random.default_rng(0).random((8, 1, 8))
        >>> model = no.FNO(1, 1, 1, num_modes=2, width=4, key=jax.random.key(0))
        >>> settings = training.Settings(num_steps=1, batch_size=4, progress=False)
        >>> result = training.train(model, training.Data(x, 2 * x), None, settings)
        >>> print(training.card(result.surrogate).splitlines()[0])
        # FNO: 1 channel to 1 channel
    """
    if errors is not None and "per_sample" not in errors:
        raise ValueError(
            "errors must be the table that training.evaluate returns, got one without "
            "per_sample"
        )
    if isinstance(source, Surrogate):
        return card_text(source, errors=errors)
    surrogate, folder = load(source, like=like), Path(source)
    if not (folder / SETTINGS).is_file() or not (folder / METRICS).is_file():
        return card_text(surrogate, errors=errors)
    try:
        run = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
        return card_text(surrogate, run, list(map(json.loads, lines)), errors)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
    ) as error:
        raise ValueError(
            f"{SETTINGS} or {METRICS} in {folder} is damaged: {error}; give the file "
            "of the model alone"
        ) from error


def card_text(
    surrogate: Surrogate,
    run: Mapping[str, Any] | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    errors: Mapping[str, Any] | None = None,
) -> str:
    """Return the card of a surrogate.

    Args:
        surrogate: that it is of.
        run: what the folder of its training records.
        metrics: of each of the validations of the training.
        errors: as for `card`.
    """
    model = surrogate.model
    sides = [
        _names(names, normalizer)
        for names, normalizer in (
            (surrogate.input_names, surrogate.input_normalizer),
            (surrogate.output_names, surrogate.output_normalizer),
        )
    ]
    noun = "parameter" if num_parameters(model) == 1 else "parameters"
    lines = [
        f"# {name_of_model(model)}: {sides[0]} to {sides[1]}",
        "",
        f"{num_parameters(model):,} {noun} in {dtype_of(model).name}"
        + (", trained by `krylax.learned.training`." if surrogate.settings else "."),
        "",
        *table(_model_rows(surrogate)),
        "",
        "## Training",
        "",
        *table([*_run_rows(run, metrics), *_settings_rows(surrogate.settings)]),
        "",
        "## Errors",
        "",
        *_errors(errors),
        "",
        "## Limits",
        "",
        *_limits(surrogate, metrics),
        "",
        "This card was written with "
        + ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
        + ".",
    ]
    return "\n".join(lines) + "\n"


def _model_rows(surrogate: Surrogate) -> list[tuple[str, str]]:
    constraints = list(map(_made, as_sequence(surrogate.constraint)))
    rows = [
        ("Model", _made(called(surrogate.model))),
        (
            "Inputs, mean ± deviation",
            _channels(surrogate.input_names, surrogate.input_normalizer),
        ),
        (
            "Outputs, mean ± deviation",
            _channels(surrogate.output_names, surrogate.output_normalizer),
        ),
        ("Grid", _grid(surrogate)),
    ]
    if constraints:
        rows.append(("Constraint of the predictions", ", then ".join(constraints)))
    return rows


def _made(instance: Any) -> str:
    """How an object is made again."""
    record = recorded(instance)
    if record is None:
        name = name_of(instance).rpartition(".")[2]
        return f"`{name}`, of arguments that no file keeps"
    arguments = {key: repr(value) for key, value in record["arguments"].items()}
    return f"`{record['class']}({_listed(arguments)})`"


def _run_rows(
    run: Mapping[str, Any] | None, metrics: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    if run is None or not metrics:
        return []
    data, validation = run["data"], run["validation"]
    rows = [
        ("Shape of the inputs, samples first", data["inputs"]),
        ("Shape of the outputs", data["outputs"]),
        ("SHA-256 of the data", f"`{data['sha256']}`"),
        ("Inputs of the validation", validation["inputs"] if validation else "none"),
        ("Steps", str(metrics[-1]["step"])),
        ("Time, validations apart", f"{metrics[-1]['seconds']:.3g} s"),
    ]
    if validation:
        best = min(metrics, key=lambda line: line["validation"])
        found = f"{best['validation']:.4g}, after step {best['step']}"
        rows.append(("Best loss of the validation", found))
    return rows


def _settings_rows(settings: Settings | None) -> list[tuple[str, str]]:
    if settings is None:
        return [("Settings", "not known")]
    changed = {
        field.name: _setting(getattr(settings, field.name))
        for field in fields(settings)
        if field.name not in _NOT_SHOWN
        and getattr(settings, field.name) != field.default
    }
    return [
        ("Loss", _setting(settings.loss).strip("'")),
        ("Settings that are not the default", f"`{_listed(changed)}`"),
    ]


def _errors(errors: Mapping[str, Any] | None) -> list[str]:
    if errors is None:
        return ["None are given: `training.card(..., errors=training.evaluate(...))`."]
    per_sample = errors["per_sample"]
    rows = ["| | mean | median | worst |", "|---|--:|--:|--:|"]
    for name, values in per_sample.items():
        found = (np.mean(values), np.median(values), np.max(values))
        rows.append(f"| {name} | " + " | ".join(f"{x:.4g}" for x in found) + " |")
    count = len(next(iter(per_sample.values())))
    return [f"Over {counted(count, 'sample')}, in physical units.", "", *rows]


def _limits(surrogate: Surrogate, metrics: Sequence[Any]) -> list[str]:
    limits = [
        "Nothing is known of inputs of another distribution than that of the training, "
        "or of other grids, until `training.evaluate` has measured it.",
        "Nothing certifies a prediction. As the start of a solve of a linear system, "
        "`solve(A, b, x0=surrogate.start(parameters))`, it leads to a result that is.",
    ]
    if len(metrics) > 1:
        limits.append(
            f"The best of {len(metrics)} validations chose the model, so that its loss "
            "there is a little too good."
        )
    settings = surrogate.settings
    if settings is not None and (callable(settings.loss) or callable(settings.augment)):
        limits.append("Functions among the settings are named here and kept nowhere.")
    return [f"- {limit}" for limit in limits]


def _names(names: Sequence[str], normalizer: Normalizer) -> str:
    return ", ".join(names) or counted(normalizer.mean.shape[0], "channel")


def _channels(names: Sequence[str], normalizer: Normalizer) -> str:
    means, deviations = (np.asarray(a) for a in (normalizer.mean, normalizer.std))
    names = names or [f"channel {i}" for i in range(len(means))]
    if np.all(means == 0) and np.all(deviations == 1):
        return f"{', '.join(names)}, not normalised"
    return ", ".join(
        f"{name} {mean:.3g} ± {deviation:.3g}"
        for name, mean, deviation in zip(names, means, deviations, strict=True)
    )


def _grid(surrogate: Surrogate) -> str:
    grid, axes = surrogate.grid, counted(surrogate.num_dimensions, "axis", "axes")
    if grid is None:
        return f"none given, {axes}; that of the model"
    if not isinstance(grid, Grid):
        return f"a `{type(grid).__name__}`, {axes}"
    described = [
        f"{len(x)} points from {float(x[0]):.3g} to {float(x[-1]):.3g}"
        + (f" of the period {float(length):.3g}" if is_periodic else "")
        for x, is_periodic, length in zip(
            grid.coordinates, grid.periodic, grid.lengths, strict=True
        )
    ]
    return "; ".join(described)


def _listed(arguments: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments.items())


def _setting(value: Any) -> str:
    if isinstance(value, Unavailable):
        return value.name
    return name_of(value) if callable(value) else repr(value)
