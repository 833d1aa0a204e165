import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {
    "operators": "operators",
    "solvers": "solvers",
    "solvers/sequences": "solvers",
    "solvers/tuning": "solvers",
    "datasets": "datasets",
    "datasets/channel_flow": "datasets",
    "datasets/periodic_flow": "datasets",
    "learned/conjugate_directions": "learned",
    "learned/gaussian_process": "learned",
    "learned/neural_operators": "learned",
    "learned/training": "learned",
}
# Public rooms with entries of their own.
ROOMS = {Path(folder).name for folder in PAGES if "/" in folder}


@pytest.mark.parametrize("folder", PAGES)
def test_every_public_name_is_in_the_reference(folder: str):
    text = (ROOT / folder / "__init__.py").read_text()
    names = set(re.findall(r"import \w+ as (\w+)", text)) - ROOMS
    module = f"krylax.{folder.replace('/', '.')}"
    page = (ROOT / "docs" / "reference" / f"{PAGES[folder]}.md").read_text()
    shown = set(re.findall(rf"^::: {re.escape(module)}\.(\w+)$", page, re.MULTILINE))
    assert shown == names
