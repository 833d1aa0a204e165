"""One preconditioner for all systems of a family: that of their mean.

What is close to every system is made once. Waves in a cavity with k = 12 and 48 x 48
cells take 1 ms with fast diagonalisation of the mean (`krylax generate
helmholtz-scattering --dry-run`), 4 ms with that of each system (`make bench`, case
`helmholtz_2d`), of which the eigenvectors take most.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..families._family import AbstractFamily, stacked_samples


@dataclass(frozen=True)
class SharedPreconditioner:
    """A preconditioner made from the mean of a family's first samples.

    For `generate` and `plan`, in place of a factory; a data set's configuration records
    it.

    Attributes:
        factory: what makes it, such as `FastDiagonalization()` or `Multigrid()`.
        num_samples: how many samples the mean is taken of.

    Raises:
        ValueError: num_samples below 1.
    """

    factory: Any
    num_samples: int = 16

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {self.num_samples}")

    def __hash__(self) -> int:
        # Without the arrays of a learned operator, which have none.
        return hash((type(self.factory), self.num_samples))

    def operator(self, family: AbstractFamily) -> Any:
        """Return the preconditioner of a family; made once in a process."""
        return _operator(family, self)


def mean_parameters(family: AbstractFamily, num_samples: int) -> dict[str, np.ndarray]:
    """Return the arithmetic mean of each parameter over the first samples."""
    stacked = stacked_samples(family, range(num_samples))
    means = {name: np.mean(a, axis=0, dtype=np.float64) for name, a in stacked.items()}
    return {name: np.asarray(a, stacked[name].dtype) for name, a in means.items()}


@lru_cache(maxsize=4)
def _operator(family: AbstractFamily, shared: SharedPreconditioner) -> Any:
    # The module must import without JAX, for a quick --help.
    import jax

    def make(parameters: dict[str, Any]) -> Any:
        A, _ = family.system(parameters)
        return shared.factory(A)

    return jax.jit(make)(mean_parameters(family, shared.num_samples))
