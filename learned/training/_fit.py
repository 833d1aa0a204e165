"""The training loop: Adam, checkpoints, and the choice of the best model.

D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015.
"""

import functools
import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from ...datasets.generation._progress import Progress, progress
from ...operators._arguments import shown
from ._checkpoint import read_arrays, write_arrays
from ._settings import Settings, require_settings

KIND = "training"
VERSION = 1
LAST_RATE = 0.01
"""Of the learning rate at the start, where it falls as a cosine."""

LossFunction = Callable[[Any, Any, Key[Array, ""]], tuple[Float[Array, ""], Any]]


class Result(eqx.Module):
    """A trained model.

    Attributes:
        model: the one of the best validation, the last one without validations.
        history: arrays by name: `loss` of each step; `validated`, after which steps
            `validation` was measured, and `seconds` of training until then.
    """

    model: Any
    history: dict[str, np.ndarray]


class _State(eqx.Module):
    """All that the rest of a training depends on."""

    model: Any
    moments: PyTree
    data: PyTree
    best: Any
    num_steps: Int[np.ndarray, ""]
    loss: Float[np.ndarray, " steps"]
    validated: Int[np.ndarray, " validations"]
    validation: Float[np.ndarray, " validations"]
    seconds: Float[np.ndarray, " validations"]


def fit(
    model: Any,
    loss: LossFunction,
    settings: Settings,
    *,
    data: PyTree = None,
    validate: Callable[[Any], float] | None = None,
    configuration: dict[str, Any] | None = None,
) -> Result:
    """Train a model.

    Args:
        model: an Equinox module whose floating-point arrays are trained.
        loss: (model, data, key) -> the loss of one batch, and the data for the next.
        settings: how long, how fast, and where the state is kept.
        data: what the loss needs besides the model, arrays that may change from step
            to step, such as the examples themselves.
        validate: what is to be small for a model, measured every `validate_every`
            steps and at the end. By default the mean loss since the last time.
        configuration: what makes a checkpoint that of another training, besides the
            model and the settings; JSON.

    Raises:
        FloatingPointError: the loss of a step is not finite.
        TypeError: settings is something else.
        ValueError: the checkpoint is damaged, or that of another training.
    """
    require_settings(settings)
    optimizer = _optimizer(settings)
    state = _start(model, optimizer, data)
    recorded = _recorded(model, settings, configuration)
    if settings.checkpoint is not None and Path(settings.checkpoint).exists():
        state = _read(settings.checkpoint, state, recorded)
    if settings.checkpoint is not None and state.num_steps < settings.num_steps:
        # A place that cannot be written to is no news for after an hour.
        _write(settings.checkpoint, state, recorded)
    step = functools.partial(eqx.filter_jit(_step), loss, optimizer)
    key = jax.random.key(settings.seed)
    display = progress(
        settings.num_steps, int(state.num_steps), settings.progress, "steps", "trained"
    )
    while state.num_steps < settings.num_steps:
        begin = time.monotonic()
        end = min(int(state.num_steps) + settings.validate_every, settings.num_steps)
        state = _trained(state, end, step, key, display)
        elapsed = time.monotonic() - begin
        state = _validated(state, validate, elapsed)
        if settings.checkpoint is not None:
            _write(settings.checkpoint, state, recorded)
    display.close()
    history = {
        "loss": state.loss,
        "validated": state.validated,
        "validation": state.validation,
        "seconds": state.seconds,
    }
    return Result(state.best, history)


def _optimizer(settings: Settings) -> optax.GradientTransformation:
    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        rate = optax.cosine_decay_schedule(rate, settings.num_steps, LAST_RATE)
    clip = optax.clip_by_global_norm(settings.max_norm)
    return optax.chain(clip, optax.adam(rate))


def _step(
    loss: LossFunction,
    optimizer: optax.GradientTransformation,
    model: Any,
    moments: PyTree,
    data: PyTree,
    key: Key[Array, ""],
) -> tuple[Float[Array, ""], Any, PyTree, PyTree]:
    """The loss before a step of Adam, and what is behind it."""
    value_and_gradient = eqx.filter_value_and_grad(loss, has_aux=True)
    (value, data), gradient = value_and_gradient(model, data, key)
    # Optax raises decays to powers of integers, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        updates, moments = optimizer.update(gradient, moments)
    return value, eqx.apply_updates(model, updates), moments, data


def _start(model: Any, optimizer: Any, data: PyTree) -> _State:
    none = np.zeros(0)
    moments = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
    return _State(
        model=model,
        moments=moments,
        data=data,
        best=model,
        num_steps=np.zeros((), np.int64),
        loss=none,
        validated=np.zeros(0, np.int64),
        validation=none,
        seconds=none,
    )


def _trained(
    state: _State,
    end: int,
    step: Callable[..., Any],
    key: Key[Array, ""],
    display: Progress,
) -> _State:
    """The state after more steps."""
    model, moments, data, losses = state.model, state.moments, state.data, []
    for i in range(int(state.num_steps), end):
        step_key = jax.random.fold_in(key, i)
        value, model, moments, data = step(model, moments, data, step_key)
        losses.append(float(value))
        if not np.isfinite(losses[-1]):
            raise FloatingPointError(
                f"the loss of step {i + 1} is {losses[-1]:g}; train with a smaller "
                "learning_rate or max_norm"
            )
        display.update(1)
    return replace(
        state,
        model=model,
        moments=moments,
        data=data,
        num_steps=np.asarray(end, np.int64),
        loss=np.append(state.loss, losses),
    )


def _validated(
    state: _State, validate: Callable[[Any], float] | None, elapsed: float
) -> _State:
    """The state with one more validation."""
    end = int(state.num_steps)
    if validate is None:
        last = state.validated[-1] if len(state.validated) else 0
        measured = float(np.mean(state.loss[last:]))
    else:
        measured = float(validate(state.model))
    is_best = measured < np.nanmin(np.append(state.validation, np.inf))
    before = state.seconds[-1] if len(state.seconds) else 0.0
    return replace(
        state,
        best=state.model if is_best else state.best,
        validated=np.append(state.validated, end),
        validation=np.append(state.validation, measured),
        seconds=np.append(state.seconds, before + elapsed),
    )


def _recorded(
    model: Any, settings: Settings, more: dict[str, Any] | None
) -> dict[str, Any]:
    """What decides the result of a training, as JSON gives it back."""
    decisive = asdict(settings)
    for name in ("checkpoint", "progress"):
        decisive.pop(name)
    start = {"model": _described(model), "weights at the start": _fingerprint(model)}
    recorded = {"settings": decisive, **start, **(more or {})}
    return json.loads(json.dumps(recorded, default=np.generic.item))


def _described(model: Any) -> list[str]:
    """All of a model but its arrays, a part on each line."""
    static = eqx.filter(model, eqx.is_array, inverse=True)
    # Where something lies in the memory says nothing of it.
    text = re.sub(" at 0x[0-9a-f]+", "", eqx.tree_pformat(static, width=1))
    return [line.strip(" ,") for line in text.splitlines()]


def _fingerprint(model: Any) -> str:
    """The SHA-256 of the arrays of a model."""
    digest = hashlib.sha256()
    for array in jax.tree.leaves(eqx.filter(model, eqx.is_array)):
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


def _write(path: Any, state: _State, recorded: dict[str, Any]) -> None:
    leaves, _ = _named(state)
    write_arrays(path, KIND, VERSION, recorded, leaves)


def _read(path: Any, state: _State, recorded: dict[str, Any]) -> _State:
    found = read_arrays(path, KIND, VERSION)
    expected, treedef = _named(state)
    changes = _changes(found.configuration, recorded)
    if names := sorted(found.arrays.keys() ^ expected.keys()):
        changes.append(f"it and this one differ in the arrays {shown(names)}")
    if changes:
        raise ValueError(
            f"{path} is the state of another training: {', '.join(changes)}; continue "
            "that one with its settings, or give another file"
        )
    histories = {".loss", ".validated", ".validation", ".seconds"}
    for name, leaf in expected.items():
        other = found.arrays[name]
        is_history = name in histories and other.ndim == 1
        is_same = other.shape == leaf.shape or is_history
        if not is_same or other.dtype != leaf.dtype:
            raise ValueError(
                f"{path} holds {name} of shape {other.shape} and dtype "
                f"{other.dtype.name}, expected {leaf.shape} and {leaf.dtype.name}; "
                "give another file"
            )
    leaves = [
        found.arrays[name]
        if isinstance(leaf, np.ndarray)
        else jnp.asarray(found.arrays[name])
        for name, leaf in expected.items()
    ]
    arrays = jax.tree.unflatten(treedef, leaves)
    return eqx.combine(arrays, eqx.filter(state, eqx.is_array, inverse=True))


def _changes(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """What differs, and of lists and tables the entries that differ."""
    changes = []
    for name in sorted(theirs.keys() | ours.keys()):
        a, b = theirs.get(name), ours.get(name)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            changes += [f"{name} {change}" for change in _changes(a, b)]
            continue
        if isinstance(a, list) and isinstance(b, list):
            alone = [x for x in a if x not in b], [x for x in b if x not in a]
            a, b = alone if any(alone) else (a, b)
        changes.append(f"{name} {a}, here {b}")
    return changes


def _named(state: _State) -> tuple[dict[str, Any], Any]:
    """The arrays of a state by name, and the tree that they are leaves of."""
    arrays = eqx.filter(state, eqx.is_array)
    leaves, treedef = jax.tree.flatten_with_path(arrays)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}, treedef
