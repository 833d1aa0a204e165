"""How a data set's systems are solved: one value, recorded in its configuration."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from ..store._record import from_record, record
from ._shared_preconditioner import SharedPreconditioner
from ._shared_start import SharedStart


@dataclass(frozen=True)
class SolveMethod:
    """A solver and all that it is given besides a system.

    The solver's type is not named, as its module would import JAX.

    Attributes:
        solver: a krylax solver.
        preconditioner: an operator, a factory, a `SharedPreconditioner`, or None.
        start: a `SharedStart`, or None for zero.
        recycle: chain or frozen, as in `solve_batch`.
    """

    solver: Any
    preconditioner: Any = None
    start: SharedStart | None = None
    recycle: Literal["chain", "frozen"] = "chain"

    def __hash__(self) -> int:
        # Without the arrays of a learned operator, which have none.
        kinds = type(self.solver), type(self.preconditioner)
        return hash((*kinds, self.start, self.recycle))

    def record(self) -> dict[str, Any]:
        """Return the entries of the configuration.

        Raises:
            ValueError: as `store._record.record`.
        """
        # The module must import without JAX, for a quick --help.
        from ...solvers import _registry as registry

        names = [field.name for field in fields(self)]
        known = registry.recorders()
        return {name: record(getattr(self, name), known) for name in names}


def method_from_configuration(stored: dict[str, Any]) -> SolveMethod:
    """Return the method that a data set's configuration records.

    Raises:
        ValueError: a part of it is not one of krylax's own.
    """
    names = [field.name for field in fields(SolveMethod)]
    return SolveMethod(**{name: _part(stored[name]) for name in names})


def _part(stored: Any) -> Any:
    # The module must import without JAX, for a quick --help.
    from ... import solvers
    from ...solvers import _registry as registry
    from ...solvers.core._inner_product import InnerProduct

    ours = (InnerProduct, SharedPreconditioner, SharedStart)
    known = {**vars(solvers), **{cls.__name__: cls for cls in ours}}
    known |= registry.makers()
    return from_record(stored, known)
