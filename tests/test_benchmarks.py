"""The benchmarks run, in small sizes; what they measure there means nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CASES = [
    "cg_poisson_3d",
    "multigrid_poisson_3d",
    "darcy_2d",
    "eager_dense",
    "eager_cg",
    "convection_diffusion",
    "sylvester_2d",
    "batch",
    "float32",
]
SURVEYS = ["hard_coefficients_2d", "hard_coefficients_3d"]


def run_benchmarks(folder: Path, *arguments: str) -> dict[str, Any]:
    """The results of a run in small sizes."""
    subprocess.run(
        [sys.executable, BENCHMARKS, "--fast", "--out", folder, *arguments],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        check=True,
    )
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    run_benchmarks(folder, "--here")
    return folder


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    case = json.loads((folder / f"{name}.json").read_text())
    return [row for problem in case["problems"] for row in problem["rows"]]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, *SURVEYS])
def test_every_row_solves_its_problem_or_is_not_installed(folder: Path, name: str):
    statuses = {row["status"] for row in rows_of(folder, name)}
    assert "ok" in statuses
    assert statuses <= {"ok", "not installed"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, *SURVEYS])
def test_every_row_of_ours_is_ranked(folder: Path, name: str):
    ours = [row for row in rows_of(folder, name) if row["package"] == "krylax"]
    assert ours
    assert {row["status"] for row in ours} == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_table_shows_every_row(folder: Path, name: str):
    text = (folder / "results.md").read_text()
    section = text.split(f"## {name}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    # One line more for the head of the table.
    assert len(lines) == 1 + len(rows_of(folder, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SURVEYS)
def test_a_survey_has_a_line_per_problem_and_a_ratio_per_method_of_ours(
    folder: Path, name: str
):
    text = (folder / "results.md").read_text().split(f"## {name}\n")[1]
    lines = [line for line in text.split("\n## ")[0].splitlines() if line[:2] == "| "]
    case = json.loads((folder / f"{name}.json").read_text())
    # Besides, the head, the line under it, means, and how many were solved.
    assert len(lines) == 4 + len(case["problems"])
    assert lines[0].count("best rival / Multigrid") == 3


@pytest.mark.slow
def test_the_slowest_errors_of_a_coefficient_are_drawn(tmp_path: Path):
    script = BENCHMARKS / "slowest_errors.py"
    options = ["--num-points", "12", "--num-steps", "20", "--rows", "islands 1e6"]
    # The script imports its neighbours, which a safe path leaves out.
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONSAFEPATH": ""}
    subprocess.run([sys.executable, script, tmp_path, *options], env=env, check=True)
    assert (tmp_path / "islands_1e6.png").stat().st_size > 5000


@pytest.mark.slow
def test_a_case_in_its_own_process_uses_its_cores(tmp_path: Path):
    results = run_benchmarks(tmp_path, "--only", "eager_dense")
    assert results["eager_dense"]["num_cores"] == len(os.sched_getaffinity(0))


@pytest.mark.slow
def test_measured_cases_are_skipped_when_resuming(folder: Path):
    before = {name: (folder / f"{name}.json").stat().st_mtime_ns for name in CASES}
    run_benchmarks(folder, "--missing")
    after = {name: (folder / f"{name}.json").stat().st_mtime_ns for name in CASES}
    assert after == before
