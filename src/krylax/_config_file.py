"""The file of `--config`: TOML whose keys are the options of `generate`."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin


def expanded(
    arguments: list[str], options: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return the arguments with a configuration file's entries put before them.

    The last of two equal options wins, so the command line wins over the file.

    Args:
        arguments: those of the command line.
        options: what a file may set, and its type, by the name of the family.

    Raises:
        ValueError: the file is no TOML, or holds a table, an unknown key, or a value
            of another type.
        FileNotFoundError: there is no such file.
    """
    path = _config_path(arguments)
    if arguments[:1] == ["generate"] and arguments[1:2] and path is not None:
        family = arguments[1]
        # The command line's own error names the families.
        tokens = _from_file(path, family, options[family]) if family in options else []
        arguments = [*arguments[:2], *tokens, *arguments[2:]]
    return _with_choices_spelled(arguments)


def _config_path(arguments: list[str]) -> str | None:
    for index, argument in enumerate(arguments):
        if argument.startswith("--config="):
            return argument.removeprefix("--config=")
        if argument == "--config":
            return next(iter(arguments[index + 1 :]), None)
    return None


def _from_file(path: str, family: str, known: Mapping[str, Any]) -> list[str]:
    try:
        entries = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None
    tokens: list[str] = []
    for key, value in entries.items():
        if isinstance(value, dict):
            raise ValueError(
                f"{path}: {key!r} must be a value, not a table; keys are flat, such as "
                "num_samples = 100"
            )
        name = key.replace("-", "_")
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{path}: unknown key {key!r} for {family}{hint}")
        if not _fits(value, known[name]):
            raise ValueError(
                f"{path}: {key!r} must be {_described(known[name])}, got {value!r}"
            )
        tokens += _tokens(f"--{name.replace('_', '-')}", value)
    return tokens


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value of TOML is one of the type of an option."""
    origin, choices = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return isinstance(value, str) and value.replace("-", "_") in choices
    if origin is tuple:
        values = value if isinstance(value, list) else [value]
        is_open = choices[-1:] == (Ellipsis,)
        has_length = len(values) > 0 if is_open else len(values) == len(choices)
        each = [choices[0]] * len(values) if is_open else choices
        return has_length and all(map(_fits, values, each))
    if choices:
        return any(_fits(value, choice) for choice in choices)
    is_flag = isinstance(value, bool)
    kinds = {float: (int, float), Path: (str,)}.get(wanted, (wanted,))
    return isinstance(value, kinds) and (is_flag == (wanted is bool))


def _described(wanted: Any) -> str:
    """A type of an option in words."""
    origin, choices = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, choices))
    if origin is tuple and choices[-1:] == (Ellipsis,):
        return f"a list, each {_described(choices[0])}"
    if origin is tuple:
        return f"a list of {len(choices)}, each {_described(choices[0])}"
    if choices:
        known = [choice for choice in choices if choice is not type(None)]
        return ", or ".join(map(_described, known))
    names = {int: "an integer", float: "a number", bool: "true or false"}
    return names.get(wanted, "a text in quotes")


def _tokens(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option if value else option.replace("--", "--no-", 1)]
    if isinstance(value, list):
        return [option, *map(str, value)]
    return [option, str(value)]


def _with_choices_spelled(arguments: list[str]) -> list[str]:
    # log-normal is as natural on a command line as log_normal is in Python.
    swap = {"log-normal": "log_normal", "two-phase": "two_phase"}
    spelled, option = [], ""
    for argument in arguments:
        known = option == "--coefficient"
        spelled.append(swap.get(argument, argument) if known else argument)
        option = argument
    return spelled
