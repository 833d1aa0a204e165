"""Solves inside `jax.shard_map`, as JAX checks it by default."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_solves_run_on_the_devices_of_a_mesh():
    script = Path(__file__).with_name("sharded_solves.py")
    flags = os.environ.get("XLA_FLAGS", "")
    flags += " --xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["25 cases"], done.stdout
