"""The state of a training in a file, and whether it is that of the same training."""

import hashlib
import json
import re
from dataclasses import fields
from functools import partial
from os import PathLike
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ...operators._arguments import shown
from ._checkpoint import read_arrays, write_arrays
from ._loop import State
from ._settings import Settings

KIND = "training"
VERSION = 2
AXES = "grid's axes"
"""What is recorded of a grid besides its arrays."""

LONGEST = 200
"""Characters of a name that a message shows as it is."""

SHOWN = 3
"""Entries of a model that a message shows."""


def recorded_of(
    model: Any, settings: Settings, more: dict[str, Any] | None
) -> dict[str, Any]:
    """What decides the result of a training, as JSON gives it back."""
    decisive = {field.name: getattr(settings, field.name) for field in fields(settings)}
    for name in ("checkpoint", "progress"):
        decisive.pop(name)
    for name in ("loss", "augment"):
        if callable(function := decisive[name]):
            decisive[name] = recorded_function(function)
    start = {"model": described(model), "weights at the start": fingerprint(model)}
    recorded = {"settings": decisive, **start, **(more or {})}
    return json.loads(json.dumps(recorded, default=np.generic.item))


def name_of(function: Any) -> str:
    """Return where a function or an object is defined."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def recorded_function(function: Any) -> Any:
    """Return where a function is defined, and what is bound to it."""
    if isinstance(function, partial):
        bound: Any = function.func, function.args, function.keywords
    elif isinstance(function, eqx.Module):
        bound = function
    else:
        return name_of(function)
    return [name_of(function), *described(bound), fingerprint(bound)]


def described(model: Any) -> list[str]:
    """Return all of a model but its arrays, a part on each line."""
    static = eqx.filter(model, eqx.is_array, inverse=True)
    # Where something lies in the memory says nothing of it.
    text = re.sub(" at 0x[0-9a-f]+", "", eqx.tree_pformat(static, width=1))
    return [line.strip(" ,") for line in text.splitlines()]


def fingerprint(model: Any) -> str:
    """Return the SHA-256 of the arrays of a tree."""
    digest = hashlib.sha256()
    for array in jax.tree.leaves(eqx.filter(model, eqx.is_array)):
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


def write_state(
    path: str | PathLike[str], state: State, recorded: dict[str, Any]
) -> None:
    """Write a state and what it is the state of."""
    leaves, _ = _named(state)
    write_arrays(path, KIND, VERSION, recorded, leaves)


def read_state(
    path: str | PathLike[str], state: State, recorded: dict[str, Any]
) -> State:
    """Read a state of the structure of another one, of the same training.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of another training; the message says what
            differs.
    """
    found = read_arrays(path, KIND, VERSION)
    expected, treedef = _named(state)
    theirs = dict(found.configuration)
    if AXES in recorded:
        # Earlier states say nothing of them.
        theirs.setdefault(AXES, recorded[AXES])
    changes = differences(theirs, recorded)
    names = sorted(found.arrays.keys() ^ expected.keys())
    if names and not changes:
        changes.append(f"it and this one differ in the arrays {shown(names)}")
    if changes:
        raise ValueError(
            f"{path} is the state of another training: {', '.join(changes)}; continue "
            "that one with its settings, or give another place"
        )
    histories = {".loss", ".validated", ".validation", ".seconds"}
    for name, leaf in expected.items():
        other = found.arrays[name]
        is_history = name in histories and other.ndim == 1
        is_same = other.shape == leaf.shape or is_history
        if not is_same or other.dtype != leaf.dtype:
            raise ValueError(
                f"{path} holds {name} of shape {other.shape} and dtype "
                f"{other.dtype.name}, expected {leaf.shape} and {leaf.dtype.name}; "
                "give another place"
            )
    arrays = jax.tree.unflatten(treedef, [found.arrays[name] for name in expected])
    return eqx.combine(arrays, eqx.filter(state, eqx.is_array, inverse=True))


def differences(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """Return what differs, and of lists and tables the entries that differ."""
    changes = []
    for name in sorted(theirs.keys() | ours.keys()):
        a, b = theirs.get(name), ours.get(name)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            changes += [f"{name} {change}" for change in differences(a, b)]
        elif isinstance(a, list) and isinstance(b, list):
            changes += [f"{name} {change}" for change in _changed_entries(a, b)]
        elif _is_sum(a) and _is_sum(b):
            changes.append(f"{name} not the same")
        else:
            changes.append(f"{name} {_short(a)}, here {_short(b)}")
    if theirs.get("model") != ours.get("model"):
        # The weights of another model are others.
        changes = [change for change in changes if not change.startswith("weights at")]
    return changes


def _changed_entries(a: list[Any], b: list[Any]) -> list[str]:
    """The entries that differ in two descriptions, some of them where they are many."""
    if a and b and str(a[0]).endswith("(") and a[0] != b[0]:
        return [f"{_class_of(a)}, here {_class_of(b)}"]
    old, new = _entries(a), _entries(b)
    names = [n for n in {**old, **new} if old.get(n) != new.get(n)]
    if not names:
        alone = [x for x in a if x not in b], [x for x in b if x not in a]
        old, new = alone if any(alone) else (a, b)
        return [f"{shown(old)}, here {shown(new)}"]
    # A description leaves out what is as the class has it by default.
    changes = [
        f"{name} {old.get(name, 'by default')}, here {new.get(name, 'by default')}"
        for name in names[:SHOWN]
    ]
    more = len(names) - SHOWN
    return changes + ([f"and {more} other entries"] if more > 0 else [])


def _class_of(description: list[Any]) -> str:
    return str(description[0]).removesuffix("(") or "a tuple"


def _entries(lines: list[Any]) -> dict[str, str]:
    """The attributes in a description by name, of equal names the last one."""
    found: dict[str, str] = {}
    opened: list[tuple[str, list[str]]] = [("", [])]
    for line in map(str, lines):
        if line.endswith(("(", "[")):
            opened.append((line[:-1], []))
        elif line in (")", "]") and len(opened) > 1:
            name, items = opened.pop()
            value = f"({', '.join(items)})"
            if name.endswith("="):
                found.update({name[:-1]: value} if items else {})
            elif not name and len(items) == 2 and items[0].startswith("'"):
                found[items[0].strip("'")] = items[1]
            elif not name:
                opened[-1][1].append(value)
        elif "=" in line:
            name, _, value = line.partition("=")
            found[name] = value
        else:
            opened[-1][1].append(line)
    return found


def _short(value: Any) -> str:
    return value if isinstance(value, str) and len(value) < LONGEST else shown(value)


def _is_sum(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _named(state: State) -> tuple[dict[str, Any], Any]:
    """The arrays of a state by name, and the tree that they are leaves of."""
    arrays = eqx.filter(state, eqx.is_array)
    leaves, treedef = jax.tree.flatten_with_path(arrays)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}, treedef
