"""Markdown tables, with what missed the tolerance marked."""

from collections.abc import Iterable
from typing import Any


def table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; all columns but the first are figures."""
    header = list(header)
    rule = ["---", *["--:"] * (len(header) - 1)]
    filled = [[*line, *[""] * len(header)][: len(header)] for line in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *filled])


def number(value: float) -> str:
    """Three significant digits, without exponents."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def mark_missed(outcome: dict[str, Any] | None, key: str) -> str:
    """Return the figure; where systems missed the tolerance it is a floor.

    How many missed stands beside the steps. There is no outcome of a package that is
    not installed.
    """
    if outcome is None:
        return "not installed" if key == "steps" else ""
    text = number(outcome[key])
    if outcome["missed"] == 0:
        return text
    count = f" ({outcome['missed']} missed)" if key == "steps" else ""
    return f"≥ {text}{count}"


def ratio(one: dict[str, Any] | None, other: dict[str, Any], key: str) -> str:
    """Return one over the other; a floor where only the first missed systems."""
    if one is None or other["missed"]:
        return "–"
    return ("≥ " if one["missed"] else "") + number(one[key] / other[key])
