"""The file of `--config`: TOML whose keys are the options of `generate`."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def expanded(arguments: list[str], options: Mapping[str, set[str]]) -> list[str]:
    """Return the arguments with a configuration file's entries put before them.

    The last of two equal options wins, so the command line wins over the file.

    Args:
        arguments: those of the command line.
        options: what a file may set, by the name of the family.

    Raises:
        ValueError: the file is no TOML, or holds a table or an unknown key.
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


def _from_file(path: str, family: str, known: set[str]) -> list[str]:
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
        tokens += _tokens(f"--{name.replace('_', '-')}", value)
    return tokens


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
