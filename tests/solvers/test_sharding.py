"""Solves inside `jax.shard_map`, as JAX checks it by default."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_solves_run_on_the_devices_of_a_mesh():
    script = Path(__file__).with_name("sharded_solves.py")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["24 cases"], done.stdout
