"""The folder of a training: its state, the best model, and what was measured.

- `state.safetensors`: from which the training goes on.
- `model.safetensors`: the best surrogate so far, for `load`.
- `settings.json`: settings, model and data, for people.
- `metrics.jsonl`: a line per validation.
- `card.md`: what the model is, at the end.
- `curves.png`: the losses, at the end, where matplotlib is installed.

The state is written last, so that all else is at least as far as it is.
"""

import io
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.store._files import make_folder, write_whole
from ._card import CARD, METRICS, SETTINGS, card_text
from ._checkpoint import refusals_named
from ._loop import State
from ._state import read_state, write_state
from ._surrogate import Surrogate
from ._surrogate_file import FILE, save

STATE = "state.safetensors"
CURVES = "curves.png"
TEMPORARY = ".tmp"


class RunFolder:
    """What a training keeps, and where.

    Args:
        path: of the folder, which is made if it is missing.
        num_batches: steps in an epoch.

    Raises:
        BlockingIOError: another training is at work there.
        FileNotFoundError: there is no folder to make it in.
        PermissionError: the folder cannot be made or read.
        ValueError: something else is in the folder, or no folder in its place.
    """

    def __init__(self, path: Path, num_batches: int) -> None:
        self.path, self.num_batches = path, num_batches
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"there is no folder {path.parent} to make {path.name} in"
            )
        with refusals_named(path):
            make_folder(path)
            self._lock = _locked(path)
        try:
            self._require_own()
        except ValueError:
            self.close()
            raise

    def _require_own(self) -> None:
        path = self.path
        own = {STATE, FILE, SETTINGS, METRICS, CARD, CURVES}
        own |= {name + TEMPORARY for name in own}
        found = {each.name for each in path.iterdir()}
        if STATE not in found and not found <= own:
            raise ValueError(
                f"{path} holds other files, such as {min(found - own)}, and no state "
                "of a training; give an empty folder, or one that is not there yet"
            )

    def close(self) -> None:
        """Let others train here."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self, state: State, recorded: dict[str, Any]) -> State:
        """Return the state that is kept, or the given one of the same structure.

        Raises:
            ValueError: the state is damaged, or of another training.
        """
        place = self.path / STATE
        return read_state(place, state, recorded) if place.exists() else state

    def write(
        self,
        state: State,
        recorded: dict[str, Any],
        surrogate: Surrogate,
        is_done: bool,
    ) -> None:
        """Keep a state, its best model and its history."""
        text = json.dumps(recorded, indent=2)
        self._write(SETTINGS, f"{text}\n".encode())
        if len(state.validated):
            save(self.path / FILE, surrogate)
            metrics = self._metrics(state)
            lines = "".join(json.dumps(line) + "\n" for line in metrics)
            self._write(METRICS, lines.encode())
            if is_done:
                text = card_text(surrogate, recorded, metrics)
                self._write(CARD, text.encode())
        if is_done and find_spec("matplotlib") is not None:
            self._write(CURVES, _drawn(state))
        write_state(self.path / STATE, state, recorded)

    def _write(self, name: str, content: bytes) -> None:
        with refusals_named(self.path):
            write_whole(self.path / name, content)

    def _metrics(self, state: State) -> list[dict[str, float]]:
        """A table per validation, the loss being the mean since the one before."""
        lines, before = [], 0
        for i, step in enumerate(state.validated.tolist()):
            line = {
                "step": step,
                "epoch": step / self.num_batches,
                "loss": float(np.mean(state.loss[before:step])),
                "validation": float(state.validation[i]),
                "seconds": float(state.seconds[i]),
            }
            lines.append(line)
            before = step
        return lines


def _locked(folder: Path) -> int | None:
    """Return the descriptor of a folder that is locked until it is closed.

    The lock is the kernel's: it ends with the process, however that ends.
    """
    if find_spec("fcntl") is None:
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BlockingIOError(
            f"another training is at work in {folder}; wait for it, stop it, or give "
            "another folder"
        ) from None
    return descriptor


def _drawn(state: State) -> bytes:
    # Figure alone leaves pyplot and the user's back end as they are.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=110, layout="constrained")
    panel = figure.subplots()
    steps = np.arange(1, len(state.loss) + 1)
    panel.semilogy(steps, state.loss, linewidth=0.6, alpha=0.6, label="loss of a step")
    panel.semilogy(state.validated, state.validation, "k.-", label="validation")
    panel.set_xlabel("step")
    panel.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
