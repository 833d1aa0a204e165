"""Tables in stages and parts, each measured in a process of its own on one core.

What a validation of a paper has in common with the next: a stage is a table, in parts;
each part is written to STAGE-PART.json as soon as it is done, what is there already is
skipped, so that a run can be stopped and taken up, and results.json and results.md
collect all that the folder holds.

A stage is a module with `TITLE`, `PARTS`, `FAST_PARTS`, `measure_part(part, folder,
is_fast=)`, which returns a dictionary for JSON and may keep what takes long in the
folder, `markdown(found)`, a section of the results, and perhaps `draw(found, folder)`.
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

# What describes the machine is that of the benchmarks.
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from machine import available_cores, describe_machine, environment, versions
from report import conditions

# What a smoke run spends its time on is compiling, which these make twice as fast.
FAST_FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1"


def run(here: Path, stages: dict[str, Any], more_versions: Any = dict) -> None:
    """Measure what is asked for and not there yet, and write the tables.

    Args:
        here: the folder of the validation, after which that of the results is named.
        stages: modules by name.
        more_versions: a function that names what else is measured.
    """
    parser = argparse.ArgumentParser(description=f"The tables of {here.name}.")
    parser.add_argument(
        "--fast", action="store_true", help="a few parts in small sizes"
    )
    parser.add_argument("--only", nargs="+", choices=stages, default=list(stages))
    parser.add_argument("--redo", action="store_true", help="measure again")
    parser.add_argument(
        "--out", type=Path, help=f"build/{here.name} unless given, with --fast -fast"
    )
    parser.add_argument(
        "--part", nargs=2, metavar=("STAGE", "PART"), help="one part, in this process"
    )
    arguments = parser.parse_args()
    suffix = "-fast" if arguments.fast else ""
    folder = arguments.out or Path(f"build/{here.name}{suffix}")
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.part:
        stage, part = arguments.part
        found = stages[stage].measure_part(part, folder, is_fast=arguments.fast)
        write_part(_path(folder, stage, part), found, more_versions(), arguments.fast)
        return
    for stage in arguments.only:
        module = stages[stage]
        for part in module.FAST_PARTS if arguments.fast else module.PARTS:
            if arguments.redo or not _path(folder, stage, part).exists():
                start = time.perf_counter()
                measure_apart(here, stage, part, folder, is_fast=arguments.fast)
                seconds = time.perf_counter() - start
                print(f"{stage}, {part}: {seconds:.0f} s", flush=True)
    collect(stages, folder)


def measure_apart(
    here: Path, stage: str, part: str, folder: Path, *, is_fast: bool
) -> None:
    """Measure a part in a new process, on one core."""
    cores = available_cores()
    command = [sys.executable, str(here), "--part", stage, part, "--out", str(folder)]
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


def write_part(
    path: Path, found: dict[str, Any], more_versions: dict[str, Any], is_fast: bool
) -> None:
    """Write the file of a part, with where and with what it was measured."""
    described = {
        "is_fast": is_fast,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "num_cores": len(available_cores()),
        "machine": describe_machine(),
        "versions": versions() | more_versions,
        **found,
    }
    # Renamed when complete, so that a run that is stopped leaves no half of a file.
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(described, indent=1))
    draft.rename(path)


def collect(stages: dict[str, Any], folder: Path) -> None:
    """Write results.json and results.md from the files of the parts."""
    results = {}
    for stage, module in stages.items():
        paths = {part: _path(folder, stage, part) for part in module.PARTS}
        results[stage] = {
            part: json.loads(path.read_text())
            for part, path in paths.items()
            if path.exists()
        }
    (folder / "results.json").write_text(json.dumps(results))
    sections = [
        _section(stages[stage], found) for stage, found in results.items() if found
    ]
    (folder / "results.md").write_text("\n\n".join(["# Results", *sections]) + "\n")
    for stage, found in results.items():
        if found and hasattr(stages[stage], "draw"):
            stages[stage].draw(found, folder)


def _section(module: Any, found: dict[str, Any]) -> str:
    # The highest load stands for all, or every part would have a sentence of its own.
    load = max(part["machine"]["load"] for part in found.values())
    said = dict.fromkeys(
        conditions(part | {"machine": part["machine"] | {"load": load}})
        for part in found.values()
    )
    return "\n\n".join([f"## {module.TITLE}", module.markdown(found), *said])


def _path(folder: Path, stage: str, part: str) -> Path:
    return folder / f"{stage}-{part}.json"
