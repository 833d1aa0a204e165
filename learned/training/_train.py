"""Training of a map of fields on examples."""

import inspect
from os import PathLike
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from ...operators._arguments import counted, require_function, require_object
from ._constraint import (
    as_constraint,
    constrained,
    recorded_constraint,
    records_of,
)
from ._data import Data
from ._fit import Result
from ._loop import State, Task, initial, on_device, run
from ._normalizer import Normalizer, is_constant, moments
from ._objective import AXIS, Objective
from ._run_folder import RunFolder
from ._settings import Settings, require_settings, total_steps
from ._state import AXES, described, fingerprint, recorded_of
from ._surrogate import Surrogate, dtype_of, shape_of


def train(
    model: Any,
    data: Data,
    validation: Data | None,
    settings: Settings,
    *,
    folder: str | PathLike[str] | None = None,
    grid: Any = None,
    constraint: Any = None,
) -> Result:
    """Train a model on examples.

    Inputs and outputs are normalised per channel by the mean and the deviation of
    `data`; the loss is one of fields in physical units. All of the data are kept on the
    device. Where there are several devices, and their number divides the batch, they
    share each batch.

    Args:
        model: (x, grid) → y, an Equinox module of normalised fields (channels, *shape),
            whose floating-point arrays are trained.
        data: the examples.
        validation: those that the best model is chosen by, of other samples or other
            trajectories; None to keep the last model.
        settings: how long, how fast and on what loss.
        folder: of this training: its state, the best model, `settings.json`,
            `metrics.jsonl` with a line per validation, and at the end `card.md` and,
            where matplotlib is installed, `curves.png`. The same call with the same
            folder goes on where it stopped, to the same result as without a stop; of
            what is done it returns the result.
        grid: that the model is given with each field, any pytree; by default that of
            the data, and where they have none the model's own.
        constraint: (fields, grid) → fields, that predictions (channels, *shape) in
            physical units go through, in the loss as in the surrogate; or several, one
            after the other, such as `(NoSlip(), DivergenceFree())`. JAX must be able to
            differentiate it, and for a folder its class must be registered.

    Returns:
        The best `model`, in normalised units; the same in physical units as
        `surrogate`; and `history`, with the loss of each step.

    Raises:
        BlockingIOError: another training is at work in the folder.
        FloatingPointError: the loss of a step or a validation is not finite. The folder
            keeps the state of the last validation before.
        FileNotFoundError: there is no folder to make the folder in.
        PermissionError: the folder cannot be written to.
        TypeError: an argument is not what its name says.
        ValueError: data that do not fit each other, the model or the settings; a folder
            of another training, or damaged.

    Examples:
        >>> import equinox as eqx, jax, numpy as np
        >>> from krylax.learned import training
        >>> class Pointwise(eqx.Module):
        ...     weight: jax.Array
        ...     def __call__(self, x, grid=None):
        ...         return self.weight * x
        >>> x = np.random.default_rng(0).standard_normal((40, 1, 8, 8))
        >>> data = training.Data(x, 3 * x + 1)
        >>> settings = training.Settings(
        ...     num_epochs=30, batch_size=8, learning_rate=0.1, progress=False
        ... )
        >>> model = Pointwise(jax.numpy.zeros(()))
        >>> result = training.train(model, data[:32], data[32:], settings)
        >>> training.evaluate(result.surrogate, data[32:])["relative_l2"] < 0.01
        True
    """
    require_settings(settings)
    require_object(model, "model")
    require_function(model, "model", "(x, grid) -> y")
    grid = data.grid if grid is None and isinstance(data, Data) else grid
    _require_fitting(data, validation, settings)
    dtype = dtype_of(model)
    constraint = as_constraint(constraint)
    if folder is not None:
        records_of(constraint)
    objective = Objective(
        Normalizer.fitted(data.inputs, dtype, "inputs"),
        Normalizer.fitted(
            data.outputs.reshape(-1, *data.outputs.shape[2:]), dtype, "outputs"
        ),
        grid,
        noise_std=_noise_std(data.inputs, dtype),
        settings=settings,
        num_examples=len(data),
        num_dimensions=len(data.shape),
        mesh=_mesh(settings),
        constraint=constraint,
    )
    for each in (data, validation):
        if each is not None:
            _require_outputs(objective, model, each)
    num_steps = total_steps(settings, objective.num_batches)

    def surrogate(model: Any) -> Surrogate:
        return _named_surrogate(objective, model, data)

    recorded = _recorded(model, data, validation, objective)

    def keep(state: State) -> None:
        if place is not None:
            is_done = int(state.num_steps) >= num_steps
            place.write(state, recorded, surrogate(on_device(state.best)), is_done)

    task = Task(
        gradient=objective,
        num_steps=num_steps,
        validate_every=int(settings.validate_every or objective.num_batches),
        fixed=(data.inputs.astype(dtype), _targets(data, settings).astype(dtype)),
        validate=None if validation is None else _Validation(objective, validation),
        num_stages=settings.num_unrolled,
        place=_placed(objective.mesh),
        keep=keep,
    )
    order = np.zeros(len(data), np.int32)
    state = initial(model, settings, task, order)
    place = None if folder is None else RunFolder(Path(folder), objective.num_batches)
    try:
        if place is not None:
            state = place.read(state, recorded)
        state = run(state, settings, task)
    finally:
        if place is not None:
            place.close()
    best = on_device(state.best)
    return Result(best, state.history, surrogate(best))


class _Validation:
    """The mean loss of examples, without noise and augmentation."""

    def __init__(self, objective: Objective, validation: Data) -> None:
        dtype = objective.input_normalizer.mean.dtype
        self.objective = objective
        self.inputs = jnp.asarray(validation.inputs.astype(dtype))
        targets = _targets(validation, objective.settings)
        self.outputs = jnp.asarray(targets.astype(dtype))

    def __call__(self, model: Any) -> float:
        losses = _losses(self.objective, model, self.inputs, self.outputs)
        return float(np.mean(np.asarray(losses, np.float64)))


@eqx.filter_jit
def _losses(
    objective: Objective, model: Any, inputs: Array, outputs: Array
) -> Float[Array, " samples"]:
    settings = objective.settings

    def one(example: Any) -> Float[Array, ""]:
        x, y = example
        return objective.validation_loss(model, x, y, settings.num_unrolled)

    size = settings.batch_size // settings.accumulate
    return jax.lax.map(one, (inputs, outputs), batch_size=min(size, len(inputs)))


def _require_fitting(data: Data, validation: Data | None, settings: Settings) -> None:
    for each, name in ((data, "data"), (validation, "validation")):
        if each is None and name == "validation":
            continue
        if not isinstance(each, Data):
            raise TypeError(
                f"{name} must be training.Data, got a {type(each).__name__}"
            )
        if each.num_targets < settings.num_unrolled:
            raise ValueError(
                f"num_unrolled is {settings.num_unrolled}, and the outputs of {name} "
                f"hold {counted(each.num_targets, 'step')} in time; make them by "
                f"Data.of_trajectories(..., num_targets={settings.num_unrolled})"
            )
    if validation is not None and validation.num_channels != data.num_channels:
        raise ValueError(
            f"validation has {validation.num_channels} channels of inputs and outputs, "
            f"data {data.num_channels}"
        )
    if len(data) < settings.batch_size:
        raise ValueError(
            f"batch_size is {settings.batch_size}, and data has "
            f"{counted(len(data), 'sample')}; "
            f"give a batch_size of at most {len(data)}"
        )
    if settings.checkpoint is not None:
        raise ValueError(
            "checkpoint is for training.fit; training.train keeps all of a training in "
            "a folder, train(..., folder=...)"
        )
    inputs, outputs = data.num_channels
    if settings.num_unrolled > 1 and inputs % outputs:
        raise ValueError(
            f"predictions of {counted(outputs, 'channel')} cannot become inputs of "
            f"{inputs}, as num_unrolled = {settings.num_unrolled} asks for"
        )


def _require_outputs(objective: Objective, model: Any, data: Data) -> None:
    dtype = objective.input_normalizer.mean.dtype
    x = jax.ShapeDtypeStruct(data.inputs.shape[1:], dtype)
    try:
        inspect.signature(model).bind(x, objective.grid)
    except TypeError as error:
        raise TypeError(
            f"model must take a field and a grid, model(x, grid=None): {error}"
        ) from error
    found = eqx.filter_eval_shape(model, x, objective.grid)
    wanted = data.outputs.shape[2:]
    if getattr(found, "shape", None) != wanted:
        raise ValueError(
            f"model returns {shape_of(found)} for inputs of shape {x.shape}, and the "
            f"outputs of data have shape {wanted}; give it as many output channels"
        )
    # With the grid as it is, so that a constraint can look at its numbers.
    jax.eval_shape(
        lambda y: constrained(objective.constraint, y, objective.grid),
        jax.ShapeDtypeStruct(wanted, dtype),
    )


def _noise_std(inputs: np.ndarray, dtype: Any) -> Float[Array, " channels"]:
    """The deviation of each channel, zero for one that is constant.

    That one is a parameter of all samples, whose size no deviation tells.
    """
    mean, std = moments(inputs)
    return jnp.asarray(np.where(is_constant(inputs, mean, std), 0, std).astype(dtype))


def _targets(data: Data, settings: Settings) -> np.ndarray:
    return data.outputs[:, : settings.num_unrolled]


def _named_surrogate(objective: Objective, model: Any, data: Data) -> Surrogate:
    return Surrogate(
        model,
        objective.input_normalizer,
        objective.output_normalizer,
        objective.grid,
        num_dimensions=objective.num_dimensions,
        input_names=data.input_names,
        output_names=data.output_names,
        settings=objective.settings,
        constraint=objective.constraint,
    )


def _recorded(
    model: Any, data: Data, validation: Data | None, objective: Objective
) -> dict[str, Any]:
    """What decides the result, in words and sums."""
    grid = objective.grid
    more: dict[str, Any] = {"data": _summary(data), "grid": fingerprint(grid)}
    if grid is not None:
        more[AXES] = described(grid)
    more["validation"] = None if validation is None else _summary(validation)
    if objective.constraint is not None:
        more["constraint"] = recorded_constraint(objective.constraint)
    return recorded_of(model, objective.settings, more)


def _summary(data: Data) -> dict[str, Any]:
    return {
        "inputs": str(data.inputs.shape),
        "outputs": str(data.outputs.shape),
        "sha256": fingerprint((data.inputs, data.outputs)),
    }


def _mesh(settings: Settings) -> Mesh | None:
    """All devices, where they can share a batch."""
    devices = jax.devices()
    part = settings.batch_size // settings.accumulate
    if len(devices) == 1 or part % len(devices):
        return None
    return Mesh(np.array(devices), (AXIS,))


def _placed(mesh: Mesh | None) -> Any:
    if mesh is None:
        return jnp.asarray
    everywhere = NamedSharding(mesh, PartitionSpec())
    return lambda array: jax.device_put(array, everywhere)
