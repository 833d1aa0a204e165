"""Training on examples that are drawn as it goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from ._loop import Task, initial, on_device, run, step_key
from ._settings import Settings, require_steps
from ._state import read_state, recorded_of, write_state
from ._surrogate import Surrogate

VALIDATE_EVERY = 250
"""Steps between validations, unless said."""

LossFunction = Callable[[Any, Any, Key[Array, ""]], tuple[Float[Array, ""], Any]]


class Result(eqx.Module):
    """A trained model.

    Attributes:
        model: the model of the best validation, or the last one without validation.
        history: arrays by name: `loss` of each step; `validated`, after which steps
            `validation` was measured, and `seconds` of training until then.
        surrogate: the model in physical units, of `train` alone.
    """

    model: Any
    history: dict[str, np.ndarray]
    surrogate: Surrogate | None = None


def fit(
    model: Any,
    loss: LossFunction,
    settings: Settings,
    *,
    data: PyTree = None,
    validate: Callable[[Any], float] | None = None,
    configuration: dict[str, Any] | None = None,
) -> Result:
    """Train a model on a loss that draws its own examples.

    Args:
        model: an Equinox module whose floating-point arrays are trained.
        loss: (model, data, key) -> the loss of one batch, and the data for the next.
        settings: how long, how fast, and where the state is kept.
        data: arrays that the loss needs besides the model and may change from step to
            step, such as the examples themselves.
        validate: model -> the number to minimise, computed every `validate_every` steps
            and at the end. By default it is the mean loss since the last time.
        configuration: what identifies the training besides the model and the settings,
            as JSON; a checkpoint of another configuration is refused.

    Raises:
        FloatingPointError: the loss of a step or a validation is not finite. The
            checkpoint keeps the state of the last validation before.
        TypeError: settings are not `Settings`.
        ValueError: the checkpoint is damaged or belongs to another training, or a
            setting is for `train` alone.
    """
    num_steps = require_steps(settings)
    recorded = recorded_of(model, settings, configuration)
    place = settings.checkpoint
    task = Task(
        gradient=_Gradient(loss),
        num_steps=num_steps,
        validate_every=int(settings.validate_every or VALIDATE_EVERY),
        validate=validate,
        keep=None if place is None else lambda s: write_state(place, s, recorded),
    )
    state = initial(model, settings, task, data)
    if place is not None and Path(place).exists():
        state = read_state(place, state, recorded)
    state = run(state, settings, task)
    return Result(on_device(state.best), state.history)


class _Gradient(eqx.Module):
    """What a step makes small."""

    loss: LossFunction = eqx.field(static=True)

    def __call__(
        self,
        model: Any,
        data: PyTree,
        fixed: PyTree,
        step: Int[Array, ""],
        key: Key[Array, ""],
        stage: int,
    ) -> tuple[Float[Array, ""], Any, PyTree]:
        del fixed, stage
        slope = eqx.filter_value_and_grad(self.loss, has_aux=True)
        (value, data), gradient = slope(model, data, step_key(key, step))
        return value, gradient, data
