"""What the README shows is run here, word for word but with fewer samples."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

import krylax as kx

README = Path(__file__).parents[1] / "README.md"
NUM_SAMPLES = 60


def blocks(language: str) -> list[str]:
    text = README.read_text().replace("1000", str(NUM_SAMPLES))
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory):
    """The snippets' variables after all of them have run in an empty folder."""
    folder = tmp_path_factory.mktemp("readme")
    permeability = kx.datasets.Darcy(num_points=(128, 128)).sample(0)["coefficient"]
    other = kx.datasets.Darcy(num_points=(128, 128)).sample(1)["coefficient"]
    names = {
        "permeability": permeability,
        "f": jnp.ones((128, 128)),
        "B": kx.operators.Diffusion(other, spacing=1 / 128),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for snippet in blocks("python"):
            exec(compile(snippet, "README.md", "exec"), names)
    return folder, names


@pytest.mark.slow
def test_readme_solve_is_certified(session: Any):
    _, names = session
    assert names["sol"].status == kx.Status.converged
    assert names["sol"].stats.relative_residual <= 1e-8


@pytest.mark.slow
def test_readme_sequence_recycles(session: Any):
    _, names = session
    assert names["second"].stats.num_steps < names["first"].stats.num_steps


@pytest.mark.slow
def test_readme_data_set_is_whole(session: Any):
    _, names = session
    assert len(names["dataset"]) == NUM_SAMPLES
    assert names["dataset"].failed == ()


@pytest.mark.slow
def test_readme_command_makes_the_same_data_set(session: Any):
    folder, _ = session
    line = next(
        line for line in blocks("bash")[1].splitlines() if "the same" in line
    ).split("#")[0]
    krylax = Path(sys.executable).with_name("krylax")
    command = [krylax, *line.split()[1:]]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    # The same configuration: the command opens what the snippet made.
    assert f"{NUM_SAMPLES} certified" in result.stdout
