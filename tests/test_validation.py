"""The tables of validations are made, in small sizes; their figures mean nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "validation" / "skr"
PART = "chunks-released.json"


def run(folder: Path, *arguments: str, script: Path = SCRIPT) -> None:
    subprocess.run(
        [sys.executable, script, "--fast", "--out", folder, *arguments],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        check=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skr")
    run(folder, "--only", "chunks")
    return folder


@pytest.mark.slow
def test_a_stage_reaches_its_tolerances(folder: Path):
    rows = json.loads((folder / PART).read_text())["rows"]
    assert [row["recycled"]["missed"] for row in rows] == [0, 0, 0]


@pytest.mark.slow
def test_the_page_names_the_machine_and_has_a_line_per_tolerance(folder: Path):
    text = (folder / "results.md").read_text()
    assert "1 of" in text.split("Measured")[1]
    assert text.count("| 1e-05 |") == 1


@pytest.mark.slow
def test_a_measured_part_is_skipped(folder: Path):
    before = (folder / PART).stat().st_mtime_ns
    run(folder, "--only", "chunks")
    assert (folder / PART).stat().st_mtime_ns == before


@pytest.mark.slow
def test_learning_to_relax_has_a_line_per_tuner_and_a_picture(tmp_path: Path):
    script = SCRIPT.with_name("learning_to_relax")
    run(tmp_path, "--only", "shifted", script=script)
    text = (tmp_path / "results.md").read_text()
    assert text.count("| ChebCB |") == 3
    assert (tmp_path / "regret.png").stat().st_size > 1000


@pytest.mark.slow
def test_gaussian_process_has_a_line_per_row_and_a_rival_that_agrees(tmp_path: Path):
    run(tmp_path, "--only", "paper", script=SCRIPT.with_name("gaussian_process"))
    assert (tmp_path / "results.md").read_text().count("| P2 sin 1 |") == 3
    parts = [
        json.loads((tmp_path / f"paper-{part}.json").read_text())["rows"]
        for part in ("gaussian", "chebyshev")
    ]
    assert all(rows["P2 sin 1"]["error"] <= 1e-9 for rows in parts)


@pytest.mark.slow
def test_conjugate_directions_has_a_line_where_no_solve_is_above_cg(tmp_path: Path):
    run(
        tmp_path, "--only", "guarantee", script=SCRIPT.with_name("conjugate_directions")
    )
    rows = json.loads((tmp_path / "guarantee-rooms.json").read_text())["rows"]
    steps = {row["name"]: row["steps"] for row in rows}
    pairs = zip(steps["from64-2d, safeguarded"], steps["CG"], strict=True)
    assert all(own <= theirs for own, theirs in pairs)
    assert "| rooms | 2 |" in (tmp_path / "results.md").read_text()
