"""The data card: what a data set is, for someone who finds only its folder."""

from collections.abc import Mapping
from typing import Any

from ._record import record_text
from ._segments import Criterion

_ENTRIES = (
    ("equation", "Equation"),
    ("domain", "Domain"),
    ("boundary", "Boundary conditions"),
    ("discretisation", "Discretisation"),
    ("spacing", "Spacing per axis"),
    ("right_hand_side", "Right-hand side"),
    ("parameters", "Parameters"),
)


def data_card(
    attributes: dict[str, Any],
    criterion: Criterion,
    num_attained: int,
    method: Mapping[str, str],
) -> str:
    """Return the data card in Markdown.

    Args:
        attributes: of the data set.
        criterion: when a sample is certified.
        num_attained: how many samples ended with a residual at rounding level.
        method: how samples were solved, titles and texts.
    """
    card, configuration = attributes["card"], attributes["configuration"]
    num_samples, num_failed = configuration["num_samples"], len(attributes["failed"])
    lines = [
        f"# {card['title']}",
        "",
        f"{num_samples} samples, {num_samples - num_failed} certified, {num_failed} "
        "failed.",
        "",
        *table([(title, card[key]) for key, title in _ENTRIES]),
        "",
        "## Checks passed",
        "",
        *_checks(criterion, num_attained),
        "",
        f"Failed samples: {_numbers(attributes['failed'])}.",
        "",
        "## Provenance",
        "",
        *table(_provenance(attributes, method)),
        "",
        "Samples are stored in the order of their ids; `solve_position` is the place "
        "in the order in which they were solved. `manifest.json` holds the SHA-256 of "
        "every file; `krylax verify` checks them and computes every residual again.",
    ]
    return "\n".join(lines) + "\n"


def trajectory_card(attributes: dict[str, Any]) -> str:
    """Return the card of a trajectory in Markdown.

    Args:
        attributes: of the trajectory.
    """
    card, configuration = attributes["card"], attributes["configuration"]
    about = [(title, card[key]) for key, title in _ENTRIES if key in card]
    versions = attributes["versions"].items()
    rows = [
        ("Flow", record_text(configuration["flow"])),
        ("State at the start, SHA-256", f"`{configuration['state']['sha256']}`"),
        ("Steps before the first snapshot", str(configuration["spin_up"])),
        ("Steps between snapshots", str(configuration["interval"])),
        ("Segment size", str(configuration["segment_size"])),
        ("Configuration SHA-256", f"`{attributes['configuration_hash']}`"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions)),
        ("Format", f"Zarr v3, krylax trajectory {attributes['format_version']}"),
    ]
    lines = [
        f"# {card['title']}",
        "",
        f"{configuration['num_snapshots']} snapshots of the velocity on "
        f"{' x '.join(map(str, configuration['shape']))} points.",
        "",
        *table(about),
        "",
        "## Provenance",
        "",
        *table(rows),
        "",
        "`state.*` is the state of the simulation at the last snapshot. "
        "`manifest.json` holds the SHA-256 of every file; `krylax verify` checks them.",
    ]
    return "\n".join(lines) + "\n"


def _checks(criterion: Criterion, num_attained: int) -> list[str]:
    residual = "Every certified solution's true relative residual |f - A u| / |f| is"
    if not criterion.takes_attained:
        return [
            f"{residual} at most {criterion.rtol:g}; the array `relative_residual` "
            "holds it. The solution of a failed sample is NaN and its `status` is not "
            "0."
        ]
    return [
        f"{residual} at most {criterion.rtol:g}, or, where `status` is 9 (attained), "
        "at most what rounding to 32 bits allows, 4 eps (|A| |u| + |f|) / |f|. The "
        "arrays `relative_residual` and `attainable` hold the residual and that bound, "
        "which is 0 where the tolerance is met. The solution of a failed sample is "
        "NaN.",
        "",
        f"Attained: {num_attained} samples.",
    ]


def _provenance(
    attributes: dict[str, Any], method: Mapping[str, str]
) -> list[tuple[str, str]]:
    configuration = attributes["configuration"]
    versions = attributes["versions"].items()
    return [
        ("Family", record_text(configuration["family"])),
        *method.items(),
        ("Ordering", configuration["ordering"]),
        ("Segment size", str(configuration["segment_size"])),
        ("Configuration SHA-256", f"`{attributes['configuration_hash']}`"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions)),
        ("Format", f"Zarr v3, krylax format {attributes['format_version']}"),
    ]


def table(rows: list[tuple[str, str]]) -> list[str]:
    """Return the lines of a Markdown table of two columns without titles."""
    body = [f"| {key} | {value.replace('|', chr(92) + '|')} |" for key, value in rows]
    return ["| | |", "|---|---|", *body]


def _numbers(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) if numbers else "none"
