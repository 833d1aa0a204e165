"""What a problem family has to offer to become a data set.

A family is a frozen dataclass of plain numbers (so it can be recorded, compared and
sent to a worker) that turns a sample's number into parameters on the host, and
parameters into a linear system A u = b on the device.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from .._names import check_name

Parameters = Mapping[str, Any]
# Where a random field is scaled by its maximum, that on this grid: the maximum on the
# sample's own grid would make the sample another equation on each.
REFERENCE = (64, 64)


class AbstractFamily(ABC):
    """A family of parametric linear systems; subclasses are frozen dataclasses.

    Attributes:
        name: what the command line and the data card call the family.
        format_version: of the data sets that it makes; raised when the systems change
            and those of before are kept under the same name with the version of theirs.
    """

    name: ClassVar[str]
    format_version: ClassVar[int] = 1

    @abstractmethod
    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return the named parameters of one sample.

        A function of the id alone, and on every grid that of the same equation.
        """

    @abstractmethod
    def system(self, parameters: Parameters) -> tuple[Any, Any]:
        """Return (A, b); works under jit with traced parameters.

        Raises:
            ValueError: float64 is asked for while JAX's 64-bit mode is off.
        """

    @abstractmethod
    def features(self, parameters: Parameters) -> Float[np.ndarray, " features"]:
        """Return the vector whose distances decide the solve order."""

    @abstractmethod
    def array_types(self) -> dict[str, np.ndarray]:
        """Return an empty-cost example (a broadcast zero) per array of a sample.

        The parameters come first, then `solution`; shape and dtype are what counts.
        """

    @abstractmethod
    def coordinates(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Return the grid's coordinates, one array per axis, in axis order."""

    def drawing_bytes(self) -> int:
        """Return the memory that drawing a sample takes besides its arrays."""
        return 0

    @abstractmethod
    def card(self) -> dict[str, str]:
        """Return what the data card says: equation, domain, boundary, and so on."""


@dataclass(frozen=True, kw_only=True)
class RandomFamily(AbstractFamily):
    """A family whose samples are drawn; a subclass adds what is drawn, and of what.

    Attributes:
        dtype: float64 or float32.
        seed: master seed.
        stream: which samples: train, valid, test or another name.
    """

    dtype: Literal["float64", "float32"] = "float64"
    seed: int = 0
    stream: str = "train"

    def __post_init__(self) -> None:
        check_choice(self.dtype, ("float64", "float32"), "dtype")
        check_integers(self, "seed")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        check_name(self.stream, "stream")


def added(default: Any) -> Any:
    """Return a field that a family has not always had.

    At its default it is not recorded: the record is that of the data sets from before.
    """
    return field(default=default, metadata={"is_recorded": "unless default"})


def array_type(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return an array of that shape and dtype that takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def is_single(family: AbstractFamily) -> bool:
    """Return whether the solutions are kept in 32 bits, real or complex."""
    dtype = family.array_types()["solution"].dtype
    return dtype in (np.dtype(np.float32), np.dtype(np.complex64))


def check_float64(dtype: str) -> None:
    """Raise unless JAX can hold arrays of this dtype.

    Raises:
        ValueError: float64 while `jax_enable_x64` is off.
    """
    # The families must be importable without JAX: `krylax --help` lists them.
    import jax

    if dtype == "float64" and not jax.config.values["jax_enable_x64"]:
        raise ValueError(
            "float64 requested but jax_enable_x64 is off: call "
            'jax.config.update("jax_enable_x64", True) before the first array is '
            'made, or choose dtype="float32"'
        )


def check_integers(family: AbstractFamily, *names: str) -> None:
    """Turn the named fields into ints, refusing everything else.

    Raises:
        ValueError: a field is not an integer, or is a bool.
    """
    for name in names:
        value = getattr(family, name)
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{name} must be an integer, got {value!r}")
        object.__setattr__(family, name, int(value))


def require_family(family: Any) -> None:
    """Raise a `TypeError` where something else is given for a family."""
    if not isinstance(family, AbstractFamily):
        raise TypeError(
            "family must be a problem family such as Darcy(), got "
            f"{getattr(family, '__name__', type(family).__name__)}"
        )


def check_positive(family: AbstractFamily, *names: str) -> None:
    """Turn the named fields into floats, refusing what is not positive and finite.

    Numbers are normalised because 12 and 12.0 would be two configurations on disk.

    Raises:
        ValueError: a field is not a positive finite number.
    """
    for name in names:
        value = getattr(family, name)
        if not (isinstance(value, int | float | np.number) and 0 < value < np.inf):
            raise ValueError(f"{name} must be positive and finite, got {value!r}")
        object.__setattr__(family, name, float(value))


def check_range(family: AbstractFamily, name: str) -> None:
    """Turn a field into two floats, refusing what is no range of positive numbers.

    Raises:
        ValueError: neither a positive finite number, which is a range of one, nor two,
            the first at most the second.
    """
    value = getattr(family, name)
    if isinstance(value, int | float | np.number):
        value = (value, value)
    pair = list(value) if isinstance(value, Collection) else []
    numbers = [isinstance(v, int | float | np.number) and 0 < v < np.inf for v in pair]
    if numbers != [True, True] or pair[0] > pair[1]:
        raise ValueError(
            f"{name} must be a positive finite number, or two, the first at most the "
            f"second, got {getattr(family, name)!r}"
        )
    object.__setattr__(family, name, tuple(float(v) for v in pair))


def check_choice(value: str, choices: tuple[str, ...], name: str) -> None:
    """Raise unless `value` is one of `choices`.

    Raises:
        ValueError: it is not.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


def check_grid(family: AbstractFamily, num_axes: tuple[int, ...] = (2,)) -> None:
    """Turn `num_points` into a tuple of ints, refusing what is no grid.

    Args:
        family: has `num_points`.
        num_axes: how many axes it may have.

    Raises:
        ValueError: another number of axes, or fewer than 3 points on one.
    """
    num_points = getattr(family, "num_points")  # noqa: B009
    integers = isinstance(num_points, Collection) and all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) for n in num_points
    )
    if not (integers and len(num_points) in num_axes and min(num_points) >= 3):
        allowed = " or ".join(map(str, num_axes))
        raise ValueError(
            f"num_points must be {allowed} integers of at least 3, got {num_points}"
        )
    object.__setattr__(family, "num_points", tuple(int(n) for n in num_points))


def cell_centres(num_points: tuple[int, ...]) -> dict[str, Float[np.ndarray, " n"]]:
    """Return the coordinates x, y, z of the cells of the unit cube."""
    axes = zip("xyz", num_points, strict=False)
    return {axis: (np.arange(n) + 0.5) / n for axis, n in axes}


def block_means(
    values: Float[np.ndarray, "..."], per_axis: int = 16
) -> Float[np.ndarray, "..."]:
    """Return a field averaged over blocks of cells, at most `per_axis` on each axis.

    Distances between fields are decided by their low modes; 16 blocks per axis keep the
    features of 10⁵ fields in two dimensions within 200 MB.
    """
    values = np.asarray(values, np.float64)
    for axis, n in enumerate(values.shape):
        edges, sizes = _blocks(n, per_axis)
        sums = np.add.reduceat(values, edges, axis=axis)
        values = sums / sizes.reshape(-1, *[1] * (values.ndim - 1 - axis))
    return values


@lru_cache(maxsize=8)
def _blocks(
    n: int, per_axis: int
) -> tuple[Int[np.ndarray, " blocks"], Int[np.ndarray, " blocks"]]:
    """Return where the blocks of n cells begin, and how many cells each has."""
    edges = np.arange(min(n, per_axis)) * n // min(n, per_axis)
    return edges, np.diff(edges, append=n)


def stacked_samples(
    family: AbstractFamily,
    sample_ids: Iterable[int],
    drawn: Mapping[int, Parameters] = MappingProxyType({}),
) -> dict[str, np.ndarray]:
    """Return the parameters of samples, by name, along a first axis.

    Args:
        family: the problem family.
        sample_ids: at least one.
        drawn: parameters by sample; those that are missing are drawn.
    """
    samples = [drawn[i] if i in drawn else family.sample(i) for i in sample_ids]
    return {name: np.stack([p[name] for p in samples]) for name in samples[0]}
