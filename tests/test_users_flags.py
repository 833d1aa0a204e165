"""What users compile: the suite turns XLA's optimisations off, they do not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("users_flags.py")
# CG is in the last three, and with multigrid in the data set.
CASES = ["gmres", "minres", "gcrodr", "ssor", "gradient", "singular"]
RTOL = 1e-10


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    folder = tmp_path_factory.mktemp("users")
    variables = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, SCRIPT, folder],
        env=variables | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, "data_set"])
def test_true_residual_meets_the_tolerance_at_the_flags_of_users(
    errors: dict[str, float], name: str
):
    assert errors[name] <= RTOL
