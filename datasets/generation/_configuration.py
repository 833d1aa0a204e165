"""The configuration of a data set: what decides its bytes, and nothing else.

Nothing about the run is in it: not the number of workers, a host, a path or a time.
"""

from typing import Any

from ..families._family import AbstractFamily
from ..store._record import FORMAT_VERSION, from_record, record
from ._shared_preconditioner import SharedPreconditioner
from ._shared_start import SharedStart


def configuration(
    family: AbstractFamily,
    num_samples: int,
    solver: Any,
    preconditioner: Any,
    *,
    start: Any,
    recycle: str,
    ordering: str,
    segment_size: int,
) -> dict[str, Any]:
    """Return the data set's configuration as plain JSON values."""
    return {
        "format_version": FORMAT_VERSION,
        "family": record(family),
        "num_samples": int(num_samples),
        "solver": record(solver),
        "preconditioner": record(preconditioner),
        "start": record(start),
        "recycle": recycle,
        "ordering": ordering,
        "segment_size": int(segment_size),
    }


def method_from_record(stored: Any) -> Any:
    """Return the solver or preconditioner whose record was stored.

    Raises:
        ValueError: it is not one of krylax's own.
    """
    # The module must import without JAX, for a quick --help.
    from ... import solvers
    from ...solvers.core._inner_product import InnerProduct

    ours = (InnerProduct, SharedPreconditioner, SharedStart)
    known = {**vars(solvers), **{cls.__name__: cls for cls in ours}}
    return from_record(stored, known)
