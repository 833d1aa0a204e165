"""Checks a published data set: every file's checksum, every sample's residual."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._checked import read_object
from ._dataset import Dataset, open_dataset
from ._files import sha256_of
from ._plain import files_under, not_plain, odd_entries
from ._publish import MANIFEST

# The residual is computed by another program than the solver's, whose sums round
# differently; a sample that stopped just below rtol may come out just above it.
_ROUNDING_SLACK = 1.01


@dataclass(frozen=True)
class Verification:
    """What a check of a data set found.

    Attributes:
        num_files: files compared with the manifest.
        num_samples: samples whose residual was computed again.
        worst_residual: the largest relative residual among the good ones.
        problems: one line per problem, naming the file or the sample; empty if all
            is well.
    """

    num_files: int
    num_samples: int
    worst_residual: float
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(path: str | os.PathLike[str]) -> Verification:
    """Return what is wrong with a data set, if anything.

    Every file is compared with its SHA-256 in the manifest. For every good sample
    |b - A x| / |b| is computed again from the stored parameters; a failed sample must
    hold no solution.

    Raises:
        FileNotFoundError, ValueError: as `open_dataset`; also float64 data while
            `jax_enable_x64` is off.

    Cost:
        Reads every file twice; one operator application per sample.
    """
    root = Path(path)
    if not root.exists():
        open_dataset(root)
    listed = _manifest(root)
    problems = list(_file_problems(root, listed))
    # It cannot be opened.
    is_closed = any(problem.startswith("file zarr.json:") for problem in problems)
    if is_closed or odd_entries(root):
        return Verification(len(listed), 0, 0.0, tuple(problems))
    dataset = open_dataset(root)
    residual = _residual_function(dataset)
    worst = 0.0
    for sample_id in range(len(dataset)):
        try:
            value, problem = _check_sample(dataset, sample_id, residual)
        except Exception as error:  # whatever Zarr or the family makes of it
            value, problem = 0.0, f"sample {sample_id}: cannot be read: {error}"
        worst = max(worst, value)
        problems += [problem] if problem else []
    return Verification(len(listed), len(dataset), worst, tuple(problems))


def _manifest(root: Path) -> dict[str, str]:
    path = root / MANIFEST
    if not os.path.lexists(path):
        raise ValueError(f"{root} has no {MANIFEST}: it cannot be verified")
    advice = "take it from a copy, without it nothing can be verified"
    return read_object(path, {"sha256": {...: str}}, advice)["sha256"]


def _file_problems(root: Path, listed: dict[str, str]) -> Iterator[str]:
    odd = odd_entries(root)
    for name in odd:
        yield f"file {name}: {not_plain(root / name)}"
    present = set(files_under(root)) - {MANIFEST}
    for name, digest in listed.items():
        if name in odd:
            continue
        if name not in present:
            yield f"file {name}: missing{_array_of(name)}"
        elif sha256_of(root / name) != digest:
            yield f"file {name}: its bytes have changed{_array_of(name)}"
    for name in sorted(present - set(listed)):
        yield f"file {name}: not in the manifest"


def _array_of(name: str) -> str:
    return f" (array {name.split('/')[0]})" if "/" in name else ""


def _residual_function(dataset: Dataset) -> Callable[[dict[str, Any]], float]:
    family = dataset.family
    # Reading a data set needs no JAX; checking it does.
    import jax
    import jax.numpy as jnp

    family.system(family.sample(0))

    @jax.jit
    def relative(parameters: dict[str, Any], solution: Any) -> Any:
        A, b = family.system(parameters)
        r = b - A @ jnp.reshape(solution, b.shape)
        return jnp.linalg.norm(r.ravel()) / jnp.linalg.norm(b.ravel())

    def residual(sample: dict[str, Any]) -> float:
        names = family.array_types()
        parameters = {name: sample[name] for name in names if name != "solution"}
        return float(relative(parameters, sample["solution"]))

    return residual


def _check_sample(
    dataset: Dataset, sample_id: int, residual: Callable[[dict[str, Any]], float]
) -> tuple[float, str | None]:
    sample = dataset[sample_id]
    if sample_id in dataset.failed:
        is_empty = bool(np.all(np.isnan(sample["solution"])))
        return 0.0, None if is_empty else f"sample {sample_id}: failed, yet not NaN"
    value = residual(sample)
    rtol = dataset.configuration["solver"]["rtol"]
    if value <= _ROUNDING_SLACK * rtol:
        return value, None
    return value, (
        f"sample {sample_id}: array solution has relative residual {value:.3g}, above "
        f"{rtol:g}"
    )
