"""How long to train, how fast, and where the state is kept."""

from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, get_args

from ...operators._arguments import require_count, require_integer, shown


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a training, the same for all learned operators.

    Attributes:
        num_steps: steps of Adam.
        batch_size: examples in each.
        learning_rate: of Adam, at the start.
        schedule: "cosine", from the learning rate to a hundredth of it, or "constant".
        max_norm: gradients of a larger norm are scaled to it.
        validate_every: steps between validations, of which the best model is kept.
        seed: from which all random numbers of the training are drawn.
        checkpoint: file for the whole state, written at the start and after each
            validation. Where it is there, the training goes on from it, to the same
            result as without a stop. It is for these settings alone, as the learning
            rate depends on `num_steps`: a longer training begins from the start.
        progress: whether to show it: a bar on a terminal, else lines.

    Raises:
        TypeError: checkpoint is no path.
        ValueError: a setting out of range.
    """

    num_steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    max_norm: float = 1.0
    validate_every: int = 250
    seed: int = 0
    checkpoint: str | PathLike[str] | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "validate_every"):
            require_count(getattr(self, name), name)
        require_integer(self.seed, "seed")
        if not isinstance(self.checkpoint, str | PathLike | None):
            raise TypeError(
                f"checkpoint must be a path or None, got {shown(self.checkpoint)}"
            )
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"seed must fit into 64 bits, got {self.seed}")
        for name in ("learning_rate", "max_norm"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and 0 < value < float("inf")):
                raise ValueError(
                    f"{name} must be positive and finite, got {shown(value)}"
                )
        schedules = get_args(type(self).__annotations__["schedule"])
        if self.schedule not in schedules:
            raise ValueError(
                f"schedule must be one of {', '.join(schedules)}; got "
                f"{shown(self.schedule)}"
            )


def require_settings(settings: Any) -> None:
    """Raise a `TypeError` where something else is given for settings."""
    if not isinstance(settings, Settings):
        raise TypeError(f"settings must be Settings, got {shown(settings)}")
