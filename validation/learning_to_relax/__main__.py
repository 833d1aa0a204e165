"""Experiments of Learning to Relax, measured again.

    python validation/learning_to_relax [--fast] [--only STAGE ...] [--redo]
        [--out FOLDER]

A stage has parts; each is measured in a process of its own and written to
STAGE-PART.json as soon as it is done. What is there already is skipped, so that a run
can be stopped and taken up. results.json, results.md and regret.png collect all that
the folder holds. README.md says what is compared, and how.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import shifted
from plots import draw_regret

# What a smoke run spends its time on is compiling, which these make twice as fast.
FAST_FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1"
STAGES: dict[str, Any] = {"shifted": shifted}


def main() -> None:
    """Measure what is asked for and not there yet, and write the tables."""
    parser = argparse.ArgumentParser(description="Learning to Relax, measured again.")
    parser.add_argument("--fast", action="store_true", help="in small sizes")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--redo", action="store_true", help="measure again")
    parser.add_argument(
        "--out",
        type=Path,
        help="build/learning_to_relax unless given, with --fast another",
    )
    parser.add_argument(
        "--part", nargs=2, metavar=("STAGE", "PART"), help="one part, in this process"
    )
    arguments = parser.parse_args()
    name = f"learning_to_relax{'-fast' if arguments.fast else ''}"
    folder = arguments.out or Path("build") / name
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.part:
        stage, part = arguments.part
        measure_here(stage, part, folder, is_fast=arguments.fast)
        return
    for stage in arguments.only:
        module = STAGES[stage]
        for part in module.FAST_PARTS if arguments.fast else module.PARTS:
            if arguments.redo or not _path(folder, stage, part).exists():
                start = time.perf_counter()
                measure_apart(stage, part, folder, is_fast=arguments.fast)
                seconds = time.perf_counter() - start
                print(f"{stage}, {part}: {seconds:.0f} s", flush=True)
    collect(folder)


def measure_apart(stage: str, part: str, folder: Path, *, is_fast: bool) -> None:
    """Measure a part in a new process, whose memory ends with it."""
    script = str(Path(__file__).parent)
    command = [sys.executable, script, "--part", stage, part, "--out", str(folder)]
    variables = dict(os.environ)
    if is_fast:
        command.append("--fast")
        variables["XLA_FLAGS"] = FAST_FLAGS
    subprocess.run(command, env=variables, check=True)


def measure_here(stage: str, part: str, folder: Path, *, is_fast: bool) -> None:
    """Measure a part in this process and write its file."""
    found = {
        "is_fast": is_fast,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "versions": {name: version(name) for name in ("krylax", "jax", "numpy")},
        **STAGES[stage].measure_part(part, folder, is_fast=is_fast),
    }
    # Renamed when complete, so that a run that is stopped leaves no half of a file.
    draft = folder / f"{stage}-{part}.part"
    draft.write_text(json.dumps(found))
    draft.rename(_path(folder, stage, part))


def collect(folder: Path) -> None:
    """Write results.json, results.md and the figure from the files of the parts."""
    results = {}
    for stage, module in STAGES.items():
        paths = {part: _path(folder, stage, part) for part in module.PARTS}
        results[stage] = {
            part: json.loads(path.read_text())
            for part, path in paths.items()
            if path.exists()
        }
    (folder / "results.json").write_text(json.dumps(results))
    sections = [_section(stage, found) for stage, found in results.items() if found]
    (folder / "results.md").write_text("\n\n".join(["# Results", *sections]) + "\n")
    if {"low", "high"} & set(results["shifted"]):
        draw_regret(results["shifted"], folder / "regret.png")


def _section(stage: str, found: dict[str, Any]) -> str:
    module = STAGES[stage]
    said = dict.fromkeys(_conditions(part) for part in found.values())
    return "\n\n".join([f"## {module.TITLE}", module.markdown(found), *said])


def _conditions(part: dict[str, Any]) -> str:
    found = ", ".join(f"{name} {number}" for name, number in part["versions"].items())
    size = " In small sizes: the figures mean nothing." if part["is_fast"] else ""
    return f"Measured {part['date']} with {found}.{size}"


def _path(folder: Path, stage: str, part: str) -> Path:
    return folder / f"{stage}-{part}.json"


if __name__ == "__main__":
    main()
