"""The tolerance of a data set for which none, or one for the plan, is given."""

from ..families._family import AbstractFamily


def chosen_rtol(family: AbstractFamily, rtol: float | None) -> float:
    """Return the tolerance, for None the one that suits the family's precision.

    Raises:
        ValueError: it is below what the family's precision allows, or no tolerance.
    """
    # The module must import without JAX, for a quick --help.
    from ...solvers import CG
    from ...solvers.core._stopping import require_reachable, suited_rtol

    dtype = family.array_types()["solution"].dtype
    if rtol is None:
        return suited_rtol(dtype)
    # Once for all methods, each of which would refuse it.
    require_reachable(CG(rtol=rtol), dtype)
    return rtol
