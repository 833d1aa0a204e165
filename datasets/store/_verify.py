"""Checks what is published: every checksum, and of a data set every residual."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..families._family import AbstractFamily, is_single
from ._assembled import MANIFEST
from ._checked import read_object
from ._dataset import Dataset, open_dataset
from ._files import sha256_of
from ._plain import files_under, not_plain, odd_entries
from ._published import is_run, is_trajectory
from ._segments import ATTAINED
from ._trajectory import open_trajectory

# The residual is computed by another program than the solver's, whose sums round
# differently; a sample that stopped just below rtol may come out just above it.
_ROUNDING_SLACK = 1.01
# The bound of a residual at rounding level comes from an estimate of |A| that begins
# with that residual, and another program's rounding is another one.
_ATTAINED_SLACK = 1.25
# In 32 bits, what another program's rounding may add to a residual, in such bounds.
_ROUNDING = 0.1

_Function = Callable[[dict[str, Any], Any], Any]


@dataclass(frozen=True)
class Verification:
    """What a check of a data set or a trajectory found.

    Attributes:
        num_files: files compared with the manifest.
        num_samples: samples whose residual was computed again.
        num_attained: good ones among them, in 32 bits, that are stored as attained:
            with a residual at rounding level.
        worst_residual: the largest relative residual among the good ones.
        problems: one line per problem, naming the file or the sample; empty if all
            is well.
    """

    num_files: int
    num_samples: int
    num_attained: int
    worst_residual: float
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(path: str | os.PathLike[str]) -> Verification:
    """Return what is wrong with a data set, if anything.

    Every file is compared with its SHA-256 in the manifest. For every good sample
    |b - A x| / |b| is computed again from the stored parameters, and must be at most
    rtol. Where a data set in 32 bits says `attained`, it must be at most what rounding
    allows, 4 eps (|A| |x| + |b|) / |b|, which is computed again too, and the stored
    bound must not be larger. A failed sample must hold no solution. Of a trajectory the
    checksums are all that is compared.

    Raises:
        FileNotFoundError, ValueError: as `open_dataset`; also float64 data while
            `jax_enable_x64` is off.

    Cost:
        Reads every file twice; one operator application per sample, and seven where
        the residual is above rtol.
    """
    root = Path(path)
    if not root.exists() or is_run(root):
        open_dataset(root)
    listed = _manifest(root)
    problems = list(_file_problems(root, listed))
    # It cannot be opened.
    is_closed = any(problem.startswith("file zarr.json:") for problem in problems)
    if is_closed or odd_entries(root):
        return Verification(len(listed), 0, 0, 0.0, tuple(problems))
    if is_trajectory(root):
        open_trajectory(root)
        return Verification(len(listed), 0, 0, 0.0, tuple(problems))
    dataset = open_dataset(root)
    check = _Check(dataset)
    worst = 0.0
    for sample_id in range(len(dataset)):
        try:
            value, problem = check.sample(sample_id)
        except Exception as error:  # whatever Zarr or the family makes of it
            value, problem = 0.0, f"sample {sample_id}: cannot be read: {error}"
        worst = max(worst, value)
        problems += [problem] if problem else []
    return Verification(
        len(listed), len(dataset), check.num_attained, worst, tuple(problems)
    )


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


class _Check:
    """Computes again what a data set says of its samples."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.rtol = dataset.configuration["solver"]["rtol"]
        self.num_attained = 0
        family = dataset.family
        # A float64 data set has no `attained`, whatever it says.
        self._is_single = is_single(family)
        self._failed = frozenset(dataset.failed)
        self._names = [name for name in family.array_types() if name != "solution"]
        self._residual, self._bound = _functions(family)

    def sample(self, sample_id: int) -> tuple[float, str | None]:
        """Return the residual of a good sample, and what is wrong with it."""
        sample = self.dataset[sample_id]
        if sample_id in self._failed:
            is_empty = bool(np.all(np.isnan(sample["solution"])))
            return 0.0, None if is_empty else f"sample {sample_id}: failed, yet not NaN"
        parameters = {name: sample[name] for name in self._names}
        value = float(self._residual(parameters, sample["solution"]))
        limit, bound = _ROUNDING_SLACK * self.rtol, 0.0
        is_attained = self._is_single and int(sample["status"]) == ATTAINED
        self.num_attained += is_attained
        if self._is_single and (is_attained or not value <= limit):
            bound = float(self._bound(parameters, sample["solution"]))
            limit += _ROUNDING * bound
        if is_attained:
            limit = max(limit, _ATTAINED_SLACK * bound)
        if not value <= limit:
            rounding = f" and above {bound:.3g}, which is rounding" * is_attained
            return value, (
                f"sample {sample_id}: array solution has relative residual "
                f"{value:.3g}, above {self.rtol:g}{rounding}"
            )
        stored = float(sample.get("attainable", np.nan))
        if is_attained and not 0 <= stored <= _ATTAINED_SLACK * bound:
            return value, (
                f"sample {sample_id}: array attainable says that rounding allows a "
                f"relative residual of {stored:.3g}, but it is {bound:.3g}"
            )
        return value, None


def _functions(family: AbstractFamily) -> tuple[_Function, _Function]:
    """The relative residual of parameters and a solution, and what is rounding."""
    # Reading a data set needs no JAX; checking it does.
    import jax
    import jax.numpy as jnp

    from ...solvers.core._inner_product import InnerProduct
    from ...solvers.core._residual import USEFUL, attainable_residual

    family.system(family.sample(0))

    @jax.jit
    def residual(parameters: dict[str, Any], solution: Any) -> Any:
        A, b = family.system(parameters)
        r = b - A @ jnp.reshape(solution, b.shape)
        return jnp.linalg.norm(r.ravel()) / jnp.linalg.norm(b.ravel())

    @jax.jit
    def bound(parameters: dict[str, Any], solution: Any) -> Any:
        A, b = family.system(parameters)
        x, inner_product = jnp.reshape(solution, b.shape), InnerProduct()
        found, _ = attainable_residual(A, b, x, jnp.asarray(True), inner_product)
        return jnp.minimum(found / inner_product.norm(b), USEFUL)

    return residual, bound
