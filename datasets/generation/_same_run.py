"""Whether a run in the same place is the same: another is refused with differences."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..store._checked import DamagedError
from ..store._record import configuration_hash, differences
from ..store._working_folder import (
    WorkingFolder,
    is_working_folder,
    stored_configuration,
)


def require_same_run(
    folder: WorkingFolder, configuration: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the configuration that is kept in a folder, None for none.

    One without a segment may be another than that of the run, which replaces it.

    Raises:
        FileExistsError: segments of another configuration are kept there.
    """
    stored = folder.configuration()
    is_other = stored not in (None, configuration) and folder.has_commits()
    if is_other or folder.commits_of_others(configuration_hash(configuration)):
        refuse_other(folder.path, stored, configuration)
    return stored


def opened(open_published: Callable[[Path], Any], target: Path) -> Any:
    """Return what is published at a place, which may be somebody else's.

    Raises:
        DamagedError: it is ours, and damaged.
        FileExistsError: it is something else, or of a newer krylax.
    """
    try:
        return open_published(target)
    except DamagedError:
        raise
    except ValueError as error:
        raise FileExistsError(f"{error}; choose another path to write to") from error


def refuse_other(
    path: Path, theirs: dict[str, Any] | None, ours: dict[str, Any]
) -> None:
    """Refuse a place that holds another configuration, with the differences.

    Raises:
        FileExistsError: always.
    """
    if theirs is None or theirs == ours:
        raise FileExistsError(
            f"{path} holds segments of another configuration, which is lost: choose "
            "another path, or delete that folder if it is not needed"
        )
    raise FileExistsError(
        f"{path} exists with another configuration (there -> asked for):\n  "
        + "\n  ".join(differences(theirs, ours))
        + "\nchoose another path, or delete it if it is not needed"
    )


def remove_leftovers(partial: Path, configuration: dict[str, Any]) -> None:
    """Remove the working folder of a run that was killed after it had published."""
    if not is_working_folder(partial):
        return
    # A process that holds the lock is tidying up itself; what is not as we left it is
    # left alone.
    with suppress(BlockingIOError, ValueError):
        if stored_configuration(partial) in (None, configuration):
            with WorkingFolder(partial) as folder:
                folder.remove()
