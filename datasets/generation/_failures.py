"""What is said of samples that have no certified solution."""

from pathlib import Path


class FailedSamplesWarning(UserWarning):
    """Some samples of a data set failed: their solutions are NaN."""


def all_failed(place: Path, reasons: str) -> str:
    """Return the sentence for a run or a data set without a single solution.

    Args:
        place: where it is kept.
        reasons: how many failed for which reason, and which.
    """
    return (
        f"every sample failed ({reasons}); what was solved is kept in {place}: "
        "allow_failures=True (--allow-failures) takes it as it is; for another solver, "
        "more steps or a larger rtol delete that folder first"
    )
