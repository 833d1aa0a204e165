"""Whether a data set can be written where it is to be, looked at before any work."""

import os
from pathlib import Path

from .._names import working_path
from ..store._working_folder import require_adoptable


def require_place(target: Path) -> None:
    """Raise unless the working folder of a data set can be made, or is there.

    Raises:
        FileExistsError: something else is in its place, or a file where a folder above
            it would be.
        PermissionError: the folder that is there may not be written to.
    """
    partial = working_path(target)
    if os.path.lexists(partial):
        require_adoptable(partial)
    places = (partial.absolute(), *partial.absolute().parents)
    there = next(place for place in places if os.path.lexists(place))
    if not there.is_dir():
        raise FileExistsError(
            f"{target} cannot be made: {there} is no folder; choose another path"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{target} cannot be made: {there} may not be written to; choose another "
            "path, or change its permissions"
        )
