"""The blocks of the README and of the docs run as they stand, one page at a time."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .run_page import blocks

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNNING = [page for page in PAGES if any(blocks(page.read_text()))]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.stem)
def test_blocks_run_and_print_what_is_shown(page: Path, tmp_path: Path):
    script = Path(__file__).with_name("run_page.py")
    found = subprocess.run(
        [sys.executable, script, page],
        cwd=tmp_path,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings(page: Path):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)|^\[\w+\]: (\S+)", text, re.MULTILINE):
        path, _, heading = "".join(target).partition("#")
        if ":" not in path:
            file = page.parent / path if path else page
            assert file.exists(), target
            assert not heading or heading in headings(file.read_text()), target


def test_headline_ratios_are_those_of_the_results_they_link():
    text = (ROOT / "README.md").read_text()
    files = dict(re.findall(r"^\[(\w)\]: (\S+)$", text, re.MULTILINE))
    row = r"\[(\w)\] \| ([\d.]+)[^|]*\| ([\d.]+)[^|]*\| \**([\d.]+)\** \|$"
    rows = re.findall(row, text, re.MULTILINE)
    assert len(rows) == 10
    for file, ours, rivals, ratio in rows:
        results = (ROOT / files[file]).read_text()
        assert f"| {ours} |" in results
        assert f"| {rivals} |" in results
        assert float(ratio) == pytest.approx(float(rivals) / float(ours), rel=0.05)


def headings(text: str) -> set[str]:
    """The anchors of the headings of a page."""
    lines = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}
