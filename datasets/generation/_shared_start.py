"""One start for all systems of a family: the projection on solutions of its first ones.

Where all systems have one matrix and right-hand sides of few degrees of freedom, the
projection is the solution: nothing is left to iterate, and the certificate says so. 64
x 64 cells of `Thermal` take 0.11 ms so, 0.25 ms with the solves that it is made of
shared by 128 systems, and SuperLU 0.27 to 0.35 ms (validation/skr).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SharedStart:
    """A Galerkin start in the span of the solutions of a family's first samples.

    For `generate` and `plan`; a data set's configuration records it.

    Attributes:
        num_samples: how many samples are solved for it.

    Raises:
        ValueError: num_samples below 1.
    """

    num_samples: int = 32

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {self.num_samples}")
