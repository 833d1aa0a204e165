"""Errors over the number of points: they fall where the grid has two per wavelength.

The authors' logs have the same for both rows, after 10⁵ steps of Adam.
"""

import json
from pathlib import Path
from typing import Any

import paper_rows
import table as rows_table
from tables import table

TITLE = "Over the number of points"
PARTS = ("P3", "P6")
FAST_PARTS = ("P3",)
NUMBERS = {
    "P3": (100, 150, 200, 210, 220, 240, 260, 300, 400, 600),
    "P6": (100, 150, 200, 210, 220, 240, 300, 400),
}
# Of the largest frequency, in points on the interval: 2 f L + 1.
NEEDED = {"P3": 213, "P6": 201}
METHODS = ("gaussian", "matern", "chebyshev")
TITLES = {"gaussian": "Gaussian", "matern": "Matérn", "chebyshev": "Chebyshev"}
LOGGED = {
    "P3": {"GM": {300: 1.55e-5, 400: 1.52e-6}, "StM": {300: 3.88e-6, 400: 5.47e-6}},
    "P6": {
        "GM": {100: 0.376, 200: 9.7e-4, 300: 4.69e-6, 400: 6.46e-5},
        "StM": {100: 0.170, 200: 7.4e-2, 300: 1.5e-4, 400: 6.87e-5},
    },
}


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return what each method gives on each grid."""
    path = folder / f"resolution-{part}.rows"
    found = json.loads(path.read_text()) if path.exists() else {}
    (row,) = (row for row in paper_rows.ROWS if row.name == part)
    for method in METHODS:
        for num_points in NUMBERS[part][:1] if is_fast else NUMBERS[part]:
            key = f"{method} {num_points}"
            if key not in found:
                found[key] = rows_table.measure(row, method, num_points)
                print(part, key, rows_table.summary(found[key]), flush=True)
                path.write_text(json.dumps(found))
    path.unlink(missing_ok=True)
    return {"grids": found}


def markdown(found: dict[str, Any]) -> str:
    """Return a table per row."""
    sections = [
        "Relative errors; * is a warning of the solver. In the logs of the paper's "
        "authors all grids of P3 with up to 200 points have errors of 0.78 to 1.0."
    ]
    for part, of in found.items():
        header = ["N", *TITLES.values(), "GM, logged", "StM, logged"]
        lines = [
            [
                str(n),
                *(_cell(of["grids"].get(f"{method} {n}")) for method in METHODS),
                *(_logged(LOGGED[part][kind].get(n)) for kind in ("GM", "StM")),
            ]
            for n in NUMBERS[part]
        ]
        title = f"{part}; {NEEDED[part]} points are two per wavelength."
        sections += [title, table(header, lines)]
    return "\n\n".join(sections)


def _cell(of: dict[str, Any] | None) -> str:
    if of is None:
        return ""
    if "failure" in of:
        return "fails"
    return f"{of['error']:.1e}" + ("*" if of.get("warnings") else "")


def _logged(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def draw(found: dict[str, Any], folder: Path) -> None:
    """Draw errors over points, where matplotlib is installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(found), figsize=(5 * len(found), 4), sharey=True, squeeze=False
    )
    for ax, (part, of) in zip(axes[0], found.items(), strict=True):
        for method in METHODS:
            points = {
                n: of["grids"].get(f"{method} {n}", {}).get("error")
                for n in NUMBERS[part]
            }
            drawn = [(n, error) for n, error in points.items() if error is not None]
            ax.semilogy(*zip(*drawn, strict=True), "o-", label=TITLES[method])
        for kind, logged in LOGGED[part].items():
            ax.semilogy(
                *zip(*logged.items(), strict=True), "x:", label=f"{kind}, logged"
            )
        ax.axvline(NEEDED[part], color="grey", lw=0.8)
        ax.set(title=part, xlabel="points per axis", ylim=(1e-14, 1e2))
    axes[0, 0].set_ylabel("relative error")
    axes[0, -1].legend()
    figure.savefig(folder / "resolution.png", dpi=120, bbox_inches="tight")
    plt.close(figure)
