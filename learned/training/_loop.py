"""The loop of all trainings: compiled steps, validations, the best model.

A step is a compiled program that updates the weights, the moments and what the data
carry from step to step in place. It is called as often as takes about a second before
its losses are looked at, so that the next one is asked for while one is computed.

The steps are no loop of XLA: on CPUs (0.10.2) gradients of convolutions take 8 to 16
times as long within one, and a step of a U-Net 17 times.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from ...datasets.generation._progress import progress
from ._optimizer import averaged, begin, update
from ._settings import Settings

MAX_CHUNK = 1024
"""Steps whose losses are looked at together."""

SECONDS = 1.0
"""That a chunk is to take, so that it can be interrupted and progress is seen."""


class State(eqx.Module):
    """All that the rest of a training depends on.

    Attributes:
        model: with the weights after `num_steps` steps.
        moments: of the optimiser.
        average: the model of the mean weights, None without.
        data: what the loss of a step hands to the next.
        best: the model of the best validation, or without one the last, on the host.
        num_steps: that were made.
        loss: of each of them.
        validated: after which steps `validation` was measured, and `seconds` of
            training until then.
    """

    model: Any
    moments: PyTree
    average: Any
    data: PyTree
    best: Any
    num_steps: Int[np.ndarray, ""]
    loss: Float[np.ndarray, " steps"]
    validated: Int[np.ndarray, " validations"]
    validation: Float[np.ndarray, " validations"]
    seconds: Float[np.ndarray, " validations"]

    @property
    def history(self) -> dict[str, np.ndarray]:
        """What was measured, by name."""
        names = ("loss", "validated", "validation", "seconds")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Task:
    """What is trained on, beside the settings.

    Attributes:
        gradient: (model, data, fixed, step, key, stage) → the loss of the step, its
            gradient, and the data for the next step.
        num_steps: in all.
        validate_every: steps between validations.
        fixed: arrays that no step changes.
        validate: what is to be small for a model; None for the loss of training.
        num_stages: equal parts of the training, 1, 2, ..., of which `gradient` is told.
        place: puts arrays where they are computed with.
        keep: called with the state at the start and after each validation.
    """

    gradient: Callable[..., Any]
    num_steps: int
    validate_every: int
    fixed: PyTree = None
    validate: Callable[[Any], float] | None = None
    num_stages: int = 1
    place: Callable[[Any], Any] = jnp.asarray
    keep: Callable[[State], None] | None = None

    def stage(self, step: int) -> int:
        """The part of the training that a step is in, from 1."""
        return 1 + step * self.num_stages // self.num_steps

    def end_of_chunk(self, step: int) -> int:
        """The next step at which something else happens than a step."""
        validation = (step // self.validate_every + 1) * self.validate_every
        stage = -(-self.stage(step) * self.num_steps // self.num_stages)
        return min(validation, stage, self.num_steps)

    def is_validated(self, step: int) -> bool:
        """Whether the model is measured after so many steps."""
        return step % self.validate_every == 0 or step == self.num_steps


def initial(model: Any, settings: Settings, task: Task, data: PyTree) -> State:
    """Return the state before the first step, which shares no array with the model."""
    none = np.zeros(0)
    model = on_host(model)
    return State(
        model=model,
        moments=begin(settings, task.num_steps, model),
        average=None if settings.ema is None else on_host(model),
        data=on_host(data),
        best=on_host(model),
        num_steps=np.zeros((), np.int64),
        loss=none,
        validated=np.zeros(0, np.int64),
        validation=none,
        seconds=none,
    )


def run(state: State, settings: Settings, task: Task) -> State:
    """Return the state at the end of a training.

    Raises:
        FloatingPointError: the loss of a step or a validation is not finite.
    """
    if state.num_steps < task.num_steps and task.keep is not None:
        # A place that cannot be written to is no news for after an hour.
        task.keep(state)
    display = progress(
        task.num_steps, int(state.num_steps), settings.progress, "steps", "trained"
    )
    state = _placed(state, task.place)
    fixed = jax.tree.map(task.place, task.fixed)
    seconds, size = 0.0, 1
    while state.num_steps < task.num_steps:
        start = time.monotonic()
        first = int(state.num_steps)
        end = min(task.end_of_chunk(first), first + size)
        state = _trained(state, end, settings, task, fixed)
        elapsed = time.monotonic() - start
        display.update(end - first)
        seconds += elapsed
        if task.is_validated(end):
            state, seconds = _validated(state, task.validate, seconds), 0.0
            if task.keep is not None:
                task.keep(state)
        size = _next_size(end - first, elapsed)
    display.close()
    return state


def _next_size(size: int, elapsed: float) -> int:
    """Steps of the next chunk: those of about a second, at most twice as many."""
    fitting = int(size * SECONDS / max(elapsed, 1e-9))
    return max(1, min(fitting, 2 * size, MAX_CHUNK))


def on_host(tree: Any) -> Any:
    """Return copies of the arrays of a tree, which no program overwrites."""
    return jax.tree.map(lambda a: np.array(a) if eqx.is_array(a) else a, tree)


def on_device(tree: Any) -> Any:
    """Return the arrays of a tree as those of JAX."""
    return jax.tree.map(lambda a: jnp.asarray(a) if eqx.is_array(a) else a, tree)


def _placed(state: State, place: Callable[[Any], Any]) -> State:
    names = ("model", "moments", "average", "data")
    return replace(
        state,
        **{
            name: jax.tree.map(
                lambda a: place(a) if eqx.is_array(a) else a, getattr(state, name)
            )
            for name in names
        },
    )


def _trained(
    state: State, end: int, settings: Settings, task: Task, fixed: PyTree
) -> State:
    """The state after more steps."""
    first = int(state.num_steps)
    key = jax.random.key(settings.seed)
    # What does not decide a step would be another program.
    same = replace(settings, seed=0, checkpoint=None, progress=False)
    stage = task.stage(first)
    constant = (task.gradient, same, task.num_steps, stage, fixed, key)
    live = (state.model, state.moments, state.average, state.data)
    parts = _Parts((constant, live))
    fixed_arrays, live_arrays = map(parts.arrays_of, (constant, live))
    found = []
    for i in range(first, end):
        step = np.asarray(i, np.int32)
        loss, live_arrays = _stepped(parts, fixed_arrays, step, live_arrays)
        found.append(loss)
    _, (model, moments, average, data) = parts.joined(fixed_arrays, live_arrays)
    losses = np.asarray(jax.device_get(found), np.float64)
    if not np.all(np.isfinite(losses)):
        i = int(np.argmin(np.isfinite(losses)))
        raise FloatingPointError(
            f"the loss of step {first + i + 1} is {losses[i]:g}; {_advice(state.model)}"
        )
    return replace(
        state,
        model=model,
        moments=moments,
        average=average,
        data=data,
        num_steps=np.asarray(end, np.int64),
        loss=np.append(state.loss, losses),
    )


class _Parts:
    """A pair of pytrees without their arrays, which are lists beside it.

    With lists a step of a small `FNO` takes 1.6 ms, with the modules, whose settings
    are compared in each call, 4.7.
    """

    def __init__(self, pair: tuple[Any, Any]) -> None:
        arrays, rest = eqx.partition(pair, eqx.is_array)
        self._structures = tuple(map(jax.tree.structure, arrays))
        leaves, structure = jax.tree.flatten(rest)
        self._rest = (structure, tuple(leaves))
        self._hash = hash((self._structures, self._rest))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, _Parts):
            return False
        return (self._structures, self._rest) == (other._structures, other._rest)

    @staticmethod
    def arrays_of(tree: Any) -> list[Any]:
        """Return the arrays of one of the pair."""
        return jax.tree.leaves(eqx.filter(tree, eqx.is_array))

    def joined(self, *arrays: list[Any]) -> tuple[Any, Any]:
        """Return the pair with these arrays."""
        structure, leaves = self._rest
        trees = tuple(map(jax.tree.unflatten, self._structures, arrays))
        return eqx.combine(trees, jax.tree.unflatten(structure, leaves))


@partial(jax.jit, static_argnums=0, donate_argnums=3)
def _stepped(
    parts: _Parts, fixed_arrays: list[Any], i: Int[Array, ""], live_arrays: list[Any]
) -> tuple[Float[Array, ""], list[Any]]:
    """The loss of a step, and what is behind it."""
    (gradient, settings, num_steps, stage, fixed, key), live = parts.joined(
        fixed_arrays, live_arrays
    )
    model, moments, average, data = live
    value, slope, data = gradient(model, data, fixed, i, key, stage)
    model, moments = update(settings, num_steps, model, moments, slope)
    if average is not None:
        average = averaged(average, model, i, settings.ema)
    return value, parts.arrays_of((model, moments, average, data))


def _validated(
    state: State, validate: Callable[[Any], float] | None, elapsed: float
) -> State:
    """The state with one more validation."""
    end = int(state.num_steps)
    model = on_host(state.model if state.average is None else state.average)
    if validate is None:
        last = state.validated[-1] if len(state.validated) else 0
        measured = float(np.mean(state.loss[last:]))
    else:
        try:
            measured = float(validate(on_device(model)))
        except FloatingPointError as error:
            raise FloatingPointError(f"after step {end}, {error}") from error
        if not np.isfinite(measured):
            raise FloatingPointError(
                f"after step {end}, the validation is {measured:g}; {_advice(model)}"
            )
    # Losses of a training are no reason to stop early: those of later steps may be of
    # harder tasks, such as more steps in time.
    is_best = validate is None or measured < np.min(state.validation, initial=np.inf)
    before = state.seconds[-1] if len(state.seconds) else 0.0
    return replace(
        state,
        best=model if is_best else state.best,
        validated=np.append(state.validated, end),
        validation=np.append(state.validation, measured),
        seconds=np.append(state.seconds, before + elapsed),
    )


def _advice(model: Any) -> str:
    """What to do about a loss that is not finite."""
    advice = "train with a smaller learning_rate or max_norm"
    # Of the implicit models, None where they iterate.
    if getattr(model, "rtol", None) is None:
        return advice
    return (
        f"{advice}, or, as the model is NaN where it finds no equilibrium, with a "
        "larger tolerance `equilibrium`; model.equilibrium(x, grid) says how "
        "far a model comes"
    )


def step_key(key: Key[Array, ""], step: Int[Array, ""]) -> Key[Array, ""]:
    """Return the key of the random numbers of a step."""
    return jax.random.fold_in(key, step)
