"""Markdown tables."""

from collections.abc import Iterable


def table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; all columns but the first are figures."""
    header = list(header)
    rule = ["---", *["--:"] * (len(header) - 1)]
    rows = [header, rule, *map(list, lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def number(value: float) -> str:
    """One decimal below a thousand, none above."""
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"
