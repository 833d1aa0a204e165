"""The regret of the learners, drawn."""

from pathlib import Path
from typing import Any

LEFT_OUT = ("ω = ", "instance-optimal", "Uniform")
"""Rows without a curve: they learn nothing, or have no regret."""


def draw_regret(found: dict[str, Any], path: Path) -> None:
    """Draw cumulative steps beyond instance-optimal, a panel per law."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    laws = [law for law in ("low", "high") if law in found]
    figure, axes = pyplot.subplots(
        1, len(laws), figsize=(5 * len(laws), 4.2), sharey=True, squeeze=False
    )
    for axis, law in zip(axes[0], laws, strict=True):
        rows = found[law]["found"][law]
        shown = [name for name in rows if not name.startswith(LEFT_OUT)]
        for place, name in enumerate(shown):
            dashed = name in ("best fixed", "Young's ω*(c)")
            axis.loglog(
                found[law]["rounds"],
                # Young's factor, between arms, may be better than all arms.
                [max(regret, 1.0) for regret in rows[name]["regret"]],
                color="0.4" if dashed else f"C{place}",
                linestyle=("--" if name == "best fixed" else ":") if dashed else "-",
                label=name,
            )
        axis.set_title(f"{law} variance")
        axis.set_xlabel("instances")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("cumulative steps beyond instance-optimal")
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
