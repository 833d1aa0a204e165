"""The results as Markdown, one table per problem, fastest first, losses included."""

from collections.abc import Iterable
from typing import Any

HEADER = (
    "| method | package | iterations | compile, s | set-up, ms | solve, ms | {per} | "
    "ratio | residual | runs |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def markdown(results: dict[str, Any]) -> str:
    """Return the page of all measured cases."""
    return "\n\n".join(["# Results", *map(section, results, results.values())]) + "\n"


def section(name: str, case: dict[str, Any]) -> str:
    """Return the tables of a case, and where it was measured."""
    tables = [problem_table(case["per"], problem) for problem in case["problems"]]
    return "\n\n".join([f"## {name}", case["question"], *tables, conditions(case)])


def problem_table(per: str, problem: dict[str, Any]) -> str:
    """Return the table of a problem."""
    count = problem["num_systems"]
    rows = [_with_figure(row, per, count) for row in problem["rows"]]
    ours = [row["figure"] for row in rows if _is_ranked(row, "krylax")]
    best = min(ours, default=None)
    lines = [_line(row, best) for row in sorted(rows, key=_order)]
    title = f"{problem['problem']}, tolerance {problem['rtol']:.0e}"
    return "\n".join([title, "", HEADER.format(per=f"**ms per {per}**"), *lines])


def _with_figure(row: dict[str, Any], per: str, num_systems: int) -> dict[str, Any]:
    """Add the compared time, in seconds; None where there is none."""
    if "total" not in row:
        return row | {"figure": None}
    if per == "iteration":
        steps = row["iterations"]
        return row | {"figure": row["solve"] / steps if steps else None}
    return row | {"figure": row["total"] / num_systems}


def _is_ranked(row: dict[str, Any], package: str) -> bool:
    is_solved = row["status"] == "ok" and row["figure"] is not None
    return is_solved and row["package"] == package


def _order(row: dict[str, Any]) -> tuple[bool, float]:
    return row["status"] != "ok", row["figure"] or float("inf")


def _line(row: dict[str, Any], best: float | None) -> str:
    name = f"**{row['method']}**" if row["package"] == "krylax" else row["method"]
    if "total" not in row:
        cells = [name, row["package"], row["status"], *[""] * 7]
        return _join(cells)
    ratio = row["figure"] / best if best and row["figure"] else None
    if row["status"] != "ok":
        ratio, name = None, f"{name} ({row['status']})"
    cells = [
        name,
        row["package"],
        _number(row["iterations"]),
        _number(row["compile"] or None),
        _number(1e3 * row["setup"] or None),
        _number(1e3 * row["solve"]),
        _number(1e3 * row["figure"] if row["figure"] else None),
        _number(ratio),
        "" if row["residual"] is None else f"{row['residual']:.1e}",
        str(len(row["totals"])),
    ]
    return _join(cells)


def conditions(case: dict[str, Any]) -> str:
    """Return where and with what something was measured."""
    machine = case["machine"]
    cores, memory = case["num_cores"], machine["memory_gib"]
    found = [f"{name} {v}" for name, v in case["versions"].items() if v is not None]
    petsc = "; PETSc is one process" if "PETSc" in case["versions"] else ""
    return (
        f"Measured {case['date']} on {cores} of {machine['cores']} cores of "
        f"{machine['processor']} with {memory} GiB, {machine['system']}; load before "
        f"{machine['load']:.1f}. Every package may use as many threads as cores"
        f"{petsc}. Python {machine['python']}, {', '.join(found)}."
    )


def _number(value: float | None) -> str:
    """Three significant digits, without exponents."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 1e-3 else f"{value:.4f}"


def _join(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
