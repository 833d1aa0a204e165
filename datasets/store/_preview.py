"""Draws samples of a data set: parameter, solution and residual side by side."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from .._optional import require
from ._dataset import Dataset, open_dataset
from ._files import write_whole

_INCHES = 3.1


def preview(
    path: str | os.PathLike[str],
    num_samples: int = 4,
    out: str | os.PathLike[str] | None = None,
) -> Path:
    """Return the path of a PNG of the first samples: one row each.

    Columns: the first parameter, the solution, the residual b - A u computed again.
    Three-dimensional fields show their middle slice, one-dimensional ones a line,
    vectors their length, complex numbers their real part, and numbers that are no field
    bars.

    Args:
        path: the data set.
        num_samples: rows, at least 1.
        out: the picture's file; `<path>.png` beside the data set if None, so that the
            data set's own files stay as published.

    Raises:
        ValueError: num_samples below 1, a link in the place of the picture, or as
            `open_dataset`.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    dataset = open_dataset(path)
    rows = min(num_samples, len(dataset))
    require("matplotlib", "plot")
    # Figure alone leaves pyplot and the user's back end as they are.
    from matplotlib.figure import Figure

    size = (3 * 1.3 * _INCHES, rows * _INCHES + 0.6)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    figure.suptitle(_title(dataset))
    panels = figure.subplots(rows, 3, squeeze=False)
    for sample_id in range(rows):
        fields = _fields(dataset, sample_id)
        for panel, (label, field) in zip(panels[sample_id], fields, strict=True):
            _draw(figure, panel, dataset, field)
            panel.set_title(f"sample {sample_id}: {label}", fontsize=9)
    place = _default_place(dataset) if out is None else Path(out)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_whole(place, picture.getvalue())
    return place


def _default_place(dataset: Dataset) -> Path:
    folder = dataset.path.absolute()
    return folder.with_name(folder.name + ".png")


def _title(dataset: Dataset) -> str:
    card = dataset.attributes["card"]
    return f"{card['title']}: {card['equation'][:60]}, {card['right_hand_side']}"


def _fields(dataset: Dataset, sample_id: int) -> list[tuple[str, np.ndarray]]:
    sample = dataset[sample_id]
    family = dataset.family
    names = [name for name in family.array_types() if name != "solution"]
    A, b = family.system({name: sample[name] for name in names})
    u = sample["solution"]
    r = np.asarray(b) - np.asarray(A @ u.reshape(b.shape))
    relative = np.linalg.norm(r) / np.linalg.norm(np.asarray(b))
    steps = int(sample["num_steps"])
    return [
        _as_picture(names[0], sample[names[0]], u.shape),
        _as_picture(f"solution u ({steps} steps)", u, u.shape),
        _as_picture(f"b - A u, relative norm {relative:.1e}", r, u.shape),
    ]


def _as_picture(
    label: str, values: np.ndarray, grid: tuple[int, ...]
) -> tuple[str, np.ndarray]:
    """A real field on the grid where there is one, else the values in a row."""
    if np.iscomplexobj(values):
        label, values = f"Re {label}", np.real(values)
    if values.shape[1:] == grid:
        return f"|{label}|", np.linalg.norm(values, axis=0)
    is_field = values.size == np.prod(grid)
    return label, values.reshape(grid) if is_field else values.ravel()


def _draw(figure: Any, panel: Any, dataset: Dataset, field: np.ndarray) -> None:
    axes = list(dataset.coordinates.items())
    if field.ndim == 1 and len(field) != len(axes[0][1]):
        panel.bar(np.arange(len(field)), field)
        return
    if field.ndim == 1:
        panel.plot(axes[0][1], field, linewidth=1.2)
        panel.set_xlabel(axes[0][0])
        panel.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))
        return
    plane = field[:, :, field.shape[2] // 2] if field.ndim == 3 else field
    # A residual has both signs around zero, which a symmetric scale shows.
    signed = np.nanmin(plane) < 0 if np.isfinite(plane).any() else False
    limit = float(np.nanmax(np.abs(plane))) if signed else None
    scale = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if limit else {}
    edges = (0.0, 1.0, 0.0, 1.0)
    image = panel.imshow(plane.T, origin="lower", extent=edges, **scale)
    bar = figure.colorbar(image, ax=panel, fraction=0.046, pad=0.03)
    bar.formatter.set_powerlimits((-3, 4))
    panel.set_xlabel(axes[0][0])
    panel.set_ylabel(axes[1][0])
    if field.ndim == 3:
        z = axes[2][1][field.shape[2] // 2]
        panel.text(0.02, 0.95, f"z = {z:.3f}", color="white", fontsize=7)
