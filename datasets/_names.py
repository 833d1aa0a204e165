"""Names that may become files: data sets, streams, arrays.

One rule for all of them, so that no name can leave its folder, hide, or mean
something else on another system: 1 to 100 of the letters, digits, dot, underscore
and hyphen, not starting with a dot.
"""

import os
import re
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
WORKING_SUFFIX = ".partial"


def check_name(name: str, what: str) -> str:
    """Return `name` unchanged if it is safe as a file name.

    Args:
        name: the name to check.
        what: what the name is for, for the error message.

    Raises:
        ValueError: the name holds other characters, starts with a dot, or is longer
            than 100 characters.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{what} must be 1 to 100 of the characters A-Z a-z 0-9 . _ - and not "
            f"start with a dot, got {name!r}"
        )
    return name


def check_target(path: str | os.PathLike[str]) -> Path:
    """Return the path of a data set to be written, checked but not created.

    Raises:
        ValueError: the last component is not a safe name, ends in `.partial` (the
            working folder of another data set), or is a symbolic link.
    """
    target = Path(path)
    check_name(target.name, "the name of a data set")
    if target.name.endswith(WORKING_SUFFIX):
        raise ValueError(
            f"the name of a data set must not end in {WORKING_SUFFIX}, which marks "
            f"working folders, got {target.name!r}"
        )
    for place in (target, working_path(target)):
        if place.is_symlink():
            raise ValueError(
                f"{place} is a symbolic link; krylax writes only into real folders: "
                f"give the path it points to"
            )
    return target


def working_path(target: Path) -> Path:
    """Return the working folder beside `target`, where a run is kept until done."""
    return target.with_name(target.name + WORKING_SUFFIX)
