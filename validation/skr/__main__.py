"""The tables of Sorting Krylov Recycling, measured again.

    python validation/skr [--fast] [--only STAGE ...] [--redo] [--out FOLDER]

A stage is a table, in parts; each part is measured in a process of its own on one core
and written to STAGE-PART.json as soon as it is done. What is there already is skipped,
so that a run can be stopped and taken up. results.json and results.md collect all that
the folder holds. README.md says what is compared, and how.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

HERE = Path(__file__).parent
# Rows, problems and the description of the machine are those of the benchmarks.
sys.path.append(str(HERE.parents[1] / "benchmarks"))

import chunks
import fastest
import orders
import preconditioners
from machine import available_cores, describe_machine, environment, versions
from report import conditions
from rivals import petsc

# What a smoke run spends its time on is compiling, which these make twice as fast.
FAST_FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1"
STAGES: dict[str, Any] = {
    "preconditioners": preconditioners,
    "orders": orders,
    "chunks": chunks,
    "fastest": fastest,
}


def main() -> None:
    """Measure what is asked for and not there yet, and write the tables."""
    parser = argparse.ArgumentParser(description="The tables of SKR, measured again.")
    parser.add_argument(
        "--fast", action="store_true", help="a few parts in small sizes"
    )
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--redo", action="store_true", help="measure again")
    parser.add_argument(
        "--out", type=Path, help="build/skr unless given, with --fast build/skr-fast"
    )
    parser.add_argument(
        "--part", nargs=2, metavar=("STAGE", "PART"), help="one part, in this process"
    )
    arguments = parser.parse_args()
    folder = arguments.out or Path(f"build/skr{'-fast' if arguments.fast else ''}")
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
    """Measure a part in a new process, on one core."""
    cores = available_cores()
    command = [sys.executable, str(HERE), "--part", stage, part, "--out", str(folder)]
    variables = environment(1)
    if is_fast:
        command.append("--fast")
        variables["XLA_FLAGS"] = FAST_FLAGS
    # A process starts on the cores of the one that starts it, as with taskset.
    os.sched_setaffinity(0, cores[:1])
    try:
        subprocess.run(command, env=variables, check=True)
    finally:
        os.sched_setaffinity(0, cores)


def measure_here(stage: str, part: str, folder: Path, *, is_fast: bool) -> None:
    """Measure a part in this process and write its file."""
    machine = describe_machine()
    found = {
        "is_fast": is_fast,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "num_cores": len(available_cores()),
        "machine": machine,
        "versions": versions() | {"PETSc": petsc.version()},
        **STAGES[stage].measure_part(part, is_fast=is_fast),
    }
    # Renamed when complete, so that a run that is stopped leaves no half of a file.
    draft = folder / f"{stage}-{part}.part"
    draft.write_text(json.dumps(found, indent=1))
    draft.rename(_path(folder, stage, part))


def collect(folder: Path) -> None:
    """Write results.json and results.md from the files of the parts."""
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


def _section(stage: str, found: dict[str, Any]) -> str:
    module = STAGES[stage]
    said = dict.fromkeys(conditions(part) for part in found.values())
    return "\n\n".join([f"## {module.TITLE}", module.markdown(found), *said])


def _path(folder: Path, stage: str, part: str) -> Path:
    return folder / f"{stage}-{part}.json"


if __name__ == "__main__":
    main()
