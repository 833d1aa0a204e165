"""What is asked of the method, and the method that comes of it."""

import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..families._family import AbstractFamily, check_choice
from ..store._record import record
from ._plan import plan
from ._shared_start import SharedStart
from ._solve_method import SolveMethod, method_from_configuration
from ._tolerance import chosen_rtol


@dataclass(frozen=True)
class MethodRequest:
    """The method as the caller of `generate` asks for it.

    Attributes:
        solver: a krylax solver; None for that of an earlier run, or of the plan.
        preconditioner: as in `SolveMethod`, or "default".
        start: as in `SolveMethod`, or "default".
        recycle: as in `SolveMethod`, or "default".
        rtol: tolerance for the plan; None for that of the family's precision.

    Raises:
        ValueError: another string than these.
    """

    solver: Any
    preconditioner: Any
    start: SharedStart | Literal["default"] | None
    recycle: Literal["default", "chain", "frozen"]
    rtol: float | None

    def __post_init__(self) -> None:
        check_choice(self.recycle, ("default", "chain", "frozen"), "recycle")
        if isinstance(self.preconditioner, str) and self.preconditioner != "default":
            raise ValueError(
                "preconditioner must be an operator, a factory such as "
                f'krylax.solvers.Jacobi(), None or "default", '
                f"got {self.preconditioner!r}"
            )
        if isinstance(self.start, str) and self.start != "default":
            raise ValueError(
                f'start must be a SharedStart, None or "default", got {self.start!r}'
            )

    def method(
        self, family: AbstractFamily, stored: dict[str, Any] | None, *, announce: bool
    ) -> SolveMethod:
        """Return what is given, what an earlier run chose, or what the plan finds.

        Args:
            family: the problem family.
            stored: the configuration of an earlier run in the same place, if any.
            announce: whether the reason of the plan is printed.

        Raises:
            ValueError: as `plan`.
        """
        if self.solver is not None:
            return replace(self._given(), **self._fixed())
        kept = self._kept(family, stored)
        if kept is not None:
            return replace(kept, **self._fixed())
        found = plan(family, rtol=self.rtol, preconditioner=self.preconditioner)
        if announce:
            print(f"krylax: {found.reason}", file=sys.stderr, flush=True)
        return replace(found.work.method, **self._fixed())

    def _given(self) -> SolveMethod:
        # The module must import without JAX, for a quick --help.
        from ...solvers import Jacobi

        is_default = isinstance(self.preconditioner, str)
        return SolveMethod(self.solver, Jacobi() if is_default else self.preconditioner)

    def _kept(
        self, family: AbstractFamily, stored: dict[str, Any] | None
    ) -> SolveMethod | None:
        is_default = isinstance(self.preconditioner, str)
        if is_default and stored is not None and stored.get("family") == record(family):
            # Of a method that is not krylax's own nothing can be kept.
            with suppress(ValueError):
                kept = method_from_configuration(stored)
                rtol = chosen_rtol(family, self.rtol)
                return replace(kept, solver=replace(kept.solver, rtol=rtol))
        return None

    def _fixed(self) -> dict[str, Any]:
        """What is said of start and recycling, whoever chooses the solver."""
        fixed: dict[str, Any] = {}
        if not isinstance(self.start, str):
            fixed["start"] = self.start
        if self.recycle != "default":
            fixed["recycle"] = self.recycle
        return fixed
