"""How long to train, how fast, on what loss, and where the state is kept."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from os import PathLike
from typing import Any, Literal, get_args

from ...operators._arguments import (
    require_count,
    require_flag,
    require_integer,
    require_number,
    shown,
)

Schedule = Literal["cosine", "constant", "one_cycle", "step"]
LossName = Literal["relative_l2", "h1", "vrmse"]
Symmetry = Literal["square"]

FOR_EXAMPLES = (
    "num_epochs",
    "accumulate",
    "loss",
    "augment",
    "noise",
    "num_unrolled",
    "pushforward",
    "precision",
)
"""Settings of `train`, of which `fit`, whose loss is given to it, knows nothing."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a training, the same for all learned operators.

    Attributes:
        num_steps: steps of Adam; exactly one of this and `num_epochs` is given.
        num_epochs: passes over the data, for `train`.
        batch_size: examples in each step.
        accumulate: number of parts that a batch is computed in, one after the other, to
            save memory; it has to divide the batch size.
        learning_rate: the largest one of the training.
        schedule: "cosine", from the learning rate to a hundredth of it; "constant";
            "one_cycle", up from 1/25 of it over the first 30 % of the steps and down to
            almost zero as a cosine; or "step", halved after each fifth of the steps.
        weight_decay: of AdamW, per step and unit of the learning rate; 0 is Adam.
        max_norm: gradients of a larger norm are scaled down to it.
        ema: None, or the factor d of an exponential moving average of the weights,
            d mean + (1 - d) weights in each step, with d = (1 + i) / (10 + i) in step i
            where that is smaller. The average is what is validated and kept.
        loss: "relative_l2", "h1" or "vrmse", of fields in physical units, or a function
            (prediction, target, inputs) → number of one example, without a batch axis;
            prediction and target are (channels, *shape), one step in time.
        augment: None; "square", the symmetries of the box, for scalar fields; or a
            function (inputs, outputs, key) → (inputs, outputs) of one example, inputs
            (num_frames channels, *shape) and outputs (targets, channels, *shape), with
            the axis of targets even if there is one.
        noise: standard deviation of a white noise that is added to the inputs, in units
            of that of their channel. Channels that are constant get none.
        num_unrolled: steps in time that the model takes from its own predictions at the
            end of the training, which has as many equal parts: one step in the first,
            two in the second, and so on. The loss is the mean over them. Validations
            take all of these steps from the beginning.
        pushforward: whether no gradient flows through these predictions.
        precision: "full", the precision of the weights, or "bfloat16", in which the
            model is then computed; the weights and the loss keep their precision.
        validate_every: steps between validations; the best model of all of them is
            kept. The default is an epoch, and 250 steps for `fit`.
        seed: of all random numbers of the training.
        checkpoint: for `fit`, the file of the whole state, written at the start and
            after each validation. If it exists, the training continues from it, with
            the same result as without a stop. It is valid for these settings alone: as
            the learning rate depends on the number of steps, a longer training starts
            anew. `train` has a folder instead.
        progress: whether to show the progress, as a bar on a terminal, else as lines.

    Raises:
        TypeError: checkpoint is not a path, or loss or augment is neither a name nor a
            function.
        ValueError: a setting is out of range, or not exactly one of num_steps and
            num_epochs is given.
    """

    num_steps: int | None = None
    num_epochs: int | None = None
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 1e-3
    schedule: Schedule = "cosine"
    weight_decay: float = 0.0
    max_norm: float = 1.0
    ema: float | None = None
    loss: LossName | Callable[..., Any] = "relative_l2"
    augment: Symmetry | Callable[..., Any] | None = None
    noise: float = 0.0
    num_unrolled: int = 1
    pushforward: bool = False
    precision: Literal["full", "bfloat16"] = "full"
    validate_every: int | None = None
    seed: int = 0
    checkpoint: str | PathLike[str] | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("num_steps", "num_epochs", "validate_every"):
            if getattr(self, name) is not None:
                require_count(getattr(self, name), name)
        for name in ("batch_size", "accumulate", "num_unrolled"):
            require_count(getattr(self, name), name)
        require_integer(self.seed, "seed")
        if not isinstance(self.checkpoint, str | PathLike | None):
            raise TypeError(
                f"checkpoint must be a path or None, got {shown(self.checkpoint)}"
            )
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"seed must fit into 64 bits, got {self.seed}")
        positive, from_zero = "positive and finite", "at least 0 and finite"
        for name in ("learning_rate", "max_norm"):
            require_number(getattr(self, name), name, 0, float("inf"), positive)
        for name in ("weight_decay", "noise"):
            number = getattr(self, name)
            require_number(number, name, 0, float("inf"), from_zero, closed=True)
        if self.ema is not None:
            require_number(self.ema, "ema", 0, 1, "between 0 and 1, or None")
        require_flag(self.progress, "progress")
        require_flag(self.pushforward, "pushforward")
        if self.pushforward and self.num_unrolled == 1:
            raise ValueError(
                "pushforward is for predictions that follow each other; give a "
                "num_unrolled of 2 or more"
            )
        _require_choice(self.schedule, "schedule", get_args(Schedule))
        _require_choice(self.precision, "precision", ("full", "bfloat16"))
        _require_choice(self.loss, "loss", get_args(LossName), functions=True)
        if self.augment is not None:
            _require_choice(self.augment, "augment", get_args(Symmetry), functions=True)
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size must be a multiple of accumulate, got {self.batch_size} "
                f"and {self.accumulate}"
            )
        if (self.num_steps is None) == (self.num_epochs is None):
            given = "neither" if self.num_steps is None else "both"
            raise ValueError(
                f"give exactly one of num_steps and num_epochs, got {given}"
            )


def require_settings(settings: Any) -> None:
    """Raise a `TypeError` where something else is given for settings."""
    if not isinstance(settings, Settings):
        raise TypeError(f"settings must be Settings, got {shown(settings)}")


def require_steps(settings: Any) -> int:
    """Return the number of steps of a training that draws its own examples.

    Raises:
        TypeError: settings is something else.
        ValueError: a setting that is for `train` alone.
    """
    require_settings(settings)
    defaults = {f.name: f.default for f in fields(Settings) if f.default is not MISSING}
    for name in FOR_EXAMPLES:
        if getattr(settings, name) != defaults[name]:
            raise ValueError(
                f"{name} is a setting of training.train alone; this training draws its "
                "own examples, for so many num_steps"
            )
    assert settings.num_steps is not None
    return int(settings.num_steps)


def total_steps(settings: Settings, num_batches: int) -> int:
    """Return the number of steps of a training of so many batches per epoch."""
    if settings.num_epochs is not None:
        return int(settings.num_epochs) * num_batches
    assert settings.num_steps is not None
    return int(settings.num_steps)


def _require_choice(
    value: Any, name: str, choices: tuple[str, ...], *, functions: bool = False
) -> None:
    if functions and not isinstance(value, str):
        if not callable(value):
            raise TypeError(
                f"{name} must be one of {', '.join(choices)}, or a function; got "
                f"{shown(value)}"
            )
        try:
            hash(value)
        except TypeError:
            raise TypeError(
                f"{name} decides the compiled program and must be hashable, got "
                f"{shown(value)}; let it be a function, with arrays of its own"
            ) from None
        return
    if value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(choices)}; got {shown(value)}"
        )
