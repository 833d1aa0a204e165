"""The regret of the learners, drawn."""

from pathlib import Path
from typing import Any

LEFT_OUT = ("ω = ", "instance-optimal", "Young", "Uniform")
"""Rows without a curve: they learn nothing, or have no regret, or a negative one."""


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
            is_learner = name != "best fixed"
            axis.loglog(
                found[law]["rounds"],
                rows[name]["regret"],
                color=f"C{place}" if is_learner else "0.4",
                linestyle="-" if is_learner else "--",
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
