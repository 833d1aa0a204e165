"""The tables of validation/skr are made, in small sizes; their figures mean nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "validation" / "skr"
PART = "chunks-released.json"


def run(folder: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, SCRIPT, "--fast", "--out", folder, *arguments],
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
