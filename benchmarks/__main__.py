"""krylax against its rivals.

    python benchmarks [--fast] [--only NAME ...] [--problems TEXT] [--missing]
        [--out FOLDER]

Each case is measured in a process of its own, which is held to its cores, and written
to NAME.json; results.json and results.md collect all that the folder holds. So a run
can be stopped, and cases be measured again one by one. README.md says how and why.
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

from cases import CASES
from machine import available_cores, describe_machine, environment, versions
from measure import measure
from report import markdown
from rivals import petsc


def main() -> None:
    """Measure what is asked for, and write the tables."""
    parser = argparse.ArgumentParser(description="krylax against its rivals.")
    parser.add_argument(
        "--fast", action="store_true", help="small sizes, two runs of each row"
    )
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--missing", action="store_true", help="skip measured cases")
    parser.add_argument(
        "--out",
        type=Path,
        help="build/bench unless given, with --fast build/bench-fast",
    )
    parser.add_argument(
        "--here", action="store_true", help="in this process and on all its cores"
    )
    parser.add_argument(
        "--problems", default="", metavar="TEXT", help="those whose names hold TEXT"
    )
    arguments = parser.parse_args()
    folder = arguments.out or Path(f"build/bench{'-fast' if arguments.fast else ''}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        if arguments.missing and (folder / f"{name}.json").exists():
            continue
        run = measure_here if arguments.here else measure_apart
        start = time.perf_counter()
        run(name, folder, is_fast=arguments.fast, text=arguments.problems)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    collect(folder)


def measure_apart(name: str, folder: Path, *, is_fast: bool, text: str) -> None:
    """Measure a case in a new process, on its cores alone."""
    cores = available_cores()
    used = cores[: CASES[name].num_cores]
    command = [sys.executable, str(Path(__file__).parent), "--here"]
    command += ["--only", name, "--out", str(folder), *["--fast"] * is_fast]
    command += ["--problems", text]
    # A process starts on the cores of the one that starts it, as with taskset.
    os.sched_setaffinity(0, used)
    try:
        subprocess.run(
            command, env=environment(len(used)), check=True, stdout=subprocess.DEVNULL
        )
    finally:
        os.sched_setaffinity(0, cores)


def measure_here(name: str, folder: Path, *, is_fast: bool, text: str) -> None:
    """Measure a case in this process and write its file."""
    case, machine = CASES[name], describe_machine()
    found: dict[str, Any] = {
        "question": case.question,
        "per": case.per,
        "against": case.against,
        "is_fast": is_fast,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "num_cores": len(available_cores()),
        "machine": machine,
        "versions": versions() | {"PETSc": petsc.version()},
        "problems": measure(case, is_fast=is_fast, text=text),
    }
    # Renamed when complete, so that a run that is stopped leaves no half of a file.
    draft = folder / f"{name}.part"
    draft.write_text(json.dumps(found, indent=1))
    draft.rename(folder / f"{name}.json")


def collect(folder: Path) -> None:
    """Write results.json, which keeps what it had, and results.md."""
    collected = folder / "results.json"
    known = json.loads(collected.read_text()) if collected.exists() else {}
    results = {}
    for name in CASES:
        path = folder / f"{name}.json"
        if path.exists():
            results[name] = json.loads(path.read_text())
        elif name in known:
            results[name] = known[name]
    collected.write_text(json.dumps(results))
    (folder / "results.md").write_text(markdown(results))


if __name__ == "__main__":
    main()
