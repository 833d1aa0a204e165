"""The results as Markdown, one table per problem, fastest first, losses included.

A case that names the rivals it is against has one table per size, a line per problem.
"""

from collections.abc import Iterable
from itertools import groupby
from statistics import geometric_mean
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
    if case.get("against"):
        sizes = groupby(case["problems"], lambda p: p["problem"].rpartition(", ")[2])
        tables = [survey(size, [*found], case["against"]) for size, found in sizes]
    else:
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


def survey(size: str, problems: list[dict[str, Any]], against: list[str]) -> str:
    """Return the table of problems of a size: "ms (steps)", a column per method.

    The last columns divide the time of the best rival by that of a method of ours. A
    method that missed the tolerance shows its true residual.
    """
    methods = [(row["method"], row["package"]) for row in problems[0]["rows"]]
    ours = [method for method, package in methods if package == "krylax"]
    head = [
        "problem",
        *[f"**{m}**" if p == "krylax" else f"{m}, {p}" for m, p in methods],
        *[f"best rival / {method.removeprefix('CG + ')}" for method in ours],
    ]
    lines = [head, ["---", *["--:"] * (len(head) - 1)]]
    figures: list[list[float | None]] = []
    for problem in problems:
        rows = {row["method"]: row for row in problem["rows"]}
        times = {m: row["total"] for m, row in rows.items() if row["status"] == "ok"}
        best = min((times[m] for m in against if m in times), default=None)
        ratios = [best / times[m] if best and m in times else None for m in ours]
        figures.append([*[_milliseconds(times.get(m)) for m, _ in methods], *ratios])
        name = problem["problem"].rpartition(", ")[0]
        cells = [_survey_cell(rows[m]) for m, _ in methods]
        lines.append([name, *cells, *map(_number, ratios)])
    known = [[f for f in column if f] for column in zip(*figures, strict=True)]
    means = [_number(geometric_mean(column)) if column else "" for column in known]
    lines.append(["**geometric mean**", *means])
    lines.append(["solved", *[f"{len(column)} of {len(problems)}" for column in known]])
    title = f"{size}, tolerance {problems[0]['rtol']:.0e}: ms (iterations)"
    return "\n".join([title, "", *map(_join, lines), "", _compiled(problems)])


def _survey_cell(row: dict[str, Any]) -> str:
    if row["status"] == "misses the tolerance":
        return f"missed: {row['residual']:.1e}"
    if row["status"] != "ok":
        return row["status"].partition(":")[0]
    steps = row["iterations"]
    return _number(_milliseconds(row["total"])) + (f" ({steps:.0f})" if steps else "")


def _compiled(problems: list[dict[str, Any]]) -> str:
    """What the table of a survey leaves out: compilation, and the largest residual."""
    rows = [row for problem in problems for row in problem["rows"]]
    longest: dict[str, float] = {}
    for row in rows:
        if row.get("compile"):
            seconds = max(row["compile"], longest.get(row["method"], 0.0))
            longest[row["method"]] = seconds
    found = ", ".join(f"{method} {_number(s)} s" for method, s in longest.items())
    worst = max(row["residual"] for row in rows if row["status"] == "ok")
    return (
        f"Compiled once for all coefficients, apart from these times: {found}. Largest "
        f"relative residual of those that solved: {worst:.2e}."
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


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
