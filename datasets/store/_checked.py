"""JSON that somebody else may have written, of the expected form or refused.

A form is a type, a tuple of types, a list with the form of every item, or a dictionary
with the forms of the entries that must be there; `...` as its only key stands for all.
"""

import json
from pathlib import Path
from typing import Any

from ._files import open_plain

# Their fields are given to the classes that they name, which check them.
OBJECT = {"type": str}
SOLVED_CONFIGURATION = {
    "format_version": int,
    "family": OBJECT,
    "num_samples": int,
    "solver": {"type": str, "rtol": (int, float)},
    "ordering": str,
    "segment_size": int,
}
SIMULATED_CONFIGURATION = {
    "format_version": int,
    "flow": OBJECT,
    "state": {"type": str, "time": (int, float), "sha256": str},
    "spin_up": int,
    "interval": int,
    "num_snapshots": int,
    "shape": [int],
    "dtype": str,
    "segment_size": int,
}
_COUNTS = ("num_samples", "num_snapshots", "interval", "segment_size")


class DamagedError(ValueError):
    """A file of a store does not hold what krylax writes there."""

    def __init__(self, path: Path, why: str, advice: str) -> None:
        super().__init__(f"{path} is damaged ({why}): {advice}")


def read_object(path: Path, form: Any, advice: str) -> dict[str, Any]:
    """Return the JSON object in a file.

    Args:
        path: the file.
        form: as above.
        advice: what to do if it is damaged.

    Raises:
        DamagedError: it is not JSON, or not of that form.
        ValueError: it is no plain file.
    """
    with open_plain(path) as file:
        data = file.read()
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"no JSON: {error}", advice) from None
    why = misfit(value, form)
    if why is not None:
        raise DamagedError(path, why, advice)
    return value


def misfit(value: Any, form: Any, name: str = "it") -> str | None:
    """Return what is wrong with the form of a value, None if nothing is."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return f"{name} is no object"
        if ... in form:
            form = dict.fromkeys(value, form[...])
        missing = [key for key in form if key not in value]
        if missing:
            return f"{name} has no {missing[0]!r}"
        parts = [(value[key], part, f"{key!r}") for key, part in form.items()]
    elif isinstance(form, list):
        if not isinstance(value, list):
            return f"{name} is no list"
        parts = [(item, form[0], f"an item of {name}") for item in value]
    else:
        is_bool = isinstance(value, bool)
        wrong = is_bool or not isinstance(value, form)
        return f"{name} is {str(value)[:40]!r}" if wrong else None
    found = (misfit(*part) for part in parts)
    return next((why for why in found if why is not None), None)


def configuration_misfit(configuration: Any, form: Any = None) -> str | None:
    """Return what is wrong with a stored configuration, None if nothing is.

    Args:
        configuration: of solved systems, or of a flow that is simulated.
        form: which of these; by default whichever it says that it is.
    """
    if form is None:
        is_flow = isinstance(configuration, dict) and "flow" in configuration
        form = SIMULATED_CONFIGURATION if is_flow else SOLVED_CONFIGURATION
    why = misfit(configuration, form, "the configuration")
    if why is None:
        for name in _COUNTS:
            if name in form and configuration[name] < 1:
                return f"{name!r} is {configuration[name]}"
    return why
