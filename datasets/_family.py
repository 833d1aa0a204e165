"""What a problem family has to offer to become a data set.

A family is a frozen dataclass of plain numbers (so it can be recorded, compared and
sent to a worker) that turns a sample's number into parameters on the host, and
parameters into a linear system A u = b on the device.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

Parameters = Mapping[str, Any]


class AbstractFamily(ABC):
    """A family of parametric linear systems; subclasses are frozen dataclasses.

    Attributes:
        name: what the command line and the data card call the family.
    """

    name: ClassVar[str]

    @abstractmethod
    def sample(self, sample_id: int) -> dict[str, np.ndarray]:
        """Return the named parameters of one sample; a function of the id alone."""

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

    @abstractmethod
    def card(self) -> dict[str, str]:
        """Return what the data card says: equation, domain, boundary, and so on."""


def array_type(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return an array of that shape and dtype that takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


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


def check_choice(value: str, choices: tuple[str, ...], name: str) -> None:
    """Raise unless `value` is one of `choices`.

    Raises:
        ValueError: it is not.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
